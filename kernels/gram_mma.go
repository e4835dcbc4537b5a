package kernels

import "errors"

// Blocks is how many blocks a layer has: one for each picture, split and tile on or
// above the diagonal, C being a multiple of 64. The First of the next layer is so
// many further on.
func (l GramLayer) Blocks(pictures int) int {
	side := l.C / gramMMABT
	return side * (side + 1) / 2 * l.Splits * pictures
}

// Launch sums, for each of Count GramLayers, f[p,i] f[p,j] over the PPS pixels of
// each split: Part (N,Splits,C,C), without the tiles below the diagonal. blocks are
// those of all layers.
func (a GramFwdMMAArgs) Launch(t Elem, blocks int) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{blocks, 1, 1})
}

// Launch computes w[i,j] = Scale LossScale (dg[i,j] + dg[j,i]): a style gradient is
// then the product of w and f.
func (a GramCoefArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{ceil(a.C*a.C, gramCoefThreads), pictures, 1}, below31("c c", a.C, a.C))
}

// StyleGroups is how many threads share an element of GramStyleArgs, which adds its
// splits: more where there are many, and always a power of two.
func StyleGroups(splits int) int {
	switch {
	case splits >= 256:
		return 16
	case splits >= 8:
		return 4
	}
	return 1
}

// Blocks is how many blocks a style loss has, each of which leaves a part of the
// loss of a picture: Groups times four for each tile on or above the diagonal. The
// First of the next is so many further on.
func (s GramStyle) Blocks(pictures int) int {
	side := s.C / gramMMABT
	return side * (side + 1) / 2 * gramMMABT / gramMMAStrip * s.Groups * pictures
}

// Launch computes, for each of Count GramStyles, g = Norm times the sum of the
// splits of Part, the parts of sum (g - target)^2, and
//
//	w[i,j] = Scale Weight LossScale (2 g[i,j] - target[i,j] - target[j,i])
//
// in the type that t is stored as. blocks are those of all.
func (a GramStyleArgs) Launch(t Elem, blocks int) (Launch, error) {
	var err error
	if a.Count < 1 {
		err = errors.New("count is 0")
	}
	return launch(a, t, Tile{}, [3]int{blocks, 1, 1}, err)
}
