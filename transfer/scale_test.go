package transfer

import (
	"flag"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

var (
	scaleSize    = flag.Int("scale-size", 64, "the side of the square pictures of TestGradientScale")
	scaleRuns    = flag.Int("scale-evaluations", 12, "how many gradients TestGradientScale looks at in each run")
	scaleWeights = flag.String("scale-weights", "random", "the weights of TestGradientScale: random, random:SEED or a file")
)

// What fp16 holds, and what record (kernels/adam.cu) makes of it: the largest value of
// the picture's gradient, times the scale, lies between half of wanted and wanted.
const (
	mostF16    = 65504
	normalF16  = 0x1p-14 // smaller ones have fewer than 11 bits,
	leastF16   = 0x1p-24 // and are multiples of this
	wanted     = 512
	firstScale = 1024 // before any gradient is known
	spare      = 16   // times the largest value, at least, that fp16 could still hold
)

// lossScale is the rule of record for one picture.
type lossScale struct{ scale, ceiling float64 }

func (s *lossScale) follow(most float64, overflow bool) {
	if overflow {
		s.scale = max(s.scale/4, 0x1p-14)
		s.ceiling = s.scale
	} else if most > 0 {
		s.ceiling = min(s.ceiling*1.0442737, 0x1p40)
		_, e := math.Frexp(min(wanted/most, s.ceiling))
		s.scale = max(math.Ldexp(1, e-1), 0x1p-14)
	}
}

// carrier is what is stored with the loss scale: the gradient of a convolution's output, or
// the matrix that a style layer's features are multiplied with.
type carrier struct {
	name   string
	buf    *gpu.Buffer
	factor float64   // of the buffer's values
	ratios []float64 // largest |value| / largest |g| of the picture's gradient, an evaluation each
	most   float64   // the largest |value| times the scale
	lost   float64   // by rounding what is below normalF16 with the scale: relative L2 error, the largest
}

// see takes an evaluation in: values, the picture's largest gradient and the scale. It
// returns the largest that is stored.
func (r *carrier) see(v []float32, g, scale float64) (most float64) {
	var top, square, lost float64
	by := scale * r.factor
	for _, x := range v {
		a := math.Abs(float64(x)) * by
		top, square = max(top, a), square+a*a
		if a < normalF16 {
			d := a - math.RoundToEven(a/leastF16)*leastF16
			lost += d * d
		}
	}
	r.ratios = append(r.ratios, top/scale/g)
	r.most = max(r.most, top)
	if square > 0 {
		r.lost = max(r.lost, math.Sqrt(lost/square))
	}
	return top
}

func (r *carrier) String() string {
	t := slices.Sorted(slices.Values(r.ratios))
	return fmt.Sprintf("| %s | %.2g | %.2g | %.2g | %.3g | %.2g |", r.name, t[0], median(t), t[len(t)-1], r.most, r.lost)
}

// watching is a device that leaves the gradients of a loop to be read.
type watching struct {
	gpu.Device
	rows []*carrier
}

func (d *watching) Compile(p *gpu.Program) (gpu.Runner, error) {
	for _, op := range p.Ops {
		switch op.Kind {
		case gpu.Conv3x3Dgrad:
			dy := p.Output(op.DY())
			d.rows = append(d.rows, &carrier{name: "dy of " + op.Name, buf: dy, factor: 1})
		case gpu.GramBwd: // the sum of a symmetric gradient and its transpose, times what a Gram matrix is
			dg, f := p.Output(op.DY()), op.X().Shape
			d.rows = append(d.rows, &carrier{name: "coefficients of " + op.Name, buf: dg, factor: 2 / (float64(f.C) * float64(f.Pixels()))})
		default:
		}
	}
	return d.Device.Compile(p)
}

// The loss scale of fp16 is chosen by the largest gradient of the picture. That holds as
// long as nothing further down, which is stored with the scale, is more than 128 times as
// large as that of the evaluation before. Here nothing comes near that, in the first
// steps of both optimizers on the sample pictures. To measure it as kernels/docs/update.md
// has it:
//
//	go test ./transfer -run TestGradientScale -v -scale-size 512 -scale-evaluations 300 -timeout 2h
func TestGradientScale(t *testing.T) {
	w, _, err := weights.Resolve(*scaleWeights)
	if err != nil {
		t.Fatal(err)
	}
	side := func(name string) *picture.Picture {
		s, err := picture.Open(filepath.Join("..", "testdata", name), 0)
		if err != nil {
			t.Fatal(err)
		}
		return s.Resize(*scaleSize, *scaleSize, picture.Bicubic)
	}
	content, style := side("content.jpg"), side("style.jpg")
	for _, preset := range []string{"classic", "default"} {
		t.Run(preset, func(t *testing.T) {
			o, err := Preset(preset)
			if err != nil {
				t.Fatal(err)
			}
			o.Size, o.Ladder, o.Iterations = *scaleSize, nil, *scaleRuns
			dev := &watching{Device: device(t)}
			s, err := NewSession(t.Context(), dev, Job{Options: o, Contents: []*picture.Picture{content}, Style: style, Weights: w})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if len(dev.rows) != 13+5 {
				t.Fatalf("%d buffers carry the loss scale", len(dev.rows))
			}
			watch(t, s, dev.rows)
		})
	}
}

// watch runs a session one evaluation at a time.
func watch(t *testing.T, s *Session, rows []*carrier) {
	t.Helper()
	scale, overflows := lossScale{firstScale, math.MaxFloat64}, 0
	values := make([][]float32, len(rows))
	for i, r := range rows {
		values[i] = make([]float32, r.buf.Shape.Elems())
	}
	var lowest, highest float64
	for n := range s.options.Iterations {
		if _, err := s.runner.Run(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		g, err := s.Read(BufDImage)
		if err != nil {
			t.Fatal(err)
		}
		var most float64
		for _, x := range g {
			most = max(most, math.Abs(float64(x)))
		}
		tops := make([]float64, len(rows))
		var wg sync.WaitGroup
		for i, r := range rows {
			if err := s.runner.Read(r.buf, values[i]); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() { tops[i] = r.see(values[i], most, scale.scale) })
		}
		wg.Wait()
		top := slices.Max(tops)
		if !(top <= mostF16) {
			overflows++
			t.Errorf("evaluation %d: %s comes to %g with a scale of %g, and fp16 to %d; the picture's gradient is %g",
				n+1, rows[slices.Index(tops, top)].name, top, scale.scale, mostF16, most)
		}
		if n == 0 || most < lowest {
			lowest = most
		}
		highest = max(highest, most)
		scale.follow(most, top > mostF16)
	}
	var table strings.Builder
	for _, r := range rows {
		if !(r.most*spare <= mostF16) {
			t.Errorf("%s comes to %g with the scale: fp16 has room for less than %d times that", r.name, r.most, spare)
		}
		fmt.Fprintf(&table, "\n%v", r)
	}
	t.Logf("%d of %d evaluations overflow; largest gradient of the picture %.3g to %.3g, scale in the end %g\n"+
		"| stored with the scale | least max/max g | median | most | most, scaled | lost below 2^-14 |\n| --- | --- | --- | --- | --- | --- |%s",
		overflows, s.options.Iterations, lowest, highest, scale.scale, table.String())
}
