package kerneltest

import (
	"context"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
)

// Every operation has cases in every group.
func TestEveryKindHasCases(t *testing.T) {
	seen := map[gpu.Kind]map[string]int{}
	names := map[string]bool{}
	for _, c := range Cases() {
		if seen[c.Kind] == nil {
			seen[c.Kind] = map[string]int{}
		}
		seen[c.Kind][c.Group]++
		p := &gpu.Program{}
		c.Build(p)
		if err := p.Validate(); err != nil {
			t.Errorf("%v: %v", c, err)
		}
		found := false
		for _, op := range p.Ops {
			found = found || op.Kind == c.Kind
		}
		if !found {
			t.Errorf("%v: its program does not contain the operation", c)
		}
		if names[c.String()] {
			t.Errorf("%v: two cases of this name", c)
		}
		names[c.String()] = true
	}
	for k := range gpu.NumKinds {
		for _, g := range []string{"tiny", "edge"} {
			if seen[k][g] == 0 {
				t.Errorf("%v has no %s cases", k, g)
			}
		}
	}
}

// wrong is a device that computes everything with the oracle and then errs in
// one value: the table must notice.
type wrong struct{ Oracle[float32] }

type wrongRunner struct{ gpu.Runner }

func (d wrong) Compile(p *gpu.Program) (gpu.Runner, error) {
	r, err := d.Oracle.Compile(p)
	return wrongRunner{r}, err
}

func (r wrongRunner) Read(b *gpu.Buffer, dst []float32) error {
	err := r.Runner.Read(b, dst)
	if b.Role == gpu.Output {
		dst[len(dst)-1] += 0.5
	}
	return err
}

func TestTableNoticesAWrongValue(t *testing.T) {
	for _, c := range Cases() {
		if c.Group != "tiny" || c.Kind == gpu.Adam || c.Kind == gpu.Record {
			continue
		}
		p := &gpu.Program{}
		c.Build(p)
		want := NewInterp[float64](p)
		run, err := wrong{}.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run.Run(context.Background(), 1); err != nil {
			t.Fatal(err)
		}
		if err := want.Run(); err != nil {
			t.Fatal(err)
		}
		for _, b := range p.Buffers {
			if b.Role != gpu.Output {
				continue
			}
			got := make([]float32, b.Shape.Elems())
			if err := run.Read(b, got); err != nil {
				t.Fatal(err)
			}
			if Compare(got, want.Values[b]).Within(c.Tol) {
				t.Errorf("%v: half a unit off passes", c)
			}
		}
	}
}

// The oracles as a device give what they give, also where bands meet.
func TestOracle(t *testing.T) {
	for _, c := range Cases() {
		if c.Kind != gpu.Conv3x3Fprop && c.Kind != gpu.Conv3x3Dgrad || c.Group != "tiny" && !strings.HasPrefix(c.Name, "n=2 h=9 w=10") {
			continue
		}
		c.Tol, c.Ints = 1e-7, false // what reading in float32 rounds
		t.Run(c.String(), func(t *testing.T) { RunCase(t, Oracle[float64]{}, c) })
	}
}
