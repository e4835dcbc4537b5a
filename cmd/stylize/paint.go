package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stylize-gpu/stylize/cmd/internal/given"
	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// work is everything that a run needs, checked.
type work struct {
	transfer.Work
	crop       *transfer.Crop // that the content is, of a rerun; nil for all
	device     gpu.Device
	machine    machineFlags
	output     outputFlags
	save       picture.SaveOptions
	format     picture.Format
	stdout     io.Writer
	every      time.Duration // between two checkpoints
	resumed    bool          // it goes on with its trace
	weightsNow string        // where those of a resumed run are

	w, h int // working extent
}

// leastMemory is what the smallest picture takes: most of it are weights.
const leastMemory = 96 << 20

// paint is the main command.
func paint(ctx context.Context, args []string, f paintFlags, stdout, stderr io.Writer) error {
	started := time.Now()
	if len(args) == 0 {
		return usage(errors.New("give a content and a style picture: stylize CONTENT STYLE -o OUT.png (stylize --help says more)"))
	}
	if n := len(args); n > 2 && f.output.path == "" {
		return usage(fmt.Errorf("write -o before the name of the result: -o %s", args[n-1]))
	}
	o, err := f.picture.options()
	if err != nil {
		return usage(err)
	}
	in, err := f.inputs.names(args, &o)
	if err != nil {
		return usage(err)
	}
	wk, err := prepare(ctx, o, in, f.machine, f.output, &claims{}, stdout, stderr)
	if err != nil {
		return err
	}
	defer wk.device.Close()
	wk.Started = started
	return wk.run(ctx, nil, stdout, stderr)
}

// prepare opens and checks everything before any work is done, the output first:
// nothing is more annoying than an hour of painting that cannot be saved. files are what
// the command reads besides; those of a run that is resumed have its trace.
func prepare(ctx context.Context, o transfer.Options, in inputs, m machineFlags, out outputFlags, files *claims, stdout, stderr io.Writer) (*work, error) {
	if free := cpu.FreeMemory(); free > 0 && free < leastMemory { // before threads and buffers that would crash
		return nil, usage(fmt.Errorf("%s of memory are free for this program, and it needs %s at least: %w; raise its limit, or end other programs",
			gpu.BytesText(free), gpu.BytesText(leastMemory), gpu.ErrOutOfMemory))
	}
	given.Replace(&o.Bits, out.bits)
	if err := o.Validate(); err != nil {
		return nil, usage(inFlags(err))
	}
	if err := checkStandard(out, stdout, in.reads(o)); err != nil {
		return nil, usage(err)
	}
	save, format, err := out.check(o)
	if err != nil {
		return nil, usage(err)
	}
	in.claim(files, o)
	m.claim(files)
	out.claim(files)
	if err := files.check(); err != nil {
		return nil, usage(err)
	}
	files.sweep()
	if n := given.Or(m.threads, 0); n > runtime.NumCPU() && n <= maxThreads() && !out.quiet {
		fmt.Fprintf(stderr, "stylize: --threads %d: this machine has %d processors; more threads wait for each other\n", n, runtime.NumCPU())
	}
	wk := &work{Work: transfer.Work{Options: o}, machine: m, output: out, save: save, format: format, stdout: stdout, resumed: files.resumed}
	if wk.every, err = transfer.ParseTime(given.Or(out.checkpointEvery, "60s")); err != nil {
		return nil, usage(fmt.Errorf("--checkpoint-every %s: %w", *out.checkpointEvery, err))
	}
	// Weights are read and unpacked, pictures decoded and the device opened (a
	// driver takes a while) at the same time.
	var weights *vgg.Weights
	var note string
	var errWeights error
	read := make(chan struct{})
	go func() {
		defer close(read)
		weights, note, errWeights = resolveWeights(given.Or(m.weights, "auto"))
	}()
	if err := wk.open(ctx, in, m.maxPixels); err != nil {
		return nil, inputError(err)
	}
	if err := wk.keepProfile(); err != nil {
		return nil, usage(err)
	}
	m.exact = exact(o.Preset)
	if wk.device, err = m.open(stderr); err != nil {
		return nil, err
	}
	if err := wk.Check(); err != nil { // all but what needs the weights
		return nil, usage(inFlags(err))
	}
	if <-read; errWeights != nil {
		return nil, usage(errWeights)
	}
	wk.Weights = weights
	if err := wk.CheckStyles(); err != nil {
		return nil, usage(err)
	}
	if err := wk.checkMemory(func(text string) {
		if !out.quiet {
			fmt.Fprintf(stderr, "stylize: %s\n", text)
		}
	}); err != nil {
		return nil, usage(err)
	}
	if note != "" && !out.quiet {
		fmt.Fprintf(stderr, "stylize: %s\n", note)
	}
	return wk, nil
}

// check verifies the flags about what will be written.
func (f *outputFlags) check(o transfer.Options) (save picture.SaveOptions, format picture.Format, err error) {
	if f.path == "" {
		return save, format, errors.New("say where the result goes: -o OUT.png")
	}
	format, err = f.file.formatOf(f.path)
	if err != nil {
		return save, format, err
	}
	if save, err = f.encoding(format, o); err != nil {
		return save, format, err
	}
	switch {
	case f.saveEvery != nil && *f.saveEvery < 1:
		return save, format, fmt.Errorf("--save-every %d: give 1 or more", *f.saveEvery)
	case f.saveEvery != nil && *f.saveEvery >= o.Evaluations() && o.Budget == "":
		return save, format, fmt.Errorf("--save-every %d has no effect with %d iterations; give a smaller number", *f.saveEvery, o.Evaluations())
	case f.checkpointEvery != nil && f.checkpoint == "":
		return save, format, fmt.Errorf("--checkpoint-every %s has no effect without --checkpoint FILE", *f.checkpointEvery)
	}
	return save, format, nil
}

// encoding verifies the flags about the file that is written, for its format.
func (f *outputFlags) encoding(format picture.Format, o transfer.Options) (save picture.SaveOptions, err error) {
	save = picture.SaveOptions{Bits: o.Bits, Quality: given.Or(f.quality, 0)}
	if err := f.file.check(format, f.quality != nil, &save); err != nil {
		return save, err
	}
	if f.quality != nil && (*f.quality < 1 || *f.quality > 100) {
		return save, fmt.Errorf("--quality %d: give 1 to 100", *f.quality)
	}
	return save, nil
}

// openPicture reads one, and names the flag that keeps a large one out.
func openPicture(ctx context.Context, path string, maxPixels int) (*picture.Source, error) {
	s, err := picture.OpenContext(ctx, path, limits(maxPixels))
	return s, explainSize(err, maxPixels)
}

// limits are what a picture may take here.
func limits(maxPixels int) picture.Limits {
	return picture.Limits{Pixels: maxPixels, Bytes: cpu.FreeMemory()}
}

func explainSize(err error, maxPixels int) error {
	if errors.As(err, new(*picture.SizeError)) {
		return fmt.Errorf("%w; raise --max-pixels %d or shrink it", err, maxPixels)
	}
	return err
}

// inputError is one of reading pictures: of the usage, unless it was interrupted.
func inputError(err error) error {
	if errors.As(err, new(codedError)) {
		return err
	}
	return usage(err)
}

// exact reports whether a preset is about being compared with others: it stays fp32 on
// the CPU unless another precision is asked for.
func exact(preset string) bool { return preset == "classic" || preset == "article" }

// checkMemory compares the plan with the machine, and names the size that fits.
func (wk *work) checkMemory(say func(string)) error {
	info := wk.device.Info()
	limit, has := info.Memory, "has "
	if info.Free > 0 && info.Free < limit { // another program has the rest
		limit, has = info.Free, "has free "
	}
	host := cpu.FreeMemory()
	w, h, out := wk.written()
	if host > 0 && out > host {
		return fmt.Errorf("a result of %dx%d needs %s of memory to be written, %s are free: %w; choose a smaller --output-size",
			w, h, gpu.BytesText(out), gpu.BytesText(host), gpu.ErrOutOfMemory)
	}
	if info.Kind == "cpu" && host > 0 { // which writes the picture while it has everything else
		limit, has = max(host-out, 1), "has free "
	}
	if limit == 0 {
		return nil
	}
	need, err := wk.need(wk.Options.Size)
	if err != nil || need <= limit {
		return err
	}
	if smaller, err := wk.smallerStyles(limit); err != nil || smaller > 0 {
		if err == nil {
			say(fmt.Sprintf("styles are looked at with %d pixels along the longest side: at their full size they need %s, the %s %s%s", smaller, gpu.BytesText(need), info.Kind, has, gpu.BytesText(limit)))
		}
		return err
	}
	if least, err := wk.need(vgg.MinSide); err == nil && least > limit {
		return fmt.Errorf("--size %d needs %s, the %s %s%s: %w; even --size %d needs %s",
			wk.Options.Size, gpu.BytesText(need), info.Kind, has, gpu.BytesText(limit), gpu.ErrOutOfMemory, vgg.MinSide, gpu.BytesText(least))
	}
	fits := vgg.MinSide
	for lo, hi := vgg.MinSide, wk.Options.Size; lo <= hi; {
		mid := (lo + hi) / 2
		if n, err := wk.need(mid); err == nil && n <= limit {
			fits, lo = mid, mid+1
		} else {
			hi = mid - 1
		}
	}
	hint := ""
	if inFP32(wk.device) {
		hint = " (--low-memory saves some)"
	}
	return fmt.Errorf("--size %d needs %s, the %s %s%s: %w; the largest that fits is --size %d%s",
		wk.Options.Size, gpu.BytesText(need), info.Kind, has, gpu.BytesText(limit), gpu.ErrOutOfMemory, fits, hint)
}

// written is the extent of the result, and the memory that writing it takes: its values
// as fp32 with alpha, as whole numbers, packed, and the file.
func (wk *work) written() (w, h int, bytes int64) {
	w, h = wk.Options.ResultSize(wk.w, wk.h, wk.Content)
	perPixel := int64(16 + 4 + 16)
	if wk.Options.Bits == 16 {
		perPixel = 16 + 8 + 32
	}
	if wk.save.Profile != nil {
		perPixel += 28
	}
	if wk.format == picture.AVIF {
		perPixel += 90 // of the encoder, measured at 16 megapixels
	}
	return w, h, int64(w) * int64(h) * perPixel
}

// need is the memory of a run at a size.
func (wk *work) need(size int) (int64, error) {
	w := wk.Work
	w.Options.Size, w.Options.Ladder = size, nil // the last level has the most
	features, weights, err := w.Stages()[0].Memory(wk.device.Plan)
	return features + weights, err
}

// smallerStyles reduces the size at which styles are looked at, until they fit beside
// the rest; it returns the size, 0 where that does not help.
func (wk *work) smallerStyles(limit int64) (int, error) {
	size, err := wk.SmallerStyles(func(st transfer.Stage) (bool, error) {
		features, weights, err := st.Memory(wk.device.Plan)
		return features+weights <= limit, err
	})
	if err == nil && size > 0 {
		wk.Options = wk.Options.StylesAt(size)
	}
	return size, err
}

// run paints and saves, from the beginning or from a checkpoint.
func (wk *work) run(ctx context.Context, from *transfer.Checkpoint, stdout, stderr io.Writer) error {
	info := wk.device.Info()
	p, err := transfer.NewPainting(ctx, wk.device, wk.Work, from)
	switch {
	case errors.Is(err, context.Canceled):
		return errInterrupted
	case errors.As(err, new(*transfer.OptionError)):
		return usage(inFlags(err))
	case err != nil && from != nil:
		return usage(wk.explain(err))
	case err != nil:
		return err
	}
	defer p.Close()
	wk.Options = p.Options()
	say := func(format string, args ...any) {
		if !wk.output.quiet {
			fmt.Fprintln(stderr, plain(fmt.Sprintf(format, args...)))
		}
	}
	say("%s: %s (%s)", info.Kind, info.Name, info.Detail)
	say("content %s %dx%d, %s, painting at %s, weights %s", wk.Content.Path, wk.Content.W, wk.Content.H, wk.styleNames(), wk.extents(), wk.Weights.Source)
	var first time.Duration // until the first row
	show := newProgress(stderr, wk.output.quiet)
	// What cannot be written besides the picture is no reason to lose the picture.
	var missed missing
	miss := func(err error) {
		missed.add(err)
		show.note(plain(fmt.Sprintf("stylize: %v; the painting goes on", err)))
	}
	trace, err := openTrace(ctx, wk.output.trace, p.LayerNames(), p.Last().Evaluation, wk.resumed, say)
	if trace == nil {
		return err
	}
	if err != nil {
		miss(err)
	}
	defer trace.Close()
	hooks := transfer.Hooks{
		Report: func(pt transfer.Point) error {
			if show.row(pt); first == 0 {
				first = time.Since(wk.Started)
			}
			if err := trace.row(pt); err != nil {
				trace.abandon()
				miss(err)
			}
			return nil
		},
		Say:       func(text string) { show.note("stylize: " + text) },
		SaveEvery: given.Or(wk.output.saveEvery, 0),
		Save: func() error {
			path := numbered(wk.output.path, p.Last().Evaluation)
			_, b, err := wk.encode(p, "")
			if err != nil { // there is no picture
				return err
			}
			if err := writeFile(ctx, path, b); err != nil {
				miss(err)
			}
			return nil
		},
		CheckpointEvery: wk.every,
	}
	if wk.output.checkpoint != "" {
		hooks.Checkpoint = func(c *transfer.Checkpoint) {
			if err := wk.checkpoint(ctx, c, trace); err != nil { // the painting is worth more
				show.note(plain(fmt.Sprintf("stylize: no checkpoint: %v", err)))
			}
		}
	}
	runErr := p.Run(ctx, hooks)
	show.finish()
	setup := max(first.Seconds()-p.MedianMillis()/1e3, 0)
	ran := time.Since(wk.Started).Seconds() - setup

	stopped := wk.stopped(p, runErr)
	hint := ""
	if runErr != nil && wk.output.checkpoint != "" {
		if c, err := p.Checkpoint(); err != nil {
			say("stylize: no checkpoint: %v", err)
		} else if err := wk.checkpoint(ctx, c, trace); err != nil {
			say("stylize: no checkpoint: %v", err)
		} else {
			hint = fmt.Sprintf("; stylize resume %s goes on", wk.output.checkpoint)
		}
	}
	if p.Last().Evaluation == 0 && runErr != nil && stopped != "diverged" {
		if stopped == "interrupted" {
			return codedError{exitInterrupted, errors.New("interrupted before the first iteration was complete; nothing was saved")}
		}
		return runErr
	}
	if err := trace.Close(); err != nil {
		miss(err)
	}
	rec, where, err := wk.result(ctx, p, stopped)
	if where == "" {
		return errors.Join(runErr, err)
	}
	if err != nil {
		missed.add(err)
	}
	rec.Result.SetupSeconds, rec.Result.RunSeconds = setup, ran
	rec.Result.PerSecond = float64(show.count) / max(ran, 1e-9)
	rec.Result.MedianMillis, rec.Result.MemoryBytes = p.MedianMillis(), p.Memory()
	if wk.output.json {
		if err := printJSON(stdout, rec); err != nil {
			missed.add(err)
		}
	}
	done := fmt.Sprintf("%d of %d iterations", p.Done(), wk.Options.Evaluations())
	if wk.Options.Budget != "" {
		done = fmt.Sprintf("%d iterations", p.Done())
	}
	also := ""
	if missed.count > 0 {
		also = "; " + missed.String()
	}
	switch stopped {
	case "interrupted":
		return codedError{exitInterrupted, fmt.Errorf("interrupted after %s; the picture so far is in %s%s%s", done, where, hint, also)}
	case "diverged":
		return fmt.Errorf("%w; lower the weights or --lr, or check the weights file; the last good picture is in %s%s", runErr, where, also)
	case "device lost", "failed":
		return fmt.Errorf("%w; the picture after %s is in %s%s%s", runErr, done, where, hint, also)
	}
	if wk.output.checkpoint != "" {
		if err := atomicfile.Remove(wk.output.checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
			say("stylize: the checkpoint is not needed any more, and is still there: %v", err)
		}
	}
	if missed.count > 0 {
		return fmt.Errorf("%v; the picture is complete, in %s", missed, where)
	}
	if raw := rec.Result.Raw; raw != nil {
		var each []string
		for i, v := range append(slices.Clone(raw.Content), raw.Style...) {
			if i < len(p.LayerNames()) {
				each = append(each, fmt.Sprintf("%s %.4g", strings.ReplaceAll(p.LayerNames()[i], "_relu", " relu"), v))
			}
		}
		say("strength %g was these weights: %s", wk.Options.Strength, strings.Join(each, ", "))
	}
	why := map[string]string{"plateau": ", at a plateau", "time": ", when the time was up"}[stopped]
	say("%s: %dx%d, %d iterations in %s%s, %.2f iterations/s", where, rec.Result.Width, rec.Result.Height, p.Done(),
		duration(ran), why, rec.Result.PerSecond)
	return nil
}

// missing is what could not be written: the first of it, and how much.
type missing struct {
	first []string
	count int
}

func (m *missing) add(err error) {
	if m.count++; len(m.first) < 3 {
		m.first = append(m.first, err.Error())
	}
}

func (m missing) String() string {
	s := strings.Join(m.first, "; ")
	if more := m.count - len(m.first); more > 0 {
		s += fmt.Sprintf("; and %d more", more)
	}
	return s
}

// extents are those of all levels, for a person.
func (wk *work) extents() string {
	var s []string
	for _, st := range wk.Stages() {
		s = append(s, fmt.Sprintf("%dx%d", st.W, st.H))
	}
	return strings.Join(s, ", then ")
}

// stopped is why a run ended before its last iteration, as a record says it.
func (wk *work) stopped(p *transfer.Painting, runErr error) string {
	switch {
	case runErr == nil:
		return p.Stopped()
	case errors.Is(runErr, context.Canceled):
		return "interrupted"
	case errors.Is(runErr, transfer.ErrDiverged):
		return "diverged"
	case errors.As(runErr, new(*transfer.LostError)):
		return "device lost"
	}
	return "failed"
}

// encode is the file of the picture as it is now.
func (wk *work) encode(p *transfer.Painting, stopped string) (rec transfer.Record, b []byte, err error) {
	rec = p.Record()
	rec.Content.Crop = wk.crop
	pic, err := p.Picture()
	if err != nil {
		return rec, nil, err
	}
	if pic, err = wk.Options.Finish(pic, wk.Content); err != nil {
		return rec, nil, err
	}
	rec.Version, rec.Result.Stopped = version, stopped
	rec.Result.Width, rec.Result.Height = pic.W, pic.H
	o := wk.save
	if o.Metadata, err = rec.Text(); err != nil {
		return rec, nil, err
	}
	b, err = pic.Encode(wk.format, o)
	return rec, b, err
}

// result writes the picture and returns the name that it got. Where its own cannot be
// written, which is then the error, it goes beside it, or into the temporary folder.
func (wk *work) result(ctx context.Context, p *transfer.Painting, stopped string) (rec transfer.Record, where string, err error) {
	rec, b, err := wk.encode(p, stopped)
	if err != nil {
		return rec, "", fmt.Errorf("%s: %w", wk.output.path, err)
	}
	path := wk.output.path
	if path == standard {
		return rec, fileName(path), toStandard(b, wk.format, wk.stdout)
	}
	if err = writeFile(ctx, path, b); err == nil {
		return rec, path, nil
	}
	for _, dir := range []string{filepath.Dir(path), os.TempDir()} {
		if other := unused(filepath.Join(dir, filepath.Base(path))); other != "" && writeFile(ctx, other, b) == nil {
			return rec, other, err
		}
	}
	return rec, "", err
}

// unused is a name like path that nothing has.
func unused(path string) string {
	ext := filepath.Ext(path)
	stem := strings.TrimSuffix(filepath.Base(path), ext)
	stem = stem[:min(len(stem), 200)]
	for i := 1; i < 1000; i++ {
		other := filepath.Join(filepath.Dir(path), fmt.Sprintf("%s-rescued-%d%s", stem, i, ext))
		if _, err := os.Lstat(other); errors.Is(err, fs.ErrNotExist) {
			return other
		}
	}
	return ""
}

// writeFile writes a file whole. A pipe without a reader ends with ctx.
func writeFile(ctx context.Context, path string, b []byte) error {
	return atomicfile.WriteContext(ctx, path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// numbered is the name of an intermediate picture.
func numbered(path string, it int) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%06d%s", strings.TrimSuffix(path, ext), it, ext)
}
