//go:build cuda

package cuda

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// The loss scale, which follows the gradient, can be read and set: a program that
// gets what another kept goes on with its scale, and nothing else will do.
func TestKeepLossScale(t *testing.T) {
	dev := openSim(t, sim.Config{NoChecks: true}, Options{Precision: plan.FP16})
	s := session(t, dev, 16, 16, 1, nil)
	defer s.Close()
	if err := s.Run(t.Context(), nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	st, err := s.State(0)
	if err != nil {
		t.Fatal(err)
	}
	first := plan.FP16.FirstScale()
	if len(st.Kept) != 2 || st.Kept[0] == first || !(st.Kept[0] > 0) || !(st.Kept[1] > st.Kept[0]) {
		t.Fatalf("after an iteration %v is kept, the first scale was %v", st.Kept, first)
	}
	p := &gpu.Program{}
	f := p.NewBuffer("f", gpu.Input, gpu.Shape{N: 3, H: 2, W: 2, C: 3})
	p.Output(p.ReLUFwd("f", f))
	dy := p.NewBuffer("dy", gpu.Input, f.Shape)
	p.Output(p.NormalizeBwd("dy", dy, []float32{1, 1, 1}))
	r, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	k := r.(gpu.Keeper)
	scales := func() (all []float32) {
		for n := range 3 {
			s, err := k.Keep(n)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s[0])
		}
		return all
	}
	if err := k.Restore(1, st.Kept); err != nil {
		t.Fatal(err)
	}
	if got, want := scales(), []float32{first, st.Kept[0], first}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, c := range []struct{ from, want []float32 }{{[]float32{8, 32}, []float32{8, 32}}, {[]float32{8}, []float32{8, noCeiling}}, {st.Kept, st.Kept}} {
		if err := k.Restore(1, c.from); err != nil {
			t.Fatal(err)
		}
		if got, err := k.Keep(1); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("from %v: %v, %v, want %v", c.from, got, err, c.want)
		}
	}
	// What carries the scale goes in and comes out without it, each picture with its own.
	values := make([]float32, dy.Shape.Elems())
	for i := range values {
		values[i] = float32(i) / 64
	}
	whole, part := make([]float32, len(values)), make([]float32, len(values)/3)
	if err := r.Write(dy, values); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Read(dy, whole), r.ReadAt(dy, 1, part)); err != nil || !slices.Equal(whole, values) || !slices.Equal(part, values[12:24]) {
		t.Errorf("%v, picture 1 %v, want %v", whole, part, values)
	}
	for i := range part {
		part[i] = -1
	}
	if err := errors.Join(r.WriteAt(dy, 1, part), r.Read(dy, whole)); err != nil || !slices.Equal(whole, slices.Concat(values[:12], part, values[24:])) {
		t.Errorf("%v, %v", err, whole)
	}
	if err := r.Reset(1); err != nil {
		t.Fatal(err)
	}
	if got := scales(); !slices.Equal(got, []float32{first, first, first}) {
		t.Errorf("after Reset %v", got)
	}
	for _, bad := range [][]float32{nil, {}, {0}, {-1}, {1, 1, 1}, {1, 0}, {1, float32(math.Inf(1))}, {float32(math.NaN())}, {float32(math.Inf(1))}} {
		if err := k.Restore(0, bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	for _, n := range []int{-1, 3} {
		_, err := k.Keep(n)
		if err == nil || k.Restore(n, st.Kept) == nil || r.Reset(n) == nil || r.WriteAt(dy, n, part) == nil || r.ReadAt(dy, n, part) == nil {
			t.Errorf("picture %d of 3 was taken", n)
		}
	}
}
