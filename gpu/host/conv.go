package host

import (
	"github.com/stylize-gpu/stylize/gpu"
	loops "github.com/stylize-gpu/stylize/kernels/host"
)

// bindConv returns the function that executes a convolution step.
func (r *runner) bindConv(s *step, work []float32) (func(), error) {
	c, op, l, threads := s.conv, s.op, r.dev.loops, r.dev.opt.Threads
	w, err := r.dev.pack(op, c, r.parallel)
	if err != nil {
		return nil, err
	}
	mem := func(b *gpu.Buffer) []float32 {
		if b == nil {
			return nil
		}
		return r.mem(b)
	}
	x, y, k := mem(c.src), mem(c.y), op.Out[0].Shape.C
	g := op.In[0].Shape // N, H, W and channels in
	nx, ny := g.Pixels()*g.C, g.Pixels()*k
	picture := func(v []float32, n, size int) []float32 { return v[n*size : (n+1)*size] }

	switch c.algo {
	case f4, f6:
		wino := l.NewWino(c.algo.tile(), loops.WinoArgs{
			N: g.N, H: g.H, W: g.W, C: g.C, K: k, X: x, XBits: mem(c.xbits), U: w.u, Bias: w.bias, ReLU: c.relu,
			Y: y, YPool: mem(c.ypool), YBits: mem(c.ybits), Gate: mem(c.gate), Accumulate: c.add != nil,
		})
		b := c.block
		vlen, mlen := l.WinoScratch(c.algo.tile(), g.C, b.size)
		group := max(32/l.Panel(), 1) // panels that share a slice of V
		groups := part{wino.Panels(), group}
		if b.shared {
			v, rest := work[:vlen], work[vlen:]
			rows := (b.tiles + l.Rows() - 1) / l.Rows()
			return func() {
				r.parallel(rows, func(i int) { wino.Transform(v, 0, b.tiles, i, i+1) })
				r.workers(groups.blocks(), func(worker, i int) {
					lo, hi := groups.at(i)
					wino.Multiply(v, rest[worker*mlen:][:mlen], 0, b.tiles, lo, hi)
				})
			}, nil
		}
		tiles := part{b.tiles, b.size}
		return func() {
			r.workers(b.blocks, func(worker, i int) {
				v := work[worker*(vlen+mlen):][:vlen]
				m := work[worker*(vlen+mlen)+vlen:][:mlen]
				lo, hi := tiles.at(i)
				wino.Transform(v, lo, hi-lo, 0, (hi-lo+l.Rows()-1)/l.Rows())
				wino.Multiply(v, m, lo, hi-lo, 0, wino.Panels())
			})
		}, nil

	case first:
		rows := part{g.H, max(4, min(32, (g.H+2*threads-1)/(2*threads)))}
		scratch := len(work) / threads
		bits := mem(c.ybits)
		return func() {
			r.workers(g.N*rows.blocks(), func(worker, i int) {
				n := i / rows.blocks()
				lo, hi := rows.at(i % rows.blocks())
				own := work[worker*scratch:][:scratch]
				if c.dgrad {
					l.FirstBwd(picture(y, n, ny), picture(x, n, nx), w.u, g.H, g.W, lo, hi, own)
					return
				}
				var b []float32
				if bits != nil {
					b = picture(bits, n, ny/32)
				}
				l.FirstFwd(picture(y, n, ny), b, picture(x, n, nx), w.u, w.bias, g.H, g.W, lo, hi, own)
			})
		}, nil

	default:
		// Blocks of rows: enough for the threads to balance, and enough rows each
		// that the weights, read once a block, do not dominate.
		rows := part{g.H, min(max(4, (1<<21)/max(1, 18*g.W*g.C)), max(1, (g.H+7)/8))}
		return func() {
			r.parallel(g.N*rows.blocks(), func(i int) {
				n := i / rows.blocks()
				lo, hi := rows.at(i % rows.blocks())
				l.Conv3x3(picture(y, n, ny), picture(x, n, nx), w.direct, g.H, g.W, c.relu, lo, hi)
			})
		}, nil
	}
}
