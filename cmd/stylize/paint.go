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

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// work is everything that a run needs, checked.
type work struct {
	opts           transfer.Options
	content, style *picture.Source
	init           *picture.Source // nil unless Options.Init is a path
	weights        *vgg.Weights
	device         gpu.Device
	out            string
	save           picture.SaveOptions
	saveEvery      int
	trace          string
	quiet, json    bool
	started        time.Time

	w, h, styleW, styleH int // working extents
}

// paint is the main command.
func paint(c *cli.Context, stdout, stderr io.Writer) error {
	started := time.Now()
	if c.NArg() == 0 && c.NumFlags() == 0 {
		return usage(errors.New("give a content and a style picture: stylize CONTENT STYLE -o OUT.png (stylize --help says more)"))
	}
	o, content, style, err := request(c)
	if err != nil {
		return usage(err)
	}
	wk, err := prepare(c, o, content, style, stderr)
	if err != nil {
		return err
	}
	defer wk.device.Close()
	wk.started = started
	_, err = wk.run(c.Context, stdout, stderr)
	return err
}

// request reads what both paint and plan are given: options and two pictures.
func request(c *cli.Context) (o transfer.Options, content, style string, err error) {
	if o, err = options(c); err != nil {
		return o, "", "", err
	}
	switch a := c.Args().Slice(); len(a) {
	case 2:
		return o, a[0], a[1], nil
	case 0, 1:
		return o, "", "", fmt.Errorf("give two pictures, the content and the style; got %d", len(a))
	default:
		return o, "", "", fmt.Errorf("give two pictures, the content and the style; got %d: %s (quote names with spaces)", len(a), strings.Join(a, " "))
	}
}

// prepare opens and checks everything before any work is done, the output first:
// nothing is more annoying than an hour of painting that cannot be saved.
func prepare(c *cli.Context, o transfer.Options, content, style string, stderr io.Writer) (*work, error) {
	wk := &work{opts: o, out: c.String("output"), saveEvery: c.Int("save-every"), trace: c.String("trace"), quiet: c.Bool("quiet"), json: c.Bool("json")}
	if err := wk.checkOutput(c, content, style); err != nil {
		return nil, usage(err)
	}
	// Weights are read and unpacked, pictures decoded and the device opened (a
	// driver takes a while) at the same time.
	var note string
	var errWeights error
	read := make(chan struct{})
	go func() {
		defer close(read)
		wk.weights, note, errWeights = weights.Resolve(c.String("weights"))
	}()
	if err := wk.open(c, content, style); err != nil {
		return nil, usage(err)
	}
	var err error
	if wk.device, err = openDevice(c); err != nil {
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

// checkOutput verifies the names of what will be written.
func (wk *work) checkOutput(c *cli.Context, inputs ...string) error {
	if wk.out == "" {
		return errors.New("say where the result goes: -o OUT.png")
	}
	format, err := picture.FormatOf(wk.out)
	if err != nil {
		return err
	}
	wk.save = picture.SaveOptions{Bits: wk.opts.Bits, Quality: c.Int("quality")}
	switch {
	case format == picture.JPEG && wk.opts.Bits == 16:
		return fmt.Errorf("--bits 16: a JPEG has 8 bits; write a .png, or leave the flag out")
	case format == picture.PNG && c.IsSet("quality"):
		return fmt.Errorf("--quality has no effect on a PNG, which loses nothing; write a .jpg, or leave the flag out")
	case c.IsSet("quality") && (wk.save.Quality < 1 || wk.save.Quality > 100):
		return fmt.Errorf("--quality %d: give 1 to 100", wk.save.Quality)
	case c.IsSet("save-every") && wk.saveEvery < 1:
		return fmt.Errorf("--save-every %d: give 1 or more", wk.saveEvery)
	case wk.saveEvery >= wk.opts.Iterations && wk.saveEvery > 0:
		return fmt.Errorf("--save-every %d has no effect with %d iterations; give a smaller number", wk.saveEvery, wk.opts.Iterations)
	}
	for _, in := range inputs {
		if same(in, wk.out) {
			return fmt.Errorf("%s: the result would overwrite its own input; choose another name", wk.out)
		}
		if wk.trace != "" && same(in, wk.trace) {
			return fmt.Errorf("--trace %s: would overwrite an input picture; choose another name", wk.trace)
		}
	}
	if wk.trace != "" && same(wk.out, wk.trace) {
		return fmt.Errorf("--trace %s: is also the result's name; choose another", wk.trace)
	}
	if err := atomicfile.Check(wk.out); err != nil {
		return err
	}
	if wk.trace != "" {
		if err := atomicfile.Check(wk.trace); err != nil {
			return fmt.Errorf("--trace: %w", err)
		}
	}
	return nil
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
func (wk *work) open(c *cli.Context, content, style string) (err error) {
	limit := c.Int("max-pixels")
	if limit < 1 {
		return fmt.Errorf("--max-pixels %d: give 1 or more", limit)
	}
	if wk.content, err = picture.Open(content, limit); err != nil {
		return err
	}
	if wk.style, err = picture.Open(style, limit); err != nil {
		return err
	}
	if i := wk.opts.Init; i != "content" && i != "noise" {
		if wk.init, err = picture.Open(i, limit); err != nil {
			return fmt.Errorf("--init: %w (the other choices are content and noise)", err)
		}
	}
	wk.w, wk.h, wk.styleW, wk.styleH = wk.opts.Extent(wk.content, wk.style)
	if long := max(wk.w, wk.h, wk.styleW, wk.styleH); long > transfer.MaxSize {
		return fmt.Errorf("a picture so thin would be %d pixels long; crop it", long)
	}
	return nil
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

// run paints and saves. It returns the record of what was made.
func (wk *work) run(ctx context.Context, stdout, stderr io.Writer) (*transfer.Record, error) {
	info := wk.device.Info()
	say := func(format string, args ...any) {
		if !wk.quiet {
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
		return nil, codedError{exitInterrupted, errors.New("interrupted before the first iteration; nothing was saved")}
	}
	if err != nil {
		return nil, err
	}
	defer s.Close()
	trace, err := openTrace(wk.trace)
	if err != nil {
		return nil, err
	}
	defer trace.Close()

	rec.Result.SetupSeconds = time.Since(wk.started).Seconds()
	rec.Result.MemoryBytes = s.Plan().Total()
	show := newProgress(stderr, wk.opts.Iterations, wk.quiet)
	begin := time.Now()
	var last transfer.Row
	runErr := s.Run(ctx, func(rows []transfer.Row) error {
		last = rows[0]
		show.row(rows[0])
		return trace.row(rows[0])
	}, wk.saveEvery, func(it int) error {
		return wk.write(s, rec, last, numbered(wk.out, it))
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
		return nil, runErr
	}
	if err := trace.Close(); err != nil {
		return nil, err
	}
	if s.Done() == 0 {
		return nil, codedError{exitInterrupted, errors.New("interrupted before the first iteration was complete; nothing was saved")}
	}
	if err := wk.write(s, rec, last, wk.out); err != nil {
		return nil, err
	}
	if wk.json {
		if err := printJSON(stdout, rec); err != nil {
			return nil, err
		}
	}
	switch rec.Result.Stopped {
	case "interrupted":
		return nil, codedError{exitInterrupted, fmt.Errorf("interrupted after %d of %d iterations; the picture so far is in %s", s.Done(), wk.opts.Iterations, wk.out)}
	case "diverged":
		return nil, fmt.Errorf("%w; the last good picture is in %s", runErr, wk.out)
	case "device lost":
		return nil, fmt.Errorf("%w; the picture after %d of %d iterations is in %s", runErr, s.Done(), wk.opts.Iterations, wk.out)
	}
	say("%s: %dx%d, %d iterations in %s, %.2f iterations/s", wk.out, rec.Result.Width, rec.Result.Height, s.Done(),
		duration(rec.Result.RunSeconds), rec.Result.PerSecond)
	return rec, nil
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
