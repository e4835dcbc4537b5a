//go:build cuda

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/transfer"
)

// The same command paints on the simulated GPU, and says so.
func TestPaintOnSimulatedDevice(t *testing.T) {
	inputs(t)
	code, stdout, stderr := stylize(t.Context(), "content.png", "style.jpg", "-o", "out.png", "--device", "sim", "--size", "16", "--iterations", "1", "--weights", "random", "--json")
	if code != 0 || !strings.Contains(stderr, "sim: Simulated sm_90a (sm_90, fp16, every check on)") {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	var rec transfer.Record
	if err := json.Unmarshal([]byte(stdout), &rec); err != nil || rec.Device.Kind != "sim" {
		t.Errorf("%v: %s", err, stdout)
	}
	if code, _, stderr := stylize(t.Context(), "content.png", "style.jpg", "-o", "out2.png", "--device", "cuda:7", "--weights", "random"); code != 2 || !strings.Contains(stderr, "--device cuda:7: no such device") {
		t.Errorf("a device that is not there: exit %d, %s", code, stderr)
	}
	if code, _, stderr := stylize(t.Context(), "content.png", "style.jpg", "-o", "out2.png", "--device", "sim", "--low-memory", "--weights", "random"); code != 2 || !strings.Contains(stderr, "--low-memory") {
		t.Errorf("a flag of the CPU: exit %d, %s", code, stderr)
	}
	if code, _, stderr := stylize(t.Context(), "content.png", "style.jpg", "-o", "out2.png", "--device", "sim", "--precision", "fp8", "--weights", "random"); code != 2 || !strings.Contains(stderr, "fp16, bf16, tf32 or fp32") {
		t.Errorf("a precision that is none: exit %d, %s", code, stderr)
	}
}
