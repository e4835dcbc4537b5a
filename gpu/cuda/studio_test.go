//go:build cuda

package cuda

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture/picturetest"
)

// Pictures in the slots of one program have the bits and the rows that they have
// alone: with weights a hundred thousand times apart, which need other loss scales;
// with other counts of iterations, that end inside of a graph; beside one whose loss
// overflows; and in slots that others have left.
func TestStudioSimulated(t *testing.T) {
	t.Parallel()
	type row struct{ text string }
	for _, arch := range []string{"sm80", "sm90a"} {
		for _, optimizer := range []string{"classic", "default"} {
			if testing.Short() && (arch == "sm80" || optimizer != "default") {
				continue
			}
			t.Run(arch+"/"+optimizer, func(t *testing.T) {
				t.Parallel()
				driver := simulated.New(sim.Config{NoChecks: true, SMs: 132})
				dev := opened(t, Options{Simulate: driver, Precision: plan.FP16, Kernels: arch})
				var works []transfer.Work
				weights := []float64{1e7, 1e2, 3e38, 1e6}
				if testing.Short() {
					weights = weights[:3]
				}
				for i, weight := range weights {
					o, err := transfer.Preset(optimizer)
					if err != nil {
						t.Fatal(err)
					}
					o.Size, o.Iterations, o.Ladder, o.StyleWeight = 20, 1+i%2, nil, weight
					works = append(works, transfer.Work{Options: o, Content: picturetest.Source(t, 20, 17, 1+i), Styles: transfer.OneStyle(picturetest.Source(t, 17, 20, 2+i%2)), Weights: noise()})
				}
				paint := func(slots int, works ...transfer.Work) (pixels [][]float32, rows [][]row) {
					pixels, rows = make([][]float32, len(works)), make([][]row, len(works))
					s := transfer.NewStudio(dev, noise(), func(int, int) int { return slots }, 1<<40)
					defer s.Close()
					at := 0
					err := s.Run(t.Context(), func(bool) *transfer.Commission {
						if at == len(works) {
							return nil
						}
						i := at
						at++
						return &transfer.Commission{Work: works[i], Tag: i, Hooks: transfer.Hooks{Report: func(p transfer.Point) error {
							rows[i] = append(rows[i], row{fmt.Sprint(p.Row)})
							return nil
						}}}
					}, func(c *transfer.Commission, p *transfer.Painting, err error) {
						if pic, err := p.Picture(); err == nil {
							pixels[c.Tag.(int)] = pic.RGB
						} else {
							t.Error(err)
						}
					})
					if err != nil {
						t.Fatal(err)
					}
					return pixels, rows
				}
				together, rows := paint(2, works...)
				for i, w := range works {
					alone, want := paint(1, w)
					if len(want[0]) == 0 || !slices.Equal(rows[i], want[0]) {
						t.Errorf("picture %d: rows %v, alone %v", i, rows[i], want[0])
					}
					if !slices.Equal(together[i], alone[0]) {
						t.Errorf("picture %d is not as alone: relative L2 %.3g", i, relL2(together[i], alone[0]))
					}
				}
			})
		}
	}
}
