//go:build !cgo

package cpu

// The loops of this file need a C compiler; HasWinograd is false and the device
// never calls them.

// Wino is a Winograd convolution; see the cgo build.
type Wino struct{}

// WinoArgs are its operands.
type WinoArgs struct {
	N, H, W, C, K                            int
	X, XBits, U, Bias, Y, YPool, YBits, Gate []float32
	ReLU, MaxPool, Accumulate                bool
}

// NewWino is not in this build.
func (l *Loops) NewWino(int, WinoArgs) *Wino { return nil }

// WinoScratch is not in this build.
func (l *Loops) WinoScratch(int, int, int) (v, m int) { return 0, 0 }

// PackFirst is not in this build.
func (l *Loops) PackFirst(_, _, _ []float32) {}

// Wino is not in this build.
func (p *Pool) Wino(*Wino, int, bool, []float32) {}

// PackWino is not in this build.
func (p *Pool) PackWino(int, []float32, []float32, int, int, bool, float64) {}

// FirstFprop is not in this build.
func (p *Pool) FirstFprop(_, _, _, _, _ []float32, _, _, _, _ int, _ []float32) {}

// FirstDgrad is not in this build.
func (p *Pool) FirstDgrad(_, _, _ []float32, _, _, _, _ int, _ []float32) {}
