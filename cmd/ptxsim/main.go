// Command ptxsim runs kernels in PTX on the simulated CUDA device, for anyone
// who writes PTX and wants to know what is wrong with it: no GPU, no driver, no
// tie to style transfer. Run it with --help.
//
// This folder parses flags and arguments and prints; the work is in gpu/sim.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/anywhere"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// Exit codes.
const (
	exitReport      = 1 // a check reports
	exitUsage       = 2 // bad usage, bad PTX, bad files
	exitInterrupted = 130
)

// errReport means that a check reported; it has been printed.
var errReport = errors.New("a check reports")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	var err error
	if len(args) < 2 || args[1] != "exec" { // whose flags end where the program's begin
		args, err = anywhere.Reorder(app, args)
	}
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errReport):
		return exitReport
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "ptxsim: interrupted")
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "ptxsim: %v\n", err)
	return exitUsage
}

const runHelp = `Arguments stand in the order of the kernel's parameters:

   7  -3  1.5  0x10              a scalar, of the parameter's type
   zeros:f32:1000                a buffer of zeros; a shape may be 20x50
   empty:f32:1000                one that counts as uninitialised
   fill:f32:1000:1.5             one value everywhere
   rand:f32:1000[:SEED]          uniform in [-1, 1); whole numbers over their range
   x.npy                         a NumPy array
   raw:FILE                      the bytes of a file
   {f32:1.5,u32:7,y}             a struct: its fields as C lays them out, y being a buffer
   hex:00ff10                    its bytes, all of them
   map:NAME:f16:64x16x8:64x8x4[:SWIZZLE]
                                 a tensor map (128 bytes) of a buffer: extents and
                                 box, innermost first; swizzle 32, 64 or 128 bytes

A buffer has the parameter's name, or its own with NAME= in front. --buffer makes
buffers that are not arguments, for tensor maps. Types: f16 bf16 f32 f64, u8 … u64,
s8 … s64.

   ptxsim run saxpy.ptx saxpy --grid 4 --block 256 y=zeros:f32:1000 rand:f32:1000 2 1000 --out y=y.npy

Exit code: 0 clean, 1 a check reports, 2 bad usage or PTX that cannot be run.`

func newApp(stdout, stderr io.Writer) *cli.App {
	var (
		forList listFlags
		forRun  runFlags
	)
	return &cli.App{
		Name: "ptxsim", Usage: "run PTX without a GPU, under checks that a GPU does not make",
		UsageText: "ptxsim list FILE.ptx\nptxsim run [flags] FILE.ptx KERNEL [ARGUMENT…]\nptxsim exec [flags] PROGRAM [ARGUMENT…]",
		Writer:    stdout, ErrWriter: stderr, HideHelpCommand: true, HideVersion: true,
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return err },
		CommandNotFound: func(_ *cli.Context, name string) {
			fmt.Fprintf(stderr, "ptxsim: no command %s; there are list, run and exec\n", name)
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return fmt.Errorf("no command %s; there are list, run and exec", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			{
				Name: "list", Usage: "the kernels of a file, with their parameters", ArgsUsage: "FILE.ptx",
				Flags: forList.flags(), HideHelpCommand: true,
				Action: func(c *cli.Context) error { return list(c.Args().Slice(), forList, stdout) },
			},
			{
				Name: "run", Usage: "run one kernel", ArgsUsage: "FILE.ptx KERNEL [ARGUMENT…]", Description: runHelp, HideHelpCommand: true,
				Flags:  forRun.flags(),
				Action: func(c *cli.Context) error { return launch(c.Context, c.Args().Slice(), forRun, stdout) },
			},
			execCommand(stdout, stderr),
		},
	}
}

// listFlags are those of ptxsim list. Each is bound to its field where it is
// declared.
type listFlags struct {
	arch string
	json bool
}

func (f *listFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "arch", Destination: &f.arch, Value: "sm_90a", Usage: "device to simulate: sm_80, sm_86, sm_89, sm_90, sm_90a"},
		&cli.BoolFlag{Name: "json", Destination: &f.json, Usage: "print JSON"},
	}
}

// runFlags are those of ptxsim run.
type runFlags struct {
	grid, block, cluster string
	shared               int // bytes
	buffers, outs        cli.StringSlice
	mode                 string
	noChecks             bool
	registers            int
	maxSteps             int64
	dependent            bool
	noProfile            bool
	printf               io.Writer // what kernels print
	listFlags
}

func (f *runFlags) flags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "grid", Destination: &f.grid, Aliases: []string{"g"}, Value: "1", Usage: "blocks, X or XxYxZ"},
		&cli.StringFlag{Name: "block", Destination: &f.block, Aliases: []string{"b"}, Value: "32", Usage: "threads of a block, X or XxYxZ"},
		&cli.StringFlag{Name: "cluster", Destination: &f.cluster, Usage: "blocks of a cluster, where the kernel does not say"},
		&cli.IntFlag{Name: "shared", Destination: &f.shared, Usage: "bytes of dynamic shared memory"},
		&cli.StringSliceFlag{Name: "buffer", Destination: &f.buffers, Usage: "NAME=BUFFER: a buffer that is not an argument"},
		&cli.StringSliceFlag{Name: "out", Destination: &f.outs, Aliases: []string{"o"}, Usage: "NAME=FILE.npy: write a buffer when the kernel is done"},
		&cli.StringFlag{Name: "mode", Destination: &f.mode, Aliases: []string{"m"}, Value: "eager", Usage: "when asynchronous work completes: eager, lazy, random:SEED, or all"},
		&cli.BoolFlag{Name: "no-checks", Destination: &f.noChecks, Usage: "only bounds and alignment"},
		&cli.IntFlag{Name: "registers", Destination: &f.registers, Usage: "registers of a thread, from ptxas, for the occupancy"},
		&cli.Int64Flag{Name: "max-steps", Destination: &f.maxSteps, Value: 1 << 32, Usage: "warp instructions of a cluster before it counts as endless"},
		&cli.BoolFlag{Name: "dependent", Destination: &f.dependent, Usage: "as a programmatic dependent launch"},
		&cli.BoolFlag{Name: "no-profile", Destination: &f.noProfile, Usage: "say only what the checks found"},
	}, f.listFlags.flags()...)
}

// load reads and decodes a file.
func load(file string, cfg sim.Config) (*sim.Device, *sim.Module, error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	dev := sim.New(cfg)
	mod, err := dev.LoadSome(file, src)
	return dev, mod, err
}

// kernelInfo is what list prints of a kernel.
type kernelInfo struct {
	Name          string      `json:"name"`
	Refused       string      `json:"refused,omitempty"` // why it cannot run; nothing else is known then
	Params        []sim.Param `json:"params"`
	Instructions  int         `json:"instructions"`
	StaticShared  int         `json:"static_shared_bytes"`
	DynamicShared bool        `json:"dynamic_shared"`
	Local         int         `json:"local_bytes"`
	MaxThreads    int         `json:"max_threads"`
}

func list(args []string, f listFlags, stdout io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("list takes one file, got %d arguments", len(args))
	}
	_, mod, err := load(args[0], sim.Config{Arch: f.arch})
	if err != nil {
		return err
	}
	var infos []kernelInfo
	for _, k := range mod.Kernels {
		n := 0
		for _, v := range k.Opcodes() {
			n += v
		}
		infos = append(infos, kernelInfo{
			Name: k.Name, Params: k.Params(), Instructions: n,
			StaticShared: k.StaticShared(), DynamicShared: k.DynamicShared(), Local: k.LocalBytes(), MaxThreads: k.MaxThreads(),
		})
	}
	for _, e := range mod.Refused {
		infos = append(infos, kernelInfo{Name: e.Entry, Refused: fmt.Sprintf("line %d: %s", e.Pos.Line, e.Msg)})
	}
	if f.json {
		return printJSON(stdout, infos)
	}
	for _, k := range infos {
		if k.Refused != "" {
			fmt.Fprintf(stdout, "%s: cannot run: %s\n", k.Name, k.Refused)
			continue
		}
		shared := fmt.Sprintf("%d bytes shared", k.StaticShared)
		if k.DynamicShared {
			shared += " and dynamic"
		}
		fmt.Fprintf(stdout, "%s: %d instructions, %s, at most %d threads\n", k.Name, k.Instructions, shared, k.MaxThreads)
		t := tabwriter.NewWriter(stdout, 2, 0, 2, ' ', 0)
		for _, p := range k.Params {
			fmt.Fprintf(t, "  %d\t%s\t%s\n", p.Offset, p.Type, p.Name)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(infos) == 0 {
		fmt.Fprintf(stdout, "%s has no kernels\n", mod.File)
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// dim reads X, XxY or XxYxZ.
func dim(flag, s string) (sim.Dim, error) {
	d := [3]int{1, 1, 1}
	parts := strings.Split(s, "x")
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || i > 2 {
			return sim.Dim{}, fmt.Errorf("--%s %s: want X, XxY or XxYxZ, each at least 1", flag, s)
		}
		d[i] = n
	}
	return sim.Dim{X: d[0], Y: d[1], Z: d[2]}, nil
}

// modes reads --mode; all stands for those that find different mistakes.
func modes(s string) ([]sim.Mode, error) {
	if s == "all" {
		return []sim.Mode{sim.Eager, sim.Lazy, sim.Random(1), sim.Random(2), sim.Random(3)}, nil
	}
	m, err := sim.ParseMode(s)
	return []sim.Mode{m}, err
}

// result is the JSON of one run.
type result struct {
	Mode    string       `json:"mode"`
	Report  *sim.Report  `json:"report"`
	Profile *sim.Profile `json:"profile,omitempty"`
}

func launch(ctx context.Context, args []string, f runFlags, stdout io.Writer) error {
	if len(args) < 2 {
		return errors.New("run takes a file, a kernel and its arguments: ptxsim run FILE.ptx KERNEL [ARGUMENT…]; ptxsim list FILE.ptx shows the kernels")
	}
	ms, err := modes(f.mode)
	if err != nil {
		return err
	}
	f.noProfile = f.noProfile || len(ms) > 1 // what the modes have in common
	if f.printf = stdout; f.json {
		f.printf = nil
	}
	var results []result
	var failed bool
	for _, m := range ms {
		r, err := launchOnce(ctx, args[0], args[1], args[2:], m, f)
		if err != nil {
			return err
		}
		failed = failed || r.Report != nil
		results = append(results, r)
		if !f.json {
			r.print(stdout, f, len(ms) > 1)
		}
	}
	if f.json {
		var v any = results
		if len(results) == 1 {
			v = results[0]
		}
		if err := printJSON(stdout, v); err != nil {
			return err
		}
	}
	if failed {
		return errReport
	}
	return nil
}

func (r *result) print(w io.Writer, f runFlags, short bool) {
	if r.Profile != nil {
		for _, v := range r.Profile.Warnings {
			fmt.Fprintf(w, "%s: warning: %v\n", r.Mode, v)
		}
	}
	switch {
	case r.Report != nil:
		fmt.Fprintf(w, "%s: %v\n", r.Mode, r.Report)
	case short:
		fmt.Fprintf(w, "%s: clean\n", r.Mode)
	default:
		checks := "clean under every check"
		if f.noChecks {
			checks = "done (bounds and alignment checked)"
		}
		fmt.Fprintf(w, "%s: %s\n", r.Mode, checks)
		if !f.noProfile {
			r.Profile.Print(w)
		}
	}
}

// launchOnce runs the kernel on a fresh device and writes its buffers out.
func launchOnce(ctx context.Context, file, kernel string, specs []string, mode sim.Mode, f runFlags) (result, error) {
	res := result{Mode: mode.String()}
	dev, mod, err := load(file, sim.Config{Arch: f.arch, Mode: mode, NoChecks: f.noChecks, Profile: !f.noProfile, MaxSteps: f.maxSteps, Printf: f.printf})
	if err != nil {
		return res, err
	}
	k, err := mod.Kernel(kernel)
	if err != nil {
		return res, err
	}
	l := sim.Launch{Kernel: k, SharedBytes: f.shared, Registers: f.registers, Dependent: f.dependent}
	if l.Grid, err = dim("grid", f.grid); err != nil {
		return res, err
	}
	if l.Block, err = dim("block", f.block); err != nil {
		return res, err
	}
	if f.cluster != "" {
		if l.Cluster, err = dim("cluster", f.cluster); err != nil {
			return res, err
		}
	}
	bufs := &buffers{dev: dev, byName: map[string]*buffer{}}
	for _, b := range f.buffers.Value() {
		name, spec, ok := strings.Cut(b, "=")
		if !ok {
			return res, fmt.Errorf("--buffer %s: want NAME=BUFFER", b)
		}
		if _, err := bufs.add(name, spec); err != nil {
			return res, err
		}
	}
	params, err := bufs.arguments(k, specs)
	if err != nil {
		return res, err
	}
	if l.Params, err = k.Pack(params...); err != nil {
		return res, err
	}
	outs, err := bufs.outputs(f.outs.Value())
	if err != nil {
		return res, err
	}
	res.Profile, err = dev.Launch(ctx, l)
	switch {
	case errors.As(err, &res.Report):
		return res, nil // outputs of a wrong kernel are not written
	case err != nil:
		return res, err
	}
	for file, b := range outs {
		if err := b.write(dev, file); err != nil {
			return res, err
		}
	}
	return res, nil
}
