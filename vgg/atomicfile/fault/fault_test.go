package fault

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// Whatever operation fails, and even if the power goes, a file is the old one or the
// new one; without an error it is the new one.
func TestWriteSurvives(t *testing.T) {
	for _, mode := range []Mode{Once, Stays, Power} {
		for n := 1; ; n++ {
			dir := t.TempDir()
			path := filepath.Join(dir, "a")
			if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
				t.Fatal(err)
			}
			f := New(n, mode)
			restore := atomicfile.Use(f)
			err := atomicfile.Write(path, func(w io.Writer) error {
				_, err := io.WriteString(w, "ne")
				if err == nil {
					_, err = io.WriteString(w, "w")
				}
				return err
			})
			restore()
			if mode == Power { // also when all is done: what was promised stays
				f.Lose()
			}
			b, e := os.ReadFile(path)
			switch got := string(b); {
			case e != nil:
				t.Fatal(e)
			case got != "old" && got != "new":
				t.Errorf("operation %d %v: half a file, %q", n, mode, got)
			case err != nil && strings.Contains(err.Error(), "\n"):
				t.Errorf("operation %d %v: more than a line: %v", n, mode, err)
			case err == nil && got != "new":
				t.Errorf("operation %d %v: %q, and no error", n, mode, got)
			}
			atomicfile.Sweep(dir)
			if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
				t.Errorf("operation %d %v: left %v", n, mode, left)
			}
			if f.Count() < n {
				if n < 6 {
					t.Errorf("only %d operations: opening, two writes, syncing, renaming, syncing the folder", n)
				}
				break
			}
		}
	}
}

// The injector is no paper tiger: a file that is not synced is lost.
func TestPowerLosesWhatIsNotSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	for n, want := range map[int]string{5: "synced", 6: "synced", 4: ""} {
		os.Remove(path)
		f := New(n, Power)
		w, err := f.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666) // 1
		if err != nil {
			t.Fatal(err)
		}
		_, err1 := io.WriteString(w, "syn")    // 2
		_, err2 := io.WriteString(w, "ced")    // 3
		err3 := w.Sync()                       // 4
		_, err4 := io.WriteString(w, ", more") // 5
		err5 := w.Close()                      // 6
		if err := errors.Join(err1, err2, err3, err4, err5); !errors.Is(err, ErrPower) || strings.Contains(err.Error(), "\n\n") {
			t.Errorf("operation %d: %v", n, err)
		}
		if b, _ := os.ReadFile(path); string(b) != want {
			t.Errorf("operation %d: %q on the disk, want %q", n, b, want)
		}
	}
}
