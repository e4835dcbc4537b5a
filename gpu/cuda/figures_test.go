//go:build cuda

package cuda

import (
	"flag"
	"fmt"
	"math"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/transfer"
)

var (
	figures           = flag.String("figures", "", "sim or gpu: print the table of kernels/docs/parity.md, made on this device")
	figuresWidth      = flag.Int("figures-width", 24, "of the picture")
	figuresHeight     = flag.Int("figures-height", 16, "of the picture")
	figuresIterations = flag.Int("figures-iterations", 500, "of the run")
)

// TestFigures prints how far each precision is from fp32 on the CPU: the
// gradient of one and the same picture at the beginning, at a tenth and near
// the end of a run, the losses at its end, and the PSNR of the two results.
func TestFigures(t *testing.T) {
	if *figures == "" {
		t.Skip("prints a table with -figures sim or -figures gpu")
	}
	if *figures == "gpu" {
		onGPU(t, plan.FP32) // before the CPU takes its minutes
	}
	w, h, n := *figuresWidth, *figuresHeight, *figuresIterations
	tenth := max(n/10, 3)
	cpu, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cpu.Close()
	end := func(s *transfer.Session, stop map[int]func()) (last transfer.Row, image []float32) {
		err := s.Run(t.Context(), func(rows []transfer.Row) error { last = rows[0]; return nil }, 1, func(it int) error {
			if f := stop[it]; f != nil {
				f()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if image, err = s.Read(transfer.BufImage); err != nil {
			t.Fatal(err)
		}
		return last, image
	}
	s := session(t, cpu, w, h, n, nil)
	want, wantImage := end(s, nil)
	_ = s.Close()
	t.Logf("| precision | gradient at 0 | at %d | at %d | content, style, tv loss at %d | PSNR |", tenth, n-2, n)
	all := []plan.Precision{plan.FP32, plan.TF32, plan.FP16, plan.BF16}
	if *simulate {
		all = []plan.Precision{plan.FP16}
	}
	for _, p := range all {
		opt := Options{Precision: p}
		if *figures == "sim" || *simulate {
			opt.Simulate = simulated.New(sim.Config{NoChecks: true})
		}
		d, err := Open(opt)
		if err != nil {
			t.Fatal(err)
		}
		s := session(t, d, w, h, n, nil)
		// The picture before an iteration, and the gradient that the iteration took there.
		at := map[int]float64{}
		var before []float32
		read := func(name string) []float32 {
			v, err := s.Read(name)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		compare := func(k int) {
			c := session(t, cpu, w, h, 1, before)
			end(c, nil)
			g, err := c.Read(transfer.BufDImage)
			if err != nil {
				t.Fatal(err)
			}
			at[k] = relL2(read(transfer.BufDImage), g)
			_ = c.Close()
		}
		before = waves(w, h, 0.3).RGB
		stops := map[int]func(){1: func() { compare(0) }}
		for _, k := range []int{tenth, n - 2} {
			stops[k] = func() { before = read(transfer.BufImage) }
			stops[k+1] = func() { compare(k) }
		}
		got, image := end(s, stops)
		_ = s.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		var mse float64
		for i := range image {
			e := float64(image[i]) - float64(wantImage[i])
			mse += e * e / float64(len(image))
		}
		rel := func(a, b float64) string { return fmt.Sprintf("%.1e", math.Abs(a/b-1)) }
		t.Logf("| %v | %.1e | %.1e | %.1e | %s, %s, %s | %.1f dB |", p, at[0], at[tenth], at[n-2],
			rel(got.Content, want.Content), rel(got.Style, want.Style), rel(got.TV, want.TV), -10*math.Log10(mse))
	}
}
