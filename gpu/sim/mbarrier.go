package sim

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// mbarrier is a barrier object in shared memory: it counts arrivals and bytes.
// A phase ends when no arrival is pending and no byte is expected.
type mbarrier struct {
	clocks          // what arrivals and finished copies have released
	done     clocks // the same when the last phase ended
	c        *cta
	addr     uint32
	phase    int
	pending  int
	expected int
	tx       int
	agent    int // of the copies that signal it
	clock    uint32
}

const (
	arrivalBits = 20
	maxArrivals = 1<<arrivalBits - 1
)

func (b *mbarrier) describe(c *cta) string {
	return fmt.Sprintf("block %v mbarrier %s: phase %d, %d of %d arrivals and %d bytes missing",
		c.id, c.where(b.addr), b.phase, b.pending, b.expected, b.tx)
}

func (c *cta) sortedBarriers() []*mbarrier {
	var bs []*mbarrier
	for _, a := range slices.Sorted(maps.Keys(c.mbars)) {
		bs = append(bs, c.mbars[a])
	}
	return bs
}

// advance ends the phase when it is complete.
func (b *mbarrier) advance() {
	b.c.g.events++
	if b.pending == 0 && b.tx == 0 {
		b.phase++
		b.pending = b.expected
		copy(b.done.vc, b.vc)
		copy(b.done.pvc, b.pvc)
	}
}

// arrive counts n arrivals by a lane of w.
func (b *mbarrier) arrive(w *warp, o *op, lane, n int) {
	if b.pending -= n; b.pending < 0 {
		w.trap(Misuse, o, lane, "one arrival more than mbarrier %s expects in phase %d (%d): a waiter that does not wait, or a wrong count at init",
			b.c.where(b.addr), b.phase, b.expected)
	}
	b.advance()
}

// completeTx counts bytes that have come.
func (b *mbarrier) completeTx(n int) {
	b.tx -= n
	b.advance()
}

// barrierAt returns the live mbarrier at an address.
func (w *warp) barrierAt(o *op, addr uint64, lane int) *mbarrier {
	if addr >= sharedBase && addr < sharedBase+windowBytes {
		addr -= sharedBase
	}
	c, off := w.shared(o, addr, lane)
	b := c.mbars[off]
	if b == nil {
		w.trap(Misuse, o, lane, "no mbarrier was initialised at shared address %#x", off)
	}
	return b
}

// mbarrierTag marks the words of a live mbarrier: ordered behind nothing.
func (b *mbarrier) mark(live bool) {
	if b.c.cells == nil {
		return
	}
	b.c.memory.wrote(b.addr, 8)
	var cl cell
	if live {
		cl.w = makeTag(b.agent, 0, 0, clockMask, 15)
	}
	words := b.c.words(b.addr, 2)
	words[0], words[1] = cl, cl
	fill(b.c.init[b.addr:b.addr+8], byte(one(live)))
}

// mbarrier decodes the mbarrier instructions.
func (d *decoder) mbarrier() {
	d.k.barriers = true
	in := d.in
	switch form := d.form("shared", "shared::cta", "shared::cluster", "b64", "cta", "cluster", "release", "acquire", "relaxed"); form {
	case "init":
		d.barrierInit()
	case "inval":
		if !d.args(1, 1) {
			return
		}
		x := &access{}
		d.address(in.Args[0], x)
		d.o.fn = func(w *warp, o *op, m uint32) {
			eachLane(m, func(i int) {
				b := w.barrierAt(o, w.address(o, x, i), i)
				b.mark(false)
				delete(b.c.mbars, b.addr)
			})
		}
	case "arrive", "arrive.noComplete", "arrive_drop", "arrive_drop.noComplete":
		d.barrierArrive(false)
	case "arrive.expect_tx", "arrive_drop.expect_tx":
		d.barrierArrive(true)
	case "expect_tx", "complete_tx":
		if !d.args(2, 2) {
			return
		}
		x := &access{}
		d.address(in.Args[0], x)
		d.o.b = d.src32(in.Args[1])
		d.o.fn = func(w *warp, o *op, m uint32) {
			eachLane(m, func(i int) {
				b := w.barrierAt(o, w.address(o, x, i), i)
				if n := int(w.r[o.b][i]); form == "expect_tx" {
					b.tx += n
					w.g.events++
				} else {
					b.completeTx(n)
				}
			})
		}
	case "test_wait", "try_wait", "test_wait.parity", "try_wait.parity":
		d.barrierTest(in.Has("parity"), in.Has("relaxed"))
	case "pending_count":
		d.args(2, 2)
		d.o.d, d.o.a = d.dst32(in.Args[0]), d.src64(in.Args[1])
		d.o.fn = func(w *warp, o *op, m uint32) {
			eachLane(m, func(i int) { w.r[o.d][i] = uint32(w.q[o.a][i] & maxArrivals) })
		}
	default:
		d.unsupported()
	}
}

func (d *decoder) barrierInit() {
	if !d.args(2, 2) {
		return
	}
	x := &access{}
	d.address(d.in.Args[0], x)
	d.o.b = d.src32(d.in.Args[1])
	d.o.fn = func(w *warp, o *op, m uint32) {
		eachLane(m, func(i int) {
			addr := w.address(o, x, i)
			if addr >= sharedBase && addr < sharedBase+windowBytes {
				addr -= sharedBase
			}
			c, off := w.shared(o, addr, i)
			n := int(int32(w.r[o.b][i]))
			w.bounds(o, c, off, 8, i)
			switch {
			case c != w.c:
				w.trap(Misuse, o, i, "mbarrier.init in the shared memory of another block")
			case n < 1 || n > maxArrivals:
				w.trap(Misuse, o, i, "mbarrier.init for %d arrivals, want 1 to %d", n, maxArrivals)
			case c.mbars[off] != nil || c.mbars[off-4] != nil || c.mbars[off+4] != nil:
				w.trap(Misuse, o, i, "mbarrier.init over a live mbarrier at %s: mbarrier.inval comes first", c.where(off))
			case w.vc != nil && c.nmbars >= maxBarriers:
				w.trap(Misuse, o, i, "more than %d mbarriers in a block are not tracked", maxBarriers)
			}
			b := &mbarrier{c: c, addr: off, pending: n, expected: n}
			if w.vc != nil {
				b.agent = c.agent(agentBarrier, c.nmbars)
				c.nmbars++
				b.clocks, b.done = w.g.newClocks(), w.g.newClocks()
				b.mark(true)
			}
			c.mbars[off] = b
		})
	}
}

// mbarrier.arrive[.expect_tx] state|_, [a][, count or bytes]
func (d *decoder) barrierArrive(expect bool) {
	args := d.in.Args
	state := int32(-1)
	if len(args) > 0 {
		if _, isMem := args[0].(*ptx.Mem); !isMem {
			if _, sink := args[0].(ptx.Sink); !sink {
				state = d.dst64(args[0])
			}
			args = args[1:]
		}
	}
	if len(args) < 1 || len(args) > 2 || expect && len(args) != 2 {
		d.unsupported()
		return
	}
	x := &access{}
	d.address(args[0], x)
	d.o.b = d.k32(1)
	if len(args) == 2 {
		d.o.b = d.src32(args[1])
	}
	relaxed, drop := d.in.Has("relaxed"), d.in.Has("arrive_drop")
	d.o.fn = func(w *warp, o *op, m uint32) {
		if w.vc != nil && !relaxed {
			w.tick()
		}
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			b := w.barrierAt(o, w.address(o, x, i), i)
			if w.vc != nil && !relaxed {
				join(b.vc, w.vc)
				if b.pvc != nil {
					join(b.pvc, w.pvc)
				}
			}
			if state >= 0 {
				w.q[state][i] = uint64(b.phase)<<arrivalBits | uint64(b.pending)
			}
			n := int(w.r[o.b][i])
			if expect {
				b.tx += n
				n = 1
			}
			if drop {
				b.expected -= n
			}
			b.arrive(w, o, i, n)
		}
	}
}

// mbarrier.{test,try}_wait[.parity] p, [a], state or parity[, hint]
func (d *decoder) barrierTest(parity, relaxed bool) {
	if !d.args(3, 4) {
		return
	}
	x := &access{}
	d.o.d = d.dstPred(d.in.Args[0])
	d.address(d.in.Args[1], x)
	if parity {
		d.o.b = d.src32(d.in.Args[2])
	} else {
		d.o.b = d.src64(d.in.Args[2])
	}
	d.o.kind = opBlock
	d.o.fn = func(w *warp, o *op, m uint32) {
		var r uint32
		for x2 := m; x2 != 0; x2 &= x2 - 1 {
			i := bits.TrailingZeros32(x2) & 31
			b := w.barrierAt(o, w.address(o, x, i), i)
			if b.c != w.c {
				w.trap(Misuse, o, i, "a wait for an mbarrier of another block")
			}
			var ok bool
			if parity {
				ok = b.phase&1 != int(w.r[o.b][i]&1)
			} else {
				ok = uint64(b.phase) != w.q[o.b][i]>>arrivalBits
			}
			if ok {
				r |= 1 << i
				if !relaxed && w.vc != nil {
					w.acquire(&b.done)
				}
			}
		}
		w.p[o.d] = w.p[o.d]&^m | r
		if r != m {
			w.yield = polls
		}
	}
}
