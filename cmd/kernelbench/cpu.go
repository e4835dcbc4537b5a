package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// cpu measures the steps of an iteration on the CPU.
func (b bench) cpu(ctx context.Context, f cpuFlags, out io.Writer) error {
	o := cpu.Options{Threads: f.threads, Pin: f.pin, LowMemory: f.lowMemory}
	var err error
	if o.Precision, err = cpu.ParsePrecision(b.precision); err != nil {
		return fmt.Errorf("--precision %s: %w", b.precision, err)
	}
	if f.lowMemory && o.Precision == cpu.BF16 {
		if b.precision != "" {
			return errors.New("--low-memory: it is of fp32; leave it out")
		}
		o.Precision = cpu.FP32
	}
	dev, err := cpu.New(o)
	if err != nil {
		return err
	}
	defer dev.Close()
	w := weights.Random(0)
	// Each comes to half of that: fp32 by Winograd, bf16 by its eight bits.
	tolerance := map[cpu.Precision]float64{cpu.FP32: 2e-3, cpu.BF16: 4e-2}
	if err := verify(ctx, dev, w, tolerance[o.Precision]); err != nil {
		return err
	}
	run, err := loop(dev, w, b.size)
	if err != nil {
		return err
	}
	defer run.Close()
	if _, err := run.Run(ctx, 1); err != nil { // warm
		return err
	}
	steps, err := cpu.Profile(ctx, run, b.rounds)
	if err != nil {
		return err
	}
	if b.lines {
		return printBench(out, steps, b.size)
	}
	return printTable(out, dev, run, steps, b.size, b.rounds)
}

func median(t []time.Duration) time.Duration {
	s := slices.Clone(t)
	slices.Sort(s)
	return s[len(s)/2]
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func printTable(out io.Writer, dev *cpu.Device, run gpu.Runner, steps []cpu.StepTime, size, rounds int) error {
	peak := map[bool]float64{false: dev.Peak(), true: dev.TilesPeak()} // by StepTime.Tiles
	info := dev.Info()
	fmt.Fprintf(out, "%s (%s), %dx%d, medians of %d iterations; peak measured now: %.0f GFLOP/s", info.Name, info.Detail, size, size, rounds, peak[false]/1e9)
	if p := peak[true]; p > 0 {
		fmt.Fprintf(out, ", of the tiles %.0f", p/1e9)
	}
	fmt.Fprintln(out)
	fmt.Fprintf(out, "direct: rate of the operation as defined; executed: multiply-adds that the algorithm performs, and their share of the peak\n\n")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "step\tms\tmin\tmax\tdirect GFLOP/s\texecuted GFLOP/s\tof peak\t  how\t")
	var sum time.Duration
	var flops, executed int64
	var least float64 // seconds that all would take at the peak
	for _, s := range steps {
		m := median(s.Times)
		sum += m
		flops, executed = flops+s.FLOPs, executed+s.Executed
		least += float64(s.Executed) / peak[s.Tiles]
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t", s.Name, ms(m), ms(slices.Min(s.Times)), ms(slices.Max(s.Times)))
		if s.FLOPs > 1e8 {
			e := float64(s.Executed) / m.Seconds()
			fmt.Fprintf(t, "%.0f\t%.0f\t%.0f %%\t", float64(s.FLOPs)/m.Seconds()/1e9, e/1e9, 100*e/peak[s.Tiles])
		} else {
			fmt.Fprint(t, "\t\t\t")
		}
		fmt.Fprintf(t, "  %s\t\n", s.How)
	}
	e := float64(executed) / sum.Seconds()
	fmt.Fprintf(t, "sum of medians\t%.1f\t\t\t%.0f\t%.0f\t%.0f %%\t\t\n", ms(sum), float64(flops)/sum.Seconds()/1e9, e/1e9, 100*least/sum.Seconds())
	if err := t.Flush(); err != nil {
		return err
	}
	totals := make([]time.Duration, rounds)
	for _, s := range steps {
		for i, d := range s.Times {
			totals[i] += d
		}
	}
	plan := run.Plan()
	_, err := fmt.Fprintf(out, "\niteration: median %.1f ms, min %.1f, max %.1f; memory %.0f MB (pictures and features %.0f, weights %.0f)\n",
		ms(median(totals)), ms(slices.Min(totals)), ms(slices.Max(totals)), float64(plan.Total())/1e6, float64(plan.Arena)/1e6, float64(plan.Weights)/1e6)
	return err
}

// printBench prints one line a step and round, which benchstat reads.
func printBench(out io.Writer, steps []cpu.StepTime, size int) error {
	for _, s := range steps {
		for _, d := range s.Times {
			if _, err := fmt.Fprintf(out, "BenchmarkStep/size=%d/%s/%s 1 %d ns/op\n", size, s.Name, firstWord(s.How), d.Nanoseconds()); err != nil {
				return err
			}
		}
	}
	return nil
}

func firstWord(s string) string {
	for i, r := range s {
		if r == ' ' {
			return s[:i]
		}
	}
	return s
}
