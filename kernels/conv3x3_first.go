package kernels

import (
	"errors"
	"fmt"
)

// FirstWeights is how many weights an output of Conv3x3FirstFpropArgs has: those of
// nine taps, and zeros.
const FirstWeights = firstPadded

// FirstChannels is how many channels a picture has, which the kernels of the first
// layer are written for.
const FirstChannels = firstIn

// firstPlaces is how many blocks of the first layer run at once on 132
// multiprocessors, in 16 bits.
const firstPlaces = 3 * 132

// FirstTiles is how many tiles a block of the first layer has where it sums their
// Gram matrix: enough to keep the sums few, no more than 2048 pixels, and so many
// that blocks fill a GPU a whole number of times.
func FirstTiles(height, width int) int {
	const most = 2048 / (firstFpropTH * firstFpropTW)
	tiles := tilesOf(height, width, firstFpropTH, firstFpropTW)
	return max(ceil(tiles, firstPlaces*ceil(tiles, firstPlaces*most)), 2)
}

// FirstBlocks is how many blocks of FirstTiles a picture has: so many sums of its
// Gram matrix.
func FirstBlocks(height, width int) int {
	return ceil(tilesOf(height, width, firstFpropTH, firstFpropTW), FirstTiles(height, width))
}

// Supports says why the kernel does not take this element type and K; the rest of a
// need not be filled in.
func (a Conv3x3FirstFpropArgs) Supports(t Elem) error {
	if _, err := conv3x3FirstFpropFamily.find(t, Tile{}); err != nil {
		return err
	}
	if a.K%epilogueChannels != 0 {
		return fmt.Errorf("%d output channels are no multiple of %d: %w", a.K, epilogueChannels, ErrShape)
	}
	return nil
}

// Launch computes, of a picture x (N,H,W,3) in fp32,
//
//	y[n,p,k] = bias[k] + sum_{tap,i} w[k,tap,i] (x[n,p+tap,i] - mean[i]) / std[i]
//
// and its ReLU, its means over 2x2 windows and its bits, where these are given; a
// block has Each tiles. With Part, which only K = 64 may have, each block also leaves
// there its share of y's Gram matrix: (N, FirstBlocks, K, K).
func (a Conv3x3FirstFpropArgs) Launch(t Elem, pictures int) (Launch, error) {
	blocks := ceil(tilesOf(a.Height, a.Width, firstFpropTH, firstFpropTW), max(a.Each, 1))
	var err error
	switch {
	case a.Each < 1:
		err = errors.New("each is 0")
	case a.Part.Ref != nil && a.K != epilogueChannels:
		err = fmt.Errorf("part is given, and k is %d, not %d: %w", a.K, epilogueChannels, ErrShape)
	}
	return launch(a, t, Tile{}, [3]int{blocks, a.K / epilogueChannels, pictures}, a.Supports(t), err)
}

// Supports says why the kernel does not take this element type and C; the rest of a
// need not be filled in.
func (a Conv3x3FirstDgradArgs) Supports(t Elem) error {
	if _, err := conv3x3FirstDgradFamily.find(t, Tile{}); err != nil {
		return err
	}
	if a.C*t.Size()%firstDgradRow != 0 {
		return fmt.Errorf("%d channels of %s are no multiple of %d bytes: %w", a.C, t, firstDgradRow, ErrShape)
	}
	return nil
}

// Launch computes the gradient of a picture, dx (N,H,W,3) in fp32:
//
//	dx[n,p,i] = sum_{tap,k} w[i,tap,k] dy[n,p+tap,k] / Scale / std[i]
func (a Conv3x3FirstDgradArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{tilesOf(a.Height, a.Width, firstDgradTH, firstDgradTW), 1, pictures}, a.Supports(t))
}
