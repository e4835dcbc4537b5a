package cpu

import (
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// bindConv returns the function that executes a convolution step.
func (r *runner) bindConv(c *conv, work []float32) (func(), error) {
	l, threads := r.dev.loops, r.dev.opt.Threads
	w, err := r.dev.pack(c)
	if err != nil {
		return nil, err
	}
	x, y := r.mem(c.src), r.mem(c.y)
	g, out := c.extents() // N, H, W and channels in; channels out

	switch c.algo {
	case f4, f6:
		wino := l.NewWino(c.algo.tile(), loops.WinoArgs{
			N: g.N, H: g.H, W: g.W, C: g.C, K: out.C, X: x, XBits: r.mem(c.xbits), U: w.u, Bias: w.bias, ReLU: c.relu != nil,
			Y: y, YPool: r.mem(c.ypool), MaxPool: c.maxPool(), YBits: r.mem(c.ybits), Gate: r.mem(c.gateBits), Accumulate: c.sum != nil,
		})
		return func() { r.dev.pool.Wino(wino, c.block.size, c.block.shared, work) }, nil

	case first:
		size := max(4, min(32, (g.H+2*threads-1)/(2*threads)))
		bits := r.mem(c.ybits)
		if c.dgrad() {
			return func() { r.dev.pool.FirstDgrad(y, x, w.u, g.N, g.H, g.W, size, work) }, nil
		}
		return func() { r.dev.pool.FirstFprop(y, bits, x, w.u, w.bias, g.N, g.H, g.W, size, work) }, nil

	default:
		// Blocks of rows: enough for the threads to balance, and enough rows each
		// that the weights, read once a block, do not dominate.
		size := min(max(4, (1<<21)/max(1, 18*g.W*g.C)), max(1, (g.H+7)/8))
		return func() { r.dev.pool.Conv3x3(y, x, w.direct, g.N, g.H, g.W, c.relu != nil, size) }, nil
	}
}
