package kernels

import (
	"errors"
	"fmt"
)

// MMATiles lists the tiles that conv3x3_mma is compiled for, the narrow one first.
var MMATiles = conv3x3MMAFamily.tiles()

// Supports says why the tensor cores do not take a product of this element type, C,
// C2 and K, with the narrowest of MMATiles; the rest of a need not be filled in.
func (a Conv3x3MMAArgs) Supports(t Elem) error {
	return supportsProduct(&conv3x3MMAFamily, t, MMATiles[0], mmaRow, a.C, a.C2, a.K)
}

// Launch computes a product on the tensor cores, and what follows it:
//
//	a[n,p,k] = sum_{tap,c} w[k,tap,c] x[n,p+tap,c] + sum_j w2[n,k,j] x2[n,p,j]
//
// then the epilogue. Either sum may be absent, its C or C2 being 0. W is (K,9,C),
// W2 (N,K,C2). The tile is one of MMATiles; tiles give the same bits.
func (a Conv3x3MMAArgs) Launch(t Elem, tile Tile, pictures int) (Launch, error) {
	grid := [3]int{tilesOf(a.Height, a.Width, mmaTH, mmaTW), a.K / max(tile.Channels, 1), pictures}
	return launch(a, t, tile, grid, supportsProduct(&conv3x3MMAFamily, t, tile, mmaRow, a.C, a.C2, a.K), a.operands(), a.check(a.Width, a.K))
}

// operands says which operand is missing.
func (a Conv3x3MMAArgs) operands() error {
	return operands(a.C > 0, a.X.Ref, a.W.Ref, a.C2 > 0, a.X2.Ref, a.W2.Ref)
}

func operands(first bool, x, w any, second bool, x2, w2 any) error {
	switch {
	case first && (x == nil || w == nil):
		return errors.New("x or w is null, and c is not 0")
	case second && (x2 == nil || w2 == nil):
		return errors.New("x2 or w2 is null, and c2 is not 0")
	}
	return nil
}

// Steps is how many tiles of channels a block adds up for an output.
func (a Conv3x3MMAArgs) Steps(t Elem) int { return (9*a.C + a.C2) * t.Size() / mmaRow }

// Share divides the steps of every tile, the narrow one, among splits blocks, where
// there are few tiles: the first launch leaves their sums in part, the second adds
// them in order and does the epilogue. The bits are those of one launch if splits
// is 1.
func (a Conv3x3MMAArgs) Share(part Ptr, splits int) (Conv3x3MMAShareArgs, Conv3x3MMASumArgs) {
	return Conv3x3MMAShareArgs{
			Part: part, Splits: splits, X: a.X, W: a.W, X2: a.X2, W2: a.W2,
			Height: a.Height, Width: a.Width, C: a.C, C2: a.C2, K: a.K,
		}, Conv3x3MMASumArgs{
			Part: part, Splits: splits, Height: a.Height, Width: a.Width, K: a.K, EpilogueArgs: a.EpilogueArgs,
		}
}

// shareTile is the one of Conv3x3MMAShareArgs and Conv3x3MMASumArgs.
var shareTile = conv3x3MMAShareFamily.tiles()[0]

// Workspace is the bytes of Part.
func (a Conv3x3MMAShareArgs) Workspace(pictures int) int64 {
	grid := a.grid(pictures)
	return int64(grid[0]) * int64(grid[1]) * int64(grid[2]) * int64(mmaBM*shareTile.Channels*F32.Size())
}

func (a Conv3x3MMAShareArgs) grid(pictures int) [3]int {
	return [3]int{tilesOf(a.Height, a.Width, mmaTH, mmaTW), a.K / shareTile.Channels, pictures * a.Splits}
}

// Launch leaves in Part what every split has summed of Conv3x3MMAArgs' a.
func (a Conv3x3MMAShareArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, shareTile, a.grid(pictures), supportsProduct(&conv3x3MMAShareFamily, t, shareTile, mmaRow, a.C, a.C2, a.K),
		operands(a.C > 0, a.X.Ref, a.W.Ref, a.C2 > 0, a.X2.Ref, a.W2.Ref))
}

// Launch adds the splits of Part in order and does the epilogue.
func (a Conv3x3MMASumArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, shareTile, [3]int{tilesOf(a.Height, a.Width, mmaTH, mmaTW), a.K / shareTile.Channels, pictures}, a.check(a.Width, a.K))
}

// supportsProduct is Supports of the kernels for products: channels in rows of row
// bytes, outputs in tiles.
func supportsProduct(f *family, t Elem, tile Tile, row, c, c2, k int) error {
	if _, err := f.find(t, tile); err != nil {
		return err
	}
	for _, c := range []int{c, c2} {
		if c*t.Size()%row != 0 {
			return fmt.Errorf("%d channels of %s are no multiple of %d bytes: %w", c, t, row, ErrShape)
		}
	}
	if k%tile.Channels != 0 {
		return fmt.Errorf("%d output channels are no multiple of %d: %w", k, tile.Channels, ErrShape)
	}
	return nil
}

// tilesOf is how many tiles of h by w pixels cover a picture.
func tilesOf(height, width, h, w int) int { return ceil(height, h) * ceil(width, w) }
