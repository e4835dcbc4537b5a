//go:build unix

package openfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What is no file is refused at once, with a line that says what it is.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := errors.Join(syscall.Mkfifo("pipe", 0o666), os.Symlink("pipe", "link"), os.Symlink("/dev/zero", "zero"), os.Symlink("circle", "circle"), os.Mkdir("folder", 0o777)); err != nil {
		t.Fatal(err)
	}
	s, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for path, want := range map[string]string{
		"pipe": "is a named pipe", "link": "is a named pipe", "/dev/zero": "is a device", "zero": "is a device", "folder": "is a folder",
		"socket": "is no file", "none": "there is no such file", "circle": "cannot be read", "none/file": "there is no such file",
		"https://example.org/a.jpg": "is an address; download it",
	} {
		done := make(chan error, 2)
		go func() {
			_, err := Read(path, 1<<20)
			done <- err
			_, _, err = Regular(path)
			done <- err
		}()
		for range 2 {
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: %v", path, err)
				}
				if errors.Is(err, fs.ErrNotExist) != (strings.HasPrefix(path, "none") || strings.HasPrefix(path, "https:")) {
					t.Errorf("%s: not there? %v", path, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s: waits", path)
			}
		}
		if IsRegular(path) {
			t.Errorf("%s: a regular file", path)
		}
	}
}

// A file that grows while it is read, and one that claims to be empty, are bounded.
func TestBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	for _, n := range []int{0, 1, 1 << 20, 1<<20 + 1, 3 << 20} {
		want := bytes.Repeat([]byte{'x'}, n)
		if err := os.WriteFile(path, want, 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path, 3<<20)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d, %v", n, len(got), err)
		}
		if n == 0 {
			continue
		}
		if _, err := Read(path, int64(n)-1); err == nil || !strings.Contains(err.Error(), "has more than") {
			t.Errorf("%d bytes of %d: %v", n, n-1, err)
		}
	}
	if b, err := readAll(endless{}, 5, 1000); err != nil || len(b) != 1000 || cap(b) > 1000 {
		t.Errorf("an endless file: %d bytes of %d, %v", len(b), cap(b), err)
	}
	if _, err := Read("/proc/self/maps", 1<<20); err != nil { // its size is said to be 0
		t.Error(err)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// The pipe of <(COMMAND) is read.
func TestHanded(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		fmt.Fprint(w, "from a command")
		w.Close()
	}()
	if b, err := Read(fmt.Sprintf("/dev/fd/%d", r.Fd()), 100); err != nil || string(b) != "from a command" {
		t.Errorf("%q, %v", b, err)
	}
}
