package sim

import (
	"runtime"
	"testing"
)

// The simulator's speed on one core (make bench-sim), in lane-instructions and in floating-point
// operations of the kernel. Compare only what ran side by side: the figures are those of the
// machine and the hour.
func BenchmarkSimulator(b *testing.B) {
	for _, s := range []struct {
		sample
		checks bool
	}{
		{sample{"saxpy 1M", "elementwise.sm80.ptx", func(r *rig) (*Profile, error) { return runSaxpy(r, 1<<20) }, 0}, true},
		{sample{"saxpy 1M", "elementwise.sm80.ptx", func(r *rig) (*Profile, error) { return runSaxpy(r, 1<<20) }, 0}, false},
		{sample{"avgpool", "elementwise.sm80.ptx", runAvgpoolLarge, 0}, true},
		{sample{"sse_last 1M", "reduce.sm80.ptx", func(r *rig) (*Profile, error) { return runSSE(r, "sse_last", 1<<20, 1<<20) }, 0}, true},
		{sample{"sgemm", "sgemm.sm80.ptx", func(r *rig) (*Profile, error) { return runSgemm(r, 128, 128, 256) }, 2 * 128 * 128 * 256}, true},
		{sample{"conv_mma", "conv_mma.sm80.ptx", func(r *rig) (*Profile, error) { return runConv(r, 32, 32, 64, 64) }, 2 * 32 * 32 * 64 * 64 * 9}, true},
		{sample{"conv_wgmma", "conv_wgmma.sm90a.ptx", func(r *rig) (*Profile, error) { return runWgmma(r, 16, 32, 64, 128) }, 2 * 16 * 32 * 64 * 128 * 9}, true},
	} {
		name := s.name + "/checked"
		if !s.checks {
			name = s.name + "/unchecked"
		}
		b.Run(name, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			src := source(b, s.file)
			r := newRig(b, Config{Workers: 1, Profile: true, NoChecks: !s.checks}, s.file, src)
			p, err := s.run(r)
			if err != nil {
				b.Fatal(err)
			}
			var replay func()
			r = newRig(b, Config{Workers: 1, NoChecks: !s.checks}, s.file, src)
			r.capture = &replay
			if _, err := s.run(r); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				replay()
			}
			per := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(float64(p.LaneInstrs)/per/1e6, "Mlanes/s")
			if s.flop > 0 {
				b.ReportMetric(s.flop/per/1e9, "GFLOP/s")
			}
		})
	}
}

func runAvgpoolLarge(r *rig) (*Profile, error) {
	const h, w, c = 32, 32, 64
	py, px := r.empty("y", 2*h*w*c), r.halfs("x", r.uniformHalf(4*h*w*c, 1))
	return r.launch("avgpool", Dim{X: h * w * c / 2 / 256}, Dim{X: 256}, 0, py, px, int32(h), int32(w), int32(c/2))
}
