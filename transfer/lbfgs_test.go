package transfer

import (
	"math"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels/ref"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// Twenty evaluations of a whole run, each compared with the two-loop recursion in
// float64 that begins where the device was.
func TestLBFGSStepByStep(t *testing.T) {
	dev := device(t)
	const size, evaluations = 32, 20
	o, err := Preset("default")
	if err != nil {
		t.Fatal(err)
	}
	o.Size, o.Iterations, o.Ladder = size, evaluations, nil
	s, err := NewSession(t.Context(), dev, Job{Options: o, Contents: []*picture.Picture{flat(size, size, 1)}, Style: flat(size, size, 2), Weights: randomWeights()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	wide := func(name string) []float64 {
		v, err := s.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		w := make([]float64, len(v))
		for i, f := range v {
			w[i] = float64(f)
		}
		return w
	}
	worst := 0.0
	for i := range evaluations {
		x := wide(BufImage)
		m := ref.LBFGSMemory[float64]{
			A: wide("accepted"), GA: wide("accepted_gradient"), D: wide("direction"), S: wide("pairs_s"), Y: wide("pairs_y"), Control: wide("control"),
		}
		rows, err := s.Advance(t.Context(), 1)
		if err != nil || len(rows) != 1 {
			t.Fatal(len(rows), err)
		}
		ref.LBFGS(x, wide(BufDImage), rows[0][0].Total, m, ref.LBFGSParams{Width: size, History: o.History, First: 0.05, Most: 0.5, Rise: 0.2})
		for name, want := range map[string][]float64{
			BufImage: x, "accepted": m.A, "accepted_gradient": m.GA, "direction": m.D, "pairs_s": m.S, "pairs_y": m.Y, "control": m.Control,
		} {
			var num, den float64
			for j, g := range wide(name) {
				num += (g - want[j]) * (g - want[j])
				den += want[j] * want[j]
			}
			if e := math.Sqrt(num / max(den, 1e-300)); num > 0 {
				worst = max(worst, e)
				if !(e <= 1e-5) {
					t.Errorf("evaluation %d: %s is off by %.2g, allowed 1e-05", i+1, name, e)
				}
			}
		}
	}
	c := wide("control")
	t.Logf("worst of %d evaluations: %.2g of 1e-05; %v accepted, %v pairs", evaluations, worst, c[gpu.CtlAccepted], c[gpu.CtlPairs])
	if c[gpu.CtlPairs] < 5 {
		t.Errorf("only %v pairs: the recursion was hardly tried", c[gpu.CtlPairs])
	}
}
