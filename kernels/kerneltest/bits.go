package kerneltest

import (
	"bytes"
	"embed"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var updateBits = flag.Bool("update-bits", false, "record the bits of the results anew instead of comparing them")

//go:embed testdata/bits
var recorded embed.FS

// opened are the recordings that a test binary works on.
var opened = struct {
	sync.Mutex
	byName map[string]*Bits
}{byName: map[string]*Bits{}}

// Bits are hashes of the results of cases and of whole runs as they were when
// they were recorded: what a change that is none must not change. One file holds
// a device in one precision; a row has a name and, for each set of kernels that
// adds in an order of its own, its name and the hash.
//
// Each is 32 bits of FNV-1a over the bits of the results.
type Bits struct {
	file string
	note string

	mu   sync.Mutex
	rows map[string]map[string]uint32 // name, kernels
}

// NewBits reads testdata/bits/NAME.txt; with -update-bits it writes what the
// tests give. A note says what else the bits depend on, as the compiler:
// a recording with another note says nothing, and is not compared.
func NewBits(tb testing.TB, name, note string) *Bits {
	tb.Helper()
	opened.Lock()
	defer opened.Unlock()
	if b, ok := opened.byName[name]; ok && *updateBits { // what other tests have recorded
		return b
	}
	b := &Bits{file: "testdata/bits/" + name + ".txt", note: note, rows: map[string]map[string]uint32{}}
	text, err := recorded.ReadFile(b.file)
	if *updateBits { // what a run since this binary was built has recorded stays
		if file, e := b.source(); e == nil {
			text, err = os.ReadFile(file)
		}
	}
	if err != nil && !*updateBits {
		tb.Logf("%s: nothing is recorded: -update-bits does it", name)
		return nil
	}
	head, body, _ := strings.Cut(string(text), "\n")
	if was := strings.TrimPrefix(head, "# "); was != note {
		if !*updateBits {
			tb.Logf("%s was recorded with %q, this is %q: not compared", name, was, note)
			return nil
		}
		body = ""
	}
	for l := range strings.Lines(body) {
		row, hashes, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
		b.rows[row] = map[string]uint32{}
		for _, f := range strings.Fields(hashes) {
			var hash uint32
			kernels, hex, _ := strings.Cut(f, "=")
			if _, err := fmt.Sscanf(hex, "%08x", &hash); err != nil {
				tb.Fatalf("%s: %q: %v", b.file, l, err)
			}
			b.rows[row][kernels] = hash
		}
	}
	opened.byName[name] = b
	return b
}

// Same reports an error where the results of a case or run are not those that
// were recorded. A nil b compares nothing.
func (b *Bits) Same(tb testing.TB, name, kernels string, hash uint32) {
	tb.Helper()
	if b == nil || tb.Failed() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	want, ok := b.rows[name][kernels]
	switch {
	case *updateBits:
		if b.rows[name] == nil {
			b.rows[name] = map[string]uint32{}
		}
		b.rows[name][kernels] = hash
		if err := b.write(); err != nil {
			tb.Error(err)
		}
	case !ok:
		tb.Errorf("no bits of %s are recorded for %q: run the test with -update-bits and commit %s", kernels, name, b.file)
	case want != hash:
		tb.Errorf("other bits than were recorded: %08x, want %08x. A change that is meant is recorded by -update-bits", hash, want)
	}
}

// Has reports whether the results of a case or run are recorded for a set of
// kernels. A nil b compares nothing and lacks nothing.
func (b *Bits) Has(name, kernels string) bool {
	if b == nil || *updateBits {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.rows[name][kernels]
	return ok
}

// write writes the recording into the source tree. The caller holds mu.
func (b *Bits) write() error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# %s\n", b.note)
	for _, row := range slices.Sorted(maps.Keys(b.rows)) {
		out.WriteString(row)
		sep := "\t"
		for _, kernels := range slices.Sorted(maps.Keys(b.rows[row])) {
			fmt.Fprintf(&out, "%s%s=%08x", sep, kernels, b.rows[row][kernels])
			sep = " "
		}
		out.WriteString("\n")
	}
	file, err := b.source()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// source is the recording in the source tree, above the working directory.
func (b *Bits) source() (string, error) {
	root, err := os.Getwd()
	for err == nil {
		if _, e := os.Stat(filepath.Join(root, "go.mod")); e == nil {
			break
		}
		if filepath.Dir(root) == root {
			err = fmt.Errorf("bits: no go.mod above the working directory")
		}
		root = filepath.Dir(root)
	}
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "kernels/kerneltest", filepath.FromSlash(b.file)), nil
}

// Hash adds the bits of results to a hash, 0 at first.
func Hash(h uint32, v []float32) uint32 {
	if h == 0 {
		h = 2166136261
	}
	for _, f := range v {
		bits := math.Float32bits(f)
		for range 4 {
			h = (h ^ bits&0xff) * 16777619
			bits >>= 8
		}
	}
	return h
}
