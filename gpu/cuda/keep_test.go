//go:build cuda

package cuda

import (
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
	st, err := s.State()
	if err != nil {
		t.Fatal(err)
	}
	first := plan.FP16.FirstScale()
	if len(st.Kept) != 1 || st.Kept[0] == first || !(st.Kept[0] > 0) {
		t.Fatalf("after an iteration %v is kept, the first scale was %v", st.Kept, first)
	}
	p := &gpu.Program{}
	x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: 1, H: 2, W: 2, C: 3})
	p.Output(p.TVFwd("x", x, 1))
	r, err := dev.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	k := r.(gpu.Keeper)
	if err := k.Restore(st.Kept); err != nil {
		t.Fatal(err)
	}
	if got, err := k.Keep(); err != nil || !slices.Equal(got, st.Kept) {
		t.Errorf("%v, %v; want %v", got, err, st.Kept)
	}
	for _, bad := range [][]float32{nil, {}, {0}, {-1}, {1, 1}, {float32(math.NaN())}, {float32(math.Inf(1))}} {
		if err := k.Restore(bad); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}
