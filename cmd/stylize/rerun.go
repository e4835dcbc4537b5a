package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// rerun makes a picture again from the record in its PNG. Inputs are looked for
// where they were, beside the picture and in --folder, and must have the same
// content.
func rerun(ctx context.Context, args []string, f rerunFlags, stdout, stderr io.Writer) error {
	started := time.Now()
	if len(args) != 1 {
		return usage(fmt.Errorf("give one PNG that stylize wrote; got %d arguments", len(args)))
	}
	from := args[0]
	text, err := picture.ReadText(from)
	if err != nil {
		return usage(err)
	}
	rec, err := transfer.ParseRecord(text)
	if err != nil {
		return usage(fmt.Errorf("%s: %w", from, err))
	}
	o := rec.Repeat() // what there is, not what was planned
	find := finder{from: from, folder: f.folder}
	if err := find.check(); err != nil {
		return usage(err)
	}
	content := find.locate(f.content, rec.Content)
	style := find.locate(f.style, rec.Style)
	if rec.Init != nil {
		o.Init = find.locate(f.init, *rec.Init)
	} else if f.init != "" {
		return usage(fmt.Errorf("--init has no effect: %s did not start from a picture", from))
	}
	if f.machine.weights == nil { // random ones, or a file that is still there
		_, err := os.Stat(rec.Weights.Source)
		if err == nil || strings.HasPrefix(rec.Weights.Source, "random") {
			f.machine.weights = &rec.Weights.Source
		}
	}
	wk, err := prepare(ctx, o, content, style, f.machine, f.output, stdout, stderr)
	if err != nil {
		return err
	}
	defer wk.device.Close()
	wk.started = started
	for _, in := range []struct{ what, path, got, want string }{
		{"content", content, wk.content.SHA256, rec.Content.SHA256},
		{"style", style, wk.style.SHA256, rec.Style.SHA256},
		{"weights", wk.weights.Source, wk.weights.SHA256, rec.Weights.SHA256},
	} {
		if in.got != in.want {
			return usage(fmt.Errorf("%s: not the %s that %s was made with (its hash differs); name the right one with --%s", in.path, in.what, from, in.what))
		}
	}
	if rec.Init != nil && wk.init.SHA256 != rec.Init.SHA256 {
		return usage(fmt.Errorf("%s: not the picture that %s started from (its hash differs); name the right one with --init", o.Init, from))
	}
	if crop := rec.Content.Crop; crop != nil { // a batch with --snap
		if wk.content, err = crop.Of(wk.content); err != nil {
			return usage(fmt.Errorf("%s: the record of how it was made is damaged (%w)", from, err))
		}
		wk.crop = crop
	}
	// The record keeps the names as they were given, so that rerunning gives the same file.
	wk.content.Path, wk.style.Path, wk.opts.Init = rec.Content.Path, rec.Style.Path, rec.Options.Init
	before, err := openPicture(from, f.machine.maxPixels) // now: the result may take its place
	if err != nil {
		return usage(err)
	}
	if err := wk.run(ctx, nil, stdout, stderr); err != nil || f.output.quiet || wk.format != picture.PNG || f.output.path == standard {
		return err
	}
	return compare(before, from, f.output.path, f.machine.maxPixels, stderr)
}

// compare says whether a result is the picture that it repeats.
func compare(pa *picture.Source, a, b string, maxPixels int, stderr io.Writer) error {
	pb, err := openPicture(b, maxPixels)
	if err != nil {
		return err
	}
	x, y := pa.Resize(pa.W, pa.H, picture.Bicubic), pb.Resize(pb.W, pb.H, picture.Bicubic)
	verdict := "the same picture, to the bit"
	if pa.W != pb.W || pa.H != pb.H || !slices.Equal(x.RGB, y.RGB) || !slices.Equal(x.Alpha, y.Alpha) {
		verdict = "not the same picture to the bit (another device or version computes with other roundings)"
	}
	_, err = fmt.Fprintf(stderr, "%s and %s: %s\n", a, b, verdict)
	return err
}
