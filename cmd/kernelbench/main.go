// Command kernelbench measures the steps of an iteration on this machine: what
// each layer takes, forward and backward, against what the processor can do.
//
//	kernelbench [--size 512] [--rounds 7] [--threads N] [--bench]
//
// Before anything is timed, one iteration is compared with the program's
// oracles on a small picture; a wrong device is not measured. Times are medians
// of whole iterations, so the caches are as a real run leaves them. --bench
// prints Go's benchmark format for benchstat.
package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/host"
	"github.com/stylize-gpu/stylize/kernels/kerneltest"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := newApp().RunContext(ctx, os.Args)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "kernelbench: %v\n", err)
		os.Exit(2)
	}
}

func newApp() *cli.App {
	return &cli.App{
		Name: "kernelbench", Usage: "measure every step of an iteration on the CPU", HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "size", Value: 512, Usage: "height and width of the picture"},
			&cli.IntFlag{Name: "rounds", Value: 7, Usage: "iterations to time"},
			&cli.IntFlag{Name: "threads", DefaultText: "all", Usage: "threads of the CPU"},
			&cli.StringFlag{Name: "device", Value: "cpu", Usage: "cpu"},
			&cli.BoolFlag{Name: "low-memory", Usage: "as stylize --low-memory"},
			&cli.BoolFlag{Name: "bench", Usage: "print Go's benchmark format"},
		},
		ExitErrHandler: func(*cli.Context, error) {},
		Action:         func(c *cli.Context) error { return bench(c, c.App.Writer) },
	}
}

func bench(c *cli.Context, out io.Writer) error {
	size, rounds := c.Int("size"), c.Int("rounds")
	switch {
	case c.NArg() > 0:
		return fmt.Errorf("takes no arguments, got %q", c.Args().First())
	case size < vgg.MinSide || size > transfer.MaxSize:
		return fmt.Errorf("--size %d: give %d to %d", size, vgg.MinSide, transfer.MaxSize)
	case rounds < 1:
		return fmt.Errorf("--rounds %d: give 1 or more", rounds)
	case c.String("device") != "cpu":
		return fmt.Errorf("--device %s: this build measures the CPU only", c.String("device"))
	}
	dev, err := host.New(host.Options{Threads: c.Int("threads"), LowMemory: c.Bool("low-memory")})
	if err != nil {
		return err
	}
	defer dev.Close()
	w := weights.Random(0)
	if err := verify(c.Context, dev, w); err != nil {
		return err
	}
	run, err := loop(dev, w, size)
	if err != nil {
		return err
	}
	defer run.Close()
	if _, err := run.Run(c.Context, 1); err != nil { // warm
		return err
	}
	steps, err := host.Profile(c.Context, run, rounds)
	if err != nil {
		return err
	}
	if c.Bool("bench") {
		return printBench(out, steps, size)
	}
	return printTable(out, dev, run, steps, size, rounds)
}

// loop compiles one iteration at a size and gives it a picture and targets that
// make every term of the loss matter.
func loop(dev gpu.Device, w *vgg.Weights, size int) (gpu.Runner, error) {
	o, err := transfer.Preset("default")
	if err != nil {
		return nil, err
	}
	p, err := transfer.LoopProgram(o, w, 1, size, size)
	if err != nil {
		return nil, err
	}
	r, err := dev.Compile(p)
	if err != nil {
		return nil, err
	}
	return r, fill(p, r.Write)
}

// fill writes a smooth picture and zero targets.
func fill(p *gpu.Program, write func(*gpu.Buffer, []float32) error) error {
	for _, b := range p.Buffers {
		if b.Role != gpu.State && b.Role != gpu.Input {
			continue
		}
		v := make([]float32, b.Shape.Elems())
		if b.Name == transfer.BufImage {
			for i := range v {
				v[i] = float32(0.5 + 0.3*math.Sin(float64(i)*0.013) + 0.15*math.Sin(float64(i)*1.7))
			}
		}
		if err := write(b, v); err != nil {
			return err
		}
	}
	return nil
}

// verify runs one small iteration on the device and with the oracles.
func verify(ctx context.Context, dev gpu.Device, w *vgg.Weights) error {
	const size = 24
	o, err := transfer.Preset("default")
	if err != nil {
		return err
	}
	p, err := transfer.LoopProgram(o, w, 1, size, size)
	if err != nil {
		return err
	}
	r, err := dev.Compile(p)
	if err != nil {
		return err
	}
	defer r.Close()
	ip := kerneltest.NewInterp[float32](p)
	if err := fill(p, func(b *gpu.Buffer, v []float32) error {
		ip.Write(b, v)
		return r.Write(b, v)
	}); err != nil {
		return err
	}
	if _, err := r.Run(ctx, 1); err != nil {
		return err
	}
	if err := ip.Run(); err != nil {
		return err
	}
	g := p.Named(transfer.BufDImage)
	got, want := make([]float32, g.Shape.Elems()), make([]float64, g.Shape.Elems())
	if err := r.Read(g, got); err != nil {
		return err
	}
	for i, v := range ip.Values[g] {
		want[i] = float64(v)
	}
	if d := kerneltest.Compare(got, want); !d.Within(2e-3) {
		return fmt.Errorf("the gradient of a %dx%d picture is wrong, so nothing is timed: %v", size, size, d)
	}
	return nil
}

func median(t []time.Duration) time.Duration {
	s := slices.Clone(t)
	slices.Sort(s)
	return s[len(s)/2]
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

func printTable(out io.Writer, dev *host.Device, run gpu.Runner, steps []host.StepTime, size, rounds int) error {
	peak := dev.Peak()
	info := dev.Info()
	fmt.Fprintf(out, "%s (%s), %dx%d, medians of %d iterations; peak measured now: %.0f GFLOP/s\n", info.Name, info.Detail, size, size, rounds, peak/1e9)
	fmt.Fprintf(out, "direct: rate of the operation as defined; executed: multiply-adds that the algorithm performs, and their share of the peak\n\n")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "step\tms\tmin\tmax\tdirect GFLOP/s\texecuted GFLOP/s\tof peak\t  how\t")
	var sum time.Duration
	var flops, executed int64
	for _, s := range steps {
		m := median(s.Times)
		sum += m
		flops, executed = flops+s.FLOPs, executed+s.Executed
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t", s.Name, ms(m), ms(slices.Min(s.Times)), ms(slices.Max(s.Times)))
		if s.FLOPs > 1e8 {
			e := float64(s.Executed) / m.Seconds()
			fmt.Fprintf(t, "%.0f\t%.0f\t%.0f %%\t", float64(s.FLOPs)/m.Seconds()/1e9, e/1e9, 100*e/peak)
		} else {
			fmt.Fprint(t, "\t\t\t")
		}
		fmt.Fprintf(t, "  %s\t\n", s.How)
	}
	e := float64(executed) / sum.Seconds()
	fmt.Fprintf(t, "sum of medians\t%.1f\t\t\t%.0f\t%.0f\t%.0f %%\t\t\n", ms(sum), float64(flops)/sum.Seconds()/1e9, e/1e9, 100*e/peak)
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
func printBench(out io.Writer, steps []host.StepTime, size int) error {
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
