package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/openfile"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// command is what a checkpoint keeps of the command line, beside the options: where
// files are and where to compute. Flags of stylize resume replace it.
type command struct {
	Dir             string  `json:"dir"` // that relative names are relative to
	Output          string  `json:"output"`
	Quality         *int    `json:"quality,omitempty"`
	SaveEvery       *int    `json:"save_every,omitempty"`
	Format          *string `json:"format,omitempty"`
	Subsampling     *string `json:"subsampling,omitempty"`
	KeepProfile     bool    `json:"keep_profile,omitempty"`
	NoMetadata      bool    `json:"no_metadata,omitempty"`
	Trace           string  `json:"trace,omitempty"`
	CheckpointEvery *string `json:"checkpoint_every,omitempty"`
	Device          string  `json:"device"`
	Precision       string  `json:"precision,omitempty"`
	Kernels         *string `json:"kernels,omitempty"`
	NoAutotune      bool    `json:"no_autotune,omitempty"`
	Threads         *int    `json:"threads,omitempty"`
	Pin             bool    `json:"pin,omitempty"`
	LowMemory       bool    `json:"low_memory,omitempty"`
	MaxPixels       int     `json:"max_pixels"`
}

// checkpoint writes one, behind the rows of the trace that belong to it.
func (wk *work) checkpoint(ctx context.Context, c *transfer.Checkpoint, trace *traceFile) error {
	m, out := wk.machine, wk.output
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	c.Record.Version = version
	c.Tool, err = json.Marshal(command{
		Dir: dir, Output: out.path, Quality: out.quality, SaveEvery: out.saveEvery,
		Format: out.file.format, Subsampling: out.file.subsampling, KeepProfile: out.file.keepProfile, NoMetadata: out.file.noMetadata, Trace: out.trace, CheckpointEvery: out.checkpointEvery,
		Device: m.device, Precision: m.precision, Kernels: m.kernels, NoAutotune: m.noAutotune, Threads: m.threads, Pin: m.pin, LowMemory: m.lowMemory, MaxPixels: m.maxPixels,
	})
	if err != nil {
		return err
	}
	if err := trace.sync(); err != nil {
		return err
	}
	return atomicfile.WriteContext(ctx, out.checkpoint, c.Write)
}

// resume goes on from a checkpoint, to the picture that the run would have made
// without a stop.
func resume(ctx context.Context, args []string, f resumeFlags, stdout, stderr io.Writer) error {
	started := time.Now()
	if len(args) != 1 {
		return usage(fmt.Errorf("give one file that --checkpoint wrote; got %d arguments", len(args)))
	}
	from := args[0]
	c, err := readCheckpoint(from)
	if err != nil {
		return usage(err)
	}
	var was command
	if err := json.Unmarshal(c.Tool, &was); err != nil {
		return usage(fmt.Errorf("%s: the checkpoint is damaged (%w)", from, err))
	}
	rec := c.Record
	o := rec.Options
	find := finder{from: from, folder: f.folder}
	if err := find.check(); err != nil {
		return usage(err)
	}
	in, err := (*rerunFlags)(&f).locate(rec, &o, from, func(flag string, in transfer.Input) string {
		in.Path = inDir(was.Dir, in.Path)
		return find.locate(flag, in)
	})
	if err != nil {
		return usage(err)
	}
	f.replace(was, rec, from)
	files := &claims{resumed: true}
	if f.output.checkpoint != from { // else it is gone on with
		files.read("the checkpoint that is resumed", from)
	}
	wk, err := prepare(ctx, o, in, f.machine, f.output, files, stdout, stderr)
	if err != nil {
		return err
	}
	defer wk.device.Close()
	wk.Started = started
	wk.weightsNow = wk.Weights.Source
	if what, path := wk.Other(rec); what != "" {
		return usage(fmt.Errorf("%s: not the %s that %s was begun with (its hash differs); %s", path, what, from, nameIt(what)))
	}
	// The record keeps the names as they were given, so that the result is the same file.
	wk.Rename(rec)
	wk.Weights.Source, wk.Options.Init = rec.Weights.Source, rec.Options.Init
	return wk.run(ctx, c, stdout, stderr)
}

// readCheckpoint reads a file.
func readCheckpoint(path string) (*transfer.Checkpoint, error) {
	f, size, err := openfile.Regular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := transfer.ReadCheckpoint(f, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// inDir is a recorded name as it is called from here.
func inDir(dir, path string) string {
	here, err := os.Getwd()
	if path == "" || path == standard || filepath.IsAbs(path) || err == nil && here == dir {
		return path
	}
	return filepath.Join(dir, path)
}

// replace fills what resume was not told from the checkpoint.
func (f *resumeFlags) replace(was command, rec transfer.Record, from string) {
	out, m := &f.output, &f.machine
	// Where the folder of the run has moved, files are written beside the checkpoint.
	beside := func(path string) string {
		if p := inDir(was.Dir, path); p == "" || p == standard || exists(filepath.Dir(p)) {
			return p
		}
		return filepath.Join(filepath.Dir(from), filepath.Base(path))
	}
	text := func(dst *string, recorded string) {
		if *dst == "" {
			*dst = recorded
		}
	}
	text(&out.path, beside(was.Output))
	text(&out.trace, beside(was.Trace))
	text(&out.checkpoint, from)
	out.quality, out.saveEvery = or(out.quality, was.Quality), or(out.saveEvery, was.SaveEvery)
	file := &out.file
	if out.path == beside(was.Output) { // another name says another format
		file.format = or(file.format, was.Format)
	}
	file.subsampling, file.keepProfile, file.noMetadata = or(file.subsampling, was.Subsampling), file.keepProfile || was.KeepProfile, file.noMetadata || was.NoMetadata
	out.checkpointEvery = or(out.checkpointEvery, was.CheckpointEvery)
	if m.device == "auto" {
		m.device = was.Device
		if was.Device == "auto" { // what it became
			m.device = rec.Device.Kind
		}
		text(&m.precision, was.Precision)
		m.kernels, m.threads = or(m.kernels, was.Kernels), or(m.threads, was.Threads)
		m.noAutotune, m.pin, m.lowMemory = m.noAutotune || was.NoAutotune, m.pin || was.Pin, m.lowMemory || was.LowMemory
	}
	m.maxPixels = max(m.maxPixels, was.MaxPixels)
	if m.weights == nil {
		source := rec.Weights.Source
		if !weights.IsRandom(source) {
			source = inDir(was.Dir, source)
		}
		if weights.IsRandom(source) || openfile.IsRegular(source) {
			m.weights = &source
		}
	}
}

// or is a flag if it was given, else what was recorded.
func or[T any](flag, recorded *T) *T {
	if flag != nil {
		return flag
	}
	return recorded
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// explain says how what is at hand differs from what a checkpoint was begun with.
func (wk *work) explain(err error) error {
	from := wk.output.checkpoint
	var bad *transfer.MismatchError
	if !errors.As(err, &bad) {
		return fmt.Errorf("%s: %w", from, err)
	}
	switch bad.What {
	case "weights":
		return fmt.Errorf("%s: not the weights that %s was begun with (its hash differs); %s", wk.weightsNow, from, nameIt(bad.What))
	case "device":
		return fmt.Errorf("%s was begun on %s, this is %s: the bits would differ; choose the same with --device, --precision, --kernels or --low-memory", from, bad.Was, bad.Is)
	}
	return fmt.Errorf("%s: %w", from, err)
}
