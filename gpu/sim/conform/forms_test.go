package conform

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// formLine is a line of testdata/forms.txt.
type formLine struct {
	line             int
	group, arch, isa string
	scope, form      string
}

// source is a kernel that holds the form.
func (f formLine) source() string {
	wide := ""
	if strings.Contains(f.form, "%z") { // asks for a later ISA
		wide = ".reg .b128 %z<4>;"
	}
	return fmt.Sprintf(header, f.isa, f.arch) + f.scope + `
.visible .entry t(.param .u64 out)
{
	.reg .pred %p<4>;
	.reg .b8 %b<4>;
	.reg .b16 %h<4>;
	.reg .b32 %r<12>;
	.reg .b64 %q<4>;
	.reg .f32 %f<8>;
	.reg .f64 %d<12>;
	` + wide + f.form + "\n\tret;\n}\n"
}

func formLines(t *testing.T) (fs []formLine) {
	t.Helper()
	b, err := os.ReadFile("testdata/forms.txt")
	if err != nil {
		t.Fatal(err)
	}
	var now formLine
	for i, l := range strings.Split(string(b), "\n") {
		l = strings.TrimSpace(l)
		now.line = i + 1
		switch rest, is := strings.CutPrefix(l, "> "); {
		case l == "" || l[0] == '#':
		case is:
			now.arch, now.isa, _ = strings.Cut(rest, " ")
		case strings.HasPrefix(l, "= "):
			now.group = l[2:]
		case strings.HasPrefix(l, "+ "):
			now.scope = l[2:]
		default:
			f := now
			f.form = l
			fs = append(fs, f)
			now.scope = ""
		}
	}
	return fs
}

// load is what the simulator says of a form.
func load(f formLine) error {
	arch := f.arch
	if arch == "sm_90" {
		arch = "sm_90a"
	}
	_, err := sim.New(sim.Config{Arch: arch}).Load("form.ptx", []byte(f.source()))
	return err
}

// needed is how many of the forms must load.
const needed = 434

// The simulator loads most forms that programs may hold. What it does not know is refused
// with the place, never a panic.
func TestForms(t *testing.T) {
	var groups []string
	loads, all := map[string]int{}, map[string]int{}
	total := 0
	for _, f := range formLines(t) {
		if all[f.group]++; all[f.group] == 1 {
			groups = append(groups, f.group)
		}
		err := load(f)
		if err == nil {
			loads[f.group]++
			total++
			continue
		}
		if !strings.HasPrefix(err.Error(), "form.ptx:") {
			t.Errorf("forms.txt:%d: %v", f.line, err)
		}
		t.Logf("forms.txt:%d: %v", f.line, err)
	}
	n := 0
	for _, g := range groups {
		t.Logf("%-35s %3d of %3d", g, loads[g], all[g])
		n += all[g]
	}
	t.Logf("%-35s %3d of %3d", "all", total, n)
	if total < needed {
		t.Errorf("%d forms load, want %d", total, needed)
	}
}

// NVIDIA's assembler takes every form of the list, so that none is made up.
func TestFormsAssemble(t *testing.T) {
	ptxas := assembler(t)
	for _, f := range formLines(t) {
		file := filepath.Join(t.TempDir(), "form.ptx")
		if err := os.WriteFile(file, []byte(f.source()), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), ptxas, "-arch="+f.arch, "-o", os.DevNull, file).CombinedOutput(); err != nil {
			t.Errorf("forms.txt:%d: %s: %s", f.line, f.form, strings.TrimSpace(string(out)))
		}
	}
}

// Every form of the list that loads is in the file of some case, by its full name.
func TestFormsHaveCases(t *testing.T) {
	held := map[string]bool{"trap": true} // it ends a launch: TestChecks has it
	for _, c := range Cases() {
		maps.Copy(held, forms(t, c))
	}
	for _, f := range formLines(t) {
		m, err := ptx.Parse("form.ptx", []byte(f.source()))
		if err != nil || load(f) != nil {
			continue
		}
		for _, in := range m.Entries[0].Code {
			if !held[in.Name] {
				held[in.Name] = true
				t.Errorf("forms.txt:%d: %s has no case", f.line, in.Name)
			}
		}
	}
}
