//go:build unix

package atomicfile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary writes a file for ever when asked, to be killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("ATOMICFILE_TEST_WRITE"); path != "" {
		_ = Write(path, func(w io.Writer) error {
			fmt.Fprint(w, "half")
			fmt.Println("writing")
			time.Sleep(time.Hour)
			return nil
		})
	}
	os.Exit(m.Run())
}

// A link that leads to a file that is not there yet stays a link.
func TestWriteThroughDanglingLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "to"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"nowhere", filepath.Join("to", "nowhere"), filepath.Join(dir, "to", "absolute")} {
		a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
		os.Remove(a)
		os.Remove(b)
		if err := errors.Join(os.Symlink("b", a), os.Symlink(to, b)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(Check(a), Write(a, write("x"))); err != nil {
			t.Fatal(err)
		}
		for _, link := range []string{a, b} {
			if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
				t.Errorf("%s is no link any more", link)
			}
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		if got, err := os.ReadFile(to); string(got) != "x" {
			t.Errorf("%s: %q, %v", to, got, err)
		}
	}
	circle := filepath.Join(dir, "circle")
	if err := os.Symlink("circle", circle); err != nil {
		t.Fatal(err)
	}
	if err := Write(circle, write("x")); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("a circle of links: %v", err)
	}
}

// Any name that the file system takes can be written.
func TestLongestName(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("n", 255))
	if err := errors.Join(Check(path), Write(path, write("x"))); err != nil {
		t.Error(err)
	}
	if err := Check(path + "n"); err == nil {
		t.Error("a name of 256 letters passes")
	}
}

// What a killed process leaves is swept; what another still writes is not.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	start := func() (*exec.Cmd, *bufio.Reader) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "ATOMICFILE_TEST_WRITE="+filepath.Join(dir, "out"))
		out, err := cmd.StdoutPipe()
		if err = errors.Join(err, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(out)
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		return cmd, r
	}
	const dead = 3
	for range dead {
		cmd, _ := start()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	alive, _ := start()
	for name, text := range map[string]string{"mine.tmp": "", ".stylize-notes.tmp": "", ".stylize-0123456789abcdefg.tmp": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if n := Sweep(dir); n != dead {
		t.Errorf("swept %d of %d: %s", n, dead, ls(t, dir))
	}
	if n := strings.Count(ls(t, dir), prefix); n != 1+2 {
		t.Errorf("what is alive, and two other files: %s", ls(t, dir))
	}
	_ = alive.Process.Kill()
	_ = alive.Wait()
	if n := Sweep(dir); n != 1 {
		t.Errorf("then swept %d: %s", n, ls(t, dir))
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	waited := false
	if _, err := Lock(ctx, path, func() { waited = true }); !errors.Is(err, context.DeadlineExceeded) || !waited {
		t.Errorf("a second lock: %v, waited %v", err, waited)
	}
	unlock()
	if got := ls(t, filepath.Dir(path)); got != "" {
		t.Errorf("left %s", got)
	}
	// What a dead process left is no lock.
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if unlock, err = Lock(t.Context(), path, func() { t.Error("waits for nobody") }); err != nil {
		t.Fatal(err)
	}
	unlock()
	// Never two at a time, whoever comes and goes.
	inside, done := make(chan int, 1), make(chan error)
	for range 8 {
		go func() {
			for range 20 {
				unlock, err := Lock(t.Context(), path, nil)
				if err != nil {
					done <- err
					return
				}
				select {
				case inside <- 1:
				default:
					t.Error("two have the lock")
				}
				<-inside
				unlock()
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := WriteContext(ctx, path, write("x")); err == nil || !strings.Contains(err.Error(), "nobody reads") || time.Since(start) > 10*time.Second {
		t.Errorf("without a reader: %v after %v", err, time.Since(start))
	}
	got := make(chan string)
	go func() {
		b, _ := os.ReadFile(path)
		got <- string(b)
	}()
	long := strings.Repeat("long ", 1<<16) // more than a pipe holds
	if err := WriteContext(t.Context(), path, write(long)); err != nil {
		t.Fatal(err)
	}
	if b := <-got; b != long {
		t.Errorf("a reader got %d of %d bytes", len(b), len(long))
	}
	// A reader that stops reading.
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := WriteContext(ctx, path, write(long)); err == nil || !strings.Contains(err.Error(), "to its end") {
		t.Errorf("a reader that stops: %v", err)
	}
}
