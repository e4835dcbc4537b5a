//go:build cuda

package main

import (
	"bytes"
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

// Stopped and resumed on the simulated GPU, a run ends with the same picture; the
// loss scale goes on too. Another precision or other kernels are refused.
func TestResumeOnSimulatedDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute: make test-runs has it, and make test the loss scale by itself (gpu/cuda) and resume on the CPU")
	}
	inputs(t)
	args := []string{"content.png", "style.jpg", "--device", "sim", "--size", "16", "-n", "3", rnd} // the stop comes behind the second
	mustRun(t, append(args, "-o", "whole.png", "-q")...)
	interrupted(t, 1, append(args, "-o", "out.png", "--trace", "t.csv", "--checkpoint", "run.ckpt")...)
	c, err := readCheckpoint("run.ckpt")
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Iterations(); n < 1 || n > 2 || len(c.State.Kept) != 1 {
		t.Errorf("%d iterations, kept %v", n, c.State.Kept)
	}
	for _, flags := range [][]string{{"--precision", "bf16"}, {"--kernels", "sm80"}} {
		code, _, stderr := stylize(t.Context(), append([]string{"resume", "run.ckpt", "--device", "sim"}, flags...)...)
		if code != exitUsage || !strings.Contains(stderr, "run.ckpt was begun on sim sm_90, fp16, kernels sm90a, this is sim sm_90, ") {
			t.Errorf("%v: exit %d, %s", flags, code, stderr)
		}
	}
	mustRun(t, "resume", "run.ckpt", "-q")
	if !bytes.Equal(read(t, "out.png"), read(t, "whole.png")) {
		t.Error("another picture")
	}
}
