// Package kerneltest checks any device against the oracles of kernels/ref. One
// table holds the cases of every operation, in three groups of sizes:
//
//	tiny   1x1, 1x7, primes: everything is an edge
//	edge   just off the tiles and vectors of the kernels, long and thin pictures, several pictures
//	vgg    the channel counts of the real layers; off with -short
//
// A device's test calls [Run]; a new operation adds its cases to [Cases] and
// its oracle to the switch in Interp. A walk in this package's own test proves
// that every kind of operation has cases.
//
// It imports gpu and kernels/ref.
package kerneltest

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels/ref"
)

// Case is a program around one operation. Its inputs and state are filled by
// Fill and its outputs and state compared after Iters runs.
type Case struct {
	Kind  gpu.Kind
	Group string // "tiny", "edge", "vgg"
	Name  string // extents, as "n=1 h=3 w=5 c=7 k=2"
	Build func(p *gpu.Program)
	Iters int  // runs before comparing, 1 if 0
	Ints  bool // inputs are small integers and the sums exact: results must be equal, not near
	Tol   float64

	Rounded bool // inputs read back within Tol, not equal
}

func (c Case) String() string {
	s := fmt.Sprintf("%v/%s/%s", c.Kind, c.Group, c.Name)
	if c.Ints {
		s += " exact"
	}
	return s
}

// Tol is the largest relative L2 error against the oracle of an fp32 operation
// computed without tricks.
const Tol = 1e-5

type pic struct {
	group      string
	n, h, w, c int
}

// pics are the extents that every pixel-wise operation meets.
var pics = []pic{
	{"tiny", 1, 1, 1, 1},
	{"tiny", 1, 1, 7, 3},
	{"tiny", 1, 7, 1, 3},
	{"tiny", 2, 3, 5, 2},
	{"edge", 1, 2, 2, 64},
	{"edge", 3, 13, 17, 5},
	{"edge", 1, 33, 31, 65},
	{"edge", 2, 65, 4, 16},
	{"edge", 2, 13, 11, 128},
	{"edge", 1, 3000, 7, 3},
	{"edge", 1, 7, 3000, 3},
	{"edge", 1, 129, 127, 3},
	{"vgg", 1, 48, 64, 64},
	{"vgg", 1, 24, 31, 128},
	{"vgg", 1, 6, 8, 512},
}

type conv struct {
	group         string
	n, h, w, c, k int
}

var convs = []conv{
	{"tiny", 1, 1, 1, 1, 1},
	{"tiny", 1, 1, 1, 3, 64},
	{"tiny", 1, 1, 7, 2, 3},
	{"tiny", 1, 7, 1, 3, 2},
	{"tiny", 1, 2, 2, 5, 7},
	{"tiny", 2, 3, 5, 3, 4},
	{"edge", 1, 5, 8, 16, 31},
	{"edge", 1, 6, 9, 17, 33},
	{"edge", 3, 4, 15, 8, 32},
	{"edge", 1, 11, 13, 63, 65},
	{"edge", 2, 9, 10, 64, 64},
	{"edge", 1, 19, 18, 64, 128},
	{"edge", 1, 37, 53, 64, 64},
	{"edge", 2, 17, 33, 64, 128},
	{"edge", 1, 3, 40, 192, 256},
	{"edge", 1, 300, 2, 3, 8},
	{"edge", 1, 2, 300, 8, 3},
	{"edge", 1, 3000, 7, 3, 5},
	{"vgg", 1, 24, 32, 3, 64},
	{"vgg", 1, 24, 32, 64, 64},
	{"vgg", 1, 13, 16, 64, 128},
	{"vgg", 1, 12, 16, 128, 128},
	{"vgg", 1, 9, 8, 128, 256},
	{"vgg", 1, 8, 8, 256, 256},
	{"vgg", 1, 5, 6, 256, 512},
	{"vgg", 1, 6, 5, 512, 512},
	{"vgg", 2, 3, 4, 512, 512},
}

// Cases lists every case of every operation.
func Cases() []Case {
	var all []Case
	add := func(k gpu.Kind, g string, s gpu.Shape, iters int, build func(p *gpu.Program, s gpu.Shape)) {
		all = append(all, Case{Kind: k, Group: g, Name: s.String(), Iters: iters, Tol: Tol, Build: func(p *gpu.Program) { build(p, s) }})
	}
	in := func(p *gpu.Program, name string, s gpu.Shape) *gpu.Buffer { return p.NewBuffer(name, gpu.Input, s) }
	mean, std := make([]float32, 1024), make([]float32, 1024)
	for i := range mean {
		mean[i], std[i] = 0.4+float32(i%7)/50, 0.2+float32(i%5)/40
	}
	for _, q := range pics {
		s := gpu.Shape{N: q.n, H: q.h, W: q.w, C: q.c}
		one := gpu.Shape{N: 1, H: q.h, W: q.w, C: q.c}
		add(gpu.NormalizeFwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			p.Output(p.NormalizeFwd("y", in(p, "x", s), mean[:s.C], std[:s.C]))
		})
		add(gpu.NormalizeBwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			p.Output(p.NormalizeBwd("x", in(p, "dy", s), std[:s.C]))
		})
		add(gpu.ReLUFwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) { p.Output(p.ReLUFwd("y", in(p, "x", s))) })
		add(gpu.ReLUBwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			p.Output(p.ReLUBwd("x", in(p, "dy", s), in(p, "relu", s)))
		})
		add(gpu.Add, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) { p.Output(p.Add("y", in(p, "a", s), in(p, "b", s))) })
		mask := gpu.Shape{N: s.N, H: s.H, W: s.W, C: 1}
		add(gpu.Mul, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) { p.Output(p.Mul("y", in(p, "x", s), in(p, "mask", mask))) })
		// A Gram matrix of a part of the picture, and its gradient.
		add(gpu.Mul, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			m := in(p, "mask", mask)
			f := p.Mul("f", in(p, "relu", s), m)
			p.Output(p.GramFwd("g", f))
			p.Output(p.Mul("df", p.GramBwd("f", in(p, "dg", gpu.Shape{N: s.N, H: 1, W: s.C, C: s.C}), f), m))
		})
		all[len(all)-1].Name += " gram there and back"
		if q.h > 1 && q.w > 1 {
			add(gpu.AvgPool2x2Fwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) { p.Output(p.AvgPool2x2Fwd("y", in(p, "x", s))) })
			add(gpu.AvgPool2x2Bwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
				half := gpu.Shape{N: s.N, H: s.H / 2, W: s.W / 2, C: s.C}
				p.Output(p.AvgPool2x2Bwd("x", in(p, "dy", half), s.H, s.W))
			})
			add(gpu.MaxPool2x2Fwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) { p.Output(p.MaxPool2x2Fwd("y", in(p, "x", s))) })
			add(gpu.MaxPool2x2Bwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) { // full of ties, which no rounding makes or breaks
				half := gpu.Shape{N: s.N, H: s.H / 2, W: s.W / 2, C: s.C}
				p.Output(p.MaxPool2x2Bwd("x", in(p, "dy", half), in(p, "small_ints", s)))
			})
		}
		add(gpu.GramFwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) { p.Output(p.GramFwd("g", in(p, "f", s))) })
		add(gpu.GramBwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			p.Output(p.GramBwd("f", in(p, "dg", gpu.Shape{N: s.N, H: 1, W: s.C, C: s.C}), in(p, "f", s)))
		})
		// As behind a style layer: what came from above joins, and the layer's own ReLU gates.
		add(gpu.GramBwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			f := in(p, "relu", s)
			d := p.GramBwd("f", in(p, "dg", gpu.Shape{N: s.N, H: 1, W: s.C, C: s.C}), f)
			p.Output(p.ReLUBwd("x", p.Add("sum", in(p, "dy", s), d), f))
		})
		all[len(all)-1].Name += " add relu"
		add(gpu.MSEFwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			p.Output(p.MSEFwd("l", in(p, "a", s), in(p, "b", s), weight(p, s.N, 0.7)))
		})
		add(gpu.MSEBwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			p.Output(p.MSEBwd("l", in(p, "a", s), in(p, "b", one), weight(p, s.N, 1e3))) // one target for all pictures
		})
		// Of a layer, whose features a device may store in fewer bits.
		add(gpu.MSEFwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			p.Output(p.MSEFwd("l", p.ReLUFwd("relu", in(p, "x", s)), in(p, "b", one), weight(p, s.N, 0.7)))
		})
		all[len(all)-1].Name += " of features"
		add(gpu.MSEBwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			p.Output(p.MSEBwd("l", p.ReLUFwd("relu", in(p, "x", s)), in(p, "b", s), weight(p, s.N, float64(s.Elems()/s.N))))
		})
		all[len(all)-1].Name += " of features"
		add(gpu.TVFwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) { p.Output(p.TVFwd("l", in(p, "x", s), weight(p, s.N, 5e-3))) })
		add(gpu.TVBwd, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			p.Output(p.TVBwd("l", in(p, "small_ints", s), weight(p, s.N, 5e-3)))
		})
		if q.c != 3 {
			continue // what follows works on pictures
		}
		for clamp, when := range []string{gpu.ClampAfter: "after", gpu.ClampBefore: "before", gpu.ClampNone: "never"} {
			add(gpu.Adam, q.group, s, 3, func(p *gpu.Program, s gpu.Shape) { buildAdam(p, s, gpu.Clamp(clamp)) })
			all[len(all)-1].Name += " clamp " + when
		}
		add(gpu.Record, q.group, s, 5, func(p *gpu.Program, s gpu.Shape) { buildAdam(p, s, gpu.ClampAfter) })
		add(gpu.Total, q.group, s, 1, func(p *gpu.Program, s gpu.Shape) {
			l := gpu.Shape{N: s.N, H: 1, W: 1, C: 1}
			total, each := p.Total([]*gpu.Buffer{in(p, "c", l)}, []*gpu.Buffer{in(p, "s1", l), in(p, "s2", l), in(p, "s3", l)}, in(p, "tv", l))
			p.Output(total)
			p.Output(each)
		})
	}
	for _, q := range convs {
		x, y := gpu.Shape{N: q.n, H: q.h, W: q.w, C: q.c}, gpu.Shape{N: q.n, H: q.h, W: q.w, C: q.k}
		w := gpu.Shape{N: q.k, H: 3, W: 3, C: q.c}
		name := fmt.Sprintf("%v k=%d", x, q.k)
		fprop := Case{Kind: gpu.Conv3x3Fprop, Group: q.group, Name: name, Tol: Tol, Build: func(p *gpu.Program) {
			p.Output(p.Conv3x3Fprop("y", in(p, "x", x), weights(p, w), weights(p, gpu.Shape{N: 1, H: 1, W: 1, C: q.k})))
		}}
		dgrad := Case{Kind: gpu.Conv3x3Dgrad, Group: q.group, Name: name, Tol: Tol, Build: func(p *gpu.Program) {
			p.Output(p.Conv3x3Dgrad("x", in(p, "dy", y), weights(p, w)))
		}}
		relu := Case{Kind: gpu.Conv3x3Fprop, Group: q.group, Name: name + " relu", Tol: Tol, Build: func(p *gpu.Program) {
			c := p.Conv3x3Fprop("y", in(p, "x", x), weights(p, w), weights(p, gpu.Shape{N: 1, H: 1, W: 1, C: q.k}))
			p.Output(p.ReLUFwd("relu", c))
		}}
		back := Case{Kind: gpu.Conv3x3Dgrad, Group: q.group, Name: name + " add relu", Tol: Tol, Build: func(p *gpu.Program) {
			d := p.Conv3x3Dgrad("x", in(p, "dy", y), weights(p, w))
			p.Output(p.ReLUBwd("relu", p.Add("sum", d, in(p, "style", x)), in(p, "relu", x)))
		}}
		gate := Case{Kind: gpu.Conv3x3Dgrad, Group: q.group, Name: name + " relu", Tol: Tol, Build: func(p *gpu.Program) {
			p.Output(p.ReLUBwd("relu", p.Conv3x3Dgrad("x", in(p, "dy", y), weights(p, w)), in(p, "relu", x)))
		}}
		all = append(all, fprop, dgrad, relu, back, gate)
		if q.c%64 != 0 || q.k%64 != 0 { // not the Winograd layers, whose transforms round
			fprop.Ints, dgrad.Ints = true, true
			all = append(all, fprop, dgrad)
		}
	}
	return append(all, chains()...)
}

// chains are the runs of operations that devices fuse, as a style transfer has
// them.
func chains() []Case {
	var all []Case
	mean, std := []float32{0.4, 0.45, 0.5}, []float32{0.2, 0.25, 0.3}
	in := func(p *gpu.Program, name string, s gpu.Shape) *gpu.Buffer { return p.NewBuffer(name, gpu.Input, s) }
	bias := func(p *gpu.Program, k int) *gpu.Buffer { return weights(p, gpu.Shape{N: 1, H: 1, W: 1, C: k}) }
	gram := func(c int) gpu.Shape { return gpu.Shape{N: 1, H: 1, W: c, C: c} }
	for _, q := range []conv{
		{"tiny", 1, 1, 1, 64, 64},
		{"tiny", 1, 2, 3, 64, 64},
		{"edge", 2, 9, 17, 64, 128},
		{"edge", 1, 33, 7, 128, 64},
		{"edge", 3, 18, 19, 128, 128},
		{"vgg", 1, 17, 33, 64, 64},
		{"vgg", 1, 130, 131, 64, 64},
		{"vgg", 1, 9, 8, 256, 512},
		{"vgg", 2, 6, 5, 512, 512},
	} {
		x, y := gpu.Shape{N: q.n, H: q.h, W: q.w, C: q.c}, gpu.Shape{N: q.n, H: q.h, W: q.w, C: q.k}
		pic := gpu.Shape{N: q.n, H: q.h, W: q.w, C: 3}
		add := func(k gpu.Kind, what string, build func(p *gpu.Program)) {
			if x.Pixels() > 1<<14 && what != "style" { // many pixels are for its sums alone
				return
			}
			all = append(all, Case{Kind: k, Group: q.group, Name: fmt.Sprintf("%v k=%d %s", x, q.k, what), Tol: Tol, Build: build})
		}
		// The first layer, from the picture and back to it.
		add(gpu.Conv3x3Fprop, "from a picture", func(p *gpu.Program) {
			n := p.NormalizeFwd("normalize", in(p, "x", pic), mean, std)
			p.Output(p.ReLUFwd("relu", p.Conv3x3Fprop("y", n, weights(p, gpu.Shape{N: q.k, H: 3, W: 3, C: 3}), bias(p, q.k))))
		})
		add(gpu.Conv3x3Dgrad, "to a picture", func(p *gpu.Program) {
			d := p.Conv3x3Dgrad("x", in(p, "dy", y), weights(p, gpu.Shape{N: q.k, H: 3, W: 3, C: 3}))
			p.Output(p.NormalizeBwd("normalize", d, std))
		})
		// The first style layer: Gram matrix, loss and gradient of what comes from a picture.
		add(gpu.GramFwd, "of a picture", func(p *gpu.Program) {
			n := p.NormalizeFwd("normalize", in(p, "x", pic), mean, std)
			f := p.Output(p.ReLUFwd("relu", p.Conv3x3Fprop("y", n, weights(p, gpu.Shape{N: q.k, H: 3, W: 3, C: 3}), bias(p, q.k))))
			p.Output(p.GramFwd("g", f))
		})
		// The style layers of a network, whose losses are computed together.
		add(gpu.MSEFwd, "styles of a picture", func(p *gpu.Program) {
			n := p.NormalizeFwd("normalize", in(p, "x", pic), mean, std)
			f := []*gpu.Buffer{p.ReLUFwd("relu", p.Conv3x3Fprop("y", n, weights(p, gpu.Shape{N: q.k, H: 3, W: 3, C: 3}), bias(p, q.k)))}
			for i := range 2 {
				f = append(f, p.ReLUFwd("relu", p.Conv3x3Fprop("y", f[i], weights(p, gpu.Shape{N: q.c, H: 3, W: 3, C: f[i].Shape.C}), bias(p, q.c))))
			}
			var losses, grads []*gpu.Buffer
			for _, f := range f {
				g, target, w := p.GramFwd("g", f), in(p, "target", gram(f.Shape.C)), weight(p, q.n, 1e4)
				losses, grads = append(losses, p.MSEFwd("style", g, target, w)), append(grads, p.MSEBwd("style", g, target, w))
			}
			total, _ := p.Total(nil, losses, in(p, "tv", gpu.Shape{N: q.n, H: 1, W: 1, C: 1}))
			p.Output(total)
			for i, f := range f {
				p.Output(p.GramBwd("style", grads[i], f))
			}
		})
		if q.h > 1 && q.w > 1 {
			// A layer before a pooling: forward, and what comes back through both.
			half := gpu.Shape{N: q.n, H: q.h / 2, W: q.w / 2, C: q.k}
			for _, kept := range []bool{false, true} {
				add(gpu.AvgPool2x2Fwd, fmt.Sprintf("relu pool there and back, kept %v", kept), func(p *gpu.Program) {
					// No value near 0, where rounding would open or close a gate.
					apart := p.NewConst("apart", gpu.Shape{N: 1, H: 1, W: 1, C: q.k}, make([]float32, q.k))
					f := p.ReLUFwd("relu", p.Conv3x3Fprop("y", in(p, "tenths", x), weights(p, gpu.Shape{N: q.k, H: 3, W: 3, C: q.c}), apart))
					p.Output(p.AvgPool2x2Fwd("pool", f))
					d := p.Conv3x3Dgrad("above", in(p, "dy", half), weights(p, gpu.Shape{N: q.k, H: 3, W: 3, C: q.k}))
					p.Output(p.ReLUBwd("relu", p.AvgPool2x2Bwd("pool", d, q.h, q.w), f))
					if kept {
						p.Output(f)
					}
				})
			}
		}
		// A style layer: its loss, and its gradient joining that from above.
		add(gpu.GramBwd, "style", func(p *gpu.Program) {
			f := in(p, "relu", x)
			l := gpu.Shape{N: q.n, H: 1, W: 1, C: 1}
			g, target, w := p.GramFwd("g", f), in(p, "target", gram(q.c)), weight(p, q.n, 100)
			loss, dg := p.MSEFwd("style", g, target, w), p.MSEBwd("style", g, target, w)
			total, _ := p.Total(nil, []*gpu.Buffer{loss}, in(p, "tv", l))
			p.Output(total)
			d := p.Conv3x3Dgrad("x", in(p, "dy", y), weights(p, gpu.Shape{N: q.k, H: 3, W: 3, C: q.c}))
			p.Output(p.ReLUBwd("relu", p.Add("sum", d, p.GramBwd("style", dg, f)), f))
		})
		// The content layer: its gradient joins too.
		for _, n := range slices.Compact([]int{1, q.n}) {
			add(gpu.MSEBwd, fmt.Sprintf("content, %d targets", n), func(p *gpu.Program) {
				f := in(p, "relu", x)
				d := p.Conv3x3Dgrad("x", in(p, "dy", y), weights(p, gpu.Shape{N: q.k, H: 3, W: 3, C: q.c}))
				t := x
				t.N = n
				m := p.MSEBwd("content", f, in(p, "target", t), weight(p, q.n, float64(x.Elems()/x.N)))
				p.Output(p.ReLUBwd("relu", p.Add("sum", d, m), f))
			})
		}
	}
	// The first style layer with many shares of a Gram matrix, and a target for each picture.
	for _, s := range []gpu.Shape{{N: 1, H: 40, W: 64, C: 3}, {N: 2, H: 33, W: 71, C: 3}} {
		all = append(all, Case{Kind: gpu.MSEBwd, Group: "edge", Name: fmt.Sprintf("%v style of a picture", s), Tol: Tol, Build: func(p *gpu.Program) {
			n := p.NormalizeFwd("normalize", in(p, "x", s), mean, std)
			f := p.ReLUFwd("relu", p.Conv3x3Fprop("y", n, weights(p, gpu.Shape{N: 64, H: 3, W: 3, C: 3}), bias(p, 64)))
			g, target, w := p.GramFwd("g", f), in(p, "target", gpu.Shape{N: s.N, H: 1, W: 64, C: 64}), weight(p, s.N, 1e4)
			loss, dg := p.MSEFwd("style", g, target, w), p.MSEBwd("style", g, target, w)
			total, _ := p.Total(nil, []*gpu.Buffer{loss}, in(p, "tv", gpu.Shape{N: s.N, H: 1, W: 1, C: 1}))
			p.Output(total)
			p.Output(p.GramBwd("style", dg, f))
		}})
	}
	for _, q := range pics {
		if q.c != 3 {
			continue
		}
		s := gpu.Shape{N: q.n, H: q.h, W: q.w, C: 3}
		for _, tv := range []bool{false, true} {
			all = append(all, Case{Kind: gpu.Adam, Group: q.group, Name: fmt.Sprintf("%v whole update, tv %v", s, tv), Tol: Tol, Iters: 4, Build: func(p *gpu.Program) {
				x, m, v := p.NewBuffer("x", gpu.State, s), p.NewBuffer("m", gpu.State, s), p.NewBuffer("abs_v", gpu.State, s)
				step, k := p.NewBuffer("step", gpu.State, gpu.Shape{N: s.N, H: 1, W: 1, C: 1}), knobs(p, s.N, 5e-3)
				ring := p.NewBuffer("ring", gpu.State, gpu.Shape{N: s.N, H: 1, W: 3, C: gpu.RecTerms + 1})
				w := gpu.Weight{Knobs: k, Column: gpu.KnobTerms}
				total, each := p.Total(nil, nil, p.TVFwd("image", x, w))
				d := in(p, "g", s)
				if tv {
					d = p.Output(p.Add("tv", d, p.TVBwd("image", x, w)))
				}
				p.Adam(x, m, v, d, step, k, total, gpu.AdamParams{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8})
				p.Record(x, d, total, each, step, k, ring, nil)
			}})
		}
	}
	return slices.Concat(all, lbfgsCases(), padCases(), averageCases())
}

// padCases continue pictures beyond their border, by little and by nearly a picture,
// and lead from there through the first layer and back.
func padCases() (all []Case) {
	mean, std := []float32{0.4, 0.45, 0.5}, []float32{0.2, 0.25, 0.3}
	in := func(p *gpu.Program, name string, s gpu.Shape) *gpu.Buffer { return p.NewBuffer(name, gpu.Input, s) }
	for _, q := range pics {
		s := gpu.Shape{N: q.n, H: q.h, W: q.w, C: q.c}
		for mode, most := range []int{gpu.Reflect: min(q.h, q.w) - 1, gpu.Wrap: min(q.h, q.w)} {
			if most < 1 {
				continue
			}
			pad := gpu.PadParams{Pixels: min(most, 37), Mode: gpu.PadMode(mode)}
			padded := gpu.Shape{N: s.N, H: s.H + 2*pad.Pixels, W: s.W + 2*pad.Pixels, C: s.C}
			name := fmt.Sprintf("%v %s %d", s, padModes[mode], pad.Pixels)
			fwd := Case{Kind: gpu.PadFwd, Group: q.group, Name: name, Tol: Tol, Build: func(p *gpu.Program) { p.Output(p.PadFwd("x", in(p, "x", s), pad)) }}
			bwd := Case{Kind: gpu.PadBwd, Group: q.group, Name: name, Tol: Tol, Build: func(p *gpu.Program) { p.Output(p.PadBwd("x", in(p, "dy", padded), pad)) }}
			exact := bwd
			exact.Ints = true
			all = append(all, fwd, bwd, exact)
		}
	}
	for i, q := range []conv{{"tiny", 1, 2, 3, 3, 64}, {"tiny", 2, 3, 2, 3, 64}, {"edge", 2, 9, 17, 3, 64}, {"edge", 1, 33, 19, 3, 64}} {
		x := gpu.Shape{N: q.n, H: q.h, W: q.w, C: q.c}
		pad := gpu.PadParams{Pixels: min(q.h, q.w, 9) - 1, Mode: gpu.PadMode(i % 2)}
		w, y := gpu.Shape{N: q.k, H: 3, W: 3, C: q.c}, gpu.Shape{N: q.n, H: q.h + 2*pad.Pixels, W: q.w + 2*pad.Pixels, C: q.k}
		name := fmt.Sprintf("%v k=%d %s %d", x, q.k, padModes[pad.Mode], pad.Pixels)
		all = append(all,
			Case{Kind: gpu.PadFwd, Group: q.group, Name: name + " from a picture", Tol: Tol, Build: func(p *gpu.Program) {
				n := p.NormalizeFwd("normalize", p.PadFwd("image", in(p, "x", x), pad), mean, std)
				p.Output(p.ReLUFwd("relu", p.Conv3x3Fprop("y", n, weights(p, w), weights(p, gpu.Shape{N: 1, H: 1, W: 1, C: q.k}))))
			}},
			Case{Kind: gpu.PadBwd, Group: q.group, Name: name + " to a picture", Tol: Tol, Build: func(p *gpu.Program) { // where that of the variation joins
				d := p.NormalizeBwd("normalize", p.Conv3x3Dgrad("x", in(p, "dy", y), weights(p, w)), std)
				p.Output(p.Add("tv", p.PadBwd("image", d, pad), p.TVBwd("image", in(p, "small_ints", x), weight(p, q.n, 5e-3))))
			}})
	}
	return all
}

var padModes = []string{gpu.Reflect: "reflect", gpu.Wrap: "wrap"}

// averageCases are averages of pictures with knobs of their own: behind a step that is
// fused, and by themselves.
func averageCases() (all []Case) {
	for _, q := range []pic{{"tiny", 1, 1, 1, 3}, {"tiny", 4, 3, 5, 3}, {"edge", 5, 20, 33, 3}, {"edge", 1, 129, 127, 3}} {
		s, one := gpu.Shape{N: q.n, H: q.h, W: q.w, C: q.c}, gpu.Shape{N: q.n, H: 1, W: 1, C: 1}
		all = append(all,
			Case{Kind: gpu.Average, Group: q.group, Name: s.String() + " whole update", Tol: Tol, Iters: 5, Build: func(p *gpu.Program) { buildAverage(p, s) }},
			Case{Kind: gpu.Average, Group: q.group, Name: s.String(), Tol: Tol, Build: func(p *gpu.Program) {
				x, step := p.NewBuffer("x", gpu.Input, s), p.NewBuffer("step", gpu.State, one)
				p.Average(x, p.NewBuffer("average", gpu.State, s), step, knobs(p, s.N, 1))
			}})
	}
	return all
}

// lbfgsCases are one step, or two, from the middle of a run: four pictures of which
// one has all its pairs, one is refused, one refused again so that it forgets its
// pairs, and one begins. And whole updates from the start of a run.
func lbfgsCases() (all []Case) {
	for _, q := range []struct {
		group                   string
		n, h, w, history, iters int
	}{{"tiny", 1, 2, 2, 1, 1}, {"tiny", 4, 3, 5, 3, 2}, {"edge", 4, 17, 13, 10, 2}, {"edge", 5, 20, 33, 20, 2}, {"edge", 2, 50, 61, 7, 1}, {"vgg", 1, 256, 256, 10, 2}} {
		s := gpu.Shape{N: q.n, H: q.h, W: q.w, C: 3}
		l := gpu.LBFGSParams{History: q.history, First: 5, Most: 50, Rise: 0.2} // times a rate of about 0.01
		all = append(all, Case{Kind: gpu.LBFGS, Group: q.group, Name: fmt.Sprintf("%v history %d", s, q.history), Tol: Tol, Iters: q.iters, Build: func(p *gpu.Program) {
			x, m := p.NewBuffer("unit", gpu.State, s), p.NewLBFGSState(s, l)
			one := gpu.Shape{N: s.N, H: 1, W: 1, C: 1}
			total, each := p.Total([]*gpu.Buffer{p.NewBuffer("c", gpu.Input, one)}, nil, p.NewBuffer("tv", gpu.Input, one))
			g := p.NewBuffer("g", gpu.Input, s)
			step, k := p.NewBuffer("step", gpu.State, one), knobs(p, s.N, 1)
			p.LBFGS(x, g, step, k, total, m, l)
			ring := p.NewBuffer("ring", gpu.State, gpu.Shape{N: s.N, H: 1, W: 3, C: gpu.RecTerms + 2})
			p.Record(x, g, total, each, step, k, ring, m.Control)
		}})
		steps := 4
		if s.Elems() == 12 { // is nearly there after three: the next direction is the rounding of x
			steps = 3
		}
		all = append(all, Case{Kind: gpu.LBFGS, Group: q.group, Name: fmt.Sprintf("%v history %d, from the start", s, q.history), Tol: Tol, Iters: steps, Build: func(p *gpu.Program) {
			x, m := p.NewBuffer("unit", gpu.State, s), p.NewLBFGSState(s, l)
			m.Control.Name = "zero"
			total, each := p.Total(nil, nil, p.MSEFwd("image", x, p.NewBuffer("target", gpu.Input, s), weight(p, s.N, 1)))
			d := p.Output(p.Add("sum", p.NewBuffer("tenths", gpu.Input, s), p.MSEBwd("image", x, p.Named("target"), weight(p, s.N, float64(s.Elems()/s.N)))))
			step, k := p.NewBuffer("step", gpu.State, gpu.Shape{N: s.N, H: 1, W: 1, C: 1}), knobs(p, s.N, 1)
			p.LBFGS(x, d, step, k, total, m, l)
			ring := p.NewBuffer("ring", gpu.State, gpu.Shape{N: s.N, H: 1, W: 3, C: gpu.RecTerms + 1})
			p.Record(x, d, total, each, step, k, ring, m.Control)
		}})
	}
	return all
}

// inTheMiddle makes the memory of L-BFGS that of a run: Py of y that go with s, and the
// control of each picture as its case wants it.
func inTheMiddle(op *gpu.Op, data map[*gpu.Buffer][]float32, r *rand.Rand) {
	s, y := op.Pairs()
	control, l := data[op.Control()], op.LBFGS
	if op.Control().Name == "zero" {
		return
	}
	n, e := s.Shape.N, op.Picture().Shape.Elems()/s.Shape.N
	const smooth = 0.6
	for i := range n {
		c := picture(control, n, i)
		c[gpu.CtlSmooth] = smooth
		c[gpu.CtlAccepted], c[gpu.CtlPairs], c[gpu.CtlNext] = 9, float32(l.History), float32(r.IntN(l.Slots()))
		c[gpu.CtlLoss], c[gpu.CtlMost], c[gpu.CtlFactor], c[gpu.CtlRefusals], c[gpu.CtlStep], c[gpu.CtlLongest] = 1e3, 0.7, 1, 0, 0.1, 0
		for _, d := range picture(data[op.Direction()], n, i) {
			c[gpu.CtlLongest] = max(c[gpu.CtlLongest], d, -d)
		}
		switch i % 4 {
		case 1: // refused
			c[gpu.CtlLoss] = -1e3
		case 2: // for the second time
			c[gpu.CtlLoss], c[gpu.CtlRefusals], c[gpu.CtlFactor] = -1e3, 1, 0.3
		case 3: // the first evaluation
			clear(c)
		}
		of := func(b *gpu.Buffer, slot int) []float32 { return picture(data[b], n, i)[slot*e:][:e] }
		ys := make([][]float64, l.Slots())
		for slot := range ys {
			ys[slot] = make([]float64, e)
			for j, v := range of(s, slot) {
				ys[slot][j] = float64(v) * (0.5 + math.Abs(float64(of(y, slot)[j])))
			}
			for j, v := range ref.Smoothed(ys[slot], s.Shape.W) {
				of(y, slot)[j] = float32(ys[slot][j] - smooth*v)
			}
		}
		for row := range 2 * l.Slots() {
			v := of([]*gpu.Buffer{s, y}[row/l.Slots()], row%l.Slots())
			for column, w := range ys {
				var sum float64
				for j := range v {
					sum += float64(v[j]) * w[j]
				}
				c[gpu.CtlProducts+row*l.Slots()+column] = float32(sum)
			}
		}
	}
}

// buildAdam is a whole update: losses that vary, a gradient, step and record.
func buildAdam(p *gpu.Program, s gpu.Shape, clamp gpu.Clamp) {
	x, m, v := p.NewBuffer("x", gpu.State, s), p.NewBuffer("m", gpu.State, s), p.NewBuffer("abs_v", gpu.State, s)
	l := gpu.Shape{N: s.N, H: 1, W: 1, C: 1}
	step, k := p.NewBuffer("step", gpu.State, l), knobs(p, s.N, 1)
	ring := p.NewBuffer("ring", gpu.State, gpu.Shape{N: s.N, H: 1, W: 3, C: gpu.RecTerms + 2})
	g := p.NewBuffer("g", gpu.Input, s)
	total, each := p.Total([]*gpu.Buffer{p.NewBuffer("c", gpu.Input, l)}, nil, p.NewBuffer("tv", gpu.Input, l))
	p.Adam(x, m, v, g, step, k, total, gpu.AdamParams{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Clamp: clamp})
	p.Record(x, g, total, each, step, k, ring, nil)
}

// buildAverage is a whole update whose iterates are averaged, past the limit of some.
func buildAverage(p *gpu.Program, s gpu.Shape) {
	x, m, v := p.NewBuffer("x", gpu.State, s), p.NewBuffer("m", gpu.State, s), p.NewBuffer("abs_v", gpu.State, s)
	average, l := p.NewBuffer("average", gpu.State, s), gpu.Shape{N: s.N, H: 1, W: 1, C: 1}
	step, k := p.NewBuffer("step", gpu.State, l), knobs(p, s.N, 5e-3)
	ring := p.NewBuffer("ring", gpu.State, gpu.Shape{N: s.N, H: 1, W: 3, C: gpu.RecTerms + 1})
	w := gpu.Weight{Knobs: k, Column: gpu.KnobTerms}
	total, each := p.Total(nil, nil, p.TVFwd("image", x, w))
	d := p.Output(p.Add("tv", p.NewBuffer("g", gpu.Input, s), p.TVBwd("image", x, w)))
	p.Adam(x, m, v, d, step, k, total, gpu.AdamParams{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8})
	p.Average(x, average, step, k)
	p.Record(x, d, total, each, step, k, ring, nil)
}

// knobs adds those of n pictures, with one weight of about w.
func knobs(p *gpu.Program, n int, w float64) *gpu.Buffer {
	return p.NewBuffer(fmt.Sprint(knobsPrefix, w), gpu.Input, gpu.Shape{N: n, H: 1, W: 1, C: gpu.KnobTerms + 1})
}

const knobsPrefix = "knobs of about "

// weight is that of a term, about w, another for each picture.
func weight(p *gpu.Program, n int, w float64) gpu.Weight {
	return gpu.Weight{Knobs: knobs(p, n, w), Column: gpu.KnobTerms}
}

// fillKnobs gives every picture a few steps to take, the first of which it can, at a
// rate of about 0.01 that falls or does not, an average that has begun or has not, and
// weights.
func fillKnobs(v []float32, columns int, about float64, r *rand.Rand) {
	for i := range v {
		n := i / columns
		switch i % columns { // these take no chance: the values of all others are those from before there was an average
		case gpu.KnobDecay:
			v[i] = []float32{0.9, 0.5, 0, 0.99}[n%4]
			continue
		case gpu.KnobBegin:
			v[i] = []float32{-1, 4, 1, 0, -100}[n%5]
			continue
		}
		u := r.Float64()
		switch i % columns {
		case gpu.KnobLimit:
			v[i] = float32(4 + r.IntN(4))
		case gpu.KnobRate:
			v[i] = float32(0.01 * (0.5 + u))
		case gpu.KnobFinal:
			v[i] = float32(min(1.5*u, 1))
		case gpu.KnobFrom:
			v[i] = float32(-r.IntN(3))
		case gpu.KnobSpan:
			v[i] = float32(5 + r.IntN(5))
		default:
			v[i] = float32(about * (0.75 + u/2))
		}
	}
}

func weights(p *gpu.Program, s gpu.Shape) *gpu.Buffer {
	return p.NewConst(fmt.Sprintf("w%d", len(p.Buffers)), s, make([]float32, s.Elems()))
}

// fill gives a buffer values that suit its name: relu is half zeros, abs_* is
// not negative, small_ints makes ties likely, step is a small count, apart keeps
// away from 0, by more than sums of tenths reach, unit is a picture with values at
// both bounds. Weights are as large as those of a network, which keeps what it passes on at about one: a
// sum of 4608 products of numbers near one, times a loss scale, leaves fp16.
func fill(b *gpu.Buffer, r *rand.Rand, ints bool) []float32 {
	v := make([]float32, b.Shape.Elems())
	if about, ok := strings.CutPrefix(b.Name, knobsPrefix); ok {
		w, _ := strconv.ParseFloat(about, 64) // as knobs wrote it
		fillKnobs(v, b.Shape.C, w, r)
		return v
	}
	for i := range v {
		f := r.Float32()*2 - 1
		if ints || b.Name == "small_ints" {
			f = float32(r.IntN(7) - 3)
		}
		if b.Role == gpu.Const && b.Shape.H == 3 && !ints {
			f *= float32(math.Sqrt(3 / float64(9*b.Shape.C)))
		}
		switch b.Name {
		case "relu":
			f = max(f, 0)
		case "abs_v":
			f = max(f, -f)
		case "tenths":
			f /= 10
		case "apart":
			f = float32(math.Copysign(0.5, float64(f))) + f/2
		case "step":
			f = float32(r.IntN(4))
		case "unit", "accepted":
			f = min(max(0.5+0.6*f, 0), 1)
		case "pairs_s":
			f /= 10
		case "zero":
			f = 0
		}
		v[i] = f
	}
	return v
}

// Suite says how the table is run on a device.
type Suite struct {
	// Tol is the largest relative L2 error of an output; Tol, the constant, if
	// zero. Above it the device's storage rounds: inputs may read back rounded, and
	// cases of small integers, whose sums would have to be exact, are left out.
	Tol   float64
	Which func(Case) bool // those that are run; nil for all
	// Bits, if not nil, is what the results were when they were recorded, by this
	// set of kernels.
	Bits    *Bits
	Kernels string
}

// Run runs every case of the table on a device that computes in fp32.
func Run(t *testing.T, dev gpu.Device) {
	t.Helper()
	Suite{}.Run(t, dev)
}

// Run runs the suite's cases, each as a test of its own, and returns how many.
func (s Suite) Run(t *testing.T, dev gpu.Device) (n int) {
	t.Helper()
	tol := s.Tol
	if tol == 0 {
		tol = Tol
	}
	worst := map[gpu.Kind]float64{}
	for _, c := range Cases() {
		if c.Group == "vgg" && testing.Short() || c.Ints && tol > Tol || s.Which != nil && !s.Which(c) {
			continue
		}
		if tol > Tol {
			c.Tol, c.Rounded = tol, true
		}
		n++
		t.Run(c.String(), func(t *testing.T) {
			e, hash := RunCase(t, dev, c)
			worst[c.Kind] = max(worst[c.Kind], e)
			if c.Group != "vgg" || s.Kernels == "all" { // the simulated device would take hours to record those
				s.Bits.Same(t, c.String(), s.Kernels, hash)
			}
		})
	}
	for k := range gpu.NumKinds {
		if w, ok := worst[k]; ok {
			t.Logf("%-16v worst relative L2 %.2g of %.0e allowed", k, w, tol)
		}
	}
	return n
}

// Seed is where a case's values come from: its name, so that a new case changes
// no other.
func (c Case) Seed() uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, c.String())
	return h.Sum64()
}

// Program builds the case with its constants filled, and the values of its
// inputs and state.
func (c Case) Program() (*gpu.Program, map[*gpu.Buffer][]float32) {
	p := &gpu.Program{}
	c.Build(p)
	r := rand.New(rand.NewPCG(c.Seed(), 7))
	data := map[*gpu.Buffer][]float32{}
	for _, b := range p.Buffers {
		switch b.Role {
		case gpu.Const:
			copy(b.Data, fill(b, r, c.Ints))
		case gpu.Input, gpu.State:
			data[b] = fill(b, r, c.Ints)
		case gpu.Temp, gpu.Output:
		}
	}
	for _, op := range p.Ops {
		if op.Kind == gpu.LBFGS {
			inTheMiddle(op, data, r)
		}
	}
	return p, data
}

// answer is the values that a case begins with and what it must give: outputs and
// state. By the buffer's place in the program: a device gets a program of its own.
type answer struct {
	given [][]float32
	want  [][]float64
}

var answers sync.Map // name of a case: func() (answer, error)

// answer computes the case with the oracles. They take as long as some devices,
// which in their modes and precisions ask again and again: it is computed once, but
// for the network's sizes, which are large and rare where nobody prepares them.
func (c Case) answer() (answer, error) {
	once, kept := answers.Load(c.String())
	switch {
	case !kept && c.Group == "vgg":
		return c.compute()
	case !kept:
		once, _ = answers.LoadOrStore(c.String(), sync.OnceValues(c.compute))
	}
	return once.(func() (answer, error))()
}

// Prepare computes what the cases must give on all processors, and keeps it (0.7 GB)
// for a device so fast that the oracles would take most of the time.
func Prepare() {
	var wg sync.WaitGroup
	cases := make(chan Case)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for c := range cases {
				once, _ := answers.LoadOrStore(c.String(), sync.OnceValues(c.compute))
				_, _ = once.(func() (answer, error))() // who asks for it gets the error
			}
		})
	}
	for _, c := range slices.Backward(Cases()) { // the long ones are at the end
		if c.Group != "vgg" || !testing.Short() {
			cases <- c
		}
	}
	close(cases)
	wg.Wait()
}

func (c Case) compute() (a answer, err error) {
	p, data := c.Program()
	ip := NewInterp[float64](p)
	for b, v := range data {
		ip.Write(b, v)
	}
	for range max(c.Iters, 1) {
		if err := ip.Run(); err != nil {
			return answer{}, err
		}
	}
	a = answer{make([][]float32, len(p.Buffers)), make([][]float64, len(p.Buffers))}
	for i, b := range p.Buffers {
		switch b.Role {
		case gpu.Const:
			a.given[i] = b.Data
		case gpu.Input:
			a.given[i] = data[b]
		case gpu.State, gpu.Output:
			a.given[i], a.want[i] = data[b], ip.Values[b]
		case gpu.Temp:
		}
	}
	return a, nil
}

// RunCase runs one case and returns its largest relative error and a hash of the
// bits of its results.
func RunCase(t *testing.T, dev gpu.Device, c Case) (worst float64, hash uint32) {
	t.Helper()
	a, err := c.answer()
	if err != nil {
		t.Fatalf("seed %d: %v", c.Seed(), err)
	}
	p := &gpu.Program{}
	c.Build(p)
	for i, b := range p.Buffers {
		if b.Role == gpu.Const {
			copy(b.Data, a.given[i])
		}
	}
	run, err := dev.Compile(p)
	if err != nil {
		t.Fatalf("seed %d: %v", c.Seed(), err)
	}
	defer func() {
		if err := run.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	for i, b := range p.Buffers {
		if b.Role == gpu.Input || b.Role == gpu.State {
			if err := run.Write(b, a.given[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	iters := max(c.Iters, 1)
	if n, err := run.Run(context.Background(), iters); n != iters || err != nil {
		t.Fatalf("seed %d: ran %d of %d: %v", c.Seed(), n, iters, err)
	}
	tol := c.Tol
	if c.Ints {
		tol = 0
	}
	for i, b := range p.Buffers {
		if b.Role == gpu.Const || b.Role == gpu.Temp {
			continue
		}
		got := make([]float32, b.Shape.Elems())
		if err := run.Read(b, got); err != nil {
			t.Fatal(err)
		}
		if b.Role == gpu.Input { // must be what it was
			allowed := 0.0
			if c.Rounded {
				allowed = tol
			}
			was := make([]float64, len(got))
			for j, v := range a.given[i] {
				was[j] = float64(v)
			}
			if d := Compare(got, was); !d.Within(allowed) {
				t.Errorf("seed %d: input %s was changed: %v", c.Seed(), b.Name, d)
			}
			continue
		}
		d := Compare(got, a.want[i])
		if !d.Within(tol) {
			t.Errorf("seed %d: %s: %v (allowed %g)", c.Seed(), b.Name, d, tol)
		}
		worst = max(worst, d.RelL2)
		hash = Hash(hash, got)
	}
	return worst, hash
}
