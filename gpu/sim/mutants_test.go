package sim

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"
)

// mutant is a sample kernel with one mistake put in, and what must be said of
// it. Where a mode is named the mistake shows in that mode; else in all.
type mutant struct {
	name   string
	file   string
	change func(t *testing.T, src []byte) []byte
	run    func(r *rig) (*Profile, error)
	want   []Kind
}

func drop(text string, n int) func(*testing.T, []byte) []byte { return swap(text, "", n) }

func swap(old, replacement string, n int) func(*testing.T, []byte) []byte {
	return func(t *testing.T, src []byte) []byte { t.Helper(); return edit(t, src, old, replacement, n) }
}

// inside applies a change to the part of a source from one text to another.
func inside(from, to string, change func(*testing.T, []byte) []byte) func(*testing.T, []byte) []byte {
	return func(t *testing.T, src []byte) []byte {
		t.Helper()
		i := bytes.Index(src, []byte(from))
		if i < 0 {
			t.Fatalf("no %q", from)
		}
		j := len(src)
		if to != "" {
			if j = i + bytes.Index(src[i:], []byte(to)); j < i {
				t.Fatalf("no %q behind %q", to, from)
			}
		}
		out := append([]byte{}, src[:i]...)
		out = append(out, change(t, src[i:j])...)
		return append(out, src[j:]...)
	}
}

// noWait makes every mbarrier wait succeed at once.
func noWait(t *testing.T, src []byte) []byte {
	t.Helper()
	lines := strings.Split(string(src), "\n")
	n := 0
	for i, l := range lines {
		if strings.HasPrefix(l, "mbarrier.try_wait") {
			lines[i] = "setp.eq.s32 p, 0, 0;"
			n++
		}
	}
	if n == 0 {
		t.Fatal("no wait to take out")
	}
	return []byte(strings.Join(lines, "\n"))
}

// rewrite replaces every match of a regular expression.
func rewrite(pattern, replacement string) func(*testing.T, []byte) []byte {
	return func(t *testing.T, src []byte) []byte {
		t.Helper()
		re := regexp.MustCompile(pattern)
		if !re.Match(src) {
			t.Fatalf("nothing matches %s", pattern)
		}
		return re.ReplaceAll(src, []byte(replacement))
	}
}

func mutants() []mutant {
	elementwise, reduce, sgemm := "elementwise.sm80.ptx", "reduce.sm80.ptx", "sgemm.sm80.ptx"
	conv, wgmma := "conv_mma.sm80.ptx", "conv_wgmma.sm90a.ptx"
	runGemm := func(r *rig) (*Profile, error) { return runSgemm(r, 64, 64, 48) }
	runMMA := func(r *rig) (*Profile, error) { return runConv(r, 16, 16, 64, 64) }
	runHopper := func(r *rig) (*Profile, error) { return runWgmma(r, 8, 16, 128, 128) }
	runLast := func(r *rig) (*Profile, error) { return runSSE(r, "sse_last", 1000, 1000) }
	same := func(_ *testing.T, src []byte) []byte { return src }
	producer := func(c func(*testing.T, []byte) []byte) func(*testing.T, []byte) []byte {
		return inside("setmaxnreg.dec", "setmaxnreg.inc", c)
	}
	consumer := func(c func(*testing.T, []byte) []byte) func(*testing.T, []byte) []byte {
		return inside("setmaxnreg.inc", "setmaxnreg.dec", c)
	}
	if i, j := strings.Index(hopperSource, "setmaxnreg.dec"), strings.Index(hopperSource, "setmaxnreg.inc"); i > j {
		producer = func(c func(*testing.T, []byte) []byte) func(*testing.T, []byte) []byte {
			return inside("setmaxnreg.dec", ".entry cluster_sampler", c)
		}
	} else {
		consumer = func(c func(*testing.T, []byte) []byte) func(*testing.T, []byte) []byte {
			return inside("setmaxnreg.inc", ".entry cluster_sampler", c)
		}
	}
	return []mutant{
		{"saxpy misses x's last value", elementwise, same, func(r *rig) (*Profile, error) {
			x, y := r.floats("x", r.uniform(999, 1)), r.floats("y", r.uniform(1000, 1))
			return r.launch("saxpy", Dim{X: 4}, Dim{X: 256}, 0, y, x, float32(1), int32(1000))
		}, []Kind{OutOfBounds}},
		{"saxpy reads y unwritten", elementwise, same, func(r *rig) (*Profile, error) {
			x := r.floats("x", r.uniform(1000, 1))
			return r.launch("saxpy", Dim{X: 4}, Dim{X: 256}, 0, r.empty("y", 4000), x, float32(1), int32(1000))
		}, []Kind{Uninitialised}},
		{"saxpy into freed memory", elementwise, same, func(r *rig) (*Profile, error) {
			x, y := r.floats("x", r.uniform(1000, 1)), r.floats("y", r.uniform(1000, 1))
			if err := r.dev.Free(y); err != nil {
				return nil, err
			}
			return r.launch("saxpy", Dim{X: 4}, Dim{X: 256}, 0, y, x, float32(1), int32(1000))
		}, []Kind{OutOfBounds}},
		{
			"saxpy without its block index", elementwise, inside(".entry saxpy(", ".entry saxpy4(", swap("%ctaid.x;", "0;", 0)),
			func(r *rig) (*Profile, error) { return runSaxpy(r, 1000) },
			[]Kind{Race},
		},
		{"saxpy4 off by four bytes", elementwise, same, func(r *rig) (*Profile, error) { return runSaxpy4(r, 1000, 4) }, []Kind{Misaligned}},
		{"sse reads past the end", reduce, same, func(r *rig) (*Profile, error) { return runSSE(r, "sse_atomic", 1000, 1001) }, []Kind{OutOfBounds}},
		{
			"sse without its barrier", reduce, inside(".entry sse_atomic(", "ret;", drop("bar.sync \t0;", 0)),
			func(r *rig) (*Profile, error) { return runSSE(r, "sse_atomic", 1000, 1000) },
			[]Kind{Race, Uninitialised},
		},
		{
			"sse with a barrier for some lanes", reduce, inside(".entry sse_atomic(", "ret;", swap("bar.sync \t0;", "setp.lt.u32 %p1, %r7, 40;\n@%p1 bar.sync 0;", 0)),
			func(r *rig) (*Profile, error) { return runSSE(r, "sse_atomic", 1000, 1000) },
			[]Kind{Divergence, Race, Uninitialised, Deadlock},
		},
		{"sse_last publishes without a fence", reduce, inside(".entry sse_last(", "", drop("membar.gl;", 0)), runLast, []Kind{Race}},
		{"sse_last reads without a fence", reduce, inside(".entry sse_last(", "", drop("membar.gl;", 1)), runLast, []Kind{Race}},
		{"sse_last without its last barrier", reduce, inside(".entry sse_last(", "", drop("bar.sync \t0;", 1)), runLast, []Kind{Race, Uninitialised}},
		{"sgemm without its first barrier", sgemm, drop("bar.sync \t0;", 0), runGemm, []Kind{Race, Uninitialised}},
		{"sgemm without its second barrier", sgemm, drop("bar.sync \t0;", 1), runGemm, []Kind{Race}},
		{"sgemm leaves out one store", sgemm, swap("st.shared.f32", "@!%p1 st.shared.f32", 0), runGemm, []Kind{Uninitialised}},
		{"conv_mma without wait_group", conv, drop("cp.async.wait_group 1;", 0), runMMA, []Kind{InFlight}},
		{"conv_mma waits for one group too few", conv, swap("cp.async.wait_group 1;", "cp.async.wait_group 2;", 0), runMMA, []Kind{InFlight}},
		{"conv_mma without its barrier", conv, drop("bar.sync \t0;", 0), runMMA, []Kind{InFlight, Race}},
		{"conv_mma reads past the weights", conv, same, func(r *rig) (*Profile, error) {
			x, w := r.halfs("x", r.uniform(64*64, 1)), r.halfs("w", r.uniform(64*9*64-8, 1))
			return r.launch("conv3x3_mma", Dim{X: 1, Y: 1}, Dim{X: 128}, 0, r.empty("y", 2*64*64), x, w,
				r.floats("b", r.uniform(64, 1)), int32(8), int32(8), int32(64), int32(64), int32(1))
		}, []Kind{OutOfBounds}},
		{"wgmma: the consumer does not wait for full", wgmma, consumer(noWait), runHopper, []Kind{InFlight, Uninitialised}},
		{"wgmma: the producer does not wait for empty", wgmma, producer(noWait), runHopper, []Kind{InFlight, Misuse}},
		{"wgmma: fewer bytes expected", wgmma, rewrite(`(mov\.u32 \s*%r\d+, )32768;`, "${1}32640;"), runHopper, []Kind{Deadlock, InFlight}},
		{"wgmma: more arrivals expected", wgmma, rewrite(`(mov\.u32 \s*%r\d+, )2;(\s+// begin inline asm\s+mbarrier\.init)`, "${1}3;${2}"), runHopper, []Kind{Deadlock}},
		{"wgmma: no fence before", wgmma, rewrite("wgmma.fence.sync.aligned;", ""), runHopper, []Kind{Misuse}},
		{"wgmma: no wait behind", wgmma, rewrite("wgmma.wait_group.sync.aligned 0;", ""), runHopper, []Kind{InFlight}},
		{"wgmma: no proxy fence before the store", wgmma, drop("fence.proxy.async.shared::cta;", 0), runHopper, []Kind{ProxyFence}},
		{"wgmma: no barrier before the store", wgmma, inside("fence.proxy.async.shared::cta;", "", swap("bar.sync ", "// ", 0)), runHopper, []Kind{Race, Uninitialised}},
		{"wgmma: leaves without waiting for the store", wgmma, drop("cp.async.bulk.wait_group 0;", 0), runHopper, []Kind{InFlight}},
		{"cluster: reads the neighbour's sum too early", wgmma, inside(".entry cluster_sampler(", "", drop("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;", 1)), runCluster, []Kind{Race, Uninitialised}},
		{"cluster: leaves before the neighbour has read", wgmma, inside(".entry cluster_sampler(", "", drop("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;", 0)), runCluster, []Kind{OutOfBounds, Race}},
	}
}

var hopperSource = ""

// Every mutant is caught in at least one mode, with a kind that fits; what is
// reported in any mode must fit too.
func TestMutants(t *testing.T) {
	hopperSource = string(source(t, "conv_wgmma.sm90a.ptx"))
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			src := m.change(t, source(t, m.file))
			caught := 0
			for _, mode := range modes {
				r := newRig(t, Config{Mode: mode, Workers: 1, MaxSteps: 1 << 24}, m.file, src)
				p, err := m.run(r)
				var rep *Report
				if err == nil && len(p.Warnings) > 0 {
					err = p.Warnings[0]
				}
				switch {
				case errors.As(err, &rep):
					fits := false
					for _, k := range m.want {
						fits = fits || rep.Kind == k
					}
					if !fits {
						t.Errorf("%v: reported as %s: %v", mode, rep.Kind, rep)
					}
					if rep.Line == 0 || rep.Kernel == "" || rep.Msg == "" {
						t.Errorf("%v: a report without its place: %+v", mode, rep)
					}
					caught++
				case err != nil && !errors.Is(err, errWrong):
					t.Errorf("%v: %v", mode, err)
				}
			}
			if caught < len(modes) {
				t.Errorf("caught in %d of %d modes", caught, len(modes))
			}
		})
	}
}
