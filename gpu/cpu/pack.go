package cpu

import (
	"fmt"

	"github.com/stylize-gpu/stylize/gpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// packed are the weights of one convolution in the form that an algorithm
// reads, made once and shared by all programs of a network.
type packed struct {
	direct  *loops.Weights // algo direct
	u, bias []float32      // the others, in mem
	mem     []float32      // outside Go's heap
}

// packKey identifies packed weights by the memory they came from.
type packKey struct {
	data   *float32
	algo   algo
	dgrad  bool
	behind bool // a pool: the factor 1/4 is in the weights
}

func (c *conv) key(op *gpu.Op) packKey {
	return packKey{&op.In[1].Data[0], c.algo, c.dgrad, c.xbits != nil}
}

// packedLen is the number of values of the packed weights.
func (d *Device) packedLen(op *gpu.Op, c *conv) int {
	in, out := op.In[0].Shape.C, op.Out[0].Shape.C
	switch c.algo {
	case f4, f6:
		n := loops.WinoWeights(c.algo.tile(), in, out)
		if !c.dgrad {
			n += out
		}
		return n
	case first:
		return loops.FirstFpropLen + loops.FirstDgradLen + 64
	case direct:
	}
	return int(d.loops.PackedBytes(in, out, !c.dgrad) / 4)
}

// pack returns the packed weights of a convolution.
func (d *Device) pack(op *gpu.Op, c *conv) (*packed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.packed == nil {
		return nil, errClosed
	}
	key := c.key(op)
	if p, ok := d.packed[key]; ok {
		return p, nil
	}
	w := op.In[1]
	p := &packed{}
	switch {
	case c.algo == direct && c.dgrad:
		p.direct = d.loops.PackDgrad(w.Data, w.Shape.C, w.Shape.N)
	case c.algo == direct:
		p.direct = d.loops.PackFprop(w.Data, op.In[2].Data, w.Shape.C, w.Shape.N)
	default:
		n := d.packedLen(op, c)
		if p.mem = loops.Alloc(n); p.mem == nil {
			return nil, fmt.Errorf("cpu: %s: %.0f MB for its weights: %w", op, float64(n)*4/1e6, gpu.ErrOutOfMemory)
		}
		if c.algo == first {
			fwd, bwd := p.mem[:loops.FirstFpropLen], p.mem[loops.FirstFpropLen:][:loops.FirstDgradLen]
			d.loops.PackFirst(fwd, bwd, w.Data)
			p.u, p.bias = fwd, p.mem[len(p.mem)-64:]
			if c.dgrad {
				p.u = bwd
			} else {
				copy(p.bias, op.In[2].Data)
			}
			break
		}
		k := op.Out[0].Shape.C
		p.u = p.mem[:loops.WinoWeights(c.algo.tile(), op.In[0].Shape.C, k)]
		if !c.dgrad {
			p.bias = p.mem[len(p.u):]
			copy(p.bias, op.In[2].Data)
		}
		scale := 1.0
		if c.xbits != nil {
			scale = 0.25
		}
		d.pool.PackWino(c.algo.tile(), p.u, w.Data, w.Shape.N, w.Shape.C, c.dgrad, scale)
	}
	d.packed[key] = p
	return p, nil
}
