package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

// rig is a device with buffers for one launch of a sample kernel.
type rig struct {
	tb  testing.TB
	dev *Device
	mod *Module
	rnd *rand.Rand

	capture *func() // when set: a function that launches again
}

func source(tb testing.TB, file string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func newRig(tb testing.TB, cfg Config, file string, src []byte) *rig {
	tb.Helper()
	r := &rig{tb: tb, dev: New(cfg), rnd: rand.New(rand.NewPCG(1, 2))}
	mod, err := r.dev.Load(file, src)
	if err != nil {
		tb.Fatal(err)
	}
	r.mod = mod
	return r
}

// floats, halfs and zeros make buffers; empty leaves one uninitialised.
func (r *rig) floats(name string, v []float32) Ptr {
	b := make([]byte, 4*len(v))
	for i, f := range v {
		le.PutUint32(b[4*i:], math.Float32bits(f))
	}
	return r.bytes(name, b)
}

func (r *rig) halfs(name string, v []float32) Ptr {
	b := make([]byte, 2*len(v))
	for i, f := range v {
		le.PutUint16(b[2*i:], f2h(f))
	}
	return r.bytes(name, b)
}

func (r *rig) bytes(name string, b []byte) Ptr {
	p := r.empty(name, len(b))
	if err := r.dev.Write(p, b); err != nil {
		r.tb.Fatal(err)
	}
	return p
}

func (r *rig) empty(name string, n int) Ptr {
	p, err := r.dev.Alloc(name, int64(n))
	if err != nil {
		r.tb.Fatal(err)
	}
	return p
}

func (r *rig) readFloats(p Ptr, n int) []float32 {
	b := make([]byte, 4*n)
	if err := r.dev.Read(p, b); err != nil {
		r.tb.Fatal(err)
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = f32(le.Uint32(b[4*i:]))
	}
	return v
}

func (r *rig) readHalfs(p Ptr, n int) []float32 {
	b := make([]byte, 2*n)
	if err := r.dev.Read(p, b); err != nil {
		r.tb.Fatal(err)
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = h2f(le.Uint16(b[2*i:]))
	}
	return v
}

func (r *rig) uniform(n int, scale float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = (r.rnd.Float32()*2 - 1) * scale
	}
	return v
}

// uniformHalf is uniform, rounded to fp16.
func (r *rig) uniformHalf(n int, scale float32) []float32 {
	v := r.uniform(n, scale)
	for i := range v {
		v[i] = h2f(f2h(v[i]))
	}
	return v
}

func (r *rig) launch(kernel string, grid, block Dim, shared int, args ...any) (*Profile, error) {
	r.tb.Helper()
	k, err := r.mod.Kernel(kernel)
	if err != nil {
		r.tb.Fatal(err)
	}
	params, err := k.Pack(args...)
	if err != nil {
		r.tb.Fatal(err)
	}
	l := Launch{Kernel: k, Grid: grid, Block: block, SharedBytes: shared, Params: params}
	if r.capture != nil {
		*r.capture = func() {
			if _, err := r.dev.Launch(context.Background(), l); err != nil {
				r.tb.Fatal(err)
			}
		}
	}
	return r.dev.Launch(context.Background(), l)
}

// near compares with a bound relative to the largest value.
func near(got, want []float32, tol float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d values, want %d", len(got), len(want))
	}
	scale := 0.0
	for _, v := range want {
		scale = max(scale, math.Abs(float64(v)))
	}
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= tol*scale) {
			return fmt.Errorf("value %d is %g, want %g (within %g)", i, got[i], want[i], tol*scale)
		}
	}
	return nil
}

// sample is a kernel of testdata with a launch whose result is known. It
// returns the launch's error first, then what was wrong with the result.
type sample struct {
	name, file string
	run        func(r *rig) (*Profile, error)
	flop       float64
}

var errWrong = errors.New("wrong result")

func wrong(err error) error {
	if err != nil {
		return fmt.Errorf("%w: %w", errWrong, err)
	}
	return nil
}

func samples() []sample {
	return []sample{
		{name: "saxpy", file: "elementwise.sm80.ptx", run: func(r *rig) (*Profile, error) { return runSaxpy(r, 1000) }},
		{name: "saxpy4", file: "elementwise.sm80.ptx", run: func(r *rig) (*Profile, error) { return runSaxpy4(r, 1000, 0) }},
		{name: "halve", file: "elementwise.sm80.ptx", run: runHalve},
		{name: "avgpool", file: "elementwise.sm80.ptx", run: runAvgpool},
		{name: "sse_atomic", file: "reduce.sm80.ptx", run: func(r *rig) (*Profile, error) { return runSSE(r, "sse_atomic", 1000, 1000) }},
		{name: "sse_last", file: "reduce.sm80.ptx", run: func(r *rig) (*Profile, error) { return runSSE(r, "sse_last", 1000, 1000) }},
		{name: "sgemm", file: "sgemm.sm80.ptx", run: func(r *rig) (*Profile, error) { return runSgemm(r, 64, 128, 48) }, flop: 2 * 64 * 128 * 48},
		{name: "gram_tf32", file: "gram_tf32.sm80.ptx", run: runGram},
		{name: "conv_mma", file: "conv_mma.sm80.ptx", run: func(r *rig) (*Profile, error) { return runConv(r, 9, 15, 64, 64) }},
		{name: "diverge", file: "diverge.sm80.ptx", run: runDiverge},
		{name: "spin", file: "diverge.sm80.ptx", run: runSpin},
		{name: "conv_wgmma", file: "conv_wgmma.sm90a.ptx", run: func(r *rig) (*Profile, error) { return runWgmma(r, 13, 19, 128, 128) }},
		{name: "cluster", file: "conv_wgmma.sm90a.ptx", run: runCluster},
	}
}

func runSaxpy(r *rig, n int) (*Profile, error) {
	x, y := r.uniform(n, 1), r.uniform(n, 1)
	py, px := r.floats("y", y), r.floats("x", x)
	p, err := r.launch("saxpy", Dim{X: (n + 255) / 256}, Dim{X: 256}, 0, py, px, float32(1.5), int32(n))
	if err != nil {
		return nil, err
	}
	for i := range y {
		y[i] = fma32(1.5, x[i], y[i])
	}
	return p, wrong(near(r.readFloats(py, n), y, 0))
}

func runSaxpy4(r *rig, n, off int) (*Profile, error) {
	x, y := r.uniform(n, 1), r.uniform(n, 1)
	py, px := r.floats("y", y), r.floats("x", x)
	p, err := r.launch("saxpy4", Dim{X: 1}, Dim{X: 128}, 0, py, px+Ptr(off), float32(1.5), int32(n/4))
	if err != nil {
		return nil, err
	}
	for i := range y {
		y[i] = fma32(1.5, x[i], y[i])
	}
	return p, wrong(near(r.readFloats(py, n), y, 0))
}

func runHalve(r *rig) (*Profile, error) {
	const n = 1001
	x := r.uniform(n, 1)
	py, px := r.empty("y", 2*n), r.floats("x", x)
	p, err := r.launch("halve", Dim{X: 9}, Dim{X: 125}, 0, py, px, int32(n)) // blocks that share a word
	if err != nil {
		return nil, err
	}
	for i := range x {
		x[i] = h2f(f2h(x[i] / 2))
	}
	return p, wrong(near(r.readHalfs(py, n), x, 0))
}

func runAvgpool(r *rig) (*Profile, error) {
	const h, w, c = 5, 7, 6
	x := r.uniformHalf(4*h*w*c, 1)
	py, px := r.empty("y", 2*h*w*c), r.halfs("x", x)
	p, err := r.launch("avgpool", Dim{X: 2}, Dim{X: 64}, 0, py, px, int32(h), int32(w), int32(c/2))
	if err != nil {
		return nil, err
	}
	want := make([]float32, h*w*c)
	for i := range want {
		ch, px := i%c, i/c
		ox, oy := px%w, px/w
		at := func(dy, dx int) float32 { return x[((2*oy+dy)*2*w+2*ox+dx)*c+ch] }
		want[i] = h2f(f2h(0.25 * (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1))))
	}
	return p, wrong(near(r.readHalfs(py, len(want)), want, 0))
}

func runSSE(r *rig, kernel string, n, claimed int) (*Profile, error) {
	a, b := r.uniform(n, 1), r.uniform(n, 1)
	out := r.floats("out", []float32{0})
	pa, pb := r.floats("a", a), r.floats("b", b)
	args := []any{out}
	if kernel == "sse_last" {
		args = append(args, r.empty("partials", 12), r.bytes("ticket", make([]byte, 4)))
	}
	p, err := r.launch(kernel, Dim{X: 3}, Dim{X: 256}, 0, append(args, pa, pb, int32(claimed))...)
	if err != nil {
		return nil, err
	}
	s := 0.0
	for i := range a {
		s += float64(a[i]-b[i]) * float64(a[i]-b[i])
	}
	return p, wrong(near(r.readFloats(out, 1), []float32{float32(s)}, 1e-5))
}

func runSgemm(r *rig, m, n, k int) (*Profile, error) {
	a, b := r.uniform(m*k, 1), r.uniform(k*n, 1)
	pc, pa, pb := r.empty("C", 4*m*n), r.floats("A", a), r.floats("B", b)
	p, err := r.launch("sgemm", Dim{X: n / 64, Y: m / 64}, Dim{X: 256}, 0, pc, pa, pb, int32(m), int32(n), int32(k))
	if err != nil {
		return nil, err
	}
	want := make([]float32, m*n)
	for i := range m {
		for j := range n {
			s := float32(0)
			for q := range k {
				s = fma32(a[i*k+q], b[q*n+j], s) // the kernel's own order
			}
			want[i*n+j] = s
		}
	}
	return p, wrong(near(r.readFloats(pc, m*n), want, 0))
}

func runGram(r *rig) (*Profile, error) {
	const pixels, c = 200, 64
	f := r.uniform(pixels*c, 1)
	pg, pf := r.floats("G", make([]float32, c*c)), r.floats("F", f)
	p, err := r.launch("gram_tf32", Dim{X: 1, Y: 1, Z: 3}, Dim{X: 128}, 0, pg, pf, int32(pixels), int32(c), int32(80), float32(1))
	if err != nil {
		return nil, err
	}
	want := make([]float32, c*c)
	for i := range c {
		for j := range c {
			s := 0.0
			for q := range pixels {
				s += float64(f32(tf32rna(math.Float32bits(f[q*c+i])))) * float64(f32(tf32rna(math.Float32bits(f[q*c+j]))))
			}
			want[i*c+j] = float32(s)
		}
	}
	return p, wrong(near(r.readFloats(pg, c*c), want, 1e-5))
}

// convRef is a 3x3 convolution with padding, bias and ReLU, NHWC.
func convRef(x, w, b []float32, height, width, c, k int) []float32 {
	y := make([]float32, height*width*k)
	for i := range y {
		ch, p := i%k, i/k
		s := float64(b[ch])
		for tap := range 9 {
			yy, xx := p/width+tap/3-1, p%width+tap%3-1
			if yy < 0 || yy >= height || xx < 0 || xx >= width {
				continue
			}
			for q := range c {
				s += float64(x[(yy*width+xx)*c+q]) * float64(w[(ch*9+tap)*c+q])
			}
		}
		y[i] = float32(max(s, 0))
	}
	return y
}

func runConv(r *rig, height, width, c, k int) (*Profile, error) {
	x, w, b := r.uniformHalf(height*width*c, 1), r.uniformHalf(k*9*c, 0.1), r.uniform(k, 1)
	n := height * width
	py, px, pw, pb := r.empty("y", 2*n*k), r.halfs("x", x), r.halfs("w", w), r.floats("b", b)
	p, err := r.launch("conv3x3_mma", Dim{X: (n + 127) / 128, Y: k / 64}, Dim{X: 128}, 0,
		py, px, pw, pb, int32(height), int32(width), int32(c), int32(k), int32(1))
	if err != nil {
		return nil, err
	}
	return p, wrong(near(r.readHalfs(py, n*k), convRef(x, w, b, height, width, c, k), 1e-3))
}

// tiled encodes an NHWC or matrix map of halves with a swizzle of 128 bytes.
func (r *rig) tiled(base Ptr, dims []uint64, box []uint32) []byte {
	m, err := EncodeTiled(tensormap.Tiled{Type: ptx.F16, Base: uint64(base), Dims: dims, Strides: tensormap.DenseStrides(ptx.F16, dims), Box: box, Swizzle: tensormap.Swizzle128})
	if err != nil {
		r.tb.Fatal(err)
	}
	return m[:]
}

func runWgmma(r *rig, height, width, c, k int) (*Profile, error) {
	x, w, b := r.uniformHalf(height*width*c, 1), r.uniformHalf(k*9*c, 0.1), r.uniform(k, 1)
	n := height * width
	py, px, pw, pb := r.empty("y", 2*n*k), r.halfs("x", x), r.halfs("w", w), r.floats("b", b)
	h, wd, cc, kk := uint64(height), uint64(width), uint64(c), uint64(k)
	tx := r.tiled(px, []uint64{cc, wd, h, 1}, []uint32{64, 16, 8, 1})
	tw := r.tiled(pw, []uint64{9 * cc, kk}, []uint32{64, 128})
	ty := r.tiled(py, []uint64{kk, wd, h, 1}, []uint32{64, 16, 4, 1})
	p, err := r.launch("conv3x3_wgmma", Dim{X: (width + 15) / 16, Y: (height + 7) / 8, Z: k / 128}, Dim{X: 384}, 4*32768+32768+64,
		tx, tw, ty, pb, int32(c), int32(1))
	if err != nil {
		return nil, err
	}
	return p, wrong(near(r.readHalfs(py, n*k), convRef(x, w, b, height, width, c, k), 1e-3))
}

// runCluster loads one im2col tile into both blocks of a cluster and adds their
// sums through distributed shared memory.
func runCluster(r *rig) (*Profile, error) {
	const height, width, c = 6, 24, 64
	x := make([]float32, height*width*c)
	for i := range x {
		x[i] = float32(i%7 - 3)
	}
	px, out := r.halfs("x", x), r.floats("out", []float32{0})
	m, err := EncodeIm2col(tensormap.Im2col{
		Type: ptx.F16, Base: uint64(px), Dims: []uint64{c, width, height, 1}, Strides: []uint64{2 * c, 2 * c * width, 2 * c * width * height},
		Lower: []int32{-1, -1}, Upper: []int32{-1, -1}, ChannelsPerPixel: 64, PixelsPerColumn: 128, Swizzle: tensormap.Swizzle128,
	})
	if err != nil {
		r.tb.Fatal(err)
	}
	p, err := r.launch("cluster_sampler", Dim{X: 2}, Dim{X: 128}, 0, m[:], out)
	if err != nil {
		return nil, err
	}
	want := 0.0
	for pix := range 128 { // offsets (1, 2) on base pixels that start at (-1, -1)
		bw, bh := pix%width-1, pix/width-1
		xx, yy := bw+1, bh+2
		if xx < 0 || xx >= width || yy < 0 || yy >= height {
			continue
		}
		for ch := range c {
			want += 2 * float64(x[(yy*width+xx)*c+ch])
		}
	}
	return p, wrong(near(r.readFloats(out, 1), []float32{float32(want)}, 1e-6))
}

func runDiverge(r *rig) (*Profile, error) {
	const n = 1 << 12
	in := make([]byte, 4*n)
	want := make([]int32, n)
	for i := range want {
		v := int32(r.rnd.Uint32() >> 8)
		le.PutUint32(in[4*i:], uint32(v))
		want[i] = divergeRef(v)
	}
	po, pi := r.empty("out", 4*n), r.bytes("in", in)
	p, err := r.launch("diverge", Dim{X: n / 128}, Dim{X: 128}, 0, po, pi, int32(n))
	if err != nil {
		return nil, err
	}
	out := make([]byte, 4*n)
	if err := r.dev.Read(po, out); err != nil {
		return nil, err
	}
	for i, v := range want {
		if got := int32(le.Uint32(out[4*i:])); got != v {
			return nil, fmt.Errorf("%w: value %d is %d, want %d", errWrong, i, got, v)
		}
	}
	return p, nil
}

// divergeRef is diverge.cu in Go.
func divergeRef(v int32) int32 {
	acc := int32(0)
	for k := int32(0); k < (v&31)+3; k++ {
		h := v*1103515245 + 12345 + k*7919
		h ^= h >> 13
		switch {
		case h&7 == 0:
			continue
		case h&3 == 1 && (acc&1 != 0 || h&64 != 0):
			acc += h
			if acc&1024 != 0 {
				acc += v
				return acc*3 + v
			}
		case h&16 != 0:
			for j := int32(0); j < (h >> 8 & 7); j++ {
				acc = acc*33 + j
				if acc&63 == 7 {
					return acc*3 + v
				}
			}
		case h>>5&3 == 0:
			acc ^= h
		case h>>5&3 == 1:
			acc += k*h - 5
		case h>>5&3 == 2:
			acc -= 5
		case acc > 0:
			acc >>= 1
		default:
			acc = -acc + h/3
		}
		v = v*5 + acc
	}
	acc += v
	return acc*3 + v
}

// runSpin takes a lock in every lane: lanes that wait must let the holder run.
func runSpin(r *rig) (*Profile, error) {
	lock, ctr := r.bytes("lock", make([]byte, 4)), r.bytes("counter", make([]byte, 4))
	p, err := r.launch("spin", Dim{X: 2}, Dim{X: 64}, 0, lock, ctr)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 4)
	if err := r.dev.Read(ctr, b); err != nil {
		return nil, err
	}
	if n := le.Uint32(b); n != 128 {
		return nil, fmt.Errorf("%w: counted %d, want 128", errWrong, n)
	}
	return p, nil
}

var modes = []Mode{Eager, Lazy, Random(1), Random(2), Random(3)}

// Every sample is right, and clean under all checks, in every mode.
func TestSamples(t *testing.T) {
	for _, s := range samples() {
		for _, m := range modes {
			t.Run(s.name+"/"+m.String(), func(t *testing.T) {
				r := newRig(t, Config{Mode: m, Workers: 2}, s.file, source(t, s.file))
				if _, err := s.run(r); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Without checks the results are the same.
func TestSamplesWithoutChecks(t *testing.T) {
	for _, s := range samples() {
		r := newRig(t, Config{NoChecks: true, Profile: true}, s.file, source(t, s.file))
		if p, err := s.run(r); err != nil || p.WarpInstrs == 0 {
			t.Errorf("%s: %v, %+v", s.name, err, p)
		}
	}
}

// edit changes a source: it replaces the n-th occurrence of old (from 0) by new.
func edit(tb testing.TB, src []byte, old, replacement string, n int) []byte {
	tb.Helper()
	at := 0
	for ; n >= 0; n-- {
		i := bytes.Index(src[at:], []byte(old))
		if i < 0 {
			tb.Fatalf("no %q left to edit", old)
		}
		at += i + len(old)
	}
	at -= len(old)
	return append(append(append([]byte{}, src[:at]...), replacement...), src[at+len(old):]...)
}
