package main

import (
	"context"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/batch"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/openfile"
	"github.com/stylize-gpu/stylize/vgg/weights"
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
	// A PNG may come from anybody, and name any file of this machine. Only the names of
	// files count, in the folders that the user means.
	in, err := f.locate(rec, &o, from, func(flag string, in transfer.Input) string {
		in.Path = baseName(in.Path)
		return find.locate(flag, in)
	})
	if err != nil {
		return usage(err)
	}
	if f.machine.weights == nil { // random ones, or a file that is still there
		source := rec.Weights.Source
		if !weights.IsRandom(source) {
			source = baseName(source)
			if beside := filepath.Join(filepath.Dir(from), source); !openfile.IsRegular(source) {
				source = beside
			}
		}
		if weights.IsRandom(source) || openfile.IsRegular(source) {
			f.machine.weights = &source
		}
	}
	f.machine.as(rec.Device)
	files := &claims{}
	files.read("the picture that is made again", from)
	wk, err := prepare(ctx, o, in, f.machine, f.output, files, stdout, stderr)
	if err != nil {
		return err
	}
	defer wk.device.Close()
	wk.Started = started
	if what, path := wk.Other(rec); what != "" {
		return usage(fmt.Errorf("%s: not the %s that %s was made with (its hash differs); %s", path, what, from, nameIt(what)))
	}
	if wk.Weights.SHA256 != rec.Weights.SHA256 {
		return usage(fmt.Errorf("%s: not the weights that %s was made with (its hash differs); name the right one with --weights", wk.Weights.Source, from))
	}
	if crop := rec.Content.Crop; crop != nil { // a batch with --snap
		if wk.Content, err = crop.Of(wk.Content); err != nil {
			return usage(fmt.Errorf("%s: the record of how it was made is damaged (%w)", from, err))
		}
		wk.crop = crop
	}
	// The record keeps the names as they were given, so that rerunning gives the same file.
	wk.Rename(rec)
	wk.Options.Init = rec.Options.Init
	if err := wk.run(ctx, nil, stdout, stderr); err != nil || f.output.quiet || wk.format != picture.PNG || f.output.path == standard {
		return err
	}
	return wk.compare(ctx, from, rec, stderr)
}

// locate finds the inputs of a record. Those that have flags may be named by them.
func (f *rerunFlags) locate(rec transfer.Record, o *transfer.Options, from string, find func(flag string, in transfer.Input) string) (inputs, error) {
	in := inputs{content: find(f.content, rec.Content), contentMask: maybe(find, rec.ContentMask)}
	for i, s := range append([]transfer.Input{rec.Style}, rec.MoreStyles...) {
		flag := f.style
		if i > 0 {
			flag = ""
		}
		in.styles = append(in.styles, batch.Style{Path: find(flag, s), Mask: maybe(find, s.Mask), Look: maybe(find, s.Look)})
	}
	if rec.Init != nil {
		o.Init = find(f.init, *rec.Init)
	} else if f.init != "" {
		return in, fmt.Errorf("--init has no effect: %s did not start from a picture", from)
	}
	return in, nil
}

// maybe finds an input that there may not be.
func maybe(find func(flag string, in transfer.Input) string, in *transfer.Input) string {
	if in == nil {
		return ""
	}
	return find("", *in)
}

// nameIt says how a user names the right file of an input.
func nameIt(what string) string {
	switch what {
	case "content", "style", "init", "weights":
		return "name the right one with --" + what
	case "style 1":
		return "name the right one with --style"
	}
	return "give the folder that has the right one with --folder"
}

// baseName is a recorded name without its folders, whatever system it is from.
func baseName(name string) string { return path.Base(strings.ReplaceAll(name, `\`, "/")) }

// as has a picture computed as it was, as far as the flags leave that open: what the
// device's bits depend on is in its record.
func (f *machineFlags) as(was gpu.Info) {
	if was.Kind == "cpu" && f.device == "auto" {
		f.device = "cpu"
	}
	if f.device == "cpu" && strings.Contains(was.Bits, "low memory") {
		f.lowMemory = true
	}
	if was.Kind == "cpu" && f.device == "cpu" && f.precision == "" {
		f.precision = "fp32"
		if strings.HasSuffix(was.Bits, ", bf16") {
			f.precision = "bf16"
		}
	}
	if was.Kind == "cuda" && f.precision == "" && f.device != "cpu" {
		for _, name := range []string{"fp16", "bf16", "tf32", "fp32"} {
			if strings.Contains(was.Bits, ", "+name+",") {
				f.precision = name
			}
		}
	}
}

// compare says whether the result is the picture that it repeats, and if not what differs.
func (wk *work) compare(ctx context.Context, from string, was transfer.Record, stderr io.Writer) error {
	to := wk.output.path
	if f, err := picture.FormatOf(to); err != nil || f != picture.PNG {
		return err
	}
	a, err := openPicture(ctx, from, wk.machine.maxPixels)
	if err != nil {
		return err
	}
	b, err := openPicture(ctx, to, wk.machine.maxPixels)
	if err != nil {
		return err
	}
	x, y := a.Resize(a.W, a.H, picture.Bicubic), b.Resize(b.W, b.H, picture.Bicubic)
	verdict := "the same picture, to the bit"
	if a.W != b.W || a.H != b.H || !slices.Equal(x.RGB, y.RGB) || !slices.Equal(x.Alpha, y.Alpha) {
		verdict = "not the same picture to the bit (" + strings.Join(wk.differs(was), "; ") + ")"
	}
	_, err = fmt.Fprintln(stderr, plain(fmt.Sprintf("%s and %s: %s", from, to, verdict)))
	return err
}

// differs lists what is not as a record has it.
func (wk *work) differs(was transfer.Record) (list []string) {
	is := wk.device.Info()
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	switch {
	case was.Device.Kind != is.Kind:
		say("it was made on %s, this is %s", was.Device.Kind, is.Kind)
	case was.Device.Bits != "" && was.Device.Bits != is.Bits:
		say("it was computed with %s, this is %s", was.Device.Bits, is.Bits)
	case was.Device.Bits == "":
		say("its record does not say with which instructions, precision or --low-memory it was computed, here it was %s", is.Bits)
	}
	if was.Version != version {
		say("it was made by version %s, this is %s", was.Version, version)
	}
	if was.Options.Bits != wk.Options.Bits {
		say("it has %d bits a channel, this has %d", was.Options.Bits, wk.Options.Bits)
	}
	if wk.save.Profile != nil {
		say("this is in the content's colours, by --keep-profile")
	}
	if len(list) == 0 {
		say("its pixels are not those that its record describes: they were changed afterwards")
	}
	return list
}
