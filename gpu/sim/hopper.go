package sim

import (
	"math/bits"
)

// mapa: the shared::cluster address of this block's address in another block;
// getctarank: the block of a shared::cluster address.
func (d *decoder) mapa() {
	d.k.clusters = true
	in := d.in
	if in.Op == "getctarank" {
		if d.form() != "shared::cluster.u32" {
			d.unsupported()
			return
		}
		if !d.args(2, 2) {
			return
		}
		d.o.d, d.o.a = d.dst32(in.Args[0]), d.src32(in.Args[1])
		d.o.fn = func(w *warp, o *op, m uint32) {
			eachLane(m, func(i int) {
				c, _ := w.shared(o, uint64(w.r[o.a][i]), i)
				w.r[o.d][i] = uint32(c.rank)
			})
		}
		return
	}
	form := d.form()
	if form != "shared::cluster.u32" && form != "u64" && form != "shared::cluster.u64" {
		d.unsupported()
		return
	}
	if !d.args(3, 3) {
		return
	}
	wide := form != "shared::cluster.u32"
	if wide {
		d.o.d, d.o.a = d.dst64(in.Args[0]), d.src64(in.Args[1])
	} else {
		d.o.d, d.o.a = d.dst32(in.Args[0]), d.src32(in.Args[1])
	}
	d.o.b = d.src32(in.Args[2])
	d.o.fn = func(w *warp, o *op, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			rank := w.r[o.b][i]
			if rank >= uint32(len(w.g.ctas)) {
				w.trap(Misuse, o, i, "mapa to block %d of a cluster of %d", rank, len(w.g.ctas))
			}
			var addr, window uint64
			if wide {
				addr = w.q[o.a][i]
				if form == "u64" {
					window = sharedBase
				}
			} else {
				addr = uint64(w.r[o.a][i])
			}
			_, off := w.shared(o, addr-window, i)
			to := uint64(rank+1)<<rankShift | uint64(off) + window
			if wide {
				w.q[o.d][i] = to
			} else {
				w.r[o.d][i] = uint32(to)
			}
		}
	}
}

// setmaxnreg.{inc,dec}.sync.aligned.u32 n: registers move between the warps of
// a block through a pool. A warpgroup of four warps does it together.
func (d *decoder) setmaxnreg() {
	if f := d.form("inc", "dec"); f != "sync.aligned.u32" {
		d.unsupported()
		return
	}
	if !d.args(1, 1) {
		return
	}
	n := int(d.imm(0))
	if n < 24 || n > 256 || n%8 != 0 {
		d.fail("%d registers: want a multiple of 8 from 24 to 256", n)
		return
	}
	if e := d.k.entry; e.MaxNTID[0] == 0 && e.ReqNTID[0] == 0 && e.MaxNReg == 0 {
		d.fail("has no effect without .maxntid, .reqntid or .maxnreg")
		return
	}
	d.k.setsRegisters = true
	d.o.kind, d.o.sync = opBlock, aligned
	inc := d.in.Has("inc")
	d.o.fn = func(w *warp, o *op, m uint32) {
		if !inc {
			if n > w.maxReg {
				w.trap(Misuse, o, first(m), "setmaxnreg.dec to %d registers, the warp has %d", n, w.maxReg)
			}
			w.c.pool += 32 * (w.maxReg - n)
			w.maxReg = n
			return
		}
		if n < w.maxReg {
			w.trap(Misuse, o, first(m), "setmaxnreg.inc to %d registers, the warp has %d", n, w.maxReg)
		}
		take := func() bool {
			need := 32 * (n - w.maxReg)
			if w.c.pool < need {
				return false
			}
			w.c.pool -= need
			w.maxReg = n
			return true
		}
		if !take() {
			w.wait = waiting{on: forRegisters, o: o, done: take}
		}
	}
}

// wait is a griddepcontrol.wait that a warp has executed.
type wait struct {
	agent int
	clock uint32
}

// hasWaited reports whether w runs behind a griddepcontrol.wait: its own, or that
// of a warp behind which barriers have put it.
func (w *warp) hasWaited() bool {
	for _, o := range w.g.waited {
		if w.waited {
			break
		}
		w.waited = o.clock <= w.vc[o.agent]
	}
	return w.waited
}

// griddepcontrol: launches run one after the other here, so waiting is a mark
// after which what the launches before touched may be touched.
func (d *decoder) griddepcontrol() {
	switch d.form() {
	case "wait":
		d.o.fn = func(w *warp, _ *op, _ uint32) {
			if !w.waited {
				w.waited = true
				w.g.waited = append(w.g.waited, wait{w.agent, w.clock})
			}
		}
	case "launch_dependents":
		d.nothing()
	default:
		d.unsupported()
	}
}
