// Package vgg is the part of VGG19 that style transfer reads: layers 0 to 29
// of torchvision's `features`, with 2x2 average pooling in place of max
// pooling. [Forward] and [Backward] write them into a [gpu.Program]; weights
// come from vgg/weights.
//
// It imports gpu.
package vgg

import (
	"fmt"

	"github.com/stylize-gpu/stylize/gpu"
)

// Kind of a layer.
type Kind uint8

// The kinds.
const (
	Conv Kind = iota // 3x3, stride 1, pad 1, bias
	ReLU
	Pool // 2x2 average, stride 2
)

// Layer is one entry of `features`; its index in [Layers] is torchvision's.
type Layer struct {
	Kind Kind
	Name string // "conv1_1", "relu1_1", "pool1"
	C, K int    // channels in and out
}

// Layers holds layers 0 to 29. Style is read at relu1_1, relu2_1, relu3_1,
// relu4_1 and relu5_1 (1, 6, 11, 20, 29), content at relu4_2 (22).
var Layers = makeLayers()

// Convs is how many of Layers are convolutions.
const Convs = 13

func makeLayers() (all []Layer) {
	blocks := []struct{ convs, channels int }{{2, 64}, {2, 128}, {4, 256}, {4, 512}, {1, 512}}
	c := 3
	for i, b := range blocks {
		if i > 0 {
			all = append(all, Layer{Pool, fmt.Sprintf("pool%d", i), c, c})
		}
		for j := range b.convs {
			name := fmt.Sprintf("%d_%d", i+1, j+1)
			all = append(all, Layer{Conv, "conv" + name, c, b.channels}, Layer{ReLU, "relu" + name, b.channels, b.channels})
			c = b.channels
		}
	}
	return all
}

// Index returns the layer with a name, or -1.
func Index(name string) int {
	for i, l := range Layers {
		if l.Name == name {
			return i
		}
	}
	return -1
}

// Mean and Std are those of torchvision's training pictures, RGB in [0,1].
var (
	Mean = []float32{0.485, 0.456, 0.406}
	Std  = []float32{0.229, 0.224, 0.225}
)

// ConvWeights belong to one convolution.
type ConvWeights struct {
	Layer int       // index in Layers
	W     []float32 // (K,3,3,C)
	B     []float32 // (K)
}

// Weights are the 13 convolutions in order: 12,944,960 values, 51.8 MB.
type Weights struct {
	Conv   [Convs]ConvWeights
	Source string // what a person would call it: a path, "random:0"
	SHA256 string // of the values in order, hexadecimal: the identity that results are stored with

	Converted string // what was done to the values of the file, for a person; empty for nothing
}

// MinSide is the smallest picture side that survives the four pools.
const MinSide = 16

// Pooling is how layers 4, 9, 18 and 27 halve a picture.
type Pooling uint8

// The poolings.
const (
	AvgPool Pooling = iota // the mean of 2x2 values, as the article has it: gradients reach every pixel
	MaxPool                // the largest of them, as the network was trained
)

// ParsePooling reads avg or max; the empty string is avg.
func ParsePooling(s string) (Pooling, error) {
	switch s {
	case "", "avg":
		return AvgPool, nil
	case "max":
		return MaxPool, nil
	}
	return 0, fmt.Errorf("pooling %q: want avg or max", s)
}

// Net is a forward pass in a program: the buffers behind each layer.
type Net struct {
	p    *gpu.Program
	x    *gpu.Buffer
	pool Pooling
	Out  []*gpu.Buffer // by layer index, up to the last layer built
	w, b [Convs]*gpu.Buffer
}

// Forward adds layers 0 to last (inclusive) on x: pictures (N,H,W,3) in [0,1].
func Forward(p *gpu.Program, x *gpu.Buffer, w *Weights, pool Pooling, last int) *Net {
	n := &Net{p: p, x: x, pool: pool}
	t := p.NormalizeFwd("normalize", x, Mean, Std)
	conv := 0
	for i, l := range Layers[:last+1] {
		switch l.Kind {
		case Conv:
			cw := &w.Conv[conv]
			n.w[conv] = p.NewConst(l.Name+".weight", gpu.Shape{N: l.K, H: 3, W: 3, C: l.C}, cw.W)
			n.b[conv] = p.NewConst(l.Name+".bias", gpu.Shape{N: 1, H: 1, W: 1, C: l.K}, cw.B)
			t = p.Conv3x3Fprop(l.Name, t, n.w[conv], n.b[conv])
			conv++
		case ReLU:
			t = p.ReLUFwd(l.Name, t)
		case Pool:
			if pool == MaxPool {
				t = p.MaxPool2x2Fwd(l.Name, t)
			} else {
				t = p.AvgPool2x2Fwd(l.Name, t)
			}
		}
		n.Out = append(n.Out[:i], t)
	}
	return n
}

// Grad adds a term of the gradient at the output of a layer. It is called by
// Backward right before it needs the term, so that it can be built there and
// live briefly; d is the gradient so far, nil for the first.
type Grad func(layer int, d *gpu.Buffer) *gpu.Buffer

// Backward adds the gradient of everything that grad injects, with respect to
// x. grad is asked at every layer from the last one down and returns d itself
// where it has nothing to add.
func (n *Net) Backward(grad Grad) *gpu.Buffer {
	var d *gpu.Buffer
	p, conv := n.p, 0
	for _, l := range Layers[:len(n.Out)] {
		if l.Kind == Conv {
			conv++
		}
	}
	for i := len(n.Out) - 1; i >= 0; i-- {
		if d = grad(i, d); d == nil {
			if Layers[i].Kind == Conv {
				conv--
			}
			continue
		}
		l := Layers[i]
		switch l.Kind {
		case Conv:
			conv--
			d = p.Conv3x3Dgrad(l.Name, d, n.w[conv])
		case ReLU:
			d = p.ReLUBwd(l.Name, d, n.Out[i])
		case Pool:
			if in := n.Out[i-1]; n.pool == MaxPool {
				d = p.MaxPool2x2Bwd(l.Name, d, in)
			} else {
				d = p.AvgPool2x2Bwd(l.Name, d, in.Shape.H, in.Shape.W)
			}
		}
	}
	return p.NormalizeBwd("normalize", d, Std)
}

// Shapes returns weights that have every extent and no values of their own:
// enough to plan a program, not to run it. The layers share one zeroed slice,
// each from another place, since a device knows weights by where they lie.
func Shapes() *Weights {
	w := &Weights{Source: "shapes only"}
	zero := make([]float32, 512*9*512+Convs)
	conv := 0
	for i, l := range Layers {
		if l.Kind == Conv {
			w.Conv[conv] = ConvWeights{Layer: i, W: zero[conv:][:l.K*9*l.C], B: zero[conv:][:l.K]}
			conv++
		}
	}
	return w
}
