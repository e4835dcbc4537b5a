package atomicfile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Only what a process that is gone left of a file of ours goes.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	gone := exec.Command(os.Args[0], "-test.run=^$")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	dead := gone.Process.Pid
	keep := []string{
		"a.png", "b.png.tmp", "a.png.12.tmp", fmt.Sprintf("other.png.%d-0.tmp", dead), // not ours
		fmt.Sprintf("a.png.%d-0.tmp", os.Getppid()), // alive
		fmt.Sprintf("a.png.%d-0.tmp.png", dead),
	}
	drop := []string{fmt.Sprintf("a.png.%d-0.tmp", dead), fmt.Sprintf("a.png.%d-17.tmp", dead), fmt.Sprintf("a.png.%d-0.tmp", os.Getpid())}
	for _, name := range append(keep, drop...) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, fmt.Sprintf("a.png.%d-1.tmp", dead)), 0o777); err != nil {
		t.Fatal(err)
	}
	n, err := Sweep(dir, func(base string) bool { return base == "a.png" })
	if err != nil || n != len(drop) {
		t.Errorf("removed %d, %v; want %d", n, err, len(drop))
	}
	for _, name := range keep {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range drop {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	if n, err := Sweep(filepath.Join(dir, "none"), func(string) bool { return true }); n != 0 || err != nil {
		t.Errorf("a folder that is not there: %d, %v", n, err)
	}
}

// The names that Sweep looks for are those that Write makes.
func TestSweepKnowsTemporaries(t *testing.T) {
	f, err := temp(filepath.Join(t.TempDir(), "a.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if m := temporary.FindStringSubmatch(filepath.Base(f.Name())); m == nil || m[1] != "a.png" || m[2] != fmt.Sprint(os.Getpid()) {
		t.Errorf("%s: %v", f.Name(), m)
	}
}
