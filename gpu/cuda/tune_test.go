//go:build cuda

package cuda

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/half"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// Kernels are timed on numbers as layers have them, whatever type they are read as, and
// never on memory that nobody has filled; what the host may leave untouched is zero
// afterwards.
func TestTuneFills(t *testing.T) {
	t.Parallel()
	b := operands(1 << 16)
	zeros := 0
	for i := 0; i < len(b); i += 2 {
		v := half.FromF16(binary.LittleEndian.Uint16(b[i:]))
		if v == 0 {
			zeros++
		} else if a := math.Abs(float64(v)); !(a >= 1./64 && a < 1) {
			t.Fatalf("value %d is %v", i/2, v)
		}
	}
	if zeros != len(b)/4 {
		t.Errorf("%d of %d values are 0", zeros, len(b)/2)
	}
	for i := 0; i < len(b); i += 4 {
		if v := math.Float32frombits(binary.LittleEndian.Uint32(b[i:])); !(math.Abs(float64(v)) < 1) {
			t.Fatalf("as fp32 value %d is %v", i/4, v)
		}
	}

	choices := &plan.Choices{}
	d := openSim(t, sim.Config{NoChecks: true, SMs: 4}, Options{Choices: choices})
	p, x, _, v := convolved()
	l, err := plan.New(p, d.target)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{d: d, plan: l, pictures: p.Pictures()}
	if !r.untuned() {
		t.Fatal("a layer with several kernels is not to be timed")
	}
	if err := d.do(r.tune); err == nil || !strings.Contains(err.Error(), "zeros") {
		t.Errorf("timed on whatever there was: %v", err)
	}
	got := make([]byte, len(v)*2)
	i, _ := l.Span(x)
	err = d.do(func() error {
		if err := r.allocate(); err != nil {
			return err
		}
		if err := r.fill(); err != nil {
			return err
		}
		return d.staging.download(got, r.span(i))
	})
	if err != nil || !bytes.Equal(got, operands(len(got))) {
		t.Errorf("%v; the input is not what is timed on", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}

	run, err := d.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	in := make([]float32, len(v))
	if err := run.Read(x, in); err != nil {
		t.Fatal(err)
	}
	for i, v := range in {
		if v != 0 {
			t.Fatalf("value %d of the input is %v before anybody has written it", i, v)
		}
	}
	if again := (&runner{d: d, plan: l}); again.untuned() {
		t.Error("what has been timed is to be timed again")
	}
}
