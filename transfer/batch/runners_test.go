package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
)

// counted is a device that counts what is compiled and closed, and has runners that keep
// something beside their buffers.
type counted struct {
	gpu.Device
	memory         int64
	full           int // how many Compiles find no memory
	compiled, open int
	kept           []float32 // by the last runner that was compiled
}

func (d *counted) Info() gpu.Info {
	i := d.Device.Info()
	i.Memory, i.Free = d.memory, 0
	return i
}

func (d *counted) Compile(p *gpu.Program) (gpu.Runner, error) {
	if d.full > 0 {
		d.full--
		return nil, gpu.ErrOutOfMemory
	}
	r, err := d.Device.Compile(p)
	if err != nil {
		return nil, err
	}
	d.compiled++
	d.open++
	d.kept = []float32{1}
	return &countedRunner{r, d, d.kept}, nil
}

type countedRunner struct {
	gpu.Runner
	dev  *counted
	kept []float32
}

func (r *countedRunner) Keep() ([]float32, error) { return []float32{r.kept[0]}, nil }
func (r *countedRunner) Restore(v []float32) error {
	r.kept[0] = v[0]
	return nil
}

func (r *countedRunner) Close() error {
	r.dev.open--
	return r.Runner.Close()
}

// relu is a program of an extent.
func relu(h int) (*gpu.Program, *gpu.Buffer, *gpu.Buffer) {
	p := &gpu.Program{}
	x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: 1, H: h, W: 4, C: 4})
	y := p.ReLUFwd("y", x)
	p.Output(y)
	return p, x, y
}

func TestReuse(t *testing.T) {
	dev := &counted{Device: device(t), memory: 1 << 30}
	d := reuse(dev)
	use := func(h int, v float32) {
		t.Helper()
		p, x, y := relu(h)
		r, err := d.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := r.(gpu.Keeper).Keep(); err != nil || k[0] != 1 {
			t.Errorf("it begins with %v, %v", k, err)
		}
		if err := r.(gpu.Keeper).Restore([]float32{7}); err != nil {
			t.Fatal(err)
		}
		data := make([]float32, 16*h)
		for i := range data {
			data[i] = v
		}
		if err := r.Write(x, data); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Run(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := r.Read(y, data); err != nil || data[3] != v {
			t.Errorf("%v, %v; want %v", data[3], err, v)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		for h := 1; h <= 4; h++ {
			use(h, float32(i+h))
		}
	}
	if dev.compiled != 4 || dev.open != 4 {
		t.Errorf("compiled %d, open %d; want 4", dev.compiled, dev.open)
	}
	// Two at a time of one program are two runners.
	p, _, _ := relu(1)
	a, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Compile(p)
	if err != nil || dev.compiled != 5 {
		t.Errorf("compiled %d, %v", dev.compiled, err)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	// Without memory what is idle makes room.
	dev.full = 1
	use(9, 3)
	if dev.open != 1 {
		t.Errorf("open %d, want the last one alone", dev.open)
	}
	dev.full = 2
	p, _, _ = relu(10)
	if _, err := d.Compile(p); !errors.Is(err, gpu.ErrOutOfMemory) || dev.open != 0 {
		t.Errorf("%v, open %d", err, dev.open)
	}
	dev.full = 0
	// What failed is not lent again.
	use(1, 1)
	p, _, _ = relu(1)
	r, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Run(gone, 1); err == nil {
		t.Fatal("no error")
	}
	if err := r.Close(); err != nil || dev.open != 0 {
		t.Errorf("%v, open %d", err, dev.open)
	}
	// Few are kept, and no more than fit.
	for h := 1; h < 100; h++ {
		use(h, 1)
		if dev.open > maxIdle {
			t.Fatalf("%d are open", dev.open)
		}
	}
	use(99, 2)
	d.most = d.idle[len(d.idle)-1].bytes * 5 / 2
	use(99, 2)
	if dev.open != 2 {
		t.Errorf("open %d, want 2", dev.open)
	}
	if err := d.Close(); err != nil || dev.open != 0 {
		t.Errorf("%v, open %d", err, dev.open)
	}
}

// Programs that differ in anything have another identity.
func TestIdentity(t *testing.T) {
	zero := make([]float32, 64)
	with := func(scale float32, data []float32, swap bool) [32]byte {
		p := &gpu.Program{}
		s := gpu.Shape{N: 1, H: 2, W: 2, C: 4}
		a, b := p.NewBuffer("a", gpu.Input, s), p.NewConst("b", s, data[:16])
		if swap {
			a, b = b, a
		}
		p.Output(p.MSEFwd("m", a, b, scale))
		return identity(p)
	}
	base := with(1, zero, false)
	if base != with(1, zero, false) {
		t.Error("the same program has two")
	}
	for name, other := range map[string][32]byte{"scale": with(2, zero, false), "constants": with(1, zero[16:], false), "operands": with(1, zero, true)} {
		if other == base {
			t.Errorf("other %s: the same identity", name)
		}
	}
}

// Pictures of the whole network whose extents come back have the bits that they have
// alone, whatever was painted before them on the same runners; little is compiled.
func TestReuseKeepsBits(t *testing.T) {
	files(t, "s.png")
	for i := range 6 {
		paint(t, fmt.Sprintf("in/%d.png", i), 40, 40-10*(i%2), i)
	}
	in := inputs("out/{content}.png", "in")
	in.Options.ContentWeight, in.Options.StyleWeight, in.Options.Iterations = 1e-3, 1e7, 3
	in.Options.Optimizer, in.Options.History = "lbfgs", 3
	dev := &counted{Device: device(t), memory: 1 << 33}
	if err := ready(t, in, dev).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := 1 + 2*2; dev.compiled != want || dev.open != 0 { // the style's, and of each extent a content's and a loop
		t.Errorf("compiled %d, open %d; want %d", dev.compiled, dev.open, want)
	}
	for i := range 6 {
		alone := in
		alone.Contents, alone.Output = []string{fmt.Sprintf("in/%d.png", i)}, "alone/{content}.png"
		if err := ready(t, alone, device(t)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		a, err1 := os.ReadFile(fmt.Sprintf("out/%d.png", i))
		b, err2 := os.ReadFile(fmt.Sprintf("alone/%d.png", i))
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(a, b) {
			t.Errorf("picture %d differs from the one painted alone (%v)", i, err)
		}
	}
}
