package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/stylize-gpu/stylize/gpu/cuda"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/kernels"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// tolerance of verify's gradient, by precision. fp16 and tf32 keep eleven bits,
// and both come to 2.6e-3 on its picture; bf16, with eight, to 1.1e-2.
var tolerance = map[plan.Precision]float64{plan.FP32: 1e-5, plan.TF32: 4e-3, plan.FP16: 4e-3, plan.BF16: 2e-2}

// cuda measures the launches of an iteration on a GPU, or profiles them on the
// simulated one.
func (b bench) cuda(ctx context.Context, ordinal int, simulate bool, f cudaFlags, out io.Writer) error {
	// Every array has its own memory, so that each launch can be repeated on its
	// own data.
	o := cuda.Options{Ordinal: ordinal, Check: true, Kernels: f.kernels}
	var err error
	if o.Precision, err = plan.ParsePrecision(b.precision); err != nil {
		return err
	}
	m := cuda.MeasureOptions{Rounds: b.rounds, Every: f.every, Plan: f.plan, Dry: simulate && f.dry}
	if f.match != "" {
		if m.Match, err = regexp.Compile(f.match); err != nil {
			return fmt.Errorf("--match: %w", err)
		}
	}
	if simulate {
		if b.lines {
			return fmt.Errorf("--bench: a simulated device has no times; leave it out")
		}
		o.Simulate = simulated.New(sim.Config{Profile: !f.dry, NoChecks: f.dry})
	}
	dev, err := cuda.Open(o)
	if err != nil {
		return err
	}
	defer dev.Close()
	w := weights.Random(0)
	if !m.Plan {
		if err := verify(ctx, dev, w, tolerance[o.Precision]); err != nil {
			return err
		}
	}
	run, err := loop(dev, w, b.size)
	if err != nil {
		return err
	}
	defer run.Close()
	if !m.Plan {
		if _, err := run.Run(ctx, 1); err != nil {
			return err
		}
	}
	got, err := cuda.Measure(ctx, dev, run, m)
	if err != nil {
		return err
	}
	switch {
	case len(got.Launches) == 0:
		return fmt.Errorf("--match %s: no layer and no kernel matches", f.match)
	case f.json:
		e := json.NewEncoder(out)
		e.SetIndent("", " ")
		return e.Encode(got)
	case m.Plan:
		return printPlan(out, got, b.size)
	case b.lines:
		return printLaunchBench(out, got, b.size)
	case simulate && !f.dry:
		return printProfiles(out, got, b.size)
	}
	return printLaunches(out, got, b.size)
}

// at is the value below which a share of the values lies.
func at(v []float64, share float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(v))
	return s[int(share*float64(len(s)-1)+0.5)]
}

// roofline is the least time of a launch in microseconds by its FLOPs and its
// traffic, at the rates that the probes reached.
func roofline(m *cuda.Measured, l *cuda.Measurement) float64 {
	return 1e6 * max(float64(l.FLOPs)/m.MathRate, float64(l.Bytes)/m.CopyRate)
}

func printLaunches(out io.Writer, m *cuda.Measured, size int) error {
	fmt.Fprintf(out, "%s (%s), %dx%d; measured now: %.0f TFLOP/s fp16 at %.0f MHz, copy %.2f TB/s\n", m.Device.Name, m.Device.Detail, size, size, m.MathRate/1e12, m.ClockMHz, m.CopyRate/1e12)
	fmt.Fprintf(out, "us: medians; in order: in its place in the iteration; hot: repeated; cold: caches full of something else; of floor: the time that FLOPs or bytes need at those rates, as a share of hot\n\n")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "in order\thot\tp10\tp90\tcold\tTFLOP/s\tGB/s\tof floor\t  kernel\tlayer\t")
	sum := 0.0
	for i := range m.Launches {
		l := &m.Launches[i]
		hot := at(l.Hot, 0.5)
		mark := ""
		if l.Chosen {
			sum += at(l.InOrder, 0.5)
		} else {
			mark = "(not in use) "
		}
		fmt.Fprintf(t, "%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f %%\t  %s%s\t%s\t\n", at(l.InOrder, 0.5), hot, at(l.Hot, 0.1), at(l.Hot, 0.9), at(l.Cold, 0.5),
			float64(l.FLOPs)/hot/1e6, float64(l.Bytes)/hot/1e3, 100*roofline(m, l)/hot, mark, l.Kernel, l.Layer)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\niteration by its graph: median %.1f us, p10 %.1f, p90 %.1f; sum of the launches in order %.1f us\n", at(m.Iteration, 0.5), at(m.Iteration, 0.1), at(m.Iteration, 0.9), sum)
	return err
}

// printPlan prints what would be launched.
func printPlan(out io.Writer, m *cuda.Measured, size int) error {
	fmt.Fprintf(out, "%s (%s), %dx%d: nothing is run\n\n", m.Device.Name, m.Device.Detail, size, size)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "blocks\tthreads\tGFLOP\tMB\tFLOP/B\t  kernel\tlayer\t")
	var flops, moved int64
	for i := range m.Launches {
		l := &m.Launches[i]
		if l.Chosen {
			flops, moved = flops+l.FLOPs, moved+l.Bytes
		}
		fmt.Fprintf(t, "%d\t%d\t%.2f\t%.2f\t%.0f\t  %s\t%s\t\n", l.Grid[0]*l.Grid[1]*l.Grid[2], l.Threads, float64(l.FLOPs)/1e9, float64(l.Bytes)/1e6, float64(l.FLOPs)/float64(l.Bytes), l.Kernel, l.Layer)
	}
	fmt.Fprintf(t, "%d launches\t\t%.2f\t%.1f\t\t\t\t\n", len(m.Launches), float64(flops)/1e9, float64(moved)/1e6)
	return t.Flush()
}

// printProfiles prints what the simulated device counted.
func printProfiles(out io.Writer, m *cuda.Measured, size int) error {
	fmt.Fprintf(out, "%s (%s), %dx%d: a profile, no times: nothing here ran on a GPU\n\n", m.Device.Name, m.Device.Detail, size, size)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "blocks\twarp instr\tlanes\tsectors/request\twavefronts/ideal\tblocks/SM\tFLOP/B\t  kernel\tlayer\t  compiled to\t")
	figures := kernels.Figures()
	for i := range m.Launches {
		l := &m.Launches[i]
		p := l.Profile
		fmt.Fprintf(t, "%d\t%d\t%.0f %%\t%.2f\t%.3f\t%d\t%.0f\t  %s\t%s\t  %s\t\n", l.Grid[0]*l.Grid[1]*l.Grid[2], p.WarpInstrs, 100*p.SIMD, p.SectorsPerReq, p.Conflicts, p.Occupancy.Blocks,
			float64(l.FLOPs)/float64(l.Bytes), l.Kernel, l.Layer, figures[l.Arch][l.Kernel])
	}
	return t.Flush()
}

// printLaunchBench prints one line a launch, kind of time and round.
func printLaunchBench(out io.Writer, m *cuda.Measured, size int) error {
	name := func(s string) string { return strings.Join(strings.Fields(s), "_") }
	for _, l := range m.Launches {
		for kind, times := range map[string][]float64{"in-order": l.InOrder, "hot": l.Hot, "cold": l.Cold} {
			for _, us := range times {
				if _, err := fmt.Fprintf(out, "BenchmarkLaunch/size=%d/precision=%s/%s/%s/%s 1 %.0f ns/op\n", size, m.Precision, name(l.Layer), l.Kernel, kind, 1e3*us); err != nil {
					return err
				}
			}
		}
	}
	for _, us := range m.Iteration {
		if _, err := fmt.Fprintf(out, "BenchmarkIteration/size=%d/precision=%s 1 %.0f ns/op\n", size, m.Precision, 1e3*us); err != nil {
			return err
		}
	}
	return nil
}

// list prints the kernels.
func list(args []string, out io.Writer) error {
	if len(args) > 0 {
		return fmt.Errorf("list: takes no arguments, got %q", args[0])
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KERNEL\tSOURCE\tFOR\tTHREADS\tCLUSTER\tDYNAMIC SHARED\tCOMPILED TO")
	figures := kernels.Figures()
	archs := slices.Sorted(maps.Keys(figures))
	for _, entry := range slices.Sorted(maps.Keys(kernels.All)) {
		s := kernels.All[entry]
		for _, arch := range archs {
			if f, ok := figures[arch][entry]; ok {
				fmt.Fprintf(t, "%s\t%s.cu\t%s\t%d\t%d\t%d\t%s\n", entry, s.Source, arch, s.Threads, max(s.Cluster, 1), s.Shared, f)
			}
		}
	}
	return t.Flush()
}

// compare prints two measurements side by side.
func compare(args []string, out io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("compare: give two outputs of --json, got %d", len(args))
	}
	var runs [2]cuda.Measured
	for i := range runs {
		b, err := os.ReadFile(args[i])
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &runs[i]); err != nil || len(runs[i].Launches) == 0 {
			return fmt.Errorf("%s: is no output of kernelbench --json", args[i])
		}
	}
	for _, r := range runs {
		fmt.Fprintf(out, "%s (%s, %s), %.0f TFLOP/s, copy %.2f TB/s\n", r.Device.Name, r.Device.Detail, r.Precision, r.MathRate/1e12, r.CopyRate/1e12)
	}
	old := map[string]cuda.Measurement{}
	for _, l := range runs[0].Launches {
		old[l.Layer+" "+l.Kernel] = l
		if _, ok := old[l.Layer]; !ok && l.FLOPs > 0 && l.Chosen {
			old[l.Layer] = l
		}
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nold us\tnew us\tnew/old\t  layer\told kernel\tnew kernel\t")
	row := func(a, b []float64, rest string) {
		fmt.Fprintf(t, "%.1f\t%.1f\t%.3f\t  %s\t\n", at(a, 0.5), at(b, 0.5), at(b, 0.5)/at(a, 0.5), rest)
	}
	missing := 0
	for _, l := range runs[1].Launches {
		o, ok := old[l.Layer+" "+l.Kernel]
		if !ok && l.Chosen && l.FLOPs > 0 {
			o, ok = old[l.Layer]
		}
		if !ok || len(o.Hot) == 0 || len(l.Hot) == 0 {
			missing++
			continue
		}
		row(o.Hot, l.Hot, l.Layer+"\t"+o.Kernel+"\t"+l.Kernel)
	}
	if len(runs[0].Iteration) > 0 && len(runs[1].Iteration) > 0 {
		row(runs[0].Iteration, runs[1].Iteration, "iteration by its graph\t\t")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if missing > 0 {
		fmt.Fprintf(out, "%d launches are not in both, or have no times\n", missing)
	}
	return nil
}
