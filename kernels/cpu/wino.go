package cpu

// WinoTiles is the number of tiles that cover n pictures.
func WinoTiles(tile, n, h, w int) int { return n * ((h + tile - 1) / tile) * ((w + tile - 1) / tile) }

// WinoWeights is the number of values of transformed weights.
func WinoWeights(tile, c, k int) int { return (tile + 2) * (tile + 2) * c * k }

// Rows is the number of tiles of a panel of V: fewer cost nearly the same.
func (l *Loops) Rows() int { return l.mr }

// Sizes of the first layer's packed weights and scratch, in values.
const (
	FirstFpropLen = 27 * 64
	FirstDgradLen = 32 * 64
)

// FirstStrip is the scratch of FirstFprop for pictures of width w.
func FirstStrip(w int) int { return 3*(w+2)*3 + 16 }

// FirstRing is the scratch of FirstDgrad.
func FirstRing(w int) int { return 3*(w+2)*32 + 16 }
