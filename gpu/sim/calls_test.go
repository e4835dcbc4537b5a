package sim

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// What nvcc leaves as calls: functions with results of every size, recursion, printf,
// assert.
func TestCalls(t *testing.T) {
	src := source(t, "nvcc/calls.ptx")
	fib := []uint32{0, 1, 1, 2, 3, 5, 8, 13}
	for _, m := range everyMode {
		r := newRig(t, Config{Mode: m}, "calls.ptx", src)
		out, ints, doubles := r.bytes("out", make([]byte, 256)), r.bytes("ints", make([]byte, 256)), r.bytes("doubles", make([]byte, 512))
		if _, err := r.launch("calls", Dim{X: 1}, Dim{X: 64}, 0, out, ints, doubles); err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		b := make([]byte, 512)
		read := func(p Ptr, n int) []byte {
			if err := r.dev.Read(p, b[:n]); err != nil {
				t.Fatal(err)
			}
			return b
		}
		for i, b := 0, read(out, 256); i < 64; i++ {
			a, c, n := float32(i), float32(1), i&7
			if i%3 == 0 {
				a, c, n = 2, float32(i), 3
			}
			for range n {
				a = a*0.5 + c
			}
			if got := math.Float32frombits(le.Uint32(b[4*i:])); got != a {
				t.Errorf("%v: mix of thread %d is %g, want %g", m, i, got, a)
			}
		}
		for i, b := 0, read(ints, 256); i < 64; i++ {
			if got := le.Uint32(b[4*i:]); got != fib[i%8] {
				t.Errorf("%v: fib of thread %d is %d, want %d", m, i, got, fib[i%8])
			}
		}
		for i, b := 0, read(doubles, 512); i < 64; i++ {
			if got := math.Float64frombits(le.Uint64(b[8*i:])); got != float64(i+1)+float64(i)*0.5 {
				t.Errorf("%v: pair of thread %d gives %g", m, i, got)
			}
		}
	}
	var said bytes.Buffer
	r := newRig(t, Config{Printf: &said}, "calls.ptx", src)
	var want strings.Builder
	for range 2 {
		for i := range 40 {
			fmt.Fprintf(&want, "%d of 40: %5.2f ok  |c|%% -5 ff 0.1\n", i, float64(i)*1.5)
		}
	}
	if _, err := r.launch("says", Dim{X: 2}, Dim{X: 40}, 0, uint32(40)); err != nil || said.String() != want.String() {
		t.Errorf("%v: said\n%s", err, said.String())
	}
	var rep *Report
	if _, err := r.launch("says", Dim{X: 1}, Dim{X: 40}, 0, uint32(33)); !errors.As(err, &rep) || rep.Kind != Assertion || rep.Thread != [3]int{33, 0, 0} ||
		!strings.Contains(rep.Msg, `calls.cu:`) || !strings.Contains(rep.Msg, `assertion "threadIdx.x < n" failed`) {
		t.Errorf("got %v, want a failed assertion of thread 33", err)
	}
	if _, err := r.launch("endless", Dim{X: 1}, Dim{X: 1}, 0, r.bytes("out", make([]byte, 4))); !errors.As(err, &rep) || !strings.Contains(rep.Msg, "1024 calls within calls: _Z5depthi calls itself without an end") {
		t.Errorf("got %v, want too many calls", err)
	}
	r = newRig(t, Config{Printf: full0{}}, "calls.ptx", src)
	if _, err := r.launch("says", Dim{X: 1}, Dim{X: 1}, 0, uint32(1)); err == nil || err.Error() != "printf of a kernel: no room" {
		t.Errorf("a printer that fails: %v", err)
	}
}

// full0 takes nothing.
type full0 struct{}

func (full0) Write([]byte) (int, error) { return 0, errors.New("no room") }

// Calls that cannot run say why, and leave other kernels alone.
func TestCallsRefused(t *testing.T) {
	const top = ".version 7.0\n.target sm_80\n.address_size 64\n"
	for _, c := range []struct{ src, says string }{
		{".extern .func f();\n.entry k() { call f; ret; }", "in k: call of f, which the source does not define"},
		{".func (.param .b32 r) f(.param .b32 x) { ret; }\n.entry k() { .param .b64 a; .param .b32 b; call (b), f, (a); ret; }", "a has 8 bytes, x of f 4"},
		{".func f(.param .b32 x) { ret; }\n.entry k() { call f; ret; }", "f takes 1 arguments and returns 0 values, here are 0 and 0"},
		{".func f(.param .b32 x) { ret; }\n.entry k(.param .b32 y) { call f, (y); ret; }", "y is a parameter of the kernel"},
		{".func f() { .local .b32 l; call f; ret; }\n.entry k() { call f; ret; }", "f calls itself and has local memory (l)"},
		{".func f() { brkpt; ret; }\n.entry k() { call f; ret; }", "in k: calls f, which cannot run: brkpt: this form"},
		{".func g() { brkpt; ret; }\n.func f() { call g; ret; }\n.entry k() { call f; ret; }", "in k: calls g, which cannot run: brkpt: this form"},
		{".func f() { frob; }\n.entry k() { call f; ret; }", "unknown opcode frob"},
		{".entry k() { .reg .b32 r; brx.idx r, T; T: ret; }", "T is not the label of .branchtargets"},
		{".entry k() { .reg .b32 r; .param .b64 a; .param .b32 b; call (b), vprintf, (a); ret; }", "vprintf takes arguments of [8 8] bytes"},
	} {
		src := top + c.src + "\n.entry good() { ret; }\n"
		if _, err := New(Config{}).Load("t.ptx", []byte(src)); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(c.says, "in k: ")) {
			t.Errorf("%s:\ngot %v, want %q", c.src, err, c.says)
		}
		mod, err := New(Config{}).LoadSome("t.ptx", []byte(src))
		if err != nil || len(mod.Kernels) != 1 || len(mod.Refused) != 1 || !strings.Contains(mod.Refused[0].Error(), c.says) {
			t.Errorf("%s: %v, %v", c.src, err, mod)
		}
		if _, err := mod.Kernel("k"); err == nil {
			t.Errorf("%s: k can run", c.src)
		}
	}
}
