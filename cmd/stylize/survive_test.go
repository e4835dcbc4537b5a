//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/transfer/picture"
)

// ends waits for a process, not for ever.
func ends(t *testing.T, cmd *exec.Cmd, within time.Duration) (code int) {
	t.Helper()
	timer := time.AfterFunc(within, func() {
		t.Errorf("%v: still there after %v", cmd.Args[1:], within)
		cmd.Process.Kill()
	})
	_ = cmd.Wait()
	timer.Stop()
	return cmd.ProcessState.ExitCode()
}

// rows waits until a trace has some.
func rows(t *testing.T, path string, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(path); err == nil && bytes.Count(b, []byte("\n")) > n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %d rows in %s in a minute", n, path)
		}
	}
}

// QUIT, as Ctrl-\ sends it, stops a run as Ctrl-C does: no dump of goroutines.
func TestQuit(t *testing.T) {
	samples(t)
	cmd, stderr := process(t, "", "content.png", "style.jpg", "-o", "out.png", small, "-n", "100000", rnd, "--trace", "t.csv")
	rows(t, "t.csv", 3)
	if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, cmd, time.Minute); code != exitInterrupted || strings.Contains(stderr.String(), "goroutine") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, err := picture.Open("out.png", 0); err != nil {
		t.Error(err)
	}
}

// A folder that is removed while a run writes to it: the picture goes elsewhere.
func TestFolderRemoved(t *testing.T) {
	dir := samples(t)
	t.Setenv("TMPDIR", filepath.Join(dir, "tmp"))
	if err := errors.Join(os.Mkdir("tmp", 0o777), os.Mkdir("gone", 0o777)); err != nil {
		t.Fatal(err)
	}
	cmd, stderr := process(t, "", "content.png", "style.jpg", "-o", "gone/out.png", small, "-n", "100000", rnd, "--trace", "t.csv", "--save-every", "2", "-q")
	rows(t, "t.csv", 3)
	for os.RemoveAll("gone") != nil { // a picture was just written there
		time.Sleep(time.Millisecond)
	}
	rows(t, "t.csv", 10)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	code := ends(t, cmd, time.Minute)
	where := regexp.MustCompile(`the picture so far is in (\S+/tmp/out-rescued-1.png)`).FindStringSubmatch(stderr.String())
	if code != exitInterrupted || where == nil || strings.Count(stderr.String(), "\n") > 1000 {
		t.Fatalf("exit %d: %.2000s", code, stderr)
	}
	if _, err := picture.Open(where[1], 0); err != nil {
		t.Error(err)
	}
}

// A pipe as the result that nobody reads: the run can be ended, and the picture is saved.
func TestPipeWithoutReader(t *testing.T) {
	samples(t)
	if err := syscall.Mkfifo("pipe.png", 0o666); err != nil {
		t.Fatal(err)
	}
	cmd, stderr := process(t, "", "content.png", "style.jpg", "-o", "pipe.png", small, quick, rnd, "--trace", "t.csv", "-q")
	rows(t, "t.csv", 3)
	time.Sleep(100 * time.Millisecond)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := ends(t, cmd, 20*time.Second); code != exitFailed || !strings.Contains(stderr.String(), "pipe.png: nobody reads this pipe; the picture is complete, in pipe-rescued-1.png") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	// One that is read gets the picture.
	got := make(chan []byte)
	go func() {
		b, _ := os.ReadFile("pipe.png")
		got <- b
	}()
	mustRun(t, "content.png", "style.jpg", "-o", "pipe.png", small, quick, rnd, "-q")
	if b := <-got; !bytes.HasPrefix(b, []byte("\x89PNG")) {
		t.Errorf("a reader got %d bytes", len(b))
	}
}

// Ctrl-C while pictures are decoded is an interruption, and no bad picture.
func TestInterruptWhileDecoding(t *testing.T) {
	samples(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	code, _, stderr := stylize(ctx, "plan", "content.png", "style.jpg")
	if code != exitInterrupted || !strings.Contains(stderr, "interrupted") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// What does not fit into the memory that this process may have is refused before the
// work: exit 2 and a line, where Go's own crash also has exit 2.
func TestMemoryIsPlanned(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("limits are read on Linux alone")
	}
	samples(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		limit string // of ulimit, in kB
		args  string
		want  string
	}{
		{"-v 6000000", "--output-size 32768x32768", "a result of 32768x32768 needs 38.7 GB of memory to be written"},
		{"-v 6000000", "--size 8192", "out of memory; the largest that fits is --size"},
		{"-v 1600000", "", "of memory are free"},
		{"-v 1300000", "", "needs 1400 MB to start"},
		{"-v 700000", "", "needs 1400 MB to start"},
		{"-d 100000", "", "needs 192 MB to start"},
	} {
		cmd := exec.Command("sh", "-c", fmt.Sprintf("ulimit %s && exec %s content.png style.jpg -o out.png --size 32 -n 2 --device cpu --threads 2 %s %s", c.limit, exe, rnd, c.args))
		cmd.Env = append(os.Environ(), "STYLIZE_TEST_MAIN=1")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != exitUsage || !strings.Contains(stderr.String(), c.want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("ulimit %s, %s: exit %d, %.500s", c.limit, c.args, code, &stderr)
		}
	}
}

// More threads than processors are said to be no help.
func TestManyThreads(t *testing.T) {
	samples(t)
	many := fmt.Sprint(runtime.NumCPU() + 1)
	if _, stderr := mustRun(t, "content.png", "style.jpg", "-o", "out.png", small, "-n", "1", rnd, "--threads", many); !strings.Contains(stderr, "--threads "+many+": this machine has") {
		t.Error(stderr)
	}
	if _, stderr := mustRun(t, "content.png", "style.jpg", "-o", "out.png", small, "-n", "1", rnd, "--threads", many, "-q"); stderr != "" {
		t.Errorf("quiet: %s", stderr)
	}
}

// A PNG may name any file. None is opened but those that the user means.
func TestHostileRecord(t *testing.T) {
	samples(t)
	mustRun(t, "content.png", "style.jpg", "-o", "good.png", small, quick, rnd, "-q")
	text, err := picture.ReadText("good.png")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Mkfifo("pipe", 0o666), os.Mkdir("deep", 0o777), os.Rename("content.png", "deep/content.png")); err != nil {
		t.Fatal(err)
	}
	good, err := picture.Open("good.png", 0)
	if err != nil {
		t.Fatal(err)
	}
	pixels := good.Resize(good.W, good.H, picture.Bicubic)
	absolute, _ := filepath.Abs("deep/content.png")
	for _, path := range []string{"/dev/zero", "pipe", "/proc/self/mem", "/dev/stdin", "..", "", "deep/content.png", absolute, "../" + filepath.Base(filepath.Dir(absolute)), "\x1b[2J.png", strings.Repeat("x", 1<<20), "nul\x00.png"} {
		for _, field := range []string{"content", "style", "weights"} {
			var rec map[string]any
			if err := json.Unmarshal([]byte(text), &rec); err != nil {
				t.Fatal(err)
			}
			if field == "weights" && len(path) < 9 { // weights take half a second
				continue
			}
			key := "path"
			if field == "weights" {
				key = "source"
			}
			rec[field].(map[string]any)[key] = path
			b, err := json.Marshal(rec)
			if err != nil {
				t.Fatal(err)
			}
			if err := pixels.Save("hostile.png", picture.SaveOptions{Metadata: string(b)}); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				code, _, stderr := stylize(t.Context(), "rerun", "hostile.png", "-o", "x.png", "-q")
				if code != exitUsage || strings.Count(stderr, "\n") != 1 || len(stderr) > 4*lineLength || strings.Contains(stderr, "\x1b") {
					t.Errorf("%s %.40q: exit %d, %.300q", field, path, code, stderr)
				}
			}()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatalf("%s %.40q: waits", field, path)
			}
		}
	}
}
