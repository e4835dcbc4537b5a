package cpu

import (
	"fmt"
	"sync"

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

// packs are the packed weights of a device and its lanes.
type packs struct {
	mu     sync.Mutex
	packed map[packKey]*packing
	users  int // devices that are open
	next   int // the processor that the first thread of the next lane is pinned to
}

// packing are weights that the first who asks packs; the others wait for them.
type packing struct {
	result func() (*packed, error)
}

// pin is the processor of a device's first thread, -1 for any. Lanes stand side by side;
// the device that they are opened from rests while they work.
func (p *packs) pin(opt Options, lane bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !opt.Pin:
		return -1
	case !lane:
		return 0
	}
	p.next += opt.Threads
	return p.next - opt.Threads
}

func (p *packs) join() {
	p.mu.Lock()
	p.users++
	p.mu.Unlock()
}

// leave frees the weights when nobody else has them.
func (p *packs) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users--; p.users > 0 {
		return
	}
	for _, made := range p.packed {
		if w, err := made.result(); err == nil {
			loops.Free(w.mem)
		}
	}
	p.packed = nil
}

// packKey identifies packed weights by the memory they came from.
type packKey struct {
	data  *float32
	algo  algo
	dgrad bool
	scale float64 // a factor in the weights
}

func (c *conv) key() packKey {
	k := packKey{&c.op.Filter().Data[0], c.algo, c.dgrad(), 1}
	if c.unpool != nil && c.unpool.Kind == gpu.AvgPool2x2Bwd {
		k.scale = 0.25
	}
	return k
}

// packedLen is the number of values of the packed weights.
func (d *Device) packedLen(c *conv) int {
	in, out := c.extents()
	switch c.algo {
	case f4, f6:
		n := loops.WinoWeights(c.algo.tile(), in.C, out.C)
		if !c.dgrad() {
			n += out.C
		}
		return n
	case first:
		return loops.FirstFpropLen + loops.FirstDgradLen + 64
	case direct, implicit: // tiled.packedLen knows the second
	}
	return int(d.loops.PackedBytes(in.C, out.C, !c.dgrad()) / 4)
}

// weights is how many values of packed weights a step reads, and their key.
func (d *Device) weights(s *step) (packKey, int) {
	switch {
	case s.conv != nil:
		return s.conv.key(), d.packedLen(s.conv)
	case s.tiled != nil && s.tiled.conv != nil:
		return s.tiled.key(), s.tiled.packedLen()
	}
	return packKey{}, 0
}

// cached returns the packed weights of a key, which the first who asks makes with pack.
func (d *Device) cached(key packKey, pack func() (*packed, error)) (*packed, error) {
	if d.packs == nil {
		return nil, errClosed
	}
	s := d.packs
	s.mu.Lock()
	made := s.packed[key]
	if made == nil {
		made = &packing{sync.OnceValues(pack)}
		s.packed[key] = made
	}
	s.mu.Unlock()
	p, err := made.result()
	if err != nil { // the next who asks tries again
		s.mu.Lock()
		if s.packed[key] == made {
			delete(s.packed, key)
		}
		s.mu.Unlock()
	}
	return p, err
}

// begun reports whether somebody packs the weights that a step reads, or has packed them.
func (d *Device) begun(s *step) bool {
	key, n := d.weights(s)
	if n == 0 || d.packs == nil {
		return false
	}
	d.packs.mu.Lock()
	defer d.packs.mu.Unlock()
	return d.packs.packed[key] != nil
}

// newPacked has memory for n values.
func newPacked(n int, op *gpu.Op) (*packed, error) {
	p := &packed{mem: loops.Alloc(n)}
	if p.mem == nil {
		return nil, fmt.Errorf("cpu: %s: %s for its weights: %w", op, gpu.BytesText(4*int64(n)), gpu.ErrOutOfMemory)
	}
	return p, nil
}

// pack returns the packed weights of a convolution.
func (d *Device) pack(c *conv) (*packed, error) {
	return d.cached(c.key(), func() (*packed, error) { return d.newPack(c) })
}

func (d *Device) newPack(c *conv) (p *packed, err error) {
	op, dgrad, w := c.op, c.dgrad(), c.op.Filter()
	switch {
	case c.algo == direct && dgrad:
		p = &packed{direct: d.loops.PackDgrad(w.Data, w.Shape.C, w.Shape.N)}
	case c.algo == direct:
		p = &packed{direct: d.loops.PackFprop(w.Data, op.Bias().Data, w.Shape.C, w.Shape.N)}
	default:
		if p, err = newPacked(d.packedLen(c), op); err != nil {
			return nil, err
		}
		if c.algo == first {
			fprop, dgradU := p.mem[:loops.FirstFpropLen], p.mem[loops.FirstFpropLen:][:loops.FirstDgradLen]
			d.loops.PackFirst(fprop, dgradU, w.Data)
			p.u, p.bias = fprop, p.mem[len(p.mem)-64:]
			if dgrad {
				p.u = dgradU
			} else {
				copy(p.bias, op.Bias().Data)
			}
			break
		}
		in, out := c.extents()
		p.u = p.mem[:loops.WinoWeights(c.algo.tile(), in.C, out.C)]
		if !dgrad {
			p.bias = p.mem[len(p.u):]
			copy(p.bias, op.Bias().Data)
		}
		d.pool.PackWino(c.algo.tile(), p.u, w.Data, w.Shape.N, w.Shape.C, dgrad, c.key().scale)
	}
	return p, nil
}
