package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels"
)

// product is what the tensor cores compute before an epilogue: a convolution of
// x (nil: none) with weights w, plus the features x2 (nil: none) times a matrix w2
// that each picture has for itself.
type product struct {
	x, x2 *gpu.Buffer
	c, c2 int // channels of x and x2
	w, w2 argument
	bias  argument
}

// tensorCores reports whether a product with c input and k output channels suits
// the tensor cores' kernels.
func (t Target) tensorCores(c, k int) bool {
	return t.Precision != FP32 && c*t.Precision.size()%64 == 0 && k%64 == 0
}

// firstLayer and lastLayer report whether the kernels that begin and end at a
// picture suit a convolution.
func (t Target) firstLayer(c, k int) bool {
	return t.Precision != FP32 && c == 3 && k%64 == 0
}

func (t Target) lastLayer(c, k int) bool {
	return t.Precision != FP32 && c*t.Precision.size()%128 == 0 && k == 3
}

// onHopper reports whether Hopper's kernels take a product.
func (t Target) onHopper(p product) bool {
	return t.Hopper && p.c*t.Precision.size()%128 == 0 && p.c2*t.Precision.size()%128 == 0
}

// product lowers one, with the epilogue of its step; out is its shape.
func (l *lowering) product(to *Step, out gpu.Shape, p product, e *epilogue) error {
	end := l.epilogue(e, p.bias)
	inputs := []argument{optional(p.x), p.w, optional(p.x2), p.w2, u32(out.H), u32(out.W), u32(p.c), u32(p.c2), u32(out.C)}
	if shares := l.target.shares(out, p); shares > 1 {
		narrow := "conv3x3_mma_" + l.target.Precision.element() + "_nhwc_128x64"
		grid := [3]int{tiles(out, tileH, tileW), out.C / 64, out.N}
		sums := workspace(to, 4*128*64*int64(grid[0]*grid[1]*grid[2]*shares))
		to.run(narrow+"_share", [3]int{grid[0], grid[1], grid[2] * shares}, append([]argument{sums, u32(shares)}, inputs...)...)
		to.run(narrow+"_sum", grid, append([]argument{sums, u32(shares), u32(out.H), u32(out.W), u32(out.C)}, end...)...)
		return nil
	}
	v := &Variants{
		Layer:   fmt.Sprintf("%s %v from %d+%d", l.target.Precision, out, p.c, p.c2),
		Entries: l.target.candidates(out, p),
		At:      len(to.Launches),
	}
	if e.pooled != nil || e.unpool != nil {
		v.Layer += " pool"
	}
	v.Launch = func(entry string) Launch {
		spec := kernels.All[entry]
		if spec.Tile != (kernels.Tile{}) {
			grid, args := l.target.wgmma(spec, out, p)
			return Launch{Spec: spec, Grid: grid, Args: append(args, end...)}
		}
		return Launch{Spec: spec, Grid: [3]int{tiles(out, tileH, tileW), out.C / mmaChannels(entry), out.N}, Args: append(slices.Clone(inputs), end...)}
	}
	entry := v.Entries[0]
	if l.target.Tuned != nil && slices.Contains(v.Entries, l.target.Tuned(v.Layer)) {
		entry = l.target.Tuned(v.Layer)
	}
	to.Variants = v
	to.Launches = append(to.Launches, v.Launch(entry))
	return nil
}

// shares is how many blocks share the sums of a tile of conv3x3_mma: one where
// there are more tiles than three quarters of the multiprocessors, else so many
// that each of those has two, with at least nine steps a block.
func (t Target) shares(out gpu.Shape, p product) int {
	blocks := out.N * tiles(out, tileH, tileW) * (out.C / 64)
	if t.onHopper(p) || 4*blocks > 3*t.SMs {
		return 1
	}
	steps := (9*p.c + p.c2) * t.Precision.size() / 64
	return max(min(2*t.SMs/blocks, steps/9, 8), 1)
}

func mmaChannels(entry string) int {
	if strings.HasSuffix(entry, "x128") {
		return 128
	}
	return 64
}

// candidates lists the kernels for a product. Which is first, and whether blocks
// share the sums of a tile, follows from how many blocks there are for the
// multiprocessors: large tiles where they keep most busy, else smaller ones, else
// several blocks a tile.
func (t Target) candidates(out gpu.Shape, p product) []string {
	element := t.Precision.element()
	blocks := func(tile kernels.Tile) float64 {
		return float64(out.N*tiles(out, tile.Pixels/tileW, tileW)*(out.C/tile.Channels)) / float64(t.SMs)
	}
	if !t.onHopper(p) {
		narrow, wide := "conv3x3_mma_"+element+"_nhwc_128x64", "conv3x3_mma_"+element+"_nhwc_128x128"
		switch {
		case out.C%128 != 0:
			return []string{narrow}
		case blocks(kernels.Tile{Channels: 128, Pixels: 128}) >= 1.5: // of the two that a multiprocessor holds
			return []string{wide, narrow}
		}
		return []string{narrow, wide}
	}
	if t.Only != "" && out.C%kernels.All[t.Only].Tile.Channels == 0 {
		return []string{t.Only}
	}
	var first kernels.Tile
	switch small := blocks(kernels.Tile{Channels: 128, Pixels: 128}); {
	case out.C%128 != 0:
		first = kernels.Tile{Channels: 64, Pixels: 512, Multicast: 1, Split: 1}
		if blocks(first) < 0.9 {
			first.Pixels = 256
		}
	case blocks(kernels.Tile{Channels: 128, Pixels: 256}) >= 0.9:
		first = kernels.Tile{Channels: 128, Pixels: 256, Multicast: 2, Split: 1}
	case small >= 0.6:
		first = kernels.Tile{Channels: 128, Pixels: 128, Multicast: 2, Split: 1}
	case small >= 0.3:
		first = kernels.Tile{Channels: 128, Pixels: 128, Multicast: 1, Split: 2}
	default:
		first = kernels.Tile{Channels: 128, Pixels: 128, Multicast: 1, Split: 4}
	}
	entries := []string{first.Wgmma(element)}
	for _, tile := range kernels.Tiles {
		if tile != first && tile.Split == first.Split && out.C%tile.Channels == 0 {
			entries = append(entries, tile.Wgmma(element))
		}
	}
	return entries
}

// wgmma is the grid and the arguments before the epilogue of Hopper's kernel.
func (t Target) wgmma(spec *kernels.Spec, out gpu.Shape, p product) (grid [3]int, args []argument) {
	tile := spec.Tile
	bk := uint32(128 / t.Precision.size())
	pixels := func(b *gpu.Buffer, c int) argument {
		if b == nil {
			return tensorMap(null(), nil, nil)
		}
		return tensorMap(buf(b), []int{c, out.W, out.H, out.N}, []uint32{bk, tileW, uint32(tile.Pixels/tileW + 2), 1})
	}
	matrix := func(w argument, columns, count int) argument {
		if columns == 0 {
			return tensorMap(null(), nil, nil)
		}
		return tensorMap(w, []int{columns, count * out.C}, []uint32{bk, uint32(tile.Channels / tile.Multicast)})
	}
	groups := out.N * ceil(tiles(out, tile.Pixels/tileW, tileW), tile.Multicast) * out.C / tile.Channels
	if tile.Split == 1 { // persistent
		groups = min(groups, max(t.SMs/spec.Cluster, 1))
	}
	return [3]int{groups * spec.Cluster, 1, 1}, []argument{
		pixels(p.x, p.c), matrix(p.w, 9*p.c, 1), pixels(p.x2, p.c2), matrix(p.w2, p.c2, out.N),
		u32(out.H), u32(out.W), u32(p.c), u32(p.c2), u32(out.C), u32(out.N),
	}
}

// epilogue is the arguments of one.
func (l *lowering) epilogue(e *epilogue, bias argument) []argument {
	gate, by, k, target, one := optional(e.gate), null(), 0.0, null(), false
	if e.bits != nil {
		gate = null()
	}
	if e.content != nil {
		x, b := e.content.X(), e.content.Target()
		target, by, k, one = buf(b), scale(), 2*float64(e.content.Scale)/float64(perPicture(x)), b.Shape.N < x.Shape.N
	}
	h, w := 0, 0
	if e.unpool != nil {
		u := e.unpool.DX().Shape
		h, w = u.H, u.W
	}
	return []argument{
		optional(e.y), optional(e.pooled), optional(e.positive), bias, optional(e.add), target, gate, optional(e.bits),
		by, f32(k), boolean(e.relu), boolean(one), u32(h), u32(w),
	}
}
