package kerneltest

import (
	"context"
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
type wrong struct{ gpu.Device }

type wrongRunner struct{ ip *Interp[float32] }

func (wrong) Compile(p *gpu.Program) (gpu.Runner, error) {
	return &wrongRunner{NewInterp[float32](p)}, nil
}
func (r *wrongRunner) Write(b *gpu.Buffer, data []float32) error { r.ip.Write(b, data); return nil }
func (r *wrongRunner) Read(b *gpu.Buffer, dst []float32) error {
	copy(dst, r.ip.Values[b])
	if b.Role == gpu.Output {
		dst[len(dst)-1] += 0.5
	}
	return nil
}

func (r *wrongRunner) Run(_ context.Context, n int) (int, error) {
	for range n {
		if err := r.ip.Run(); err != nil {
			return 0, err
		}
	}
	return n, nil
}
func (r *wrongRunner) Plan() *gpu.Plan { return nil }
func (r *wrongRunner) Close() error    { return nil }

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
