package vgg

import (
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
)

// The indices are torchvision's; the article and the weight files speak in them.
func TestLayerTable(t *testing.T) {
	if len(Layers) != 30 {
		t.Fatalf("%d layers, want 0 to 29", len(Layers))
	}
	for name, want := range map[string]int{
		"conv1_1": 0, "relu1_1": 1, "pool1": 4, "relu2_1": 6, "pool2": 9, "relu3_1": 11, "pool3": 18,
		"relu4_1": 20, "relu4_2": 22, "pool4": 27, "conv5_1": 28, "relu5_1": 29, "fc6": -1,
	} {
		if got := Index(name); got != want {
			t.Errorf("%s is layer %d, want %d", name, got, want)
		}
	}
	values, convs := 0, 0
	for _, l := range Layers {
		if l.Kind == Conv {
			values += l.K*9*l.C + l.K
			convs++
		}
	}
	if convs != Convs || values != 12944960 {
		t.Errorf("%d convolutions with %d values, want %d with 12944960", convs, values, Convs)
	}
}

// 189.35 GFLOP forward and as much backward at 512x512, and extents that floor
// at every pool.
func TestProgramOfBothPasses(t *testing.T) {
	p := &gpu.Program{}
	x := p.NewBuffer("x", gpu.State, gpu.Shape{N: 1, H: 512, W: 512, C: 3})
	net := Forward(p, x, Shapes(), AvgPool, len(Layers)-1)
	if f := float64(p.FLOPs()); f < 189.3e9 || f > 189.4e9 {
		t.Errorf("forward takes %.2f GFLOP, want 189.35", f/1e9)
	}
	last := net.Out[29]
	d := net.Backward(func(layer int, d *gpu.Buffer) *gpu.Buffer {
		if layer == 29 {
			return last
		}
		return d
	})
	p.Output(d)
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	if f := float64(p.FLOPs()); f < 378.6e9 || f > 378.8e9 {
		t.Errorf("both passes take %.2f GFLOP, want 378.7", f/1e9)
	}
	if d.Shape != x.Shape {
		t.Errorf("the gradient is %v", d.Shape)
	}

	odd := &gpu.Program{}
	y := odd.NewBuffer("x", gpu.State, gpu.Shape{N: 2, H: 35, W: 16, C: 3})
	n := Forward(odd, y, Shapes(), AvgPool, 29)
	if got, want := n.Out[29].Shape, (gpu.Shape{N: 2, H: 2, W: 1, C: 512}); got != want {
		t.Errorf("relu5_1 of 35x16 is %v, want %v", got, want)
	}
	n.Backward(func(layer int, d *gpu.Buffer) *gpu.Buffer {
		if layer == 22 { // from the middle: deeper layers have no gradient
			return n.Out[22]
		}
		return d
	})
	if err := odd.Validate(); err != nil {
		t.Error(err)
	}
}
