package plan

import (
	"fmt"
	"slices"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels"
)

// tensorCores reports whether a product with c input and k output channels suits
// the tensor cores' kernels.
func (t Target) tensorCores(c, k int) bool {
	return t.Precision != FP32 && kernels.Conv3x3MMAArgs{C: c, K: k}.Supports(t.Precision.Element()) == nil
}

// firstLayer and lastLayer report whether the kernels that begin and end at a
// picture suit a convolution.
func (t Target) firstLayer(c, k int) bool {
	return t.Precision != FP32 && c == kernels.FirstChannels && kernels.Conv3x3FirstFpropArgs{K: k}.Supports(t.Precision.Element()) == nil
}

func (t Target) lastLayer(c, k int) bool {
	return t.Precision != FP32 && k == kernels.FirstChannels && kernels.Conv3x3FirstDgradArgs{C: c}.Supports(t.Precision.Element()) == nil
}

// onHopper reports whether Hopper's kernels take a product, in some tile.
func (t Target) onHopper(p kernels.Conv3x3MMAArgs) bool {
	return t.Hopper && kernels.Conv3x3WGMMAArgs{C: p.C, C2: p.C2, K: p.K}.Supports(t.Precision.Element(), kernels.Tiles[0]) == nil
}

// product is what the tensor cores compute, still without operands, with the
// epilogue of its step; out is its shape.
func (l *lowering) product(out gpu.Shape, e *epilogue) kernels.Conv3x3MMAArgs {
	p := kernels.Conv3x3MMAArgs{Height: out.H, Width: out.W, K: out.C}
	p.Y, p.Pooled, p.Positive, p.Add, p.ReLU = l.ptr(e.y), l.ptr(e.pooled), made(e.positive, kernels.U8), l.ptr(e.add), e.relu
	p.Gate, p.Bits = l.ptr(e.gate), made(e.bits, kernels.U8)
	if e.bits != nil {
		p.Gate = kernels.Ptr{}
	}
	if e.content != nil {
		x, target := e.content.X(), e.content.Target()
		p.Target, p.OneTarget, p.Scale = l.ptr(target), oneForAll(target, x), lossScale()
		p.Weight, p.Columns = l.weight(e.content.Weight())
		p.TargetK = 2 / float32(perPicture(x))
	}
	p.MaxPool = e.maxPool
	if e.unpool != nil {
		u := e.unpool.DX().Shape
		p.UnpoolH, p.UnpoolW = u.H, u.W
	}
	return p
}

// multiply lowers a product: to two launches where blocks share the sums of a tile,
// else to one of several that suit.
func (l *lowering) multiply(to *Step, p kernels.Conv3x3MMAArgs, out gpu.Shape, e *epilogue) error {
	if splits := l.target.shares(out, p); splits > 1 {
		share, sum := p.Share(kernels.Ptr{}, splits)
		part := to.workspace(share.Workspace(out.N), kernels.F32)
		share.Part, sum.Part = part, part
		if err := to.add(share.Launch(l.element(), out.N)); err != nil {
			return err
		}
		return to.add(sum.Launch(l.element(), out.N))
	}
	v := &Variants{
		Layer: fmt.Sprintf("%s %v from %d+%d", l.target.Precision, out, p.C, p.C2),
		At:    len(to.Launches),
	}
	if e.pooled != nil || e.unpool != nil {
		v.Layer += " pool"
	}
	for _, tile := range l.target.candidates(out, p) {
		la, err := l.target.launch(p, tile, out.N)
		if err != nil {
			return err
		}
		v.Launches = append(v.Launches, la)
	}
	choice := v.Launches[0]
	if l.target.Tuned != nil {
		if la, ok := v.Named(l.target.Tuned(v.Layer)); ok {
			choice = la
		}
	}
	to.Variants = v
	return to.add(choice, nil)
}

// launch is a product in a tile of its kernel: Hopper's where that takes it.
func (t Target) launch(p kernels.Conv3x3MMAArgs, tile kernels.Tile, pictures int) (kernels.Launch, error) {
	if t.onHopper(p) {
		return p.WGMMA(t.Precision.Element(), tile, pictures).Launch(t.Precision.Element(), tile, t.SMs)
	}
	return p.Launch(t.Precision.Element(), tile, pictures)
}

// shares is how many blocks share the sums of a tile of conv3x3_mma: one where
// there are more tiles of a picture than three quarters of the multiprocessors, else
// so many that each of those has two, with at least nine steps a block. How many
// pictures there are plays no part: their bits would depend on it.
func (t Target) shares(out gpu.Shape, p kernels.Conv3x3MMAArgs) int {
	blocks := narrow.Count(out.H, out.W, out.C, 1)
	if t.onHopper(p) || 4*blocks > 3*t.SMs {
		return 1
	}
	return max(min(2*t.SMs/blocks, p.Steps(t.Precision.Element())/9, 8), 1)
}

// narrow and wide are the tiles of conv3x3_mma, half and quarter those of Hopper's
// kernel that the choice below knows by name.
var (
	narrow, wide = kernels.MMATiles[0], kernels.MMATiles[1]

	half256   = kernels.Tile{Channels: 64, Pixels: 256, Multicast: 1, Split: 1}
	pingpong  = kernels.Tile{Channels: 64, Pixels: 256, Multicast: 1, Split: 1, Pingpong: true}
	twoPart   = kernels.Tile{Channels: 128, Pixels: 128, Multicast: 1, Split: 2}
	threePart = kernels.Tile{Channels: 128, Pixels: 128, Multicast: 1, Split: 3}
	fourPart  = kernels.Tile{Channels: 128, Pixels: 128, Multicast: 1, Split: 4}
)

// candidates lists the tiles for a product. Which is first, and whether blocks
// share the sums of a tile, follows from how many blocks there are for the
// multiprocessors: large tiles where they keep most busy, else smaller ones, else
// several blocks a tile. The last follows from one picture alone, for the bits of a
// picture depend on it.
func (t Target) candidates(out gpu.Shape, p kernels.Conv3x3MMAArgs) []kernels.Tile {
	perSM := func(tile kernels.Tile, pictures int) float64 {
		return float64(tile.Count(out.H, out.W, out.C, pictures)) / float64(t.SMs)
	}
	if !t.onHopper(p) {
		switch {
		case out.C%wide.Channels != 0:
			return []kernels.Tile{narrow}
		case perSM(wide, out.N) >= 1.5: // of the two that a multiprocessor holds
			return []kernels.Tile{wide, narrow}
		}
		return []kernels.Tile{narrow, wide}
	}
	takes := func(tile kernels.Tile) bool {
		return p.WGMMA(t.Precision.Element(), tile, out.N).Supports(t.Precision.Element(), tile) == nil
	}
	if t.Only != (kernels.Tile{}) && takes(t.Only) {
		return []kernels.Tile{t.Only}
	}
	var first kernels.Tile
	switch small := perSM(twoPart, 1); {
	// That all clusters of four are resident at once was seen for no more than these: a part of the chip holds whole clusters only.
	case takes(fourPart) && small < 0.2125:
		first = fourPart
	case takes(threePart) && small < 0.32:
		first = threePart
	case takes(twoPart) && small < 0.6:
		first = twoPart
	case perSM(pingpong, out.N) > 1.5: // nearly one for each warpgroup, or more
		first = pingpong
	default:
		first = half256
	}
	all := []kernels.Tile{first}
	for _, tile := range t.Tiles() {
		if tile != first && tile.Split == first.Split && takes(tile) {
			all = append(all, tile)
		}
	}
	return all
}

// Named is the launch of an entry.
func (v *Variants) Named(entry string) (kernels.Launch, bool) {
	i := slices.IndexFunc(v.Launches, func(la kernels.Launch) bool { return la.Spec.Entry == entry })
	if i < 0 {
		return kernels.Launch{}, false
	}
	return v.Launches[i], true
}
