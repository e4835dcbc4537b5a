package weights

import (
	"fmt"
	"math"
	"sync"
	"weak"

	"github.com/stylize-gpu/stylize/vgg"
)

// Random makes He-initialised weights: every value a sum of four uniform 16-bit
// integers (nearly normal), scaled to a standard deviation of sqrt(2/(9 C));
// biases likewise with 0.01. Features of such a network carry texture and
// palette, so it paints real pictures without any file.
//
// The numbers are a function of seed, layer and index alone, in integer and
// float64 arithmetic that any language repeats exactly:
//
//	z = mix(seed * 2^32 + tensor), tensor = 2*conv for weights, 2*conv+1 for biases
//	u = mix(z + index), index counting (K,3,3,C) row-major
//	value = float32((u0+u1+u2+u3 - 131070) * (std / 37837.22723720648))
//
// with u0..u3 the 16-bit quarters of u and mix the finaliser of SplitMix64.
//
// They are made once for all who use them at a time, and not to be changed.
func Random(seed uint32) *vgg.Weights {
	used.Lock()
	defer used.Unlock()
	if w := used.of[seed].Value(); w != nil {
		return w
	}
	w := random(seed)
	used.of[seed] = weak.Make(w)
	return w
}

// used are the random weights that somebody holds, by seed.
var used = struct {
	sync.Mutex
	of map[uint32]weak.Pointer[vgg.Weights]
}{of: map[uint32]weak.Pointer[vgg.Weights]{}}

func random(seed uint32) *vgg.Weights {
	w := &vgg.Weights{Source: fmt.Sprintf("random:%d", seed)}
	var wg sync.WaitGroup
	conv := 0
	for i, l := range vgg.Layers {
		if l.Kind != vgg.Conv {
			continue
		}
		n := conv
		conv++
		wg.Go(func() {
			cw := vgg.ConvWeights{Layer: i, W: make([]float32, l.K*9*l.C), B: make([]float32, l.K)}
			fill(cw.W, mix(uint64(seed)<<32+uint64(2*n)), math.Sqrt(2/float64(9*l.C)))
			fill(cw.B, mix(uint64(seed)<<32+uint64(2*n+1)), 0.01)
			w.Conv[n] = cw
		})
	}
	wg.Wait()
	w.SHA256 = digest(w)
	return w
}

// sumStd is the standard deviation of the sum of four uniform 16-bit integers:
// sqrt(4 (2^32 - 1) / 12).
const sumStd = 37837.22723720648

func fill(dst []float32, z uint64, std float64) {
	k := std / sumStd
	for i := range dst {
		u := mix(z + uint64(i))
		s := int64(u&0xffff) + int64(u>>16&0xffff) + int64(u>>32&0xffff) + int64(u>>48) - 131070
		dst[i] = float32(float64(s) * k)
	}
}

// mix is the output function of SplitMix64 (Steele, Lea, Flood 2014).
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
