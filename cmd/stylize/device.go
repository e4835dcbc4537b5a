package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"

	"github.com/stylize-gpu/stylize/cmd/internal/given"
	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/gpu/cuda"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/openfile"
)

// open opens what --device names: cpu; cuda or cuda:N, a GPU; sim, the
// simulated one; auto, the first GPU that can run, else the CPU. A device that
// was asked for and is missing is an error.
func (f *machineFlags) open(stderr io.Writer) (gpu.Device, error) {
	if n := given.Or(f.threads, 1); n < 1 || n > maxThreads() {
		return nil, usage(fmt.Errorf("--threads %d: give 1 to %d, or leave it out for all", n, maxThreads()))
	}
	kind, ordinal, ok := cuda.ParseDevice(f.device)
	opt := cuda.Options{Ordinal: ordinal}
	var err error
	if opt.Precision, err = f.cudaPrecision(); err != nil {
		return nil, usage(err)
	}
	switch k := given.Or(f.kernels, "auto"); k {
	case "auto":
	case "sm80", "sm90a":
		opt.Kernels = k
	default:
		return nil, usage(fmt.Errorf("--kernels %s: give auto, sm80 or sm90a", k))
	}
	switch {
	case !ok || !slices.Contains([]string{"auto", "cpu", "cuda", "sim"}, kind):
		return nil, usage(fmt.Errorf("--device %s: give auto, cpu, cuda, cuda:N or sim", f.device))
	case kind == "cpu" && f.kernels != nil:
		return nil, usage(fmt.Errorf("--kernels: it is of CUDA; with --device cpu leave it out"))
	case kind == "cpu" && f.noAutotune:
		return nil, usage(fmt.Errorf("--no-autotune: it is of CUDA; with --device cpu leave it out"))
	case (kind == "cuda" || kind == "sim") && f.pin:
		return nil, usage(fmt.Errorf("--pin: it is the CPU's; with --device %s leave it out", f.device))
	case f.pin && !cpu.CanPin():
		return nil, usage(errors.New("--pin: only on Linux, in a build with C; leave it out"))
	case (kind == "cuda" || kind == "sim") && f.lowMemory:
		return nil, usage(fmt.Errorf("--low-memory: it is the CPU's; with --device %s leave it out", f.device))
	}
	switch kind {
	case "auto":
		dev, err := f.openCUDA(opt, stderr)
		if err == nil {
			return dev, nil
		}
		if !errors.Is(err, gpu.ErrNoDevice) { // there is one, and it cannot be used: say why
			fmt.Fprintf(stderr, "stylize: using the CPU: %v\n", err)
		}
	case "cuda":
		dev, err := f.openCUDA(opt, stderr)
		switch {
		case errors.Is(err, gpu.ErrUnsupported):
			return nil, usage(fmt.Errorf("--device %s: %w; --device cpu does without it", f.device, err))
		case err != nil:
			return nil, usage(fmt.Errorf("--device %s: %w", f.device, err))
		}
		return dev, nil
	case "sim":
		opt.Simulate, opt.Check = simulated.New(sim.Config{}), true
		dev, err := cuda.Open(opt)
		if err != nil {
			return nil, usage(fmt.Errorf("--device sim: %w", err))
		}
		return dev, nil
	}
	return f.openCPU(stderr)
}

// cudaPrecision is what a GPU computes in.
func (f *machineFlags) cudaPrecision() (plan.Precision, error) {
	name := f.precision
	if name == "auto" {
		name = ""
	}
	p, err := plan.ParsePrecision(name)
	if err != nil {
		return p, fmt.Errorf("--precision %s: give auto, fp16, bf16, tf32 or fp32", f.precision)
	}
	return p, nil
}

// cpuPrecision is what the CPU computes in.
func (f *machineFlags) cpuPrecision() (cpu.Precision, error) {
	switch f.precision {
	case "", "auto":
		if f.exact || f.lowMemory {
			return cpu.FP32, nil
		}
		return cpu.Best(), nil
	}
	p, err := cpu.ParsePrecision(f.precision)
	switch {
	case err != nil:
		return p, fmt.Errorf("--precision %s: %w", f.precision, err)
	case p == cpu.BF16 && f.lowMemory:
		return p, fmt.Errorf("--low-memory: it is of fp32; bf16 takes less memory without it; leave it out")
	}
	return p, nil
}

// inFP32 reports whether a device is the CPU in fp32, the only one that --low-memory is for.
func inFP32(dev any) bool {
	d, ok := dev.(*cpu.Device)
	return ok && d.Precision() == cpu.FP32
}

// maxThreads is beyond sense: so many wait for each other at every step.
func maxThreads() int { return max(64, 8*runtime.NumCPU()) }

// openCUDA opens a GPU with the choices of kernels that earlier runs have made.
func (f *machineFlags) openCUDA(opt cuda.Options, stderr io.Writer) (gpu.Device, error) {
	if f.noAutotune {
		return cuda.Open(opt)
	}
	path, err := choicesPath()
	if err != nil { // without a home there is nothing to read, and nowhere to keep them
		opt.Choices = &plan.Choices{}
		return cuda.Open(opt)
	}
	opt.Choices, err = readChoices(path)
	if err != nil { // a cache: without it everything is only slower to start
		fmt.Fprintf(stderr, "stylize: kernels are timed again: %v\n", err)
		opt.Choices = &plan.Choices{}
	}
	dev, err := cuda.Open(opt)
	if err != nil {
		return nil, err
	}
	return &choosing{dev, opt.Choices, path, stderr}, nil
}

// choosing is a device that keeps its choices of kernels when it is closed.
type choosing struct {
	gpu.Device
	choices *plan.Choices
	path    string
	stderr  io.Writer
}

// Close saves the choices if there are new ones.
func (d *choosing) Close() error {
	if d.choices.Changed() && d.path != "" {
		err := os.MkdirAll(filepath.Dir(d.path), 0o755)
		if err == nil {
			err = atomicfile.Write(d.path, d.choices.Write)
		}
		if err != nil {
			fmt.Fprintf(d.stderr, "stylize: the choices of kernels are not kept: %v\n", err)
		}
	}
	return d.Device.Close()
}

func choicesPath() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "stylize", "kernels.json"), nil
}

func readChoices(path string) (*plan.Choices, error) {
	b, err := openfile.Read(path, 1<<24)
	if errors.Is(err, fs.ErrNotExist) {
		return &plan.Choices{}, nil
	} else if err != nil {
		return nil, err
	}
	choices, err := plan.ReadChoices(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w; remove it", path, err)
	}
	return choices, nil
}

// newCPU is cpu.New; tests put one in its place that packs weights once for all.
var newCPU = cpu.New

func (f *machineFlags) openCPU(stderr io.Writer) (*cpu.Device, error) {
	p, err := f.cpuPrecision()
	if err != nil {
		return nil, usage(err)
	}
	if p == cpu.BF16 && cpu.Best() != p {
		fmt.Fprintf(stderr, "stylize: --precision bf16: this processor has no AMX, or the system does not grant it; in C it is about six times slower than fp32\n")
	}
	dev, err := newCPU(cpu.Options{Threads: given.Or(f.threads, min(runtime.GOMAXPROCS(0), maxThreads())), LowMemory: f.lowMemory, Precision: p, Pin: f.pin})
	if err != nil {
		return nil, usage(err)
	}
	return dev, nil
}

// devices lists what --device can name here.
func devices(f devicesFlags, stdout, stderr io.Writer) error {
	var infos []gpu.Info
	n, err := cuda.Count()
	if err != nil {
		fmt.Fprintf(stderr, "stylize: %v\n", err)
	}
	for i := range n {
		dev, err := cuda.Open(cuda.Options{Ordinal: i})
		if err != nil {
			fmt.Fprintf(stderr, "stylize: cuda:%d: %v\n", i, err)
			continue
		}
		info := dev.Info()
		info.Kind = fmt.Sprintf("cuda:%d", i)
		infos = append(infos, info)
		if err := dev.Close(); err != nil {
			return err
		}
	}
	dev, err := cpu.New(cpu.Options{Precision: cpu.Best()})
	if err != nil {
		return err
	}
	defer dev.Close()
	infos = append(infos, dev.Info())
	if cuda.Built {
		infos = append(infos, gpu.Info{Kind: "sim", Name: "a CUDA device in Go", Detail: "runs the same kernels under every check, slowly", Memory: sim.DefaultMemory})
	}
	if f.json {
		return printJSON(stdout, infos)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DEVICE\tNAME\tDETAIL\tMEMORY")
	for _, i := range infos {
		memory := "unknown"
		if i.Memory > 0 {
			memory = gpu.BytesText(i.Memory)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", i.Kind, i.Name, i.Detail, memory)
	}
	return w.Flush()
}

func printJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}
