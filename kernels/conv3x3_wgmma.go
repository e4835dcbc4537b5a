package kernels

import "fmt"

// Tiles lists those that conv3x3_wgmma is compiled for.
var Tiles = conv3x3WGMMAFamily.tiles()

// Count is how many tiles k channels of pictures have.
func (t Tile) Count(height, width, k, pictures int) int {
	return pictures * tilesOf(height, width, t.Pixels/wgmmaTW, wgmmaTW) * (k / t.Channels)
}

// Tiles of both kernels are as wide.
const _ = uint(mmaTW-wgmmaTW) + uint(wgmmaTW-mmaTW)

// WGMMA is the same product for Hopper's kernel, in a tile of Tiles.
func (a Conv3x3MMAArgs) WGMMA(t Elem, tile Tile, pictures int) Conv3x3WGMMAArgs {
	row := uint32(wgmmaRow / max(t.Size(), 1))
	pixels := func(x Ptr, c int) Map {
		if c == 0 {
			return Map{}
		}
		return Map{x, []uint64{uint64(c), uint64(a.Width), uint64(a.Height), uint64(pictures)}, []uint32{row, wgmmaTW, uint32(tile.Pixels/wgmmaTW + 2), 1}}
	}
	matrix := func(w Ptr, columns, count int) Map {
		if columns == 0 {
			return Map{}
		}
		return Map{w, []uint64{uint64(columns), uint64(count * a.K)}, []uint32{row, uint32(tile.Channels / max(tile.Multicast, 1))}}
	}
	return Conv3x3WGMMAArgs{
		X: pixels(a.X, a.C), W: matrix(a.W, 9*a.C, 1), X2: pixels(a.X2, a.C2), W2: matrix(a.W2, a.C2, pictures),
		Height: a.Height, Width: a.Width, C: a.C, C2: a.C2, K: a.K, Pictures: pictures, EpilogueArgs: a.EpilogueArgs,
	}
}

// Supports says why Hopper's kernel does not take a product of this element type,
// C, C2 and K in a tile; the rest of a need not be filled in.
func (a Conv3x3WGMMAArgs) Supports(t Elem, tile Tile) error {
	return supportsProduct(&conv3x3WGMMAFamily, t, tile, wgmmaRow, a.C, a.C2, a.K)
}

// Launch computes what Conv3x3MMAArgs does, and bits that are the same for all
// Tiles of one Split. Clusters take tiles in turn, as many as sms multiprocessors
// hold; where they split tiles, each takes one.
func (a Conv3x3WGMMAArgs) Launch(t Elem, tile Tile, sms int) (Launch, error) {
	if err := a.Supports(t, tile); err != nil {
		return Launch{}, fmt.Errorf("conv3x3_wgmma: %w", err)
	}
	cluster := tile.Multicast * tile.Split
	groups := a.Pictures * ceil(tilesOf(a.Height, a.Width, tile.Pixels/wgmmaTW, wgmmaTW), tile.Multicast) * (a.K / tile.Channels)
	if tile.Split == 1 {
		groups = min(groups, max(sms/cluster, 1))
	}
	return launch(a, t, tile, [3]int{groups * cluster, 1, 1},
		operands(a.C > 0, a.X.Of.Ref, a.W.Of.Ref, a.C2 > 0, a.X2.Of.Ref, a.W2.Of.Ref), a.check(a.Width, a.K))
}
