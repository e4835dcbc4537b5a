package weights

import (
	"math"
	"strings"

	"github.com/stylize-gpu/stylize/vgg"
)

// The weights that the authors of VGG trained with Caffe take pictures of 0 to 255, blue
// first, less a mean:
//
//	y_k = b_k + sum_crs W_kcrs (255 x_c - M_c)        x RGB in [0,1]
//
// Ours take t_c = (x_c - m_c)/s_c, so 255 x_c - M_c = 255 s_c t_c + (255 m_c - M_c), and the
// same y comes from
//
//	W'_kcrs = 255 s_c W_kcrs        b'_k = b_k + sum_c (255 m_c - M_c) sum_rs W_kcrs
//
// with the planes of W in the order of RGB. All of it is done in float64 and rounded once.
// It holds but for the outermost pixels: where Caffe pads with 0, that is M_c, we pad with
// 255 m_c, at most half a level away.
//
// Caffe's activations are some fifty times those of torchvision's network. Dividing W' and
// every bias by d divides the output of every layer by d, since ReLU and both poolings are
// homogeneous. d is the power of two that brings conv1_1 next to He's deviation,
// sqrt(2/27): nothing is lost, raw weights of losses mean about what they mean with
// torchvision's, and fp16 is not left.
const caffeSide = 255

// caffeMean is M, in the order of RGB.
var caffeMean = [3]float64{123.68, 116.779, 103.939}

// caffeHash begins the SHA-256, and ends the name, of the file in which Caffe's weights are
// known to stand under torchvision's names: vgg19-d01eb7cb.pth of jcjohnson/pytorch-vgg.
const caffeHash = "d01eb7cb"

// he is the deviation that He's rule gives conv1_1.
var he = math.Sqrt(2. / 27)

// caffeScale is the root mean square of conv1_1 below which it can only be meant for
// pictures of 0 to 255: those for a deviation of 1 are near he, those that give the same
// from 0 to 255 a sixtieth of it. Caffe's own are as large as torchvision's, because all
// that follows is as large too: those are told by their names.
var caffeScale = he / 24

// isCaffe reports whether weights, in our layout but not yet converted, are Caffe's.
func isCaffe(w *vgg.Weights, n naming, path string) bool {
	return n.caffe || strings.Contains(path, caffeHash) || rms(w.Conv[0].W) < caffeScale
}

func rms(v []float32) float64 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum / float64(len(v)))
}

// fromCaffe converts weights in place, and returns d.
func fromCaffe(w *vgg.Weights) float64 {
	first := &w.Conv[0] // (K,3,3,C), blue first
	wide := make([]float64, len(first.W))
	bias := make([]float64, len(first.B))
	for k := range bias {
		bias[k] = float64(first.B[k])
	}
	sum := 0.0
	for i := range first.W {
		c := i % 3
		v := float64(first.W[i-c+2-c])
		wide[i] = caffeSide * float64(vgg.Std[c]) * v
		bias[i/27] += (caffeSide*float64(vgg.Mean[c]) - caffeMean[c]) * v
		sum += wide[i] * wide[i]
	}
	d := 1.0
	if ratio := math.Sqrt(sum/float64(len(wide))) / he; ratio > 0 {
		d = math.Exp2(math.Round(math.Log2(ratio)))
	}
	for i, v := range wide {
		first.W[i] = float32(v / d)
	}
	for k, v := range bias {
		first.B[k] = float32(v / d)
	}
	for i := range w.Conv[1:] {
		for k, v := range w.Conv[1+i].B {
			w.Conv[1+i].B[k] = float32(float64(v) / d)
		}
	}
	return d
}
