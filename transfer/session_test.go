package transfer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/cpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
	"github.com/stylize-gpu/stylize/kernels/kerneltest"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// randomWeights take a second to make.
var randomWeights = sync.OnceValue(func() *vgg.Weights { return weights.Random(0) })

func flat(w, h int, seed float64) *picture.Picture {
	p := &picture.Picture{W: w, H: h, RGB: make([]float32, 3*w*h)}
	for i := range p.RGB {
		p.RGB[i] = float32(0.5 + 0.4*math.Sin(seed+float64(i)*0.37*seed))
	}
	return p
}

// packed is a device that stays open, with the packed weights of all others.
var packed = sync.OnceValues(func() (*cpu.Device, error) { return cpu.New(cpu.Options{}) })

// device opens the CPU with as many threads as Go may use, or with some: as a lane,
// because to pack the weights takes longer than what most tests do.
func device(t *testing.T, threads ...int) *cpu.Device {
	t.Helper()
	d, err := packed()
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Lane(append(threads, runtime.GOMAXPROCS(0))[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func small(t *testing.T, n int) Job {
	t.Helper()
	o, err := Preset("classic")
	if err != nil {
		t.Fatal(err)
	}
	o.Iterations = n
	return Job{Options: o, Contents: []*picture.Picture{flat(32, 20, 1)}, Style: flat(24, 32, 2), Weights: randomWeights()}
}

// Whole runs give the bits that were recorded, with every instruction set.
func TestRecordedBits(t *testing.T) {
	for _, set := range loops.Sets() {
		dev, err := cpu.New(cpu.Options{Set: set.Name})
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		bits := kerneltest.NewBits(t, "cpu-"+set.Name, loops.Compiler())
		for _, c := range []struct {
			preset  string
			n, w, h int
		}{{"classic", 1, 64, 48}, {"classic", 1, 97, 61}, {"classic", 2, 32, 20}, {"article", 1, 48, 48}, {"default", 2, 64, 48}} {
			o, err := Preset(c.preset)
			if err != nil {
				t.Fatal(err)
			}
			o.Iterations, o.Size, o.Ladder = 3, c.w, nil
			job := Job{Options: o, Style: flat(40, 33, 2), Weights: randomWeights()}
			for i := range c.n {
				job.Contents = append(job.Contents, flat(c.w, c.h, float64(1+2*i)))
			}
			s, err := NewSession(t.Context(), dev, job)
			if err != nil {
				t.Fatal(err)
			}
			var losses []float32
			if err := s.Run(t.Context(), func(rows []Row) error {
				for _, r := range rows {
					losses = append(losses, float32(r.Content), float32(r.Style), float32(r.TV))
				}
				return nil
			}, 0, nil); err != nil {
				t.Fatal(err)
			}
			image, err := s.Read(BufImage)
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			name := fmt.Sprintf("transfer %s %dx%dx%d", c.preset, c.n, c.w, c.h)
			bits.Same(t, name, "all", kerneltest.Hash(kerneltest.Hash(0, losses), image))
		}
	}
}

// More iterations than the ring holds, in chunks: every row once, in order.
func TestEveryRowOnce(t *testing.T) {
	ctx, job := context.Background(), small(t, RingRows+9)
	job.Options.ContentWeight, job.Options.StyleWeight = 0, 0 // TV alone is fast
	s, err := NewSession(ctx, device(t), job)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	next, saves := 1, []int{}
	last := math.Inf(1)
	err = s.Run(ctx, func(rows []Row) error {
		if rows[0].Iteration != next || rows[0].Content != 0 || rows[0].Total != rows[0].TV {
			t.Errorf("row %+v, want iteration %d", rows[0], next)
		}
		last = rows[0].TV
		next++
		return nil
	}, 20, func(it int) error { saves = append(saves, it); return nil })
	if err != nil || next != RingRows+10 || !slices.Equal(saves, []int{20, 40, 60}) {
		t.Fatalf("%v, next %d, saves %v", err, next, saves)
	}
	if !(last > 0) {
		t.Errorf("smoothness ended at %v", last)
	}
}

func TestReportCanStop(t *testing.T) {
	ctx, stop := context.Background(), errors.New("enough")
	s, err := NewSession(ctx, device(t), small(t, 9))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Run(ctx, func(r []Row) error {
		if r[0].Iteration == 2 {
			return stop
		}
		return nil
	}, 0, nil)
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

// The losses go down: the point of it all.
func TestLossesFall(t *testing.T) {
	ctx := context.Background()
	s, err := NewSession(ctx, device(t), small(t, 30))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var first, last Row
	if err := s.Run(ctx, func(r []Row) error {
		if r[0].Iteration == 1 {
			first = r[0]
		}
		last = r[0]
		return nil
	}, 0, nil); err != nil {
		t.Fatal(err)
	}
	if !(last.Style < 0.5*first.Style) {
		t.Errorf("style loss went from %g to %g in 30 iterations", first.Style, last.Style)
	}
}

func TestSessionRefuses(t *testing.T) {
	ctx, dev := context.Background(), device(t)
	for name, change := range map[string]func(j *Job){
		"no contents":    func(j *Job) { j.Contents = nil },
		"no style":       func(j *Job) { j.Style = nil },
		"no weights":     func(j *Job) { j.Weights = nil },
		"tiny":           func(j *Job) { j.Contents = []*picture.Picture{flat(15, 40, 1)} },
		"mixed extents":  func(j *Job) { j.Contents = append(j.Contents, flat(16, 16, 1)) },
		"no iterations":  func(j *Job) { j.Options.Iterations = 0 },
		"nothing to do":  func(j *Job) { j.Options.ContentWeight, j.Options.StyleWeight, j.Options.TVWeight = 0, 0, 0 },
		"not a number":   func(j *Job) { j.Options.LR = math.NaN() },
		"empty init":     func(j *Job) { j.Options.Init = "" },
		"strange output": func(j *Job) { j.Options.OutputSize = "12x" },
	} {
		job := small(t, 1)
		change(&job)
		if s, err := NewSession(ctx, dev, job); err == nil {
			s.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzRecord(f *testing.F) {
	o, err := Preset("classic")
	if err != nil {
		f.Fatal(err)
	}
	text, err := Record{Program: "stylize", Options: o}.Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("{}")
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := ParseRecord(s); err == nil && r.Options.Validate() != nil {
			t.Error("accepted options that are not valid")
		}
	})
}
