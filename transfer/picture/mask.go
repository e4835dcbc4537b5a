package picture

import (
	"errors"
	"fmt"
	"math"
)

// Mask says how much of each pixel belongs to a region: (H,W), 0 for none to 1 for all.
type Mask struct {
	W, H int
	V    []float32
}

// SameAspect checks that the source, as a mask, may be laid on a picture of w by h pixels.
// Both are thought scaled to the longest side of the smaller; there no side may differ by
// more than one pixel, which is what rounding an extent takes.
//
// It is asked with the extent of the picture's own file: a working size may have another
// aspect, by a smallest side or as a square.
func (s *Source) SameAspect(w, h int) error {
	long := float64(min(max(s.W, s.H), max(w, h)))
	a, b := long/float64(max(s.W, s.H)), long/float64(max(w, h))
	if math.Abs(float64(s.W)*a-float64(w)*b) > 1 || math.Abs(float64(s.H)*a-float64(h)*b) > 1 {
		return fmt.Errorf("has another aspect than its picture: %dx%d, the picture has %dx%d; crop it to that aspect", s.W, s.H, w, h)
	}
	return nil
}

// Mask is the source as a mask of w by h pixels. A pixel counts by its luma,
//
//	0.2126 R + 0.7152 G + 0.0722 B   of the sRGB values as they are,
//
// times its alpha. Shrinking takes the mean over the area of a pixel, enlarging goes
// linearly from one to the next. A mask that covers nothing is an error. Whether it has the
// picture's aspect is for [Source.SameAspect].
func (s *Source) Mask(w, h int) (*Mask, error) {
	m := s.plane(w, h, func(p []float32) float64 { return luma(p) * unit(p[3]) })
	if !m.covers() {
		return nil, errors.New("it covers nothing: it is black everywhere")
	}
	return m, nil
}

// Alpha is the source's own alpha as a mask of w by h pixels, 1 everywhere where the file
// has none. One that covers nothing is an error.
func (s *Source) Alpha(w, h int) (*Mask, error) {
	m := s.plane(w, h, func(p []float32) float64 { return unit(p[3]) })
	if !m.covers() {
		return nil, errors.New("it covers nothing: it is transparent everywhere")
	}
	return m, nil
}

func luma(p []float32) float64 {
	return 0.2126*unit(p[0]) + 0.7152*unit(p[1]) + 0.0722*unit(p[2])
}

// unit brings a value into [0,1]; what is no number is 0.
func unit(v float32) float64 {
	if !(v > 0) {
		return 0
	}
	return min(float64(v), 1)
}

func (m *Mask) covers() bool {
	for _, v := range m.V {
		if v > 0 {
			return true
		}
	}
	return false
}

// plane resamples what of says of each RGBA pixel.
func (s *Source) plane(w, h int, of func(rgba []float32) float64) *Mask {
	return separable(s.W, s.H, coverage(s.W, w), coverage(s.H, h), func() func(y int, dst []float64) {
		line := make([]float32, 4*s.W)
		return func(y int, dst []float64) {
			s.row(y, line)
			for x := range dst {
				dst[x] = of(line[4*x : 4*x+4])
			}
		}
	})
}

// row converts one row, as Source.row does.
func (m *Mask) row(y int, dst []float64) {
	for x := range dst {
		dst[x] = float64(m.V[y*m.W+x])
	}
}

// Feather blurs the rim of a region: a Gaussian of standard deviation radius/2 pixels, cut
// off at four of them, whose weights are normalised over the pixels that exist. A radius of
// 0 or less, or one that is no number, gives the mask itself.
func (m *Mask) Feather(radius float64) *Mask {
	if !(radius > 0) || len(m.V) == 0 {
		return m
	}
	rows := func() func(int, []float64) { return m.row }
	return separable(m.W, m.H, gaussian(m.W, radius/2), gaussian(m.H, radius/2), rows)
}

// span is the source positions and weights of one output position, in float64: a mask of
// ones has to stay one of ones.
type span struct {
	from int
	w    []float64
}

// coverage resamples n positions to out. Where it shrinks, a weight is the share of the
// output's extent that a source position covers; where it enlarges, it is linear between
// the centres of two.
func coverage(n, out int) []span {
	s, scale := make([]span, out), float64(n)/float64(out)
	for i := range s {
		if scale < 1 {
			at := min(max((float64(i)+0.5)*scale-0.5, 0), float64(n-1))
			lo := min(int(at), max(n-2, 0))
			s[i] = span{lo, []float64{1 - (at - float64(lo)), at - float64(lo)}[:min(n, 2)]}
			continue
		}
		lo, hi := float64(i)*scale, float64(i+1)*scale
		s[i].from = int(lo)
		for j := s[i].from; j < n && float64(j) < hi; j++ {
			s[i].w = append(s[i].w, (min(hi, float64(j+1))-max(lo, float64(j)))/scale)
		}
	}
	return s
}

// gaussian blurs n positions.
func gaussian(n int, sigma float64) []span {
	s, reach := make([]span, n), int(min(math.Ceil(4*sigma), float64(n)))
	for i := range s {
		lo, hi := max(i-reach, 0), min(i+reach+1, n)
		s[i] = span{lo, make([]float64, hi-lo)}
		sum := 0.0
		for j := range s[i].w {
			d := float64(lo+j-i) / sigma
			s[i].w[j] = math.Exp(-d * d / 2)
			sum += s[i].w[j]
		}
		for j := range s[i].w {
			s[i].w[j] /= sum
		}
	}
	return s
}

// separable filters a plane of w by h values, first its rows and then its columns. rows
// gives each goroutine a function of its own, which fills in a row.
func separable(w, h int, across, down []span, rows func() func(y int, dst []float64)) *Mask {
	m := &Mask{W: len(across), H: len(down)}
	m.V = make([]float32, m.W*m.H)
	mid := make([]float64, h*m.W)
	parallel(h, func(lo, hi int) {
		line, row := make([]float64, w), rows()
		for y := lo; y < hi; y++ {
			row(y, line)
			for x, t := range across {
				for j, k := range t.w {
					mid[y*m.W+x] += k * line[t.from+j]
				}
			}
		}
	})
	parallel(m.H, func(lo, hi int) {
		sum := make([]float64, m.W)
		for y := lo; y < hi; y++ {
			clear(sum)
			for j, k := range down[y].w {
				for x, v := range mid[(down[y].from+j)*m.W:][:m.W] {
					sum[x] += k * v
				}
			}
			for x, v := range sum {
				m.V[y*m.W+x] = clamp(float32(v))
			}
		}
	})
	return m
}
