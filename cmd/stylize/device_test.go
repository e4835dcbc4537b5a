package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
)

// The choices of kernels are kept when a device has made some, and read again;
// a cache that is damaged costs time and nothing else.
func TestChoicesAreKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new folder", "kernels.json")
	if c, err := readChoices(path); err != nil || c.Changed() {
		t.Fatalf("no file yet: %v", err)
	}
	device := func(c *plan.Choices, path string, stderr *bytes.Buffer) gpu.Device {
		d, err := cpu.New(cpu.Options{Threads: 1}) // any device: it is closed, no more
		if err != nil {
			t.Fatal(err)
		}
		return &choosing{d, c, path, stderr}
	}
	var stderr bytes.Buffer
	if err := device(&plan.Choices{}, path, &stderr).Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("nothing was chosen, and a file is written")
	}
	c := &plan.Choices{}
	c.Set("a GPU", "a layer", "a kernel")
	if err := device(c, path, &stderr).Close(); err != nil {
		t.Fatal(err)
	}
	again, err := readChoices(path)
	if err != nil || again.Get("a GPU", "a layer") != "a kernel" || stderr.Len() > 0 {
		t.Errorf("read back %q: %v %s", again.Get("a GPU", "a layer"), err, &stderr)
	}
	if err := os.WriteFile(path, []byte("{damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readChoices(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a damaged file: %v", err)
	}
	blocked := filepath.Join(path, "below a file", "kernels.json")
	if err := device(c, blocked, &stderr).Close(); err != nil || !strings.Contains(stderr.String(), "are not kept") {
		t.Errorf("a place that cannot be written: %v %q", err, stderr.String())
	}
}
