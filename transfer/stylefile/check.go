package stylefile

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"

	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/safetensors"
)

// check verifies what a file says of itself.
func (f *inFile) check() error {
	if !isHash(f.Weights) {
		return fmt.Errorf("the hash of the weights is %.80q", f.Weights)
	}
	if _, err := vgg.ParsePooling(f.Pooling); err != nil || f.Pooling == "" {
		return fmt.Errorf("its pooling is %.80q, want avg or max", f.Pooling)
	}
	if n := len(f.Sizes); n == 0 || n > MaxSizes {
		return fmt.Errorf("it has %d sizes, want 1 to %d", n, MaxSizes)
	}
	for i, s := range f.Sizes {
		if !isSide(s.Size) || !isSide(s.W) || !isSide(s.H) {
			return fmt.Errorf("size %d of %dx%d cannot be", s.Size, s.W, s.H)
		}
		if i > 0 && s.Size <= f.Sizes[i-1].Size {
			return fmt.Errorf("its sizes are not in order: %d comes behind %d", s.Size, f.Sizes[i-1].Size)
		}
	}
	for _, s := range f.Sources {
		if !isHash(s.SHA256) {
			return fmt.Errorf("the hash of picture %.80q is %.80q", s.Name, s.SHA256)
		}
		if s.Width < 1 || s.Height < 1 {
			return fmt.Errorf("picture %.80q has %dx%d pixels", s.Name, s.Width, s.Height)
		}
		if !(s.Weight >= 0) || math.IsInf(s.Weight, 0) {
			return fmt.Errorf("picture %.80q has weight %v", s.Name, s.Weight)
		}
	}
	if n := len(f.Palette); n > maxPalette {
		return fmt.Errorf("its palette has %d colours, more than %d", n, maxPalette)
	}
	for _, c := range f.Palette {
		if slices.ContainsFunc(c[:], func(v float32) bool { return !(v >= 0 && v <= 1) }) {
			return fmt.Errorf("its palette has colour %v", c)
		}
	}
	return nil
}

func isSide(n int) bool { return n >= vgg.MinSide && n <= maxSide }

// isHash reports whether a text is a SHA-256 in small hexadecimal digits.
func isHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32 && hex.EncodeToString(b) == s
}

// checkTensors verifies that the tensors are those that the sizes call for, and no other.
func (f *inFile) checkTensors(all map[string]safetensors.Entry) error {
	for _, s := range f.Sizes {
		for _, l := range Layers() {
			name := tensorName(s.Size, l.Name)
			e, ok := all[name]
			if !ok {
				return damaged("%s is missing", name)
			}
			if e.DType != "F32" || !slices.Equal(e.Shape, []int{l.C, l.C}) {
				return damaged("%s is %.20q of shape %.40s, want F32 of %v", name, e.DType, fmt.Sprint(e.Shape), []int{l.C, l.C})
			}
		}
	}
	if want := len(f.Sizes) * len(Layers()); len(all) != want {
		return damaged("it has %d tensors, want %d", len(all), want)
	}
	return nil
}

// slack is how much the two halves of a matrix may differ, and an entry exceed its bound:
// what a device rounds, and fp16 in its features, is far less. Values that fp32 hardly
// holds (subnormal) may be anything.
const (
	slack    = 1e-3
	smallest = 1e-37
)

// checkGram verifies that values may be a Gram matrix. Its diagonal is not negative, and
// the matrix symmetric; with g[i,j] a sum of products, (Cauchy, Schwarz)
//
//	|g[i,j]| <= sqrt(g[i,i] g[j,j]),
//
// which is also what an asymmetry is measured by.
func checkGram(g []float32, c int) error {
	for i, v := range g {
		if v-v != 0 {
			return fmt.Errorf("value %d,%d is %v", i/c, i%c, v)
		}
	}
	root := make([]float64, c)
	for i := range root {
		v := float64(g[i*c+i])
		if v < 0 {
			return fmt.Errorf("value %d,%d of the diagonal is %v", i, i, v)
		}
		root[i] = math.Sqrt(v)
	}
	for i := range c {
		for j := range i {
			a, b, most := float64(g[i*c+j]), float64(g[j*c+i]), root[i]*root[j]
			if math.Abs(a-b) > slack*most+smallest {
				return fmt.Errorf("it is not symmetric: %v at %d,%d and %v at %d,%d", a, i, j, b, j, i)
			}
			if math.Abs(a) > (1+slack)*most+smallest {
				return fmt.Errorf("it is no Gram matrix: %v at %d,%d, where its diagonal allows %v", a, i, j, float32(most))
			}
		}
	}
	return nil
}
