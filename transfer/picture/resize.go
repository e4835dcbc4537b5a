package picture

import (
	"math"
	"runtime"
	"sync"
)

// Picture is fp32 RGB, (H,W,3) in [0,1], not premultiplied.
type Picture struct {
	W, H  int
	RGB   []float32
	Alpha []float32 // (H,W), nil when opaque
}

// Filter is a resampling kernel.
type Filter struct {
	radius    float64
	antialias bool // widen by the scale when shrinking
	at        func(x float64) float64
	bytes     bool // a source is resized in 8 bits, and rounds to them between its passes
}

var (
	// Bicubic is Keys' cubic with a = -0.5, widened when shrinking (PIL's BICUBIC).
	Bicubic = Filter{radius: 2, antialias: true, at: func(x float64) float64 {
		switch x = math.Abs(x); {
		case x < 1:
			return (1.5*x-2.5)*x*x + 1
		case x < 2:
			return ((-0.5*x+2.5)*x-4)*x + 2
		}
		return 0
	}}
	// Bilinear is a triangle, widened when shrinking (PIL's BILINEAR, what
	// torchvision's Resize does to a picture). An opaque source comes out with
	// PIL's very bits.
	Bilinear = Filter{radius: 1, antialias: true, at: triangle, bytes: true}
	// Point is a triangle of fixed width (OpenCV's INTER_LINEAR).
	Point = Filter{radius: 1, at: triangle}
)

func triangle(x float64) float64 { return max(1-math.Abs(x), 0) }

// taps are the source positions and weights of one output position.
type taps struct {
	from int
	w    []float32
	n    []int32 // the weights in PIL's fixed point; of a filter of bytes
}

// fixedBits are those behind the point of a weight in PIL.
const fixedBits = 22

// plan computes the taps of each output position: centre (i+0.5)*scale, weights
// normalised over the positions that exist.
func (f Filter) plan(in, out int) []taps {
	scale := float64(in) / float64(out)
	stretch := 1.0
	if f.antialias {
		stretch = max(scale, 1)
	}
	support := f.radius * stretch
	t := make([]taps, out)
	for i := range t {
		center := (float64(i) + 0.5) * scale
		lo, hi := max(int(center-support+0.5), 0), min(int(center+support+0.5), in)
		if hi <= lo { // upscaling at the rim of a triangle that touches no centre
			lo = min(max(int(center), 0), in-1)
			hi = lo + 1
		}
		w, sum := make([]float64, hi-lo), 0.0
		for j := range w {
			w[j] = f.at((float64(lo+j) - center + 0.5) / stretch)
			sum += w[j]
		}
		t[i] = taps{from: lo, w: make([]float32, hi-lo)}
		for j := range w {
			if sum == 0 {
				t[i].w[j] = 1 / float32(len(w))
				continue
			}
			t[i].w[j] = float32(w[j] / sum)
			if f.bytes {
				t[i].n = append(t[i].n, int32(math.Floor(w[j]/sum*(1<<fixedBits)+0.5)))
			}
		}
	}
	return t
}

// Resize resamples the source. Colours are weighted by alpha, so that what a
// transparent pixel hides does not bleed into its neighbours.
func (s *Source) Resize(w, h int, f Filter) *Picture {
	if s.kept != nil {
		return s.kept.resize(w, h, f, s.resize)
	}
	return s.resize(w, h, f)
}

func (s *Source) resize(w, h int, f Filter) *Picture {
	if f.bytes && !s.HasAlpha {
		return resampleBytes(s.W, s.H, w, h, f, s.row)
	}
	p := resample(s.W, s.H, w, h, f, s.HasAlpha, s.row)
	if s.fill {
		p.fillTransparent()
	}
	return p
}

// fillTransparent lays a picture on the mean of its visible colours.
func (p *Picture) fillTransparent() {
	if p.Alpha == nil {
		return
	}
	var sum [3]float64
	weight := 0.0
	for i, a := range p.Alpha {
		weight += float64(a)
		for c := range 3 {
			sum[c] += float64(a) * float64(p.RGB[3*i+c])
		}
	}
	for i, a := range p.Alpha {
		for c := range 3 {
			mean := float32(0.5) // of nothing
			if weight > 0 {
				mean = float32(sum[c] / weight)
			}
			p.RGB[3*i+c] = a*p.RGB[3*i+c] + (1-a)*mean
		}
	}
}

// Resize resamples a picture.
func (p *Picture) Resize(w, h int, f Filter) *Picture {
	if w == p.W && h == p.H {
		return p
	}
	return resample(p.W, p.H, w, h, f, p.Alpha != nil, func(y int, dst []float32) {
		for x := range p.W {
			i := y*p.W + x
			copy(dst[4*x:4*x+3], p.RGB[3*i:3*i+3])
			dst[4*x+3] = 1
			if p.Alpha != nil {
				dst[4*x+3] = p.Alpha[i]
			}
		}
	})
}

// resample works row by row: each source row is shrunk horizontally as soon as
// it is converted, so a large photograph is never held in fp32.
func resample(sw, sh, w, h int, f Filter, alpha bool, row func(y int, dst []float32)) *Picture {
	p := &Picture{W: w, H: h, RGB: make([]float32, 3*w*h)}
	if alpha {
		p.Alpha = make([]float32, w*h)
	}
	across, down := f.plan(sw, w), f.plan(sh, h)
	mid := make([]float32, sh*w*4)
	parallel(sh, func(lo, hi int) {
		src := make([]float32, 4*sw)
		for y := lo; y < hi; y++ {
			row(y, src)
			if alpha {
				for x := range sw {
					a := src[4*x+3]
					src[4*x], src[4*x+1], src[4*x+2] = src[4*x]*a, src[4*x+1]*a, src[4*x+2]*a
				}
			}
			dst := mid[y*w*4 : (y+1)*w*4]
			if sw == w {
				copy(dst, src)
				continue
			}
			for x, t := range across {
				var r, g, b, a float32
				for j, k := range t.w {
					q := src[4*(t.from+j):][:4]
					r, g, b, a = r+k*q[0], g+k*q[1], b+k*q[2], a+k*q[3]
				}
				dst[4*x], dst[4*x+1], dst[4*x+2], dst[4*x+3] = r, g, b, a
			}
		}
	})
	parallel(h, func(lo, hi int) {
		acc := make([]float32, 4*w)
		for y := lo; y < hi; y++ {
			t := down[y]
			if sh == h {
				copy(acc, mid[y*w*4:(y+1)*w*4])
			} else {
				clear(acc)
				for j, k := range t.w {
					for i, v := range mid[(t.from+j)*w*4:][:4*w] {
						acc[i] += k * v
					}
				}
			}
			for x := range w {
				i, q := y*w+x, acc[4*x:4*x+4]
				if alpha {
					a := clamp(q[3])
					p.Alpha[i] = a
					if a > 0 {
						q[0], q[1], q[2] = q[0]/a, q[1]/a, q[2]/a
					}
				}
				p.RGB[3*i], p.RGB[3*i+1], p.RGB[3*i+2] = clamp(q[0]), clamp(q[1]), clamp(q[2])
			}
		}
	})
	return p
}

// resampleBytes is resample as PIL does it: 8 bits in, between the passes and out,
// with weights of fixed point.
func resampleBytes(sw, sh, w, h int, f Filter, row func(y int, dst []float32)) *Picture {
	across, down := f.plan(sw, w), f.plan(sh, h)
	mid := make([]uint8, sh*w*3)
	parallel(sh, func(lo, hi int) {
		line, src := make([]float32, 4*sw), make([]uint8, 3*sw)
		for y := lo; y < hi; y++ {
			row(y, line)
			for i := range src {
				src[i] = uint8(clamp(line[i/3*4+i%3])*255 + 0.5)
			}
			dst := mid[y*w*3 : (y+1)*w*3]
			if sw == w {
				copy(dst, src)
				continue
			}
			for x, t := range across {
				r, g, b := half, half, half
				for j, k := range t.n {
					q := src[3*(t.from+j):][:3]
					r, g, b = r+k*int32(q[0]), g+k*int32(q[1]), b+k*int32(q[2])
				}
				dst[3*x], dst[3*x+1], dst[3*x+2] = fixed8(r), fixed8(g), fixed8(b)
			}
		}
	})
	p := &Picture{W: w, H: h, RGB: make([]float32, 3*w*h)}
	parallel(h, func(lo, hi int) {
		for y := lo; y < hi; y++ {
			t, dst := down[y], p.RGB[y*w*3:(y+1)*w*3]
			for i := range dst {
				v := mid[y%sh*w*3+i]
				if sh != h {
					sum := half
					for j, k := range t.n {
						sum += k * int32(mid[(t.from+j)*w*3+i])
					}
					v = fixed8(sum)
				}
				dst[i] = float32(v) / 255
			}
		}
	})
	return p
}

const half = int32(1) << (fixedBits - 1)

func fixed8(v int32) uint8 { return uint8(min(max(v>>fixedBits, 0), 255)) }

func clamp(v float32) float32 { return min(max(v, 0), 1) }

// parallel cuts [0,n) into one range a core.
func parallel(n int, f func(lo, hi int)) {
	k := min(runtime.GOMAXPROCS(0), n)
	var wg sync.WaitGroup
	for i := range k {
		wg.Go(func() { f(i*n/k, (i+1)*n/k) })
	}
	wg.Wait()
}

// Quantize rounds every value to a multiple of 1/255, as a picture of 8 bits holds it.
func (p *Picture) Quantize() *Picture {
	for i, v := range p.RGB {
		p.RGB[i] = float32(int(clamp(v)*255+0.5)) / 255
	}
	return p
}

// Truncate rounds every value down to a multiple of 1/255, as a cast to 8 bits does.
func (p *Picture) Truncate() *Picture {
	for i, v := range p.RGB {
		p.RGB[i] = float32(int(clamp(v)*255)) / 255
	}
	return p
}

// Fit scales an extent so that its longest side is size, at least minSide on the other.
func Fit(w, h, size, minSide int) (int, int) {
	long := max(w, h)
	scale := func(v int) int { return max(int(math.Round(float64(v)*float64(size)/float64(long))), minSide) }
	return scale(w), scale(h)
}
