package conform

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

var update = flag.Bool("update", false, "write the PTX files of the cases that make their own")

// The committed files are what the cases generate; hand-written ones stand for
// themselves.
func TestFiles(t *testing.T) {
	cases := Cases()
	for _, c := range cases {
		src, ok := sources[c.Name]
		if !ok {
			continue
		}
		if *update {
			if err := os.WriteFile(filepath.Join("testdata", c.Name+".ptx"), []byte(src()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := c.Source()
		if err != nil || string(got) != src() {
			t.Fatalf("testdata/%s.ptx is not what the case makes (%v): go test ./gpu/sim/conform -run Files -update", c.Name, err)
		}
	}
	if *update {
		return
	}
	files, err := filepath.Glob("testdata/*.ptx")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(cases) {
		t.Errorf("%d files for %d cases", len(files), len(cases))
	}
}

// The simulator gives what is expected, and what a GPU gave where one has been
// recorded.
func TestSimulator(t *testing.T) {
	recs, err := Recordings()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cases, %d recordings", len(Cases()), len(recs))
	for _, c := range Cases() {
		for _, m := range []sim.Mode{sim.Eager, sim.Lazy, sim.Random(1)} {
			out, err := Run(context.Background(), Simulator{sim.Config{Mode: m}}, c)
			if err != nil {
				t.Errorf("%v: %v", m, err)
				break
			}
			known := false
			for _, r := range recs {
				k, err := c.CheckRecorded(r, out)
				if err != nil {
					t.Errorf("%v: %v", m, err)
				}
				known = known || k
			}
			if known {
				continue // a GPU outranks the oracle
			}
			if err := c.Check(out); err != nil {
				t.Errorf("%v: %v", m, err)
				break
			}
			if len(c.Covers) == 1 && len(c.Inputs) > 0 && m != sim.Eager && sources[c.Name] != nil {
				break // lane-wise: modes make no difference
			}
		}
	}
}

// A case that passes with a result altered would pass anything.
func TestCasesNotice(t *testing.T) {
	for _, c := range Cases() {
		if len(c.Want) == 0 {
			t.Errorf("%s: expects nothing", c.Name)
			continue
		}
		bad := append([]byte{}, c.Want...)
		i := len(bad) - 1
		if c.Elem == ptx.F32 && (c.ULPs > 0 || c.Bounds != nil) { // find a value that is not infinite or NaN
			for i = len(bad) - 1; i > 4 && bad[i]&0x7f >= 0x7f; i -= 4 {
			}
		}
		bad[i] ^= 0x40
		if c.Check(bad) == nil {
			t.Errorf("%s: a wrong byte passes", c.Name)
		}
	}
}

// Every opcode form of the PTX in this repository has a case.
func TestCoverage(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range Cases() {
		src, err := c.Source()
		if err != nil {
			t.Fatal(err)
		}
		m, err := ptx.Parse(c.Name, src)
		if err != nil {
			t.Fatal(err)
		}
		has := map[string]bool{}
		for _, in := range m.Entries[0].Code {
			has[in.Name] = true
		}
		if len(c.Covers) == 0 {
			t.Errorf("%s covers nothing", c.Name)
		}
		for _, n := range c.Covers {
			if !has[n] {
				t.Errorf("%s claims to cover %s, which its file does not hold", c.Name, n)
			}
			covered[n] = true
		}
	}
	var files []string
	for _, dir := range []string{"../testdata", "../../../kernels/ptx"} {
		fs, err := filepath.Glob(filepath.Join(dir, "*.ptx"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fs...)
	}
	seen := map[string]bool{}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ptx.Parse(f, src)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range m.Entries {
			for _, in := range e.Code {
				if !covered[in.Name] && !seen[in.Name] {
					seen[in.Name] = true
					t.Errorf("%s:%d: %s has no conformance case", f, in.Pos.Line, in.Name)
				}
			}
		}
	}
	if len(files) == 0 {
		t.Error("no PTX found")
	}
}

// NVIDIA's assembler takes every file, where it is at hand (make ptx installs
// it): no case rests on PTX that is not PTX.
func TestAssembles(t *testing.T) {
	ptxas, err := filepath.Abs("../../../.cuda/nvidia/cu13/bin/ptxas")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ptxas); err != nil || testing.Short() {
		t.Skip("no ptxas in .cuda: make ptx installs it")
	}
	for _, c := range Cases() {
		out, err := exec.Command(ptxas, "-arch="+c.Arch, "-o", os.DevNull, filepath.Join("testdata", c.Name+".ptx")).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %s", c.Name, strings.TrimSpace(string(out)))
		}
	}
}
