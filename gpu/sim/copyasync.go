package sim

import (
	"math/bits"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// cpAsync: the copies of sm_80. Each instruction is one transfer; its writes
// belong to the warp's copy agent until wait_group takes them into the warp's
// own past: at once for the lane that copied, for others with the next barrier.
func (d *decoder) cpAsync() {
	in := d.in
	switch {
	case in.Has("commit_group"):
		if d.args(0, 0) {
			d.o.fn = func(w *warp, _ *op, _ uint32) { w.copies.commit(w.copyClock) }
		}
		return
	case in.Has("wait_group"):
		if d.args(1, 1) {
			n := int(d.imm(0))
			d.o.fn = func(w *warp, _ *op, _ uint32) { w.copyDone = max(w.copyDone, w.copies.wait(w.g, n, nil)) }
		}
		return
	case in.Has("wait_all"):
		d.o.fn = func(w *warp, _ *op, _ uint32) {
			w.copies.commit(w.copyClock)
			w.copyDone = max(w.copyDone, w.copies.wait(w.g, 0, nil))
		}
		return
	case in.Has("mbarrier"):
		d.copyArrive()
		return
	}
	if !in.Has("global") || !in.Has("ca") && !in.Has("cg") || !in.Has("shared") && !in.Has("shared::cta") {
		d.unsupported()
		return
	}
	if in.Has("L2::cache_hint") {
		d.dropHint()
		in = d.in
	}
	if !d.args(3, 4) {
		return
	}
	size := int(d.imm(2))
	if size != 16 && (size != 4 && size != 8 || in.Has("cg")) {
		d.fail("copies %d bytes: want 16, or 4 or 8 with .ca", size)
		return
	}
	to, okTo := in.Args[0].(*ptx.Mem)
	from, okFrom := in.Args[1].(*ptx.Mem)
	if !okTo || !okFrom {
		d.fail("wants two addresses")
		return
	}
	var dst, src access
	d.o.a, dst.base64 = d.base(to)
	d.o.b, src.base64 = d.base(from)
	src.bytes, dst.bytes = size, size
	d.o.c = d.k32(uint32(size))
	ignore, not := int32(-1), false
	if len(in.Args) == 4 {
		if r, ok := in.Args[3].(*ptx.Reg); ok && r.Type == ptx.Pred {
			ignore, not = d.predicate(r)
			d.k.n32++
			d.o.c = int32(d.k.n32 - 1)
		} else {
			d.o.c = d.src32(in.Args[3])
		}
	}
	if !src.base64 {
		d.fail("the source needs a 64-bit address")
		return
	}
	d.o.imm = to.Offset
	fromOff := uint64(from.Offset)
	d.o.fn = func(w *warp, o *op, m uint32) {
		if ignore >= 0 { // zeros where it holds
			eachLane(m, func(i int) {
				w.r[o.c][i] = uint32(size)
				if w.p[ignore]>>i&1 == 1 != not {
					w.r[o.c][i] = 0
				}
			})
		}
		w.copyClock++
		h := how{tag: makeTag(w.copyAgent, 0, int(o.pc), w.copyClock, 0)}
		var t *transfer
		var parts []copyPart
		eager := w.g.l.dev.cfg.Mode.kind == eager
		w.profileCopy(o, m, size, func(i int) uint64 { return w.q[o.b][i] + fromOff })
		noted, lines := uint32(0), uint32(0) // lanes that copy all of 16 bytes, as those of lines do
		if w.vc != nil && size == 16 {
			eachLane(m, func(i int) { lines |= one(w.r[o.c][i] == 16) << i })
		}
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			n := int(int32(w.r[o.c][i]))
			if n < 0 || n > size {
				w.trap(Misuse, o, i, "src-size %d of %d bytes", n, size)
			}
			c, off := w.shared(o, w.address(o, &dst, i), i)
			w.bounds(o, c, off, size, i)
			var b []byte
			if n > 0 {
				addr := w.q[o.b][i] + fromOff
				a, at := w.global(o, addr, n, size, i, false)
				if lines>>i&1 != 0 && noted>>i&1 == 0 {
					noted |= w.noteLine(o, a, &w.q[o.b], fromOff, lines, i, 4, false, false)
				}
				if w.vc != nil && noted>>i&1 == 0 {
					w.noteGlobal(o, a, addr, at, n, i, false, false, w.how(o, i, false))
				}
				b = a.data[at : at+uint64(n)]
			}
			if w.vc != nil {
				h.lane = i
				h.tag = h.tag&^lanesMask | tag(i)<<laneShift
				w.noteShared(o, c, off, size, i, true, h)
			}
			part := copyPart{c.smem[off : int(off)+size], b}
			if eager {
				part.run()
			} else {
				parts = append(parts, part)
			}
		}
		if eager {
			return
		}
		t = &transfer{run: func() {
			for _, p := range parts {
				p.run()
			}
		}}
		w.copies.open = append(w.copies.open, t)
		w.g.start(t)
	}
}

// copyPart is the copy of one lane; what the source does not fill is zero.
type copyPart struct{ dst, src []byte }

func (p copyPart) run() {
	if len(p.dst) == 16 && len(p.src) == 16 {
		*(*[16]byte)(p.dst) = [16]byte(p.src)
		return
	}
	clear(p.dst[copy(p.dst, p.src):])
}

// copyArrive: cp.async.mbarrier.arrive[.noinc].shared.b64 [addr] arrives when
// the copies that each lane has issued are there.
func (d *decoder) copyArrive() {
	if !d.args(1, 1) {
		return
	}
	x := &access{}
	d.address(d.in.Args[0], x)
	noinc := d.in.Has("noinc")
	d.k.barriers = true
	d.o.fn = func(w *warp, o *op, m uint32) {
		var before []*transfer
		for _, g := range w.copies.groups {
			before = append(before, g...)
		}
		before = append(before, w.copies.open...)
		clock := w.copyClock
		eachLane(m, func(i int) {
			b := w.barrierAt(o, w.address(o, x, i), i)
			if !noinc {
				b.pending++
			}
			w.g.start(&transfer{run: func() {
				for _, t := range before {
					t.force()
				}
				if w.vc != nil {
					b.vc[w.copyAgent] = max(b.vc[w.copyAgent], clock)
				}
				b.arrive(w, o, i, 1)
			}})
		})
	}
}
