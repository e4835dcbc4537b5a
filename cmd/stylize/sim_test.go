//go:build cuda

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/batch"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// The same command paints on the simulated GPU, and says so.
func TestPaintOnSimulatedDevice(t *testing.T) {
	samples(t)
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
// loss scale and its ceiling go on too. Another precision or other kernels are refused.
func TestResumeOnSimulatedDevice(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute: make test-table has it, and make test the loss scale by itself (gpu/cuda) and resume on the CPU")
	}
	samples(t)
	args := []string{"content.png", "style.jpg", "--device", "sim", "--size", "16", "-n", "3", rnd} // the stop comes behind the second
	mustRun(t, append(args, "-o", "whole.png", "-q")...)
	interrupted(t, 1, append(args, "-o", "out.png", "--trace", "t.csv", "--checkpoint", "run.ckpt")...)
	c, err := readCheckpoint("run.ckpt")
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Iterations(); n < 1 || n > 2 || len(c.State.Kept) != 2 {
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

// failing is a device that is lost after some runs of its programs, as a GPU is that
// falls off the bus: it then answers nothing any more.
type failing struct {
	gpu.Device
	left *atomic.Int64
}

var errLost = errors.New("the bus has no such device any more")

func (d failing) Compile(p *gpu.Program) (gpu.Runner, error) {
	if d.left.Load() < 0 {
		return nil, errLost
	}
	r, err := d.Device.Compile(p)
	return failingRunner{r, d.left}, err
}

type failingRunner struct {
	gpu.Runner
	left *atomic.Int64
}

func (r failingRunner) Run(ctx context.Context, n int) (int, error) {
	if r.left.Add(-1) < 0 {
		return 0, errLost
	}
	return r.Runner.Run(ctx, n)
}

func (r failingRunner) ReadAt(b *gpu.Buffer, n int, dst []float32) error {
	if r.left.Load() < 0 {
		return errLost
	}
	return r.Runner.ReadAt(b, n, dst)
}

// Two simulated GPUs share a batch. One is lost in the middle: the other paints what it
// had in hand, and every picture is there once, with the bits that it has alone.
func TestBatchOnSimulatedDevices(t *testing.T) {
	const n = 10
	album(t, n)
	args := []string{"--content-weight=0", "--style-weight=0", "--size=16", "--optimizer=adam", "-n=3", rnd}
	_, stderr := mustRun(t, append([]string{"batch", "in/0[0-2].png", "--style", "style.jpg", "-o", "a/{content}.png", "--devices", "sim,sim"}, args...)...)
	if !strings.Contains(stderr, "sim:0: Simulated") || !strings.Contains(stderr, "sim:1: Simulated") || !strings.Contains(stderr, "3 painted") {
		t.Error(stderr)
	}
	mustRun(t, append([]string{"in/01.png", "style.jpg", "-o", "alone.png", "--device", "sim", "-q"}, args...)...)
	x, err := picture.Open("a/01.png", 0)
	if err != nil {
		t.Fatal(err)
	}
	y, err := picture.Open("alone.png", 0)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x.Resize(16, 16, picture.Point).RGB, y.Resize(16, 16, picture.Point).RGB) {
		t.Error("painted alone the picture differs")
	}
	// The CPU computes in another precision.
	if code, _, stderr := stylize(t.Context(), append([]string{"batch", "in", "--style", "style.jpg", "-o", "b/{content}.png", "--devices", "sim,cpu"}, args...)...); code != exitUsage || !strings.Contains(stderr, "add --precision fp32") {
		t.Errorf("exit %d: %s", code, stderr)
	}

	f := batchFlags{devices: "sim,sim", styles: []string{"style.jpg"}, machine: machineFlags{maxPixels: 1000}}
	f.output.path = "c/{content}.png"
	zero, size, three, adam := 0.0, 16, 3, "adam"
	f.picture = pictureFlags{preset: "default", contentWeight: &zero, styleWeight: &zero, size: &size, iterations: &three, optimizer: &adam}
	list, err := f.list([]string{"in"})
	if err != nil {
		t.Fatal(err)
	}
	devices, numerics, err := f.open(os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(devices)
	if numerics.Precision != "fp16" {
		t.Errorf("%+v", numerics)
	}
	if err := list.Check(batch.Checks{}); err != nil {
		t.Fatal(err)
	}
	var left atomic.Int64
	left.Store(3)                             // one picture, of two chunks, and half of the next
	devices[0].Slots, devices[1].Slots = 1, 1 // else it has several in hand, and is done with them sooner
	devices[1].Device = failing{devices[1].Device, &left}
	ended := map[string]int{}
	b := &batch.Batch{List: list, Devices: devices, Weights: weights.Random(1), Numerics: numerics, Each: func(l batch.Line) {
		if l.Status == batch.Painted {
			ended[l.Content]++
		}
	}}
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := b.Status()
	if len(ended) != n || s.Painted != n || len(results(t, "c/*")) != n || s.Devices[1].Lost == "" || s.Devices[1].Painted == 0 || s.Devices[0].Lost != "" {
		t.Errorf("%v, %+v", ended, s)
	}
	for c, n := range ended {
		if n != 1 {
			t.Errorf("%s ended %d times", c, n)
		}
	}
}
