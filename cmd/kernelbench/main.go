// Command kernelbench measures the kernels of an iteration on this machine: what
// each layer takes, forward and backward, against what the processor can do.
//
//	kernelbench [run] [--device cpu|cuda|cuda:N|sim] [--size 512] [--precision bf16] [--match REGEXP] [--every]
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
	"math"
	"os"
	"os/signal"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/given"
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
	// Two sets of flags: those before a command are not the command's.
	flags, run := measuring()
	runFlags, runRun := measuring()
	return &cli.App{
		Name: "kernelbench", Usage: "measure every kernel of an iteration", HideHelpCommand: true,
		Flags: flags, Action: run,
		Commands: []*cli.Command{
			{Name: "run", Usage: "measure (what kernelbench does without a command)", Flags: runFlags, Action: runRun, HideHelpCommand: true},
			{
				Name: "list", Usage: "list the CUDA kernels, with what the compiler made of them", HideHelpCommand: true,
				Action: func(c *cli.Context) error { return list(c.Args().Slice(), c.App.Writer) },
			},
			{
				Name: "compare", Usage: "compare two outputs of --json", ArgsUsage: "OLD.json NEW.json", HideHelpCommand: true,
				Action: func(c *cli.Context) error { return compare(c.Args().Slice(), c.App.Writer) },
			},
		},
		ExitErrHandler: func(*cli.Context, error) {},
	}
}

// measuring makes flags, and the action that measures what they say.
func measuring() ([]cli.Flag, cli.ActionFunc) {
	var f benchFlags
	common, ofCUDA, ofCPU := f.flags(), f.cuda.flags(), f.cpu.flags()
	return slices.Concat(common, ofCUDA, ofCPU), func(c *cli.Context) error {
		if c.NArg() > 0 {
			return fmt.Errorf("takes no arguments, got %q", c.Args().First())
		}
		kind, ordinal, ok := cuda.ParseDevice(f.device)
		if !ok || !slices.Contains([]string{"cpu", "cuda", "sim"}, kind) {
			return fmt.Errorf("--device %s: give cpu, cuda, cuda:N or sim", f.device)
		}
		of, others := "CUDA", ofCUDA
		if kind != "cpu" {
			of, others = "the CPU", ofCPU
		}
		for _, other := range others {
			if name := other.Names()[0]; c.IsSet(name) {
				return fmt.Errorf("--%s: it is of %s; with --device %s leave it out", name, of, f.device)
			}
		}
		size := 512
		if kind == "sim" {
			size = 32
		}
		b := bench{size: given.Or(f.size, size), rounds: f.rounds, lines: f.bench, precision: f.precision}
		switch {
		case b.size < vgg.MinSide || b.size > transfer.MaxSize:
			return fmt.Errorf("--size %d: give %d to %d", b.size, vgg.MinSide, transfer.MaxSize)
		case b.rounds < 1:
			return fmt.Errorf("--rounds %d: give 1 or more", b.rounds)
		case kind == "cpu":
			return b.cpu(c.Context, f.cpu, c.App.Writer)
		}
		return b.cuda(c.Context, ordinal, kind == "sim", f.cuda, c.App.Writer)
	}
}

// benchFlags are those of a measurement. Each is bound to its field where it is
// declared.
type benchFlags struct {
	size   *int // nil: as the device can bear
	rounds int
	device string
	bench  bool

	precision string // the device's own if empty

	cuda cudaFlags
	cpu  cpuFlags
}

func (f *benchFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "size", Action: given.To(&f.size), DefaultText: "512; of sim: 32", Usage: "height and width of the picture"},
		&cli.IntFlag{Name: "rounds", Destination: &f.rounds, Value: 7, Usage: "how often everything is timed"},
		&cli.StringFlag{Name: "device", Destination: &f.device, Value: "cpu", Usage: "cpu, cuda, cuda:N, or sim: profiles of the CUDA kernels on a simulated GPU"},
		&cli.StringFlag{Name: "precision", Destination: &f.precision, DefaultText: "fp16; of the CPU: bf16 with AMX, else fp32", Usage: "fp16, bf16, tf32 or fp32; the CPU has bf16 and fp32"},
		&cli.BoolFlag{Name: "bench", Destination: &f.bench, Usage: "print Go's benchmark format"},
	}
}

// cudaFlags are those of a GPU, real or simulated.
type cudaFlags struct {
	kernels           string // the device's own if empty
	match             string
	plan, every, json bool
	dry               bool
}

func (f *cudaFlags) flags() []cli.Flag {
	const category = "Of CUDA:"
	return []cli.Flag{
		&cli.StringFlag{Name: "kernels", Destination: &f.kernels, Category: category, DefaultText: "auto", Usage: "sm80 or sm90a"},
		&cli.StringFlag{Name: "match", Destination: &f.match, Category: category, Usage: "only layers and kernels that match a regular expression"},
		&cli.BoolFlag{Name: "plan", Destination: &f.plan, Category: category, Usage: "run nothing, print what would be launched, its FLOPs and bytes"},
		&cli.BoolFlag{Name: "dry", Destination: &f.dry, Category: category, Usage: "time the simulated device too, everything once, to try it: the figures mean nothing"},
		&cli.BoolFlag{Name: "every", Destination: &f.every, Category: category, Usage: "every kernel that suits a layer, not only the one in use"},
		&cli.BoolFlag{Name: "json", Destination: &f.json, Category: category, Usage: "print everything as JSON"},
	}
}

// cpuFlags are those of the CPU.
type cpuFlags struct {
	threads        int // all if 0
	pin, lowMemory bool
}

func (f *cpuFlags) flags() []cli.Flag {
	const category = "Of the CPU:"
	return []cli.Flag{
		&cli.IntFlag{Name: "threads", Destination: &f.threads, Category: category, DefaultText: "all", Usage: "how many threads compute"},
		&cli.BoolFlag{Name: "pin", Destination: &f.pin, Category: category, Usage: "keep each thread on a processor of its own"},
		&cli.BoolFlag{Name: "low-memory", Destination: &f.lowMemory, Category: category, Usage: "as stylize --low-memory"},
	}
}

// bench is a measurement on any device.
type bench struct {
	size, rounds int
	precision    string
	lines        bool // Go's benchmark format instead of a table
}

// loop compiles one iteration at a size and gives it a picture and targets that
// make every term of the loss matter.
func loop(dev gpu.Device, w *vgg.Weights, size int) (gpu.Runner, error) {
	o, err := transfer.Preset("classic")
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
	return r, fill(o, p, r.Write)
}

// fill writes a smooth picture, zero targets, and knobs without a limit.
func fill(o transfer.Options, p *gpu.Program, write func(*gpu.Buffer, []float32) error) error {
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
		if b.Name == transfer.BufKnobs {
			v = o.Knobs(b.Shape.N)
			v[gpu.KnobLimit] = 1 << 24
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
	o, err := transfer.Preset("classic")
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
	if err := fill(o, p, func(b *gpu.Buffer, v []float32) error {
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
