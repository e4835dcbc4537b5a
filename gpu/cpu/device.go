// Package cpu is the CPU as a [gpu.Device]: fp32, or bf16 on matrix tiles, all cores,
// correct at every size. It lowers a program to steps (lower.go), places their buffers in one
// arena (compile.go) and runs each step on a set of goroutines, every part of
// it one call into the loops of kernels/cpu (exec.go).
//
// The same input gives the same bits for any number of threads: work is cut at
// places that depend on shapes alone, and partial sums are added in order.
//
// It imports gpu and kernels/cpu.
package cpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/cpuid/v2"

	"github.com/stylize-gpu/stylize/gpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// EnvSet names the environment variable that forces an instruction set.
const EnvSet = "STYLIZE_CPU"

// Precision is how features and their gradients are stored. Sums, the picture, losses,
// Gram matrices and the optimiser are fp32.
type Precision uint8

// The precisions. BF16 multiplies on the processor's matrix tiles (AMX), or on a twin in
// C that gives the same bits and is slower than FP32.
const (
	FP32 Precision = iota
	BF16
)

func (p Precision) String() string { return [...]string{"fp32", "bf16"}[p] }

// Best is BF16 where the processor has AMX and the kernel grants it, else FP32.
func Best() Precision {
	if loops.AMX() != nil {
		return BF16
	}
	return FP32
}

// CanPin says whether this system and build know Options.Pin: Linux, with C.
func CanPin() bool { return loops.CanPin() }

// ParsePrecision reads fp32 or bf16; empty is Best.
func ParsePrecision(name string) (Precision, error) {
	switch name {
	case "":
		return Best(), nil
	case "fp32":
		return FP32, nil
	case "bf16":
		return BF16, nil
	}
	return 0, errors.New("the CPU computes in fp32 or bf16; give one of them, or leave the flag out")
}

// Options configures the device; its zero value is what a user wants.
type Options struct {
	Threads int    // 0: as many as Go may use (GOMAXPROCS)
	Set     string // instruction set: "", "avx512", "avx2", "base", "go"; "" asks the environment, then takes the best
	// LowMemory keeps the weights of the layers of 256 channels and more as they
	// are instead of transforming them: at 512x512 about 290 MB less, two times slower.
	LowMemory bool
	Precision Precision
	Pin       bool // keep each thread on a processor of its own; see [CanPin]
	Twin      bool // BF16 on the twin where there is AMX: for tests
	Check     bool // fence every buffer, fill fresh memory with NaN, verify after every step: for tests
}

// Device is the CPU.
type Device struct {
	opt   Options
	loops *loops.Loops
	tiles *loops.Tiles // nil in fp32
	pool  *loops.Pool
	packs *packs // nil when closed
}

// New opens the device. It fails when the requested instruction set is unknown
// or missing here.
func New(opt Options) (*Device, error) {
	if opt.Threads < 0 {
		return nil, fmt.Errorf("cpu: %d threads: want 1 or more, or 0 for all", opt.Threads)
	}
	if opt.Threads == 0 {
		opt.Threads = runtime.GOMAXPROCS(0)
	}
	if opt.Pin && !loops.CanPin() {
		return nil, fmt.Errorf("cpu: threads cannot be kept on processors by this system or build: %w", gpu.ErrUnsupported)
	}
	if opt.Set == "" {
		opt.Set = os.Getenv(EnvSet)
	}
	sets := loops.Sets()
	d := &Device{opt: opt, packs: &packs{users: 1, packed: map[packKey]*packing{}}}
	var have []string
	for _, s := range sets {
		if s.Name == opt.Set || (opt.Set == "" && d.loops == nil) {
			d.loops = s
		}
		have = append(have, s.Name)
	}
	if d.loops == nil {
		return nil, fmt.Errorf("cpu: instruction set %q (%s): this machine and build have %s: %w",
			opt.Set, EnvSet, strings.Join(have, ", "), gpu.ErrNoDevice)
	}
	if opt.Precision == BF16 {
		if best := sets[0]; d.loops == best && !opt.Twin {
			d.tiles = loops.AMX()
		}
		if d.tiles = cmp.Or(d.tiles, d.loops.Tiles()); d.tiles == nil {
			return nil, fmt.Errorf("cpu: bf16: this build has no C code: %w", gpu.ErrUnsupported)
		}
	}
	if d.pool = d.loops.NewPool(opt.Threads, d.packs.pin(opt, false)); d.pool == nil {
		return nil, fmt.Errorf("cpu: no memory for %d threads: %w", opt.Threads, gpu.ErrOutOfMemory)
	}
	return d, nil
}

// Precision is what the device computes in.
func (d *Device) Precision() Precision { return d.opt.Precision }

// Info describes the processor.
func (d *Device) Info() gpu.Info {
	name := strings.TrimSpace(cpuid.CPU.BrandName)
	if name == "" {
		name = runtime.GOARCH
	}
	threads := fmt.Sprintf("%d threads", d.opt.Threads)
	if d.opt.Threads == 1 {
		threads = "1 thread"
	}
	bits := d.loops.Name + ", " + loops.Compiler()
	if d.opt.LowMemory {
		bits += ", low memory" // other algorithms, which add in another order
	}
	how := d.loops.Name
	if d.tiles != nil {
		how += ", bf16 on " + d.tiles.Name
		bits += ", bf16"
	}
	return gpu.Info{Kind: "cpu", Name: name, Detail: how + ", " + threads, Bits: bits, Memory: memory().total, Threads: d.opt.Threads}
}

// Close releases the packed weights, unless a lane still has them. Runners must be
// closed before.
func (d *Device) Close() error {
	if d.packs == nil {
		return nil
	}
	d.packs.leave()
	d.packs = nil
	d.pool.Close()
	return nil
}

// Lane opens a second device on the same processor, with threads of its own and the
// packed weights of this one, so that two goroutines can run programs side by side.
// Each is closed by itself.
func (d *Device) Lane(threads int) (*Device, error) {
	if d.packs == nil {
		return nil, errClosed
	}
	l := &Device{opt: d.opt, loops: d.loops, tiles: d.tiles, packs: d.packs}
	l.opt.Threads = threads
	if l.pool = d.loops.NewPool(threads, d.packs.pin(l.opt, true)); l.pool == nil {
		return nil, fmt.Errorf("cpu: no memory for %d threads: %w", threads, gpu.ErrOutOfMemory)
	}
	d.packs.join()
	return l, nil
}

var errClosed = errors.New("cpu: the device is closed")

// Rate measures a miniature of an iteration for about a fifth of a second and
// returns its FLOP/s: convolutions of 64, 128 and 256 channels both ways, with
// the products and the traffic of a style layer.
func (d *Device) Rate(ctx context.Context) (float64, error) {
	p := &gpu.Program{}
	zero := make([]float32, 256*9*256)
	weights := func(c, k int) (w, b *gpu.Buffer) {
		name := fmt.Sprintf("%d to %d", c, k)
		return p.NewConst(name, gpu.Shape{N: k, H: 3, W: 3, C: c}, zero[c:][:k*9*c]), p.NewConst(name, gpu.Shape{N: 1, H: 1, W: 1, C: k}, zero[:k])
	}
	zero = append(zero, make([]float32, 256)...)
	const h, w = 192, 160
	x := p.NewBuffer("x", gpu.State, gpu.Shape{N: 1, H: h, W: w, C: 64})
	w1, b1 := weights(64, 64)
	w2, b2 := weights(64, 128)
	w3, b3 := weights(128, 256)
	r1 := p.ReLUFwd("r1", p.Conv3x3Fprop("1", x, w1, b1))
	r2 := p.ReLUFwd("r2", p.Conv3x3Fprop("2", p.AvgPool2x2Fwd("pool", r1), w2, b2))
	r3 := p.ReLUFwd("r3", p.Conv3x3Fprop("3", p.AvgPool2x2Fwd("pool", r2), w3, b3))
	y := p.GramBwd("r3", p.GramFwd("r3", r3), r3)
	y = p.Conv3x3Dgrad("3", p.ReLUBwd("r3", y, r3), w3)
	y = p.ReLUBwd("r2", p.AvgPool2x2Bwd("pool", y, h/2, w/2), r2)
	y = p.ReLUBwd("r1", p.AvgPool2x2Bwd("pool", p.Conv3x3Dgrad("2", y, w2), h, w), r1)
	y = p.Add("r1", p.Conv3x3Dgrad("1", y, w1), p.GramBwd("r1", p.GramFwd("r1", r1), r1))
	p.Output(y)
	r, err := d.Compile(p)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if _, err := r.Run(ctx, 1); err != nil { // warm the caches and the clock
		return 0, err
	}
	start, n := time.Now(), 0
	for time.Since(start) < 200*time.Millisecond {
		if _, err := r.Run(ctx, 1); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) * float64(p.FLOPs()) / time.Since(start).Seconds(), nil
}
