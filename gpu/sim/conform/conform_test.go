package conform

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// The simulator gives what is expected, and what the recorded GPUs gave.
func TestSimulator(t *testing.T) {
	recs, err := Recordings()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d cases, %d recordings", len(Cases()), len(recs))
	for _, c := range Cases() {
		for _, m := range []sim.Mode{sim.Eager, sim.Lazy, sim.Random(1)} {
			out, err := Run(context.Background(), Simulator{sim.Config{Mode: m}}, c)
			if err == nil {
				err = c.Check(out)
			}
			if err != nil {
				t.Errorf("%v: %v", m, err)
				break
			}
			for _, r := range recs {
				if err := c.CheckRecorded(r, out); err != nil {
					t.Errorf("%v: %v", m, err)
				}
			}
			if len(c.Covers) == 1 && len(c.Inputs) > 0 && m != sim.Eager && sources[c.Name] != nil {
				break // lane-wise: modes make no difference
			}
		}
	}
}

// What recorded GPUs gave is what is expected here. The log lists the cases that no
// recording knows, because they or their inputs came later.
func TestRecorded(t *testing.T) {
	recs, err := Recordings()
	if err != nil {
		t.Fatal(err)
	}
	if len(recs) == 0 {
		t.Fatal("no recordings")
	}
	for _, r := range recs {
		exact, order, bound := 0, 0, 0
		var unknown []string
		for _, c := range Cases() {
			rec, known, err := c.Recorded(r)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case !known:
				unknown = append(unknown, c.Name)
			case rec.Err != "":
				t.Errorf("%s: %s on %s", c.Name, rec.Err, r.Device)
			case bytes.Equal(rec.Out, c.Want):
				exact++
			case c.Anywhen:
				order++
			default:
				bound++
			}
			if known && rec.Err == "" {
				if err := c.Check(rec.Out); err != nil {
					t.Errorf("%s: %v", r.Device, err)
				}
			}
		}
		t.Logf("%s, driver %s, %s: %d cases give the expected bits, %d in another order of lanes, %d within their bounds",
			r.Device, r.Driver, r.Date, exact, order, bound)
		if len(unknown) > 0 {
			t.Logf("not recorded as they are now: %s", strings.Join(unknown, ", "))
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

// forms are the full names of the instructions in a case's file.
func forms(t *testing.T, c *Case) map[string]bool {
	t.Helper()
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
	return has
}

// Every opcode form of the PTX in this repository has a case.
func TestCoverage(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range Cases() {
		has := forms(t, c)
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

// assembler is NVIDIA's, where it is at hand (make ptx installs it).
func assembler(t *testing.T) string {
	t.Helper()
	ptxas, err := filepath.Abs("../../../.cuda/nvidia/cu13/bin/ptxas")
	if err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		t.Skip("make test-ptxas runs it: ptxas takes a minute")
	}
	if _, err := os.Stat(ptxas); err != nil {
		t.Skip("LEFT OUT: no ptxas in .cuda (make ptx installs it)")
	}
	return ptxas
}

// NVIDIA's assembler takes every file: no case rests on PTX that is not PTX.
func TestAssembles(t *testing.T) {
	ptxas := assembler(t)
	for _, c := range Cases() {
		out, err := exec.Command(ptxas, "-arch="+c.Arch, "-o", os.DevNull, filepath.Join("testdata", c.Name+".ptx")).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %s", c.Name, strings.TrimSpace(string(out)))
		}
	}
}

// A store that begins before its tensor is an illegal instruction on the recorded
// GPU, and refused by the simulator: the recording holds the stores as they were when
// they began there.
func TestStoresBeforeTensors(t *testing.T) {
	recs, err := Recordings()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct{ rank, swizzle, now, then string }{
		{"2d", "32", "{32, 6}", "{32, -1}"},
		{"3d", "0", "{8, 3, 2}", "{8, -1, 2}"},
		{"4d", "128", "{0, 4, 3, 1}", "{0, -1, 3, 1}"},
		{"5d", "0", "{8, 2, 2, 1, 0}", "{8, 2, -1, 1, 0}"},
	} {
		for _, read := range []string{"", ".read"} {
			name := fmt.Sprintf("cp.async.bulk.tensor.%s.global.shared-cta.tile.bulk_group%s.swizzle%s", f.rank, read, f.swizzle)
			i := slices.IndexFunc(Cases(), func(c *Case) bool { return c.Name == name })
			if i < 0 {
				t.Fatalf("no case %s", name)
			}
			c := Cases()[i]
			src, err := c.Source()
			if err != nil {
				t.Fatal(err)
			}
			old := bytes.Replace(src, []byte(f.now), []byte(f.then), 1)
			recorded := 0
			for _, r := range recs {
				if rec := r.Results[name]; rec.PTX == ResultOf(old).PTX {
					recorded++
					if !strings.Contains(rec.Err, "CUDA_ERROR_ILLEGAL_INSTRUCTION") {
						t.Errorf("%s at %s: %s gave %q", name, f.then, r.Device, rec.Err)
					}
				}
			}
			if recorded == 0 {
				t.Errorf("%s at %s is in no recording", name, f.then)
			}
			var report *sim.Report
			if _, err := (Simulator{}).Run(t.Context(), c, old); !errors.As(err, &report) || report.Kind != sim.Misuse || !strings.Contains(err.Error(), "begins before its tensor") {
				t.Errorf("%s at %s: the simulator gives %v", name, f.then, err)
			}
		}
	}
}
