package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// The driver of a GPU compiles the PTX with the ptxas of its own age. The matrix is
// what those of five ages say of every file: a row of the MANIFEST for each, with the
// file's hash, so that a file that has changed since shows.

// assembler is a ptxas.
type assembler struct{ version, driver, path, wheel string }

// assemblers are pinned. The oldest is that of the oldest driver that gets kernels for
// sm_90 and sm_90a; the newest is the one that the figures of the MANIFEST are of.
var assemblers = []assembler{
	older("12.0", "r525", "12.0.140"), older("12.4", "r550", "12.4.131"), older("12.8", "r570", "12.8.93"), older("12.9", "r575", "12.9.86"),
	{"13.0", "r580", ".cuda/nvidia/cu13/bin/ptxas", ""},
}

func older(version, driver, wheel string) assembler {
	return assembler{version, driver, ".ptxas/" + version + "/nvidia/cuda_nvcc/bin/ptxas", "nvidia-cuda-nvcc-cu12==" + wheel}
}

const (
	// slowest is the CPU time that a driver may take for a module, once a machine, for it
	// keeps the result. Nobody should think that the program hangs. Those of 12.0 and 12.4
	// take 4 s of an idle core for a product that is 256 wide (go run ./tools/ptx -times), and
	// up to three times that beside others.
	slowest = 25 * time.Second
	// never is when one is given up.
	never = 10 * time.Minute
	// mostSpilled is how many bytes of a thread an older compiler may spill in a kernel
	// that moves no registers: it is slower by a few accesses to the first-level cache.
	mostSpilled = 16
)

// verdict is what one assembler says of a file.
type verdict struct {
	least, most int    // registers of its entries
	spills      string // of a kernel, or none
	took        time.Duration
}

func (v verdict) String() string {
	s := fmt.Sprint(v.most)
	if v.least != v.most {
		s = fmt.Sprintf("%d-%d", v.least, v.most)
	}
	if v.spills != "" {
		s += ", " + v.spills
	}
	return fmt.Sprintf("%s, %.1f s", s, v.took.Seconds())
}

// runMatrix asks every assembler about every file of shipped that not all have been
// asked about, and writes the rows.
func runMatrix(fetch bool) error {
	if err := installAssemblers(fetch); err != nil {
		return err
	}
	manifest := filepath.Join(shipped.dst, "MANIFEST")
	lines, err := readManifest(manifest)
	if err != nil {
		return err
	}
	rows, err := matrix(assemblers, lines, func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(shipped.dst, name)) })
	if err != nil {
		return err
	}
	text := lines.own + matrixHead() + strings.Join(rows, "")
	return os.WriteFile(manifest, []byte(text), 0o644)
}

// installAssemblers sees to it that all are there, or says which one is not.
func installAssemblers(fetch bool) error {
	if _, err := compiler(fetch); err != nil {
		return err
	}
	for _, a := range assemblers {
		if _, err := os.Stat(a.path); err == nil {
			continue
		} else if !fetch {
			return fmt.Errorf("no %s: run make ptx-matrix, which installs it", a.path)
		}
		if err := install(filepath.Join(".ptxas", a.version), a.wheel); err != nil {
			return err
		}
	}
	return nil
}

// matrix makes the rows of the files of a MANIFEST. What any assembler objects to is an
// error, all of them together.
func matrix(with []assembler, m *manifest, read func(name string) ([]byte, error)) ([]string, error) {
	rows, errs := make([]string, len(m.files)), make([]error, len(m.files))
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(1, runtime.NumCPU()))
	for i, f := range m.files {
		if m.asked(f, with) {
			rows[i] = m.rows[f.name]
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			text, err := read(f.name)
			if err != nil {
				errs[i] = err
				return
			}
			row := fmt.Sprintf("matrix %s %s", f.name, sum(text))
			for _, a := range with {
				v, err := a.ask(f, text)
				errs[i] = errors.Join(errs[i], err)
				row += fmt.Sprintf(" | %s: %v", a.version, v)
			}
			rows[i] = row + "\n"
		})
	}
	wg.Wait()
	return rows, errors.Join(errs...)
}

// moving is PTX whose warpgroups give registers to others: setmaxnreg waits for ever
// where a launch took fewer than the sources plan.
var moving = []byte("setmaxnreg")

// ask has a file compiled. It is an error if it is refused, if wgmmas are serialised, if
// a kernel that moves registers has others than planned, if one spills, or if it takes
// too long.
func (a assembler) ask(f shippedFile, text []byte) (v verdict, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("ptxas %s, of drivers from %s on: %s: %w", a.version, a.driver, f.name, err)
		}
	}()
	tmp, err := os.MkdirTemp("", "ptx")
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	in := filepath.Join(tmp, "k.ptx")
	if err := os.WriteFile(in, text, 0o644); err != nil {
		return v, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), never)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.path, "-v", "-arch="+f.arch, "-o", filepath.Join(tmp, "k.cubin"), in)
	msg, err := cmd.CombinedOutput()
	if err != nil {
		// As an old one does with a newer .version: its driver would refuse the module, and
		// the device would do without.
		return v, fmt.Errorf("refused (%w): %s", err, firstLine(msg))
	}
	used, err := ptxasFigures(msg)
	if err != nil {
		return v, err
	}
	v.took = cmd.ProcessState.UserTime()
	if v.took > slowest {
		err = fmt.Errorf("takes %.1f s of CPU time, more than %v: make its module smaller", v.took.Seconds(), slowest)
	}
	moves := bytes.Contains(text, moving)
	for i, u := range used {
		if i == 0 {
			v.least = u.registers
		}
		v.least, v.most = min(v.least, u.registers), max(v.most, u.registers)
		switch want := f.registers[u.kernel]; {
		case want == 0:
			err = errors.Join(err, fmt.Errorf("the MANIFEST does not know %s", u.kernel))
		case moves && (u.registers != want || u.spills > 0):
			err = errors.Join(err, fmt.Errorf("%s has %d registers and spills %d bytes, and must have %d", u.kernel, u.registers, u.spills, want))
		case u.spills > mostSpilled:
			err = errors.Join(err, fmt.Errorf("%s spills %d bytes", u.kernel, u.spills))
		case u.spills > 0:
			v.spills = strings.TrimPrefix(fmt.Sprintf("%s, %s spills %d B", v.spills, u.kernel, u.spills), ", ")
		}
	}
	if len(used) != len(f.registers) {
		err = errors.Join(err, fmt.Errorf("%d entries were expected, %d are there", len(f.registers), len(used)))
	}
	return v, err
}

func firstLine(msg []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(msg)), "\n")
	return line
}

// matrixHead is the comment ahead of the rows.
func matrixHead() string {
	var names []string
	for _, a := range assemblers {
		names = append(names, fmt.Sprintf("%s (drivers from %s on)", a.version, a.driver))
	}
	return "# Written by make ptx-matrix, each file with its hash: registers, what is spilled, and seconds of CPU time by ptxas " + strings.Join(names, ", ") + ".\n" +
		"# None serialises a wgmma; where registers move between warpgroups they are as planned.\n"
}

// manifest is a MANIFEST, read.
type manifest struct {
	own   string // what make ptx writes
	files []shippedFile
	rows  map[string]string // of the matrix, by file, with their newlines
}

type shippedFile struct {
	name, hash, arch string
	registers        map[string]int // of its entries
}

var (
	fileOf     = regexp.MustCompile(`^(\S+\.(sm\d+a?)\.ptx)  (\w+)  from `)
	registerOf = regexp.MustCompile(`^  (\S+) registers (\d+) `)
)

func readManifest(path string) (*manifest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := &manifest{rows: map[string]string{}}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "matrix" {
			m.rows[f[1]] = line
			continue
		}
		if strings.HasPrefix(line, "#") && m.own != "" { // ahead of the rows
			continue
		}
		m.own += line
		if f := fileOf.FindStringSubmatch(line); f != nil {
			m.files = append(m.files, shippedFile{f[1], f[3], strings.Replace(f[2], "sm", "sm_", 1), map[string]int{}})
		} else if f := registerOf.FindStringSubmatch(line); f != nil && len(m.files) > 0 {
			m.files[len(m.files)-1].registers[f[1]] = number(f[2])
		}
	}
	return m, nil
}

// asked reports whether the rows say what all assemblers think of a file as it is.
func (m *manifest) asked(f shippedFile, with []assembler) bool {
	row := m.rows[f.name]
	missing := func(a assembler) bool { return !strings.Contains(row, fmt.Sprintf(" | %s: ", a.version)) }
	return strings.HasPrefix(row, fmt.Sprintf("matrix %s %s |", f.name, f.hash)) && !slices.ContainsFunc(with, missing)
}

// keptRows are those rows of a MANIFEST that say something of files that are wanted,
// by path.
func keptRows(path string, wanted map[string][]byte) string {
	m, err := readManifest(path)
	if err != nil { // there is none yet
		return ""
	}
	var rows []string
	for _, f := range m.files {
		text := wanted[filepath.Join(filepath.Dir(path), f.name)]
		if row := m.rows[f.name]; text != nil && strings.HasPrefix(row, fmt.Sprintf("matrix %s %s |", f.name, sum(text))) {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return ""
	}
	return matrixHead() + strings.Join(rows, "")
}

// checkMatrix reports files that no older assembler, or not every one, has been asked
// about.
func checkMatrix(f folder) error {
	if f != shipped {
		return nil
	}
	path := filepath.Join(f.dst, "MANIFEST")
	m, err := readManifest(path)
	if err != nil {
		return err
	}
	var missing []string
	for _, f := range m.files {
		if !m.asked(f, assemblers) {
			missing = append(missing, f.name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("%s: older compilers have not been asked about %d of its files, %s among them: run make ptx-matrix", path, len(missing), missing[0])
	}
	return nil
}
