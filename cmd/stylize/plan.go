package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/stylize-gpu/stylize/cmd/internal/given"
	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda"
	cudaplan "github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/vgg"
)

// runPlans are the three programs of a run on a device. They execute one after
// the other, each with its own arena; the packed weights stay.
type runPlans struct {
	styles        []*gpu.Plan
	content, loop *gpu.Plan
}

// planner is a device as far as a plan goes: one that is here, or one that is not.
type planner interface {
	Info() gpu.Info
	Plan(p *gpu.Program) (*gpu.Plan, error)
}

// elsewhere is a GPU that is not here.
type elsewhere struct {
	gpu    cudaplan.GPU
	target cudaplan.Target
}

func (e elsewhere) Info() gpu.Info {
	detail := fmt.Sprintf("sm_%d, %d multiprocessors, %v; not here", e.gpu.Capability, e.gpu.SMs, e.target.Precision)
	return gpu.Info{Kind: "cuda", Name: e.gpu.Title, Detail: detail, Memory: e.gpu.Memory}
}

func (e elsewhere) Plan(p *gpu.Program) (*gpu.Plan, error) {
	pl, err := cudaplan.New(p, e.target)
	if err != nil {
		return nil, err
	}
	return pl.Cost, nil
}

// elsewhere is the GPU that --like names; with --device cuda on a machine that has
// none, the first of which anything is known. nil means the device that is here.
func (f *planFlags) elsewhere(stderr io.Writer) (*elsewhere, error) {
	kind, _, _ := cuda.ParseDevice(f.machine.device)
	switch {
	case kind != "cuda" && f.like != nil:
		return nil, fmt.Errorf("--like %s: it is about a GPU; add --device cuda", *f.like)
	case kind != "cuda" && f.launches:
		return nil, fmt.Errorf("--launches: they are those of a GPU; add --device cuda")
	case kind != "cuda":
		return nil, nil
	}
	name := cudaplan.GPUs[0].Name
	if f.like != nil {
		name = *f.like
	} else if n, err := cuda.Count(); err == nil && n > 0 && !f.launches {
		return nil, nil
	} else if n == 0 {
		fmt.Fprintf(stderr, "stylize: no GPU here: planned for %s; --like names another (%s)\n", cudaplan.GPUs[0].Title, strings.Join(cudaplan.GPUNames(), ", "))
	}
	g, err := cudaplan.FindGPU(name)
	if err != nil {
		return nil, fmt.Errorf("--like: %w", err)
	}
	p, err := f.machine.cudaPrecision()
	if err != nil {
		return nil, err
	}
	t := g.Target(p)
	switch given.Or(f.machine.kernels, "auto") {
	case "auto":
	case "sm80":
		t.Hopper = false
	case "sm90a":
		if !t.Hopper {
			return nil, fmt.Errorf("--kernels sm90a: they need a Hopper GPU, and not fp32; leave the flag out")
		}
	default:
		return nil, fmt.Errorf("--kernels %s: give auto, sm80 or sm90a", *f.machine.kernels)
	}
	if f.machine.lowMemory {
		return nil, fmt.Errorf("--low-memory: it is the CPU's; with --device %s leave it out", f.machine.device)
	}
	return &elsewhere{g, t}, nil
}

// plans lays the programs of a level out without any weights at hand: shapes are
// enough.
func plans(dev planner, st transfer.Stage) (r runPlans, err error) {
	styles, content, loop, err := st.Programs(vgg.Shapes())
	if err != nil {
		return r, err
	}
	of := func(p *gpu.Program) *gpu.Plan {
		if p == nil || err != nil { // nothing needs it
			return &gpu.Plan{}
		}
		var pl *gpu.Plan
		pl, err = dev.Plan(p)
		return pl
	}
	for _, p := range styles {
		r.styles = append(r.styles, of(p))
	}
	r.content, r.loop = of(content), of(loop)
	return r, err
}

// plansOf are those of every level.
func plansOf(dev planner, stages []transfer.Stage) ([]runPlans, error) {
	var all []runPlans
	for _, st := range stages {
		r, err := plans(dev, st)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// levelPlan is what plan says of a level.
type levelPlan struct {
	Width      int     `json:"width"`
	Height     int     `json:"height"`
	Iterations int     `json:"iterations"`
	PeakBytes  int64   `json:"peak_bytes"`
	FLOPs      int64   `json:"flops_per_iteration"`
	InAll      int64   `json:"flops"` // of all iterations and the targets
	Seconds    float64 `json:"seconds,omitempty"`
}

func (r runPlans) targets() int64 {
	n := r.content.FLOPs
	for _, p := range r.styles {
		n += p.FLOPs
	}
	return n
}

// arena is the most memory that features take at one time, and peak all that is taken.
func (r runPlans) arena() int64 {
	n := max(r.content.Arena, r.loop.Arena)
	for _, p := range r.styles {
		n = max(n, p.Arena)
	}
	return n
}

func (r runPlans) peak() int64 { return r.arena() + r.loop.Weights }

// printPlan prints what a run would take.
func printPlan(ctx context.Context, args []string, f planFlags, stdout, stderr io.Writer) error {
	o, err := f.picture.options()
	if err == nil {
		err = inFlags(o.Validate())
	}
	if err != nil {
		return usage(err)
	}
	in, err := f.inputs.names(args, &o)
	if err != nil {
		return usage(err)
	}
	if err := checkStandard(outputFlags{}, stdout, in.reads(o)); err != nil {
		return usage(err)
	}
	budget := 0.0
	if o.Budget != "" { // of which a run takes the same ladder, shorter where there is no time for all of it
		d, _ := transfer.ParseTime(o.Budget) // validated
		budget = d.Seconds()
		o.Ladder = transfer.AutoLadder(o.Size, 1)
	}
	wk := &work{Work: transfer.Work{Options: o}}
	if err := wk.open(ctx, in, f.machine.maxPixels); err != nil {
		return inputError(err)
	}
	if err := wk.Check(); err != nil {
		return usage(inFlags(err))
	}
	away, err := f.elsewhere(stderr)
	if err != nil {
		return usage(err)
	}
	if f.launches {
		return printLaunches(stdout, away.target, o, wk)
	}
	var dev planner = away
	rate := 0.0 // of a GPU that is not here, nobody knows
	if away == nil {
		f.machine.exact = exact(o.Preset)
		here, err := f.machine.open(stderr)
		if err != nil {
			return err
		}
		defer here.Close()
		if rate, err = here.Rate(ctx); err != nil {
			return err
		}
		dev = here
	}
	stages := wk.Stages()
	all, err := plansOf(dev, stages)
	if err != nil {
		return usage(err)
	}
	r := all[len(all)-1] // the last level, which takes the most of everything
	low := r             // --low-memory is the CPU's
	if inFP32(dev) {
		m := f.machine
		m.lowMemory = true
		lean, err := m.openCPU(stderr)
		if err != nil {
			return err
		}
		defer lean.Close()
		if low, err = plans(lean, stages[len(stages)-1]); err != nil {
			return usage(err)
		}
	}
	var peakName string
	if s := r.loop.Steps; len(s) > 0 {
		peakName = s[r.loop.PeakStep].How + " " + s[r.loop.PeakStep].Name
	}
	info, style := dev.Info(), stages[len(stages)-1].Styles[0]
	perIter, setup := 0.0, 0.0
	if rate > 0 {
		perIter = float64(r.loop.FLOPs) / rate
		setup = float64(r.targets()) / rate
	}
	if budget > 0 {
		if o.Iterations, err = affordable(all, budget, rate); err != nil {
			return usage(fmt.Errorf("--budget %s: %w", o.Budget, err))
		}
		for i := range stages {
			stages[i].Options.Iterations = o.Iterations
		}
	}
	var levels []levelPlan
	inAll := int64(0)
	for i, st := range stages {
		l := levelPlan{Width: st.W, Height: st.H, Iterations: st.Options.Iterations, PeakBytes: all[i].peak(), FLOPs: all[i].loop.FLOPs}
		l.InAll = all[i].targets() + l.FLOPs*int64(l.Iterations)
		if rate > 0 {
			l.Seconds = float64(l.InAll) / rate
		}
		levels = append(levels, l)
		inAll += l.InAll
	}
	seconds := 0.0
	for _, l := range levels {
		seconds += l.Seconds
	}
	out := struct {
		Device       gpu.Info `json:"device"`
		Width        int      `json:"width"`
		Height       int      `json:"height"`
		Iterations   int      `json:"iterations"`
		ArenaBytes   int64    `json:"arena_bytes"`
		WeightBytes  int64    `json:"weight_bytes"`
		PeakBytes    int64    `json:"peak_bytes"`
		LowMemory    int64    `json:"low_memory_peak_bytes"`
		FLOPs        int64    `json:"flops_per_iteration"`
		Rate         float64  `json:"flops_per_second,omitempty"`
		SecondsSetup float64  `json:"seconds_setup,omitempty"`
		SecondsPerIt float64  `json:"seconds_per_iteration,omitempty"`
		SecondsInAll float64  `json:"seconds,omitempty"`
		FullestStep  string   `json:"fullest_step"`
		MemoryInAll  int64    `json:"device_memory_bytes"`
		FitsInMemory bool     `json:"fits"`
		StyleWidth   int      `json:"style_width"`
		StyleHeight  int      `json:"style_height"`
		StepsPerLoop int      `json:"steps_per_iteration"`

		Levels []levelPlan `json:"levels"` // the last is what is above
		InAll  int64       `json:"flops"`
	}{
		Device: info, Width: wk.w, Height: wk.h, Iterations: o.Iterations,
		ArenaBytes: r.loop.Arena, WeightBytes: r.loop.Weights, PeakBytes: r.peak(), LowMemory: low.peak(),
		FLOPs: r.loop.FLOPs, Rate: rate, SecondsSetup: setup, SecondsPerIt: perIter,
		SecondsInAll: seconds, FullestStep: peakName,
		MemoryInAll: info.Memory, FitsInMemory: info.Memory == 0 || r.peak() <= info.Memory,
		StyleWidth: style.W, StyleHeight: style.H, StepsPerLoop: len(r.loop.Steps), Levels: levels, InAll: inAll,
	}
	if f.output.json {
		return printJSON(stdout, out)
	}
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "device\t%s: %s (%s)\n", info.Kind, info.Name, info.Detail)
	fmt.Fprintf(t, "painting at\t%dx%d, style at %s\n", wk.w, wk.h, styleExtents(stages[len(stages)-1]))
	for _, l := range levels[:len(levels)-1] {
		fmt.Fprintf(t, "before at\t%dx%d, %d iterations of %.1f GFLOP\n", l.Width, l.Height, l.Iterations, float64(l.FLOPs)/1e9)
	}
	fmt.Fprintf(t, "memory\t%s: pictures and features %s, weights %s\n", gpu.BytesText(out.PeakBytes), gpu.BytesText(r.arena()), gpu.BytesText(out.WeightBytes))
	if low.peak() < r.peak() {
		fmt.Fprintf(t, "low memory\t%s with --low-memory, at about half the speed\n", gpu.BytesText(low.peak()))
	}
	fmt.Fprintf(t, "fullest at\t%s\n", peakName)
	fmt.Fprintf(t, "arithmetic\t%.1f GFLOP an iteration in %d steps\n", float64(out.FLOPs)/1e9, out.StepsPerLoop)
	if note, err := unfused(dev, stages[len(stages)-1], r.loop); err != nil {
		return usage(err)
	} else if note != "" {
		fmt.Fprintf(t, "controls\t%s\n", note)
	}
	if len(levels) > 1 {
		fmt.Fprintf(t, "in all\t%.0f GFLOP on %d levels, %.0f %% of them on the last\n", float64(inAll)/1e9, len(levels), 100*float64(levels[len(levels)-1].InAll)/float64(inAll))
	}
	if rate > 0 {
		fmt.Fprintf(t, "speed\t%.0f GFLOP/s, just measured\n", rate/1e9)
		before := ""
		if len(levels) > 1 {
			before = fmt.Sprintf("%s for the levels before, ", duration(seconds-levels[len(levels)-1].Seconds))
		}
		sooner := ""
		if o.Until != "" {
			sooner = "; --until " + o.Until + " may end it sooner"
		}
		fmt.Fprintf(t, "time\tabout %s: %s%s for the targets, %d iterations of %s%s\n", duration(out.SecondsInAll), before, duration(setup), o.Iterations, duration(perIter), sooner)
	} else {
		fmt.Fprintf(t, "time\tunknown: it takes a measurement on the GPU itself\n")
	}
	if !out.FitsInMemory {
		fmt.Fprintf(t, "does not fit\tthe %s has %s\n", info.Kind, gpu.BytesText(info.Memory))
	}
	return t.Flush()
}

// unfused says what layers, regions, borders and averages cost beside the usual program,
// where they take more steps: what is compared or masked is stored and read again.
func unfused(dev planner, st transfer.Stage, loop *gpu.Plan) (string, error) {
	if st.Plain().Kind() == st.Kind() {
		return "", nil
	}
	_, _, p, err := st.Plain().Programs(vgg.Shapes())
	if err != nil {
		return "", err
	}
	plain, err := dev.Plan(p)
	if err != nil {
		return "", err
	}
	more := len(loop.Steps) - len(plain.Steps)
	if more <= 0 {
		return "", nil
	}
	return fmt.Sprintf("%d steps more than with the usual layers and without regions, border or average (%d); features that are compared or masked are stored and read again, %s instead of %s",
		more, len(plain.Steps), gpu.BytesText(loop.Arena), gpu.BytesText(plain.Arena)), nil
}

// affordable is how many iterations at each level a budget in seconds pays for.
func affordable(all []runPlans, budget, rate float64) (int, error) {
	if rate == 0 {
		return 0, errors.New("how far it reaches takes a measurement on the GPU itself; leave it out")
	}
	once, each := 0.0, 0.0
	for _, r := range all {
		once += float64(r.targets()) / rate
		each += float64(r.loop.FLOPs) / rate
	}
	if n := int((budget - once) / each); n > 0 {
		return n, nil
	}
	return 0, fmt.Errorf("one iteration at each size takes about %s here, with the targets; give more, or a smaller --size", duration(once+each))
}

// printLaunches prints what a GPU executes in an iteration.
func printLaunches(stdout io.Writer, t cudaplan.Target, o transfer.Options, wk *work) error {
	_, _, p, err := wk.Stages()[len(o.Ladder)].Programs(vgg.Shapes())
	if err != nil {
		return usage(err)
	}
	pl, err := cudaplan.New(p, t)
	if err != nil {
		return usage(err)
	}
	return pl.Text(stdout, p)
}
