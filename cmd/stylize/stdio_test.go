package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/transfer/picture"
)

// from has standard input be a file.
func from(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stdin
	os.Stdin = f
	t.Cleanup(func() { os.Stdin = was; f.Close() })
}

// - is standard input for either picture, and standard output for the result: the same
// pixels, and nothing else, come through.
func TestStandardInputAndOutput(t *testing.T) {
	samples(t)
	args := []string{small, "-n", "2", rnd, "--no-metadata"}
	mustRun(t, append([]string{"content.png", "style.jpg", "-o", "want.png"}, args...)...)
	want, err := os.ReadFile("want.png")
	if err != nil {
		t.Fatal(err)
	}
	for name, pictures := range map[string][]string{"content.png": {"-", "style.jpg"}, "style.jpg": {"content.png", "-"}} {
		from(t, name)
		stdout, stderr := mustRun(t, append(append(pictures, "-o", "-"), args...)...)
		if stdout != string(want) {
			t.Errorf("%s from standard input: another picture, of %d bytes", name, len(stdout))
		}
		if !strings.Contains(stderr, "iteration 2/2") || !strings.Contains(stderr, "standard output: 32x22") {
			t.Errorf("progress:\n%s", stderr)
		}
	}
	stdout, _ := mustRun(t, "content.png", "style.jpg", "-o", "-", "--format", "jpg", small, "-n", "1", rnd)
	if s, err := picture.Decode([]byte(stdout), 0); err != nil || !strings.HasPrefix(stdout, "\xff\xd8") || s.W != 32 {
		t.Errorf("as a JPEG: %v", err)
	}
	mustRun(t, "content.png", "style.jpg", "-o", "noname", "--format", "tif", small, "-n", "1", rnd)
	if b, err := os.ReadFile("noname"); err != nil || !bytes.HasPrefix(b, []byte("II*\x00")) {
		t.Errorf("a name without extension: %v", err)
	}
	// A result remembers that a picture came from there: rerun takes it from there again.
	from(t, "content.png")
	mustRun(t, "-", "style.jpg", "-o", "piped.png", small, "-n", "1", rnd)
	from(t, "content.png")
	if _, stderr := mustRun(t, "rerun", "piped.png", "-o", "again.png"); !strings.Contains(stderr, "the same picture, to the bit") {
		t.Error(stderr)
	}
	if _, stderr := mustRun(t, "rerun", "piped.png", "-o", "again.png", "--folder", "."); !strings.Contains(stderr, "the same picture, to the bit") {
		t.Error(stderr)
	}
	for content, want := range map[string]string{"": "standard input: the file is empty", "hello": "standard input: is no picture"} {
		if err := os.WriteFile("bad", []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		from(t, "bad")
		if code, _, stderr := stylize(t.Context(), "-", "style.jpg", "-o", "x.png", rnd); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("exit %d, %q, want %q", code, stderr, want)
		}
	}
}

// An interrupt ends a wait for standard input.
func TestInterruptAtStandardInput(t *testing.T) {
	samples(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	was := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = was }()
	ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	code, _, stderr := stylize(ctx, "-", "style.jpg", "-o", "out.png", small, rnd)
	if code != exitInterrupted || !strings.Contains(stderr, "interrupted while reading standard input") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// deaf is a standard output that nobody reads.
type deaf struct{}

func (deaf) Write([]byte) (int, error) { return 0, errors.New("nobody reads") }

// A picture that standard output does not take is kept, and named.
func TestStandardOutputFails(t *testing.T) {
	samples(t)
	t.Setenv("TMPDIR", t.TempDir())
	t.Setenv("TMP", os.Getenv("TMPDIR"))
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"stylize", "content.png", "style.jpg", "-o", "-", small, "-n", "1", rnd}, deaf{}, &stderr)
	m := regexp.MustCompile(`nobody reads; the picture is in (\S+\.png)`).FindStringSubmatch(stderr.String())
	if code != exitFailed || m == nil {
		t.Fatalf("exit %d: %s", code, &stderr)
	}
	if s, err := picture.Open(m[1], 0); err != nil || s.W != 32 {
		t.Errorf("%s: %v", m[1], err)
	}
}

// Standard output that is a picture which is read is left alone.
func TestStandardOutputIsAnInput(t *testing.T) {
	samples(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile("content.png")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile("content.png", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var stderr bytes.Buffer
	cmd := exec.Command(exe, "content.png", "style.jpg", "-o", "-", small, "-n", "1", rnd)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "STYLIZE_TEST_MAIN=1"), f, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitUsage || !strings.Contains(stderr.String(), "standard output is content.png, which is read") {
		t.Errorf("%v: %s", err, &stderr)
	}
	if after, _ := os.ReadFile("content.png"); !bytes.Equal(before, after) {
		t.Error("the content was changed")
	}
}
