package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
	"github.com/stylize-gpu/stylize/transfer/picture/picturetest"
)

// asFile writes a checkpoint and reads it again.
func asFile(t *testing.T, c *Checkpoint) *Checkpoint {
	t.Helper()
	got, err := fromBytes(bytesOf(t, c))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func bytesOf(t *testing.T, c *Checkpoint) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func fromBytes(b []byte) (*Checkpoint, error) {
	return ReadCheckpoint(bytes.NewReader(b), int64(len(b)))
}

// all is everything that a painting did, but for its times.
type all struct {
	points []Point
	pixels []float32
}

func (a *all) report(p Point) error {
	p.Seconds, p.Left = 0, 0
	a.points = append(a.points, p)
	return nil
}

var errStop = errors.New("enough")

// Stopped after any evaluation, on any level, and resumed from a file, a painting is
// the one that was never stopped: pixels, losses, counts.
func TestResume(t *testing.T) {
	for _, optimizer := range []string{"adam", "lbfgs"} {
		t.Run(optimizer, func(t *testing.T) { testResume(t, with(work(t), optimizer)) })
	}
}

// with is work for an optimizer.
func with(w Work, optimizer string) Work {
	w.Options.Optimizer, w.Options.History = optimizer, 0
	if optimizer == "lbfgs" {
		w.Options.History = 3 // fewer than the iterations of a level
	}
	return w
}

func testResume(t *testing.T, w Work) {
	t.Helper()
	dev := device(t)
	var whole all
	whole.pixels = pixels(t, finished(t, dev, w, nil, Hooks{Report: whole.report}))
	for stop := 1; stop <= len(whole.points); stop++ {
		p, err := NewPainting(t.Context(), dev, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got all
		err = p.Run(t.Context(), Hooks{Report: func(pt Point) error {
			_ = got.report(pt)
			if pt.Evaluation == stop {
				return errStop
			}
			return nil
		}})
		if !errors.Is(err, errStop) {
			t.Fatal(err)
		}
		c, err := p.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		// Rows that ran behind the error are behind the checkpoint too.
		got.points = slices.Clone(whole.points[:c.Evaluations])
		got.pixels = pixels(t, finished(t, dev, w, asFile(t, c), Hooks{Report: got.report}))
		if !slices.Equal(got.pixels, whole.pixels) || !reflect.DeepEqual(got.points, whole.points) {
			t.Errorf("stopped after %d: another painting", stop)
		}
	}
}

// The same for checkpoints that are made on the way, and when a context ends it.
func TestResumeOnTheWay(t *testing.T) {
	dev, w := device(t), work(t)
	w.Options.Until = untilPlateau // its losses are in the checkpoint
	want := pixels(t, finished(t, dev, w, nil, Hooks{}))
	var files [][]byte
	finished(t, dev, w, nil, Hooks{Checkpoint: func(c *Checkpoint) { files = append(files, bytesOf(t, c)) }})
	if len(files) < 4 {
		t.Fatalf("%d checkpoints", len(files))
	}
	for i, b := range files {
		c, err := fromBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(pixels(t, finished(t, dev, w, c, Hooks{})), want) {
			t.Errorf("from checkpoint %d, of iteration %d: another picture", i, c.Iterations())
		}
	}
	// Wherever a context is done: before a level, in its targets, between steps.
	every, dense := 37, 110
	if testing.Short() {
		every, dense = 74, 103
	}
	for k := range 400 {
		if k%every > 2 && (k <= 100 || k >= dense) { // each takes a run
			continue
		}
		ctx := &countdown{t.Context(), k * 3}
		p, err := NewPainting(t.Context(), dev, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err = p.Run(ctx, Hooks{}); err == nil {
			p.Close()
			break
		} else if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		c, err := p.Checkpoint()
		if p.Close(); err != nil { // nothing was painted yet
			continue
		}
		if !slices.Equal(pixels(t, finished(t, dev, w, asFile(t, c), Hooks{})), want) {
			t.Errorf("done at look %d, after %d iterations: another picture", 3*k, c.Iterations())
		}
	}
}

// countdown is a context that is done when it was looked at so many times.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// What a painting may not go on with is refused, by name.
func TestResumeRefuses(t *testing.T) {
	dev, w := device(t), work(t)
	c := half(t, dev, w)
	sets := loops.Sets() // a build without C has one, whose bits nothing but LowMemory changes
	other, err := cpu.New(cpu.Options{Set: sets[len(sets)-1].Name})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	lean, err := cpu.New(cpu.Options{LowMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	defer lean.Close()
	changes := map[string]func(w *Work, dev *gpu.Device){
		"content":    func(w *Work, _ *gpu.Device) { w.Content = picturetest.Source(t, 40, 24, 3) },
		"style":      func(w *Work, _ *gpu.Device) { w.Styles = OneStyle(picturetest.Source(t, 30, 36, 3)) },
		"init":       func(w *Work, _ *gpu.Device) { w.Init = picturetest.Source(t, 30, 36, 3) },
		"weights":    func(w *Work, _ *gpu.Device) { v := *w.Weights; v.SHA256 = "other"; w.Weights = &v },
		"options":    func(w *Work, _ *gpu.Device) { w.Options.LR = 0.02 },
		"device":     func(_ *Work, dev *gpu.Device) { *dev = other },
		"the device": func(_ *Work, dev *gpu.Device) { *dev = lean },
	}
	if len(sets) == 1 {
		delete(changes, "device")
	}
	for what, change := range changes {
		v, d := w, gpu.Device(dev)
		change(&v, &d)
		_, err := NewPainting(t.Context(), d, v, c)
		var bad *MismatchError
		if !errors.As(err, &bad) || bad.What != strings.TrimPrefix(what, "the ") || bad.Was == bad.Is {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := NewPainting(t.Context(), dev, w, c); err != nil {
		t.Error(err)
	}
}

// half is a checkpoint on the second level.
func half(t *testing.T, dev gpu.Device, w Work) *Checkpoint {
	t.Helper()
	p, err := NewPainting(t.Context(), dev, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	err = p.Run(t.Context(), Hooks{Report: func(pt Point) error {
		if pt.Evaluation == 6 {
			return errStop
		}
		return nil
	}})
	if !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	c, err := p.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Damage is one clear line, wherever it is.
func TestDamagedCheckpoints(t *testing.T) {
	dev, w := device(t), work(t)
	whole := bytesOf(t, half(t, dev, w))
	for n := 0; n < len(whole); n += 1 + n/7 {
		if _, err := fromBytes(whole[:n]); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("cut off at %d: %v", n, err)
		}
	}
	// A flipped bit among the values.
	for _, at := range []int{len(whole) - 1, len(whole) - 5000} {
		b := slices.Clone(whole)
		b[at] ^= 1
		if _, err := fromBytes(b); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("bit of byte %d: %v", at, err)
		}
	}
	for name, c := range map[string]struct {
		change func(c *Checkpoint)
		want   string
	}{
		"NaN":             {func(c *Checkpoint) { c.State.Buffers[BufM][7] = float32(math.NaN()) }, "value 7 is NaN"},
		"infinity":        {func(c *Checkpoint) { c.State.Buffers[BufImage][0] = float32(math.Inf(1)) }, "value 0 is +Inf"},
		"size":            {func(c *Checkpoint) { c.Record.Options.Size = 1 << 20 }, "Size 1048576"},
		"level":           {func(c *Checkpoint) { c.Level = 2 }, "level 2 cannot be"},
		"iterations":      {func(c *Checkpoint) { c.Done[1] = 6 }, "iterations of a level 6"},
		"negative":        {func(c *Checkpoint) { c.Done[0] = -1 }, "iterations of a level -1"},
		"levels":          {func(c *Checkpoint) { c.Done = c.Done[:1] }, "number of levels 1"},
		"halvings":        {func(c *Checkpoint) { c.Halved = 99 }, "halvings 99"},
		"another program": {func(c *Checkpoint) { c.Record.Program = "x" }, "another program"},
		"another version": {func(c *Checkpoint) { c.Record.Version = "later" }, ""},
		"a loss of a refused point": {func(c *Checkpoint) {
			c.Last.Refused, c.Last.Total, c.Last.Terms = true, math.Inf(1), []float64{1, math.Inf(1)}
		}, ""},
		"no picture":       {func(c *Checkpoint) { delete(c.State.Buffers, BufImage) }, "no picture"},
		"a short picture":  {func(c *Checkpoint) { c.State.Buffers[BufImage] = c.State.Buffers[BufImage][3:] }, "image of 1821 values"},
		"a strange buffer": {func(c *Checkpoint) { c.State.Buffers["pairs"] = []float32{1} }, "pairs of 1 values"},
		"a strange step":   {func(c *Checkpoint) { c.State.Buffers[BufStep][0] = 2.5 }, "step 2.5"},
	} {
		ck, err := fromBytes(whole)
		if err != nil {
			t.Fatal(err)
		}
		c.change(ck)
		got, err := fromBytes(bytesOf(t, ck))
		if err == nil {
			_, err = NewPainting(t.Context(), dev, w, got)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for name, change := range map[string]func(js string) string{
		"written by another version": func(js string) string { return strings.Replace(js, `\"format\":1`, `\"format\":2`, 1) },
		"the version differs": func(js string) string {
			return strings.Replace(js, Arithmetic, strings.Repeat("0", len(Arithmetic)), 1)
		},
		"no checkpoint of stylize": func(js string) string { return strings.Replace(js, metaKey, strings.Repeat("x", len(metaKey)), 1) },
	} {
		if _, err := fromBytes([]byte(change(string(whole)))); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is read from any file can be written again, and takes no more memory than
// the file is long.
func FuzzCheckpoint(f *testing.F) {
	o, err := Preset("classic")
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	c := &Checkpoint{Record: Record{Program: "stylize", Options: o}, Tool: json.RawMessage(`{}`), position: position{
		Done: []int{1}, Evaluations: 1, State: &State{Buffers: map[string][]float32{BufImage: {0.5}}}, Good: []float32{1},
	}}
	if err := c.Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := fromBytes(b)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an error without a word")
			}
			return
		}
		if c.Record.Options.Validate() != nil || c.State == nil || c.Level >= len(c.Done) {
			t.Errorf("accepted %+v", c)
		}
		var again bytes.Buffer
		if err := c.Write(&again); err != nil {
			t.Fatal(err)
		}
		if _, err := fromBytes(again.Bytes()); err != nil {
			t.Fatal(err)
		}
	})
}

// Seconds add up over processes.
func TestSecondsGoOn(t *testing.T) {
	dev, w := device(t), work(t)
	c := half(t, dev, w)
	c.Seconds = 1000
	w.Started = time.Now()
	p := finished(t, dev, w, asFile(t, c), Hooks{})
	if s := p.Last().Seconds; s < 1000 || s > 1100 {
		t.Errorf("%g seconds", s)
	}
	if got := fmt.Sprint(p.Levels()); got != "[{20 4} {32 5}]" {
		t.Error(got)
	}
}
