package kernels

import "errors"

// SplitPixels is how many pixels a block of a Gram matrix sums: few enough to fill a
// GPU and to keep sums short.
const SplitPixels = 1024

// Splits is how many shares of SplitPixels a picture's pixels are.
func Splits(pixels int) int { return ceil(pixels, SplitPixels) }

// Workspace is the bytes of Part.
func (a GramFwdArgs) Workspace(pictures int) int64 {
	return int64(F32.Size()) * int64(pictures) * int64(a.Splits) * int64(a.C) * int64(a.C)
}

// Launch sums f[p,i] f[p,j] over the PPS pixels of each split: Part (N,Splits,C,C),
// without what is below the diagonal of tiles. GramSumArgs adds the splits.
func (a GramFwdArgs) Launch(t Elem, pictures int) (Launch, error) {
	var err error
	if a.Splits*a.PPS < a.Pixels {
		err = errors.New("the splits do not cover the pixels")
	}
	return launch(a, t, Tile{}, [3]int{ceil(a.C, gramBT), ceil(a.C, gramBT), pictures * a.Splits}, err)
}

// Launch computes g[i,j] = Scale times the sum of the splits of Part.
func (a GramSumArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{ceil(a.C*a.C, gramSumThreads), pictures, 1}, below31("c c", a.C, a.C))
}

// Launch computes df[p,i] = Scale LossScale sum_j (dg[i,j] + dg[j,i]) f[p,j].
func (a GramBwdArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{ceil(a.Pixels, gramBT), ceil(a.C, gramBT), pictures})
}
