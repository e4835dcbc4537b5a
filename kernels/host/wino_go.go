//go:build !cgo

package host

// The loops of this file need a C compiler; HasWinograd is false and the device
// never calls them.

// Wino is a Winograd convolution; see the cgo build.
type Wino struct{}

// WinoArgs are its operands.
type WinoArgs struct {
	N, H, W, C, K                            int
	X, XBits, U, Bias, Y, YPool, YBits, Gate []float32
	ReLU, Accumulate                         bool
}

// NewWino is not in this build.
func (l *Loops) NewWino(int, WinoArgs) *Wino { return nil }

// Panels is not in this build.
func (w *Wino) Panels() int { return 0 }

// Transform is not in this build.
func (w *Wino) Transform([]float32, int, int, int, int) {}

// Multiply is not in this build.
func (w *Wino) Multiply(_, _ []float32, _, _, _, _ int) {}

// WinoScratch is not in this build.
func (l *Loops) WinoScratch(int, int, int) (v, m int) { return 0, 0 }

// PackWino is not in this build.
func (l *Loops) PackWino(int, []float32, []float32, int, int, bool, float64, int, int) {}

// PackFirst is not in this build.
func (l *Loops) PackFirst(_, _, _ []float32) {}

// FirstFwd is not in this build.
func (l *Loops) FirstFwd(_, _, _, _, _ []float32, _, _, _, _ int, _ []float32) {}

// FirstBwd is not in this build.
func (l *Loops) FirstBwd(_, _, _ []float32, _, _, _, _ int, _ []float32) {}
