package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stylize-gpu/stylize/cmd/internal/given"
	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/gpu/cuda"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/batch"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
)

// paintBatch is stylize batch.
func paintBatch(ctx context.Context, args []string, f batchFlags, stdout, stderr io.Writer) error {
	started := time.Now()
	show := newBatchProgress(stderr, f.output.quiet)
	defer show.finish()
	shard, err := parseShard(f.shard, os.Getenv)
	if err != nil {
		return usage(err)
	}
	if f.snap != nil && (*f.snap < 1 || *f.snap > 256) {
		return usage(fmt.Errorf("--snap %d: give 2 to 256, or 1 for none", *f.snap))
	}
	if f.machine.maxPixels < 1 {
		return usage(fmt.Errorf("--max-pixels %d: give 1 or more", f.machine.maxPixels))
	}
	list, err := f.list(args)
	if err != nil {
		return usage(err)
	}
	return f.paint(ctx, list, shard, show, started, stdout, stderr)
}

// paint checks and paints a list.
func (f *batchFlags) paint(ctx context.Context, list *batch.List, shard batch.Shard, show *batchProgress, started time.Time, stdout, stderr io.Writer) error {
	for _, n := range list.Notes {
		show.note("stylize: " + n)
	}
	if len(list.Items) == 0 && len(list.Problems) == 0 {
		return usage(errors.New("no pictures: give contents as files, folders or quoted patterns, or a --manifest"))
	}
	if err := f.checkFormats(list); err != nil {
		return usage(err)
	}
	all, notes := len(list.Items), len(list.Notes)
	show.note(fmt.Sprintf("%s: checking names, folders and extents", count(all, "item")))

	var weights *vgg.Weights
	var note string
	var errWeights error
	read := make(chan struct{})
	go func() {
		defer close(read)
		weights, note, errWeights = resolveWeights(given.Or(f.machine.weights, "auto"))
	}()
	slots, err := f.parseSlots()
	if err != nil {
		return usage(err)
	}
	devices, numerics, err := f.open(stderr)
	if err != nil {
		return err
	}
	if err := f.onePrecision(list, numerics); err != nil {
		closeAll(devices)
		return usage(err)
	}
	defer func() { closeAll(devices) }()
	checks := batch.Checks{
		Also: f.reads(), Shard: shard, Snap: given.Or(f.snap, 0), Limits: func() picture.Limits { return limits(f.machine.maxPixels) }, Dry: f.dryRun, Tick: show.checking,
		Output: batch.Output{Quality: given.Or(f.output.quality, 0), Subsampling: given.Or(f.output.file.subsampling, ""), KeepProfile: f.output.file.keepProfile, Bare: f.output.file.noMetadata},
	}
	if f.report != "" {
		checks.Written = []string{f.report}
	}
	for _, d := range devices {
		checks.Devices = append(checks.Devices, d.Device)
	}
	if err := list.Check(checks); err != nil {
		return usage(err)
	}
	show.finish()
	for _, n := range list.Notes[notes:] {
		show.note("stylize: " + n)
	}
	if <-read; errWeights != nil {
		return usage(errWeights)
	}
	list.CheckWeights(weights)
	if note != "" {
		show.note("stylize: " + note)
	}
	if !shard.Whole() {
		show.note(fmt.Sprintf("shard %v: %d of %s", shard, len(list.Items)+len(list.Problems), count(all, "item")))
	}
	for i, p := range list.Problems {
		if i == listed {
			show.note(fmt.Sprintf("stylize: and %d more that cannot be painted", len(list.Problems)-listed))
			break
		}
		show.note("stylize: cannot be painted: " + f.explain(p.Err).Error())
	}
	if len(list.Items) == 0 && len(list.Problems) > 0 && shard.Whole() {
		return usage(fmt.Errorf("nothing can be painted: %w", f.explain(list.Problems[0].Err)))
	}
	b := &batch.Batch{
		List: list, Devices: devices, Weights: weights, Numerics: numerics, Output: checks.Output, Snap: checks.Snap,
		Limits: checks.Limits, Version: version, Overwrite: f.overwrite, RetryFailed: f.retryFailed, FailFast: f.failFast,
		Explain: f.explain, Each: show.each, Say: func(text string) { show.note("stylize: " + text) },
	}
	if f.report != "" {
		if b.Report, err = f.openReport(); err != nil {
			return usage(fmt.Errorf("--report %w", err))
		}
		defer b.Report.Close()
	}
	if f.dryRun {
		return f.dry(ctx, b, stdout)
	}
	if devices, err = withSlots(devices, slots, list, checks.Snap); err != nil {
		return err
	}
	b.Devices = devices
	lanes := map[string]int{} // of each device
	for _, d := range devices {
		lanes[d.Name]++
	}
	for _, d := range devices {
		info, many := d.Info(), ""
		switch n := lanes[d.Name]; n {
		case 0: // said already
			continue
		case 1:
		default:
			many = fmt.Sprintf(", %d lanes", n)
		}
		show.note(fmt.Sprintf("%s: %s (%s%s)", d.Name, info.Name, info.Detail, many))
		lanes[d.Name] = 0
	}
	stop := show.watch(b)
	runErr := b.Run(ctx)
	stop()
	return f.summary(b, show, shard, time.Since(started), runErr, stdout)
}

// parseSlots is the number of --slots; 0 for auto.
func (f *batchFlags) parseSlots() (int, error) {
	if f.slots == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(f.slots)
	if err != nil || n < 1 || n > maxSlots {
		return 0, fmt.Errorf("--slots %s: give auto, or a number from 1 to %d", f.slots, maxSlots)
	}
	return n, nil
}

const maxSlots = 256

// withSlots says how many pictures each device paints side by side. The CPU does it in
// lanes: devices of their own with fewer threads and the same packed weights, since a
// thread that waits for no other does more. There is one lane a thread, or fewer where
// the pictures are so large that memory would run short, or so few. What is asked for
// beyond that is painted side by side in the lanes. On an error the devices are those that
// are open.
func withSlots(devices []batch.Device, slots int, list *batch.List, snap int) ([]batch.Device, error) {
	var all []batch.Device
	for i, d := range devices {
		d.Slots = slots
		dev, ok := d.Device.(*cpu.Device)
		if !ok {
			all = append(all, d)
			continue
		}
		info := dev.Info()
		lanes := min(info.Threads, len(list.Items))
		if slots > 0 {
			lanes = min(info.Threads, slots)
		}
		arena, err := list.Arena(dev, snap)
		if err != nil {
			return append(all, devices[i:]...), err
		}
		d.Memory = cmp.Or(info.Free, info.Memory) / 2
		if arena > 0 && slots == 0 {
			lanes = min(lanes, int(d.Memory/arena))
		}
		lanes = max(lanes, 1)
		if d.Slots = (slots + lanes - 1) / lanes; slots == 0 {
			d.Lane = list.Lanes(lanes, snap)
		}
		if lanes == 1 {
			all = append(all, d)
			continue
		}
		d.Memory /= int64(lanes)
		var opened []batch.Device
		for j := range lanes {
			threads := info.Threads / lanes
			if j < info.Threads%lanes {
				threads++
			}
			lane, err := dev.Lane(max(threads, 1))
			if err != nil {
				return slices.Concat(all, opened, devices[i:]), err
			}
			opened = append(opened, batch.Device{Device: lane, Name: d.Name, Slots: d.Slots, Lane: d.Lane, Memory: d.Memory})
		}
		all = append(all, opened...)
		_ = dev.Close() // its lanes have the weights
	}
	return all, nil
}

// listed is how many failures are named.
const listed = 20

func closeAll(devices []batch.Device) {
	for _, d := range devices {
		_ = d.Close() // all that was painted is on the disk
	}
}

// reads are files that are read besides pictures.
func (f *batchFlags) reads() (all []string) {
	var c claims
	if f.manifest != "" {
		c.read("the manifest", f.manifest)
	}
	f.machine.claim(&c)
	for _, r := range c.all {
		all = append(all, r.path)
	}
	return all
}

// openReport opens the report; a dry run only reads it.
func (f *batchFlags) openReport() (*batch.Report, error) {
	if f.dryRun {
		return batch.ReadReport(f.report)
	}
	return batch.OpenReport(f.report)
}

// list makes the list of items.
func (f *batchFlags) list(args []string) (*batch.List, error) {
	regions, err := f.inputs.regions()
	if err != nil {
		return nil, err
	}
	in := batch.Inputs{Contents: args, Styles: f.styles, Regions: regions, Prefix: "--", Pair: f.pair, Manifest: f.manifest, Output: f.output.path}
	in.Parse = func(raw json.RawMessage, dir string) (*transfer.Options, error) {
		line := *f
		var err error
		if line.picture, line.inputs.feather, err = parseOptions(f.picture, f.inputs.feather, raw, dir); err != nil {
			return nil, err
		}
		return line.optionsOf(line.picture)
	}
	switch {
	case f.manifest != "" && len(args) > 0:
		return nil, fmt.Errorf("--manifest %s already lists the contents; leave %s out", f.manifest, args[0])
	case f.manifest != "" && f.pair:
		return nil, errors.New("--pair: each line of a manifest names its style; leave the flag out")
	case f.pair && regions.Blend != nil:
		return nil, fmt.Errorf("--blend %s has all styles paint each content, and --pair one of them; leave one out, or name the styles of each content in a --manifest", *f.inputs.blend)
	case f.manifest == "" && len(args) > 0 && len(f.styles) == 0:
		return nil, errors.New("no style: give --style FILE, once or several times")
	case f.manifest == "" && len(args) > 0 && f.output.path == "":
		return nil, errors.New("say where results go: -o 'out/{content}-{style}.png'")
	}
	if f.manifest == "" {
		if len(args) == 0 {
			return nil, errors.New("give contents (files, folders, quoted patterns) or a --manifest: stylize batch CONTENT... --style STYLE... -o 'out/{content}-{style}.png'")
		}
		if in.Options, err = f.optionsOf(f.picture); err != nil {
			return nil, err
		}
	}
	return in.List()
}

// explain names the flag that an error may be cured with.
func (f *batchFlags) explain(err error) error {
	switch {
	case errors.Is(err, batch.ErrForeign):
		return fmt.Errorf("%w, or replace it with --overwrite", err)
	case errors.Is(err, batch.ErrProfile):
		return fmt.Errorf("%w; leave --keep-profile out for sRGB", err)
	case errors.Is(err, gpu.ErrOutOfMemory):
		return fmt.Errorf("%w; a smaller --size needs less", err)
	case errors.As(err, new(*transfer.OptionError)):
		return inFlags(err)
	case errors.As(err, new(*picture.SizeError)):
		return fmt.Errorf("%w; raise --max-pixels %d or shrink it", err, f.machine.maxPixels)
	}
	return err
}

// optionsOf are checked options.
func (f *batchFlags) optionsOf(p pictureFlags) (*transfer.Options, error) {
	o, err := p.options()
	if err != nil {
		return nil, err
	}
	given.Replace(&o.Bits, f.output.bits)
	given.Replace(&o.Feather, f.inputs.feather)
	if err := o.Validate(); err != nil {
		return nil, inFlags(err)
	}
	return &o, nil
}

// lineOptions are those that a line of a manifest may have: the flags of the same names,
// which they replace.
type lineOptions struct {
	Preset        *string  `json:"preset"`
	Size          *int     `json:"size"`
	Iterations    *int     `json:"iterations"`
	Ladder        *string  `json:"ladder"`
	Until         *string  `json:"until"`
	Budget        *string  `json:"budget"`
	ContentWeight *float64 `json:"content_weight"`
	StyleWeight   *float64 `json:"style_weight"`
	TVWeight      *float64 `json:"tv_weight"`
	Strength      *float64 `json:"strength"`
	Optimizer     *string  `json:"optimizer"`
	History       *int     `json:"history"`
	LR            *float64 `json:"lr"`
	LRSchedule    *string  `json:"lr_schedule"`
	Pooling       *string  `json:"pooling"`
	StyleLayers   *string  `json:"style_layers"`
	ContentLayers *string  `json:"content_layers"`
	StyleSize     *string  `json:"style_size"`
	StyleScale    *float64 `json:"style_scale"`
	Colors        *string  `json:"colors"`
	Padding       *string  `json:"padding"`
	Average       *float64 `json:"average"`
	Init          *string  `json:"init"`
	Seed          *uint64  `json:"seed"`
	OutputSize    *string  `json:"output_size"`
	Feather       *float64 `json:"feather"`
}

// parseOptions puts what a line says in the place of the flags.
func parseOptions(p pictureFlags, feather *float64, raw json.RawMessage, dir string) (pictureFlags, *float64, error) {
	if len(raw) == 0 {
		return p, feather, nil
	}
	var l lineOptions
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		text := strings.TrimPrefix(err.Error(), "json: ")
		for _, name := range []string{"blend", "mask", "style_mask", "content_mask"} {
			if strings.HasSuffix(text, strconv.Quote(name)) {
				text = name + " stands beside style in the line, and not in its options"
			}
		}
		return p, feather, fmt.Errorf("options: %s", text)
	}
	given.Replace(&p.preset, l.Preset)
	p.size, p.iterations, p.ladder = or(l.Size, p.size), or(l.Iterations, p.iterations), or(l.Ladder, p.ladder)
	p.until, p.budget = or(l.Until, p.until), or(l.Budget, p.budget)
	p.contentWeight, p.styleWeight, p.tvWeight = or(l.ContentWeight, p.contentWeight), or(l.StyleWeight, p.styleWeight), or(l.TVWeight, p.tvWeight)
	p.strength, p.optimizer, p.history, p.lr = or(l.Strength, p.strength), or(l.Optimizer, p.optimizer), or(l.History, p.history), or(l.LR, p.lr)
	p.lrSchedule = or(l.LRSchedule, p.lrSchedule)
	p.pooling, p.seed, p.outputSize = or(l.Pooling, p.pooling), or(l.Seed, p.seed), or(l.OutputSize, p.outputSize)
	p.styleLayers, p.contentLayers = or(l.StyleLayers, p.styleLayers), or(l.ContentLayers, p.contentLayers)
	p.styleSize, p.styleScale = or(l.StyleSize, p.styleSize), or(l.StyleScale, p.styleScale)
	p.colors, p.padding, p.average = or(l.Colors, p.colors), or(l.Padding, p.padding), or(l.Average, p.average)
	if i := l.Init; i != nil {
		if (transfer.Options{Init: *i}).InitPicture() && !filepath.IsAbs(*i) {
			path := filepath.Join(dir, *i)
			i = &path
		}
		p.init = i
	}
	return p, or(l.Feather, feather), nil
}

// checkFormats verifies the flags about files, for each format that is written.
func (f *batchFlags) checkFormats(list *batch.List) error {
	type kind struct {
		format picture.Format
		bits   int
	}
	seen := map[kind]bool{}
	for _, it := range list.Items {
		format, err := picture.FormatOf(it.Output)
		if err != nil {
			return fmt.Errorf("-o: %w", err)
		}
		k := kind{format, it.Options.Bits}
		if seen[k] {
			continue
		}
		seen[k] = true
		out := f.output
		if format != picture.PNG { // others have no record anyway, and the batch may have PNGs besides
			out.file.noMetadata = false
		}
		if _, err := out.encoding(format, *it.Options); err != nil {
			return err
		}
	}
	return nil
}

// onePrecision refuses items whose preset is fp32 on the CPU in a batch that was left to
// choose bf16: they are not to change the pixels of the others.
func (f *batchFlags) onePrecision(list *batch.List, numerics batch.Numerics) error {
	if p := f.machine.precision; p != "" && p != "auto" || numerics.Precision != cpu.BF16.String() {
		return nil
	}
	for _, it := range list.Items {
		if exact(it.Options.Preset) {
			return fmt.Errorf("%s: preset %s is fp32 on the CPU, this batch is bf16; add --precision fp32 or bf16", fileName(it.Content), it.Options.Preset)
		}
	}
	return nil
}

// open opens the devices, which all compute in one precision.
func (f *batchFlags) open(stderr io.Writer) ([]batch.Device, batch.Numerics, error) {
	m := f.machine
	numerics := batch.Numerics{Kernels: given.Or(m.kernels, ""), LowMemory: m.lowMemory}
	if numerics.Kernels == "auto" {
		numerics.Kernels = ""
	}
	var devices []batch.Device
	fail := func(err error) ([]batch.Device, batch.Numerics, error) {
		closeAll(devices)
		if err != nil {
			err = renamed(err)
		}
		return nil, numerics, err
	}
	names := strings.Split(f.devices, ",")
	if f.devices == "all" {
		names = nil
		n, err := cuda.Count()
		if err != nil {
			fmt.Fprintf(stderr, "stylize: using the CPU: %v\n", err)
		}
		for i := range n {
			names = append(names, fmt.Sprintf("cuda:%d", i))
		}
		if n == 0 {
			names = []string{"cpu"}
		}
	}
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	isCPU := func(name string) bool { return name == "cpu" }
	if slices.ContainsFunc(names, func(name string) bool { return !isCPU(name) }) {
		p, err := m.cudaPrecision()
		if err != nil {
			return fail(usage(err))
		}
		m.precision = p.String()
		if slices.ContainsFunc(names, isCPU) && p != plan.FP32 && p != plan.BF16 {
			return fail(usage(fmt.Errorf("--devices %s: the CPU computes in fp32 or bf16, the GPUs in %v, and a batch has one precision; add --precision fp32 or bf16, or leave the CPU out", f.devices, p)))
		}
	} else {
		m.exact = exact(f.picture.preset)
		p, err := m.cpuPrecision()
		if err != nil {
			return fail(usage(err))
		}
		m.precision = p.String()
	}
	numerics.Precision = m.precision
	for i, name := range names {
		if name == "auto" || name == "" {
			return fail(usage(fmt.Errorf("--devices %s: give all, or a list of cpu, cuda:N and sim", f.devices)))
		}
		if name == "cuda" {
			name = "cuda:0"
		}
		if name != "sim" && slices.ContainsFunc(devices, func(d batch.Device) bool { return d.Name == name }) {
			return fail(usage(fmt.Errorf("--devices %s: %s is there twice", f.devices, name)))
		}
		m.device = name
		dev, err := m.open(stderr)
		if err != nil && f.devices == "all" && len(names) > 1 && errors.As(err, new(codedError)) { // the other GPUs can
			fmt.Fprintf(stderr, "stylize: goes without: %v\n", renamed(err))
			if i == len(names)-1 && len(devices) == 0 {
				return fail(err)
			}
			continue
		}
		if err != nil {
			return fail(err)
		}
		if name == "sim" && slices.Contains(append(names[:i:i], names[i+1:]...), "sim") { // several are told apart
			name = fmt.Sprintf("sim:%d", i)
		}
		devices = append(devices, batch.Device{Device: dev, Name: name})
	}
	return devices, numerics, nil
}

// renamed says --devices where an error says --device, the flag of other commands.
func renamed(err error) error {
	text := strings.ReplaceAll(err.Error(), "--device ", "--devices ")
	var coded codedError
	if errors.As(err, &coded) {
		return codedError{coded.code, errors.New(text)}
	}
	return errors.New(text)
}

// dry says what a run would do.
func (f *batchFlags) dry(ctx context.Context, b *batch.Batch, stdout io.Writer) error {
	rate := 0.0
	for _, d := range b.Devices {
		r, err := gpu.Device(d).Rate(ctx)
		if err != nil {
			return err
		}
		rate += r
	}
	n := map[batch.Verdict]int{}
	wrong, flops := 0, 0.0
	var errOut error
	b.Plans(func(p batch.Plan) bool {
		it := p.Item
		switch {
		case p.Err != nil:
			wrong++
			_, errOut = fmt.Fprintf(stdout, "fails  %s\n", failure(batch.Line{Content: it.Content, Error: f.explain(p.Err).Error()}))
		default:
			n[p.Verdict]++
			cost := ""
			if p.Verdict == batch.ToPaint || p.Verdict == batch.ToRepaint {
				flops += p.FLOPs
				cost = fmt.Sprintf("  %dx%d  %.0f GFLOP", p.W, p.H, p.FLOPs/1e9)
			} else if p.Why != "" {
				cost = "  (" + p.Why + ")"
			}
			_, errOut = fmt.Fprintf(stdout, "%s  %s  %s + %s -> %s%s\n", p.Verdict, p.Key.Short(), it.Content, it.StyleNames(), p.Output, cost)
		}
		return errOut == nil && ctx.Err() == nil
	})
	if errOut != nil {
		return errOut
	}
	if ctx.Err() != nil {
		return codedError{exitInterrupted, errors.New("interrupted; nothing was painted")}
	}
	text := fmt.Sprintf("%d to paint, %d to paint again with another key, %d done, %d that failed before, %d that cannot be painted: %.0f GFLOP",
		n[batch.ToPaint], n[batch.ToRepaint], n[batch.IsDone], n[batch.FailedBefore], wrong, flops/1e9)
	if rate > 0 {
		text += fmt.Sprintf(", about %s here", duration(flops/rate))
	}
	if _, err := fmt.Fprintln(stdout, text); err != nil {
		return err
	}
	if n := wrong + n[batch.FailedBefore]; n > 0 {
		return codedError{exitSome, fmt.Errorf("%s would fail", count(n, "item"))}
	}
	return nil
}

// batchSummary is what --json prints.
type batchSummary struct {
	Items    int            `json:"items"`
	Painted  int            `json:"painted"`
	Skipped  int            `json:"skipped"`
	Failed   int            `json:"failed"`
	Shard    string         `json:"shard,omitempty"`
	Seconds  float64        `json:"seconds"`
	FLOPs    float64        `json:"flops"`
	Devices  []deviceReport `json:"devices"`
	Stopped  string         `json:"stopped,omitempty"`
	Failures []batch.Line   `json:"failures,omitempty"` // the first of them
}

type deviceReport struct {
	batch.DeviceStatus
	IdleShare float64 `json:"idle_share"`
}

// summary says how a batch ended.
func (f *batchFlags) summary(b *batch.Batch, show *batchProgress, shard batch.Shard, took time.Duration, runErr error, stdout io.Writer) error {
	s := b.Status()
	left := s.Items - s.Painted - s.Skipped - s.Failed
	out := batchSummary{Items: s.Items, Painted: s.Painted, Skipped: s.Skipped, Failed: s.Failed, Seconds: took.Seconds(), FLOPs: s.FLOPs, Failures: show.failures}
	if !shard.Whole() {
		out.Shard = shard.String()
	}
	if runErr != nil {
		out.Stopped = runErr.Error()
	}
	for _, d := range s.Devices {
		out.Devices = append(out.Devices, deviceReport{d, d.IdleShare()})
		text := fmt.Sprintf("%s: painted %d", d.Name, d.Painted)
		if d.Seconds > 0 {
			text += fmt.Sprintf(" in %s, %s, idle %.1f %%", duration(d.Seconds), flopRate(d.FLOPs/d.Seconds), 100*d.IdleShare())
		}
		if d.Lost != "" {
			text += ", then lost"
		}
		show.note(text)
	}
	show.note(fmt.Sprintf("%d painted, %d done before, %d failed in %s", s.Painted, s.Skipped, s.Failed, duration(took.Seconds())))
	if f.output.json {
		if err := printJSON(stdout, out); err != nil {
			return err
		}
	}
	for _, l := range show.failures {
		fmt.Fprintf(show.w, "stylize: failed: %s\n", failure(l))
	}
	if n := s.Failed - len(show.failures); n > 0 {
		where := "; --report FILE keeps them all"
		if f.report != "" {
			where = "; all are in " + f.report
		}
		fmt.Fprintf(show.w, "stylize: and %d more failures%s\n", n, where)
	}
	again := "; the same command goes on"
	switch {
	case errors.Is(runErr, context.Canceled):
		return codedError{exitInterrupted, fmt.Errorf("interrupted with %d of %s left%s", left, count(s.Items, "item"), again)}
	case errors.Is(runErr, batch.ErrFailFast):
		return codedError{exitSome, fmt.Errorf("stopped at the first failure, with %d of %s left", left, count(s.Items, "item"))}
	case errors.Is(runErr, batch.ErrAllLost):
		return fmt.Errorf("%w; %d of %s are left%s", runErr, left, count(s.Items, "item"), again)
	case runErr != nil:
		return runErr
	case s.Failed > 0:
		return codedError{exitSome, fmt.Errorf("%d of %s failed", s.Failed, count(s.Items, "item"))}
	}
	return nil
}

// failure is a line of the report for a person.
func failure(l batch.Line) string {
	if l.Before {
		l.Error += " (as before; --retry-failed tries again)"
	}
	if strings.Contains(l.Error, l.Content) {
		return l.Error
	}
	return l.Content + ": " + l.Error
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// flopRate is a speed for a person.
func flopRate(flops float64) string {
	if flops >= 1e12 {
		return fmt.Sprintf("%.1f TFLOP/s", flops/1e12)
	}
	if flops >= 1e10 {
		return fmt.Sprintf("%.0f GFLOP/s", flops/1e9)
	}
	return fmt.Sprintf("%.2f GFLOP/s", flops/1e9)
}
