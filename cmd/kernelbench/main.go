// Command kernelbench measures the kernels of an iteration on this machine: what
// each layer takes, forward and backward, against what the processor can do.
//
//	kernelbench [run] [--device cpu|cuda|cuda:N|sim] [--size 512] [--precision fp16] [--match REGEXP] [--every]
//	kernelbench list
//	kernelbench compare OLD.json NEW.json
//
// Before anything is timed, one iteration is compared with the program's
// oracles on a small picture, and a kernel with the one that it would replace: a
// wrong one is not measured. Times are medians. --bench prints Go's benchmark
// format for benchstat, --json everything. On the simulated device there are
// profiles instead of times.
package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda"
	"github.com/stylize-gpu/stylize/kernels/kerneltest"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/vgg"
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
	flags := []cli.Flag{
		&cli.IntFlag{Name: "size", DefaultText: "512; of sim: 32", Usage: "height and width of the picture"},
		&cli.IntFlag{Name: "rounds", Value: 7, Usage: "how often everything is timed"},
		&cli.StringFlag{Name: "device", Value: "cpu", Usage: "cpu, cuda, cuda:N, or sim: profiles of the CUDA kernels on a simulated GPU"},
		&cli.StringFlag{Name: "precision", DefaultText: "fp16", Usage: "of CUDA: fp16, bf16, tf32 or fp32"},
		&cli.StringFlag{Name: "kernels", DefaultText: "auto", Usage: "of CUDA: sm80 or sm90a"},
		&cli.StringFlag{Name: "match", Usage: "of CUDA: only layers and kernels that match a regular expression"},
		&cli.BoolFlag{Name: "plan", Usage: "of CUDA: run nothing, print what would be launched, its FLOPs and bytes"},
		&cli.BoolFlag{Name: "every", Usage: "of CUDA: every kernel that suits a layer, not only the one in use"},
		&cli.IntFlag{Name: "threads", DefaultText: "all", Usage: "threads of the CPU"},
		&cli.BoolFlag{Name: "low-memory", Usage: "of the CPU: as stylize --low-memory"},
		&cli.BoolFlag{Name: "bench", Usage: "print Go's benchmark format"},
		&cli.BoolFlag{Name: "json", Usage: "of CUDA: print everything as JSON"},
	}
	run := func(c *cli.Context) error { return bench(c, c.App.Writer) }
	return &cli.App{
		Name: "kernelbench", Usage: "measure every kernel of an iteration", HideHelpCommand: true,
		Flags: flags, Action: run,
		Commands: []*cli.Command{
			{Name: "run", Usage: "measure (what kernelbench does without a command)", Flags: flags, Action: run, HideHelpCommand: true},
			{
				Name: "list", Usage: "list the CUDA kernels, with what the compiler made of them", HideHelpCommand: true,
				Action: func(c *cli.Context) error { return list(c, c.App.Writer) },
			},
			{
				Name: "compare", Usage: "compare two outputs of --json", ArgsUsage: "OLD.json NEW.json", HideHelpCommand: true,
				Action: func(c *cli.Context) error { return compare(c, c.App.Writer) },
			},
		},
		ExitErrHandler: func(*cli.Context, error) {},
	}
}

func bench(c *cli.Context, out io.Writer) error {
	device, _, ok := cuda.ParseDevice(c.String("device"))
	if !ok {
		device = "" // none
	}
	if !c.IsSet("size") {
		size := "512"
		if device == "sim" {
			size = "32"
		}
		if err := c.Set("size", size); err != nil {
			return err
		}
	}
	size := c.Int("size")
	switch {
	case c.NArg() > 0:
		return fmt.Errorf("takes no arguments, got %q", c.Args().First())
	case size < vgg.MinSide || size > transfer.MaxSize:
		return fmt.Errorf("--size %d: give %d to %d", size, vgg.MinSide, transfer.MaxSize)
	case c.Int("rounds") < 1:
		return fmt.Errorf("--rounds %d: give 1 or more", c.Int("rounds"))
	}
	only := func(of string, flags ...string) error {
		for _, f := range flags {
			if c.IsSet(f) {
				return fmt.Errorf("--%s: it is of %s; with --device %s leave it out", f, of, c.String("device"))
			}
		}
		return nil
	}
	switch device {
	case "cpu":
		if err := only("CUDA", "precision", "kernels", "match", "plan", "every", "json"); err != nil {
			return err
		}
		return benchCPU(c, out)
	case "cuda", "sim":
		if err := only("the CPU", "threads", "low-memory"); err != nil {
			return err
		}
		return benchCUDA(c, out)
	}
	return fmt.Errorf("--device %s: give cpu, cuda, cuda:N or sim", c.String("device"))
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

// verify runs one small iteration on the device and with the oracles; tol is the
// relative L2 error that its precision may make of the gradient.
func verify(ctx context.Context, dev gpu.Device, w *vgg.Weights, tol float64) error {
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
	if d := kerneltest.Compare(got, want); !d.Within(tol) {
		return fmt.Errorf("the gradient of a %dx%d picture is wrong, so nothing is timed: %v", size, size, d)
	}
	return nil
}
