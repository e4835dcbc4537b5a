package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stylize-gpu/stylize/cmd/internal/given"
	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// work is everything that a run needs, checked.
type work struct {
	opts           transfer.Options
	content, style *picture.Source
	init           *picture.Source // nil unless Options.Init is a path
	weights        *vgg.Weights
	device         gpu.Device
	output         outputFlags
	save           picture.SaveOptions
	started        time.Time

	w, h, styleW, styleH int // working extents
}

// paint is the main command.
func paint(ctx context.Context, args []string, f paintFlags, stdout, stderr io.Writer) error {
	started := time.Now()
	if len(args) == 0 {
		return usage(errors.New("give a content and a style picture: stylize CONTENT STYLE -o OUT.png (stylize --help says more)"))
	}
	o, err := f.picture.options()
	if err != nil {
		return usage(err)
	}
	content, style, err := twoPictures(args)
	if err != nil {
		return usage(err)
	}
	wk, err := prepare(o, content, style, f.machine, f.output, stderr)
	if err != nil {
		return err
	}
	defer wk.device.Close()
	wk.started = started
	return wk.run(ctx, stdout, stderr)
}

// twoPictures reads what both paint and plan are given.
func twoPictures(args []string) (content, style string, err error) {
	switch len(args) {
	case 2:
		return args[0], args[1], nil
	case 0, 1:
		return "", "", fmt.Errorf("give two pictures, the content and the style; got %d", len(args))
	}
	return "", "", fmt.Errorf("give two pictures, the content and the style; got %d: %s (quote names with spaces)", len(args), strings.Join(args, " "))
}

// prepare opens and checks everything before any work is done, the output first:
// nothing is more annoying than an hour of painting that cannot be saved.
func prepare(o transfer.Options, content, style string, m machineFlags, out outputFlags, stderr io.Writer) (*work, error) {
	given.Replace(&o.Bits, out.bits)
	if err := o.Validate(); err != nil {
		return nil, usage(inFlags(err))
	}
	save, err := out.check(o, content, style)
	if err != nil {
		return nil, usage(err)
	}
	wk := &work{opts: o, output: out, save: save}
	// Weights are read and unpacked, pictures decoded and the device opened (a
	// driver takes a while) at the same time.
	var note string
	var errWeights error
	read := make(chan struct{})
	go func() {
		defer close(read)
		wk.weights, note, errWeights = resolveWeights(given.Or(m.weights, "auto"))
	}()
	if err := wk.open(content, style, m.maxPixels); err != nil {
		return nil, usage(err)
	}
	if err := wk.keepProfile(); err != nil {
		return nil, usage(err)
	}
	if wk.device, err = m.open(stderr); err != nil {
		return nil, err
	}
	if err := wk.checkMemory(); err != nil {
		return nil, usage(err)
	}
	if <-read; errWeights != nil {
		return nil, usage(errWeights)
	}
	if note != "" {
		fmt.Fprintf(stderr, "stylize: %s\n", note)
	}
	return wk, nil
}

// check verifies what will be written, and that no input is among it.
func (f *outputFlags) check(o transfer.Options, inputs ...string) (save picture.SaveOptions, err error) {
	if f.path == "" {
		return save, errors.New("say where the result goes: -o OUT.png")
	}
	format, err := picture.FormatOf(f.path)
	if err != nil {
		return save, err
	}
	save = picture.SaveOptions{Bits: o.Bits, Quality: given.Or(f.quality, 0)}
	if err := f.file.check(format, f.quality != nil, &save); err != nil {
		return save, err
	}
	switch {
	case format == picture.JPEG && o.Bits == 16:
		return save, fmt.Errorf("--bits 16: a JPEG has 8 bits; write a .png, or leave the flag out")
	case format == picture.PNG && f.quality != nil:
		return save, fmt.Errorf("--quality has no effect on a PNG, which loses nothing; write a .jpg, or leave the flag out")
	case f.quality != nil && (*f.quality < 1 || *f.quality > 100):
		return save, fmt.Errorf("--quality %d: give 1 to 100", *f.quality)
	case f.saveEvery != nil && *f.saveEvery < 1:
		return save, fmt.Errorf("--save-every %d: give 1 or more", *f.saveEvery)
	case f.saveEvery != nil && *f.saveEvery >= o.Iterations:
		return save, fmt.Errorf("--save-every %d has no effect with %d iterations; give a smaller number", *f.saveEvery, o.Iterations)
	}
	for _, in := range inputs {
		if same(in, f.path) {
			return save, fmt.Errorf("%s: the result would overwrite its own input; choose another name", f.path)
		}
		if f.trace != "" && same(in, f.trace) {
			return save, fmt.Errorf("--trace %s: would overwrite an input picture; choose another name", f.trace)
		}
	}
	if f.trace != "" && same(f.path, f.trace) {
		return save, fmt.Errorf("--trace %s: is also the result's name; choose another", f.trace)
	}
	if err := atomicfile.Check(f.path); err != nil {
		return save, err
	}
	if f.trace != "" {
		if err := atomicfile.Check(f.trace); err != nil {
			return save, fmt.Errorf("--trace: %w", err)
		}
	}
	return save, nil
}

// same reports whether two names are one file, existing or not.
func same(a, b string) bool {
	sa, e1 := os.Stat(a)
	sb, e2 := os.Stat(b)
	if e1 == nil && e2 == nil {
		return os.SameFile(sa, sb)
	}
	aa, e1 := filepath.Abs(a)
	ab, e2 := filepath.Abs(b)
	return e1 == nil && e2 == nil && aa == ab
}

// open reads the pictures.
func (wk *work) open(content, style string, maxPixels int) (err error) {
	if maxPixels < 1 {
		return fmt.Errorf("--max-pixels %d: give 1 or more", maxPixels)
	}
	if wk.content, err = openPicture(content, maxPixels); err != nil {
		return err
	}
	if wk.style, err = openPicture(style, maxPixels); err != nil {
		return err
	}
	wk.style.FillTransparent()
	if i := wk.opts.Init; i != "content" && i != "noise" {
		if wk.init, err = openPicture(i, maxPixels); err != nil {
			return fmt.Errorf("--init: %w (the other choices are content and noise)", err)
		}
	}
	wk.w, wk.h, wk.styleW, wk.styleH = wk.opts.Extent(wk.content, wk.style)
	if long := max(wk.w, wk.h, wk.styleW, wk.styleH); long > transfer.MaxSize {
		return fmt.Errorf("a picture so thin would be %d pixels long; crop it", long)
	}
	return nil
}

// openPicture reads one, and names the flag that keeps a large one out.
func openPicture(path string, maxPixels int) (*picture.Source, error) {
	s, err := picture.Open(path, maxPixels)
	if errors.As(err, new(*picture.SizeError)) {
		err = fmt.Errorf("%w; raise --max-pixels %d or shrink it", err, maxPixels)
	}
	return s, err
}

// checkMemory compares the plan with the machine, and names the size that fits.
func (wk *work) checkMemory() error {
	info := wk.device.Info()
	limit, has := info.Memory, "has "
	if info.Free > 0 && info.Free < limit { // another program has the rest
		limit, has = info.Free, "has free "
	}
	if limit == 0 {
		return nil
	}
	need, err := wk.need(wk.opts.Size)
	if err != nil || need <= limit {
		return err
	}
	fits := 16
	for lo, hi := 16, wk.opts.Size; lo <= hi; {
		mid := (lo + hi) / 2
		if n, err := wk.need(mid); err == nil && n <= limit {
			fits, lo = mid, mid+1
		} else {
			hi = mid - 1
		}
	}
	hint := ""
	if info.Kind == "cpu" {
		hint = " (--low-memory saves some)"
	}
	return fmt.Errorf("--size %d needs %s, the %s %s%s: %w; the largest that fits is --size %d%s",
		wk.opts.Size, bytesText(need), info.Kind, has, bytesText(limit), gpu.ErrOutOfMemory, fits, hint)
}

// need is the memory of a run at a size.
func (wk *work) need(size int) (int64, error) {
	o := wk.opts
	o.Size = size
	ps, err := plans(wk.device, o, wk.content, wk.style)
	if err != nil {
		return 0, err
	}
	return ps.peak(), nil
}

// run paints and saves.
func (wk *work) run(ctx context.Context, stdout, stderr io.Writer) error {
	info := wk.device.Info()
	say := func(format string, args ...any) {
		if !wk.output.quiet {
			fmt.Fprintf(stderr, format+"\n", args...)
		}
	}
	say("%s: %s (%s)", info.Kind, info.Name, info.Detail)
	say("content %s %dx%d, style %s %dx%d, painting at %dx%d, weights %s",
		wk.content.Path, wk.content.W, wk.content.H, wk.style.Path, wk.style.W, wk.style.H, wk.w, wk.h, wk.weights.Source)

	job := transfer.Job{
		Options:  wk.opts,
		Contents: []*picture.Picture{wk.opts.Load(wk.content, wk.w, wk.h)},
		Style:    wk.opts.Load(wk.style, wk.styleW, wk.styleH),
		Weights:  wk.weights,
	}
	rec := wk.record()
	if wk.init != nil {
		job.Init = wk.opts.Load(wk.init, wk.w, wk.h)
	}
	s, err := transfer.NewSession(ctx, wk.device, job)
	if errors.Is(err, context.Canceled) {
		return codedError{exitInterrupted, errors.New("interrupted before the first iteration; nothing was saved")}
	}
	if err != nil {
		return err
	}
	defer s.Close()
	trace, err := openTrace(wk.output.trace)
	if err != nil {
		return err
	}
	defer trace.Close()

	rec.Result.SetupSeconds = time.Since(wk.started).Seconds()
	rec.Result.MemoryBytes = s.Plan().Total()
	show := newProgress(stderr, wk.opts.Iterations, wk.output.quiet)
	begin := time.Now()
	var last transfer.Row
	runErr := s.Run(ctx, func(rows []transfer.Row) error {
		last = rows[0]
		show.row(rows[0])
		return trace.row(rows[0])
	}, given.Or(wk.output.saveEvery, 0), func(it int) error {
		return wk.write(s, rec, last, numbered(wk.output.path, it))
	})
	show.finish()
	rec.Result.RunSeconds = time.Since(begin).Seconds()
	if rec.Result.RunSeconds > 0 {
		rec.Result.PerSecond = float64(s.Done()) / rec.Result.RunSeconds
	}
	rec.Result.MedianMillis = s.MedianMillis()
	var lost *transfer.LostError
	switch {
	case errors.Is(runErr, context.Canceled):
		rec.Result.Stopped = "interrupted"
	case errors.Is(runErr, transfer.ErrDiverged):
		rec.Result.Stopped = "diverged"
	case errors.As(runErr, &lost) && s.Done() > 0:
		rec.Result.Stopped, last = "device lost", lost.At
	case runErr != nil:
		return runErr
	}
	if err := trace.Close(); err != nil {
		return err
	}
	if s.Done() == 0 {
		return codedError{exitInterrupted, errors.New("interrupted before the first iteration was complete; nothing was saved")}
	}
	if err := wk.write(s, rec, last, wk.output.path); err != nil {
		return err
	}
	if wk.output.json {
		if err := printJSON(stdout, rec); err != nil {
			return err
		}
	}
	switch rec.Result.Stopped {
	case "interrupted":
		return codedError{exitInterrupted, fmt.Errorf("interrupted after %d of %d iterations; the picture so far is in %s", s.Done(), wk.opts.Iterations, wk.output.path)}
	case "diverged":
		return fmt.Errorf("%w; lower the weights or --lr, or check the weights file; the last good picture is in %s", runErr, wk.output.path)
	case "device lost":
		return fmt.Errorf("%w; the picture after %d of %d iterations is in %s", runErr, s.Done(), wk.opts.Iterations, wk.output.path)
	}
	say("%s: %dx%d, %d iterations in %s, %.2f iterations/s", wk.output.path, rec.Result.Width, rec.Result.Height, s.Done(),
		duration(rec.Result.RunSeconds), rec.Result.PerSecond)
	return nil
}

// record is what is known before the run.
func (wk *work) record() *transfer.Record {
	input := func(s *picture.Source) transfer.Input {
		return transfer.Input{Path: s.Path, SHA256: s.SHA256, Width: s.W, Height: s.H}
	}
	r := &transfer.Record{
		Program: "stylize", Version: version, Options: wk.opts,
		Content: input(wk.content), Style: input(wk.style), Device: wk.device.Info(),
	}
	if wk.init != nil {
		i := input(wk.init)
		r.Init = &i
	}
	r.Weights.Source, r.Weights.SHA256 = wk.weights.Source, wk.weights.SHA256
	r.Result.WorkWidth, r.Result.WorkHeight = wk.w, wk.h
	return r
}

// write saves the picture as it is now.
func (wk *work) write(s *transfer.Session, rec *transfer.Record, last transfer.Row, path string) error {
	p, err := s.Picture(0)
	if err != nil {
		return err
	}
	if p, err = wk.opts.Finish(p, wk.content); err != nil {
		return err
	}
	r := &rec.Result
	r.Width, r.Height, r.Iterations = p.W, p.H, s.Done()
	r.Content, r.Style, r.TV, r.Total = finite(last.Content), finite(last.Style), finite(last.TV), finite(last.Total)
	o := wk.save
	if o.Metadata, err = rec.Text(); err != nil {
		return err
	}
	return p.Save(path, o)
}

// finite makes a loss fit for JSON, which knows no infinity.
func finite(v float64) float64 {
	if v-v != 0 {
		return -1
	}
	return v
}

// numbered is the name of an intermediate picture.
func numbered(path string, it int) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%06d%s", strings.TrimSuffix(path, ext), it, ext)
}
