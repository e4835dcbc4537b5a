package main

import (
	"cmp"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/execlog"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

const execHelp = `PROGRAM is a CUDA program as it is, built with nvcc -cudart shared or using the driver
API (libcuda). It gets libcudart and libcuda from ptxsim, through LD_LIBRARY_PATH, and
runs on the simulated device: no GPU, no driver. Flags of ptxsim stand before PROGRAM,
what follows it is the program's own.

   nvcc -cudart shared -arch=compute_80 -lineinfo saxpy.cu -o saxpy
   ptxsim exec ./saxpy 1000

The program must carry PTX: -arch=compute_XX or -gencode arch=compute_XX,code=compute_XX.
With -lineinfo the lines of the CUDA source stand beside those of the PTX.

What the checks find ends the launch; the program learns it as an error of a later call,
as on a GPU, and may go on. A kernel that the simulator cannot run is refused when it is
launched, with the reason. Both are told once more at the end, on standard error.

All work is done at once, in the order of the calls: a missing cudaStreamSynchronize is
not found. The time between events is the time of the simulation. There are no graphs,
textures, arrays, IPC or second device: such a call says its name, and fails with
cudaErrorNotSupported.

Exit code: the program's own; 99 (or --error-exitcode) if a check reports or a launch was
refused; 128 and more if a signal ended the program; 2 bad usage.`

// execFlags are those of ptxsim exec.
type execFlags struct {
	mode      string
	noChecks  bool
	maxSteps  int64
	sms       int
	memory    int64 // MiB
	ptx       string
	errorCode int
	libraries string
	listFlags
}

func (f *execFlags) flags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "mode", Destination: &f.mode, Aliases: []string{"m"}, Value: "eager", Usage: "when asynchronous work completes: eager, lazy or random:SEED"},
		&cli.BoolFlag{Name: "no-checks", Destination: &f.noChecks, Usage: "only bounds and alignment"},
		&cli.Int64Flag{Name: "max-steps", Destination: &f.maxSteps, Value: 1 << 32, Usage: "warp instructions of a cluster before it counts as endless"},
		&cli.IntFlag{Name: "sms", Destination: &f.sms, Value: 132, Usage: "multiprocessors of the device"},
		&cli.Int64Flag{Name: "memory", Destination: &f.memory, Value: sim.DefaultMemory >> 20, Usage: "memory of the device in MiB"},
		&cli.StringFlag{Name: "ptx", Destination: &f.ptx, Usage: "write the PTX that is run into this folder"},
		&cli.IntFlag{Name: "error-exitcode", Destination: &f.errorCode, Value: 99, Usage: "exit code if a check reports or a launch was refused"},
		&cli.StringFlag{Name: "libraries", Destination: &f.libraries, Usage: "the folder of the stand-in libraries (beside ptxsim)"},
	}, f.listFlags.flags()...)
}

func execCommand(stdout, stderr io.Writer) *cli.Command {
	var f execFlags
	return &cli.Command{
		Name: "exec", Usage: "run a CUDA program, host code and all", ArgsUsage: "PROGRAM [ARGUMENT…]", Description: execHelp, HideHelpCommand: true,
		Flags:        f.flags(),
		OnUsageError: func(_ *cli.Context, err error, _ bool) error { return err },
		Action:       func(c *cli.Context) error { return execute(c.Context, c.Args().Slice(), f, stdout, stderr) },
	}
}

// exitCode ends ptxsim with this code; all has been said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// summary is what the program did.
type summary struct {
	Program     string       `json:"program"`
	Exit        int          `json:"exit"`             // the program's own code, -1 if a signal ended it
	Signal      string       `json:"signal,omitempty"` // which
	Clean       bool         `json:"clean"`
	Launches    int          `json:"launches"`
	Seconds     float64      `json:"seconds"` // of simulation
	Kernels     []kernelTime `json:"kernels"`
	Findings    []finding    `json:"findings"`
	Warnings    []finding    `json:"warnings"`
	Refused     []refusal    `json:"refused"`
	Unsupported []string     `json:"unsupported"` // calls
	noChecks    bool
}

type kernelTime struct {
	Kernel   string  `json:"kernel"`
	Launches int     `json:"launches"`
	Seconds  float64 `json:"seconds"`
}

// finding is the first report of those of a kind and place.
type finding struct {
	*sim.Report
	Count int `json:"count"`
}

type refusal struct {
	Kernel string `json:"kernel"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// execute runs a program and says what was found.
func execute(ctx context.Context, args []string, f execFlags, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		return errors.New("exec takes a program and its arguments: ptxsim exec [flags] PROGRAM [ARGUMENT…]")
	}
	if _, err := sim.ParseMode(f.mode); err != nil {
		return err
	}
	if _, err := sim.New(sim.Config{Arch: f.arch}).Load("", []byte(".version 7.0\n.target sm_50\n.address_size 64\n")); err != nil {
		return fmt.Errorf("--arch: %w", err)
	}
	if f.sms < 1 || f.memory < 1 || f.maxSteps < 1 || f.errorCode < 0 || f.errorCode > 255 {
		return errors.New("--sms, --memory and --max-steps are at least 1, --error-exitcode is 0 to 255")
	}
	libs, err := standIns(f.libraries)
	if err != nil {
		return err
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	if err := suits(program); err != nil {
		return err
	}
	if f.ptx != "" {
		if err := os.MkdirAll(f.ptx, 0o755); err != nil {
			return err
		}
		if f.ptx, err = filepath.Abs(f.ptx); err != nil {
			return err
		}
	}
	log, err := os.CreateTemp("", "ptxsim-*.log")
	if err != nil {
		return err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	settings, err := json.Marshal(execlog.Settings{
		Arch: f.arch, Mode: f.mode, SMs: f.sms, Memory: f.memory << 20, NoChecks: f.noChecks, MaxSteps: f.maxSteps, Log: log.Name(), PTX: f.ptx,
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.TrimSuffix(libs+":"+os.Getenv("LD_LIBRARY_PATH"), ":"), execlog.Variable+"="+string(settings))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
	if f.json { // which has standard output to itself
		cmd.Stdout = stderr
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	records, rerr := execlog.Read(log)
	if rerr != nil {
		return fmt.Errorf("what the program did: %w", rerr)
	}
	s := summarise(records)
	s.Program, s.noChecks, s.Exit = args[0], f.noChecks, cmd.ProcessState.ExitCode()
	code := s.Exit
	if w, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		s.Signal, code = w.Signal().String(), 128+int(w.Signal())
	}
	if f.json {
		if err := printJSON(stdout, s); err != nil {
			return err
		}
	} else {
		s.print(stderr)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !s.Clean:
		return exitCode(f.errorCode)
	case code != 0:
		return exitCode(code)
	}
	return nil
}

// standIns finds the folder of the stand-in libraries.
func standIns(dir string) (string, error) {
	if runtime.GOOS != "linux" {
		return "", errors.New("exec runs on Linux only")
	}
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(filepath.Dir(self), "ptxsim-cuda")
	}
	if _, err := os.Stat(filepath.Join(dir, "libptxsim.so")); err != nil {
		return "", fmt.Errorf("no libptxsim.so in %s; `make ptxsim-cuda` builds it (with Go and a C compiler), --libraries says where it is", dir)
	}
	return filepath.Abs(dir)
}

// suits says at once what could only fail: a program with the CUDA runtime inside. What
// is no ELF file, a script for instance, may start one that suits.
func suits(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return nil //nolint:nilerr // the system says whether it can run it
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if err != nil || f.Section(".nvFatBinSegment") == nil {
		return nil //nolint:nilerr // as above
	}
	for _, l := range libs {
		if strings.HasPrefix(l, "libcudart.so") || strings.HasPrefix(l, "libcuda.so") {
			return nil
		}
	}
	return fmt.Errorf("%s has the CUDA runtime linked into it, which needs NVIDIA's own driver; build it with nvcc -cudart shared", program)
}

// summarise counts and groups records.
func summarise(records []execlog.Record) *summary {
	s := &summary{Kernels: []kernelTime{}, Findings: []finding{}, Warnings: []finding{}, Refused: []refusal{}, Unsupported: []string{}}
	for _, r := range records {
		if r.Call != "" {
			s.Unsupported = append(s.Unsupported, r.Call)
			continue
		}
		s.Launches++
		if r.Refused != "" {
			i := slices.IndexFunc(s.Refused, func(x refusal) bool { return x.Kernel == r.Kernel && x.Reason == r.Refused })
			if i < 0 {
				i = len(s.Refused)
				s.Refused = append(s.Refused, refusal{Kernel: r.Kernel, Reason: r.Refused})
			}
			s.Refused[i].Count++
			continue
		}
		i := slices.IndexFunc(s.Kernels, func(k kernelTime) bool { return k.Kernel == r.Kernel })
		if i < 0 {
			i = len(s.Kernels)
			s.Kernels = append(s.Kernels, kernelTime{Kernel: r.Kernel})
		}
		s.Kernels[i].Launches++
		s.Kernels[i].Seconds += r.Seconds
		s.Seconds += r.Seconds
		if r.Report != nil {
			s.Findings = group(s.Findings, r.Report)
		}
		for _, w := range r.Warnings {
			s.Warnings = group(s.Warnings, w)
		}
	}
	slices.SortStableFunc(s.Kernels, func(a, b kernelTime) int { return cmp.Compare(b.Seconds, a.Seconds) })
	s.Clean = len(s.Findings) == 0 && len(s.Refused) == 0
	return s
}

// group counts a report with those of the same kind and place.
func group(all []finding, r *sim.Report) []finding {
	place := func(r *sim.Report) string {
		s := fmt.Sprint(r.Kind, r.Kernel, r.File, r.Line)
		if r.Other != nil {
			s += fmt.Sprint(" ", r.Other.What, r.Other.Line)
		}
		return s
	}
	for i := range all {
		if place(all[i].Report) == place(r) {
			all[i].Count++
			return all
		}
	}
	return append(all, finding{r, 1})
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func times(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(" (%d times)", n)
}

func (s *summary) print(w io.Writer) {
	var all []string
	for _, k := range s.Kernels {
		all = append(all, k.Kernel)
	}
	kernels := newNames("kernel", s.Program, all)
	say := func(format string, args ...any) {
		fmt.Fprintf(w, "ptxsim: %s\n", plain(fmt.Sprintf(format, args...), kernels))
	}
	if s.Signal != "" {
		hint := ""
		if s.Signal == syscall.SIGSEGV.String() {
			hint = "; host code that uses a pointer of the device does that"
		}
		say("%s was ended by a signal: %s%s", s.Program, s.Signal, hint)
	}
	for _, f := range s.Warnings {
		say("warning%s: %v", times(f.Count), f.Report)
	}
	for _, f := range s.Findings {
		say("error%s: %v", times(f.Count), f.Report)
	}
	for _, r := range s.Refused {
		say("refused%s: %s: %s", times(r.Count), cmp.Or(r.Kernel, "a kernel"), r.Reason)
	}
	if len(s.Unsupported) > 0 {
		say("not supported: %s", strings.Join(s.Unsupported, ", "))
	}
	did := fmt.Sprintf("%s of %s in %.1f s", plural(s.Launches, "launch", "launches"), plural(len(s.Kernels), "kernel", "kernels"), s.Seconds)
	switch {
	case s.Launches == 0:
		say("no kernel was launched on the simulated device")
	case !s.Clean:
		say("%s, %s, %s", plural(len(s.Findings), "error", "errors"), plural(len(s.Refused), "refused kernel", "refused kernels"), did)
	case s.noChecks:
		say("done (bounds and alignment checked): %s", did)
	default:
		say("clean under every check: %s", did)
	}
}
