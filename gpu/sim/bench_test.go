package sim

import (
	"runtime"
	"testing"
)

// The simulator's speed on one core, all checks on (make bench-sim). Medians and
// ranges of five on one Zen 4 core of a shared machine, Go 1.26, November 2026:
//
//	saxpy, 1 M elements         327 M lane-instructions/s (314-339); 765 without checks
//	avgpool, half2              567 M (559-574)
//	sum of squares, 1 M         226 M (200-236)
//	sgemm 128x128x256           121 M (117-125), 0.20 GFLOP/s
//	conv3x3 mma.sync, 32x32     1.64 GFLOP/s (1.61-1.65)
//	conv3x3 wgmma + TMA, 16x32  1.84 GFLOP/s (1.80-1.87)
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
