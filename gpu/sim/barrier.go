package sim

import (
	"math/bits"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// barrier is one of a block's sixteen named barriers. It counts warps: a warp
// arrives as a whole.
type barrier struct {
	clocks
	id      int
	arrived int
	threads int // that must arrive, 0: all of the block
	vote    vote
	gen     int

	done   clocks // when the last generation was released
	result vote
}

// vote is what bar.red combines.
type vote struct {
	count int
	all   bool
	any   bool
}

func (b *barrier) reset() {
	b.arrived, b.threads, b.gen, b.vote = 0, 0, 0, vote{all: true}
	b.clocks.reset()
}

// want is the number of warps that complete the barrier.
func (b *barrier) want(c *cta) int {
	if b.threads > 0 {
		return b.threads / 32
	}
	n := 0
	for _, w := range c.warps {
		if w.wait.on != exited {
			n++
		}
	}
	return n
}

// release lets the waiting warps go.
func (b *barrier) release() {
	b.gen++
	b.arrived, b.threads = 0, 0
	copy(b.done.vc, b.vc)
	copy(b.done.pvc, b.pvc)
	b.result, b.vote = b.vote, vote{all: true}
}

// check completes the barrier when all are there.
func (b *barrier) check(c *cta) {
	if b.arrived > 0 && b.arrived >= b.want(c) {
		b.release()
		c.g.events++ // those that wait have not noticed yet
	}
}

// barrier: bar.{sync,arrive,red}, bar.warp.sync and barrier.cluster.
func (d *decoder) barrier() {
	switch {
	case d.in.Has("warp"):
		if d.args(1, 1) {
			d.memberMask(d.in.Args[0])
			d.o.fn = func(w *warp, _ *op, _ uint32) { w.tick() }
		}
		return
	case d.in.Has("cluster"):
		d.clusterBarrier()
		return
	}
	d.o.sync = aligned
	switch form := d.form("cta", "aligned"); form {
	case "sync":
		if !d.args(1, 2) {
			return
		}
		d.o.kind = opBlock
		d.barrierOperands(d.in.Args)
		d.o.fn = func(w *warp, o *op, m uint32) {
			b, gen := w.arrive(o, m)
			w.sleep(o, b, gen, func(*barrier) {})
		}
	case "arrive":
		if !d.args(2, 2) {
			return
		}
		d.barrierOperands(d.in.Args)
		d.o.fn = func(w *warp, o *op, m uint32) { w.arrive(o, m) }
	case "red.popc.u32", "red.and.pred", "red.or.pred":
		d.barrierVote(form)
	default:
		d.unsupported()
	}
}

func (d *decoder) barrierOperands(args []ptx.Operand) {
	d.o.a, d.o.b = d.src32(args[0]), d.k32(0)
	if len(args) > 1 {
		d.o.b = d.src32(args[1])
	}
}

// bar.red.popc.u32 d, a[, b], [!]p and bar.red.{and,or}.pred p, a[, b], [!]q
func (d *decoder) barrierVote(form string) {
	if !d.args(3, 4) {
		return
	}
	args := d.in.Args
	last := len(args) - 1
	p, not := d.predicate(args[last])
	d.barrierOperands(args[1:last])
	if form == "red.popc.u32" {
		d.o.d = d.dst32(args[0])
	} else {
		d.o.d = d.dstPred(args[0])
	}
	d.o.kind = opBlock
	d.o.fn = func(w *warp, o *op, m uint32) {
		v := w.p[p]
		if not {
			v = ^v
		}
		b := w.barrier(o, m)
		n := bits.OnesCount32(v & m)
		b.vote.count += n
		b.vote.any = b.vote.any || n > 0
		b.vote.all = b.vote.all && n == bits.OnesCount32(m)
		b, gen := w.arrive(o, m)
		w.sleep(o, b, gen, func(b *barrier) {
			r := b.result.all
			switch form {
			case "red.popc.u32":
				eachLane(m, func(i int) { w.r[o.d][i] = uint32(b.result.count) })
				return
			case "red.or.pred":
				r = b.result.any
			}
			w.p[o.d] &^= m
			if r {
				w.p[o.d] |= m
			}
		})
	}
}

// barrier returns the barrier that an operation names, and makes it if the block has
// used none of that number before.
func (w *warp) barrier(o *op, m uint32) *barrier {
	id := w.r[o.a][first(m)]
	if id > 15 {
		w.trap(Misuse, o, first(m), "barrier %d: there are 16", id)
	}
	b := w.c.bars[id]
	if b == nil {
		b = &barrier{id: int(id), vote: vote{all: true}}
		w.c.bars[id] = b
	}
	return b
}

// arrive counts the warp in and returns the barrier and its generation.
func (w *warp) arrive(o *op, m uint32) (*barrier, int) {
	lane := first(m)
	n := int(w.r[o.b][lane])
	b := w.barrier(o, m)
	if n%32 != 0 || n > 32*len(w.c.warps) {
		w.trap(Misuse, o, lane, "barrier %d for %d threads: a multiple of 32 up to the block's %d is wanted", b.id, n, 32*len(w.c.warps))
	}
	if b.arrived > 0 && b.threads != n {
		w.trap(Misuse, o, lane, "barrier %d is used for %d and for %d threads at once", b.id, b.threads, n)
	}
	if b.vc == nil && w.vc != nil {
		b.clocks, b.done = w.g.newClocks(), w.g.newClocks()
	}
	b.threads = n
	b.arrived++
	gen := b.gen
	if w.vc != nil {
		w.release(&b.clocks)
	}
	b.check(w.c)
	return b, gen
}

// sleep blocks the warp until the barrier's generation has passed.
func (w *warp) sleep(o *op, b *barrier, gen int, then func(*barrier)) {
	wake := func() bool {
		if b.gen == gen {
			return false
		}
		w.acquire(&b.done)
		then(b)
		return true
	}
	if !wake() {
		w.wait = waiting{on: atBarrier, bar: b.id, o: o, done: wake}
	}
}

// warpExited lets barriers that waited for every warp of the block go on.
func (c *cta) warpExited(w *warp) {
	c.left++
	c.checkRemote(w)
	if w.vc != nil {
		exit := &w.g.l.Kernel.code[len(w.g.l.Kernel.code)-1]
		if w.mma.flight > 0 {
			w.find(InFlight, exit, 0, "the warp left the kernel with wgmma operations in flight")
		}
		if len(w.bulks.open) > 0 || len(w.bulks.groups) > 0 {
			w.warn(InFlight, exit, 0, "the warp left the kernel without waiting for its bulk copies: no rule keeps its shared memory until they have read it")
		}
	}
	for _, b := range c.bars {
		if b != nil && b.threads == 0 {
			b.check(c)
		}
	}
	c.g.cluster.check(c.g)
}

// checkRemote reports, when the last warp of a block leaves, accesses to its
// shared memory by other blocks that are not ordered before that.
func (c *cta) checkRemote(w *warp) {
	if c.exitVC == nil || w.vc == nil {
		return
	}
	w.tick()
	join(c.exitVC, w.vc)
	if c.left < len(c.warps) {
		return
	}
	for _, t := range c.remote {
		if t.clock() <= c.exitVC[t.agent()] {
			continue
		}
		r := w.report(Race, &c.g.l.Kernel.code[len(c.g.l.Kernel.code)-1], 0,
			"the block leaves the kernel while another block accesses its shared memory: a cluster barrier must hold it back")
		r.Other = c.g.accessOf(t, "access")
		w.raise(r)
	}
}

// clusterBarrier is barrier.cluster: arrive and wait are separate.
type clusterBarrier struct {
	clocks
	done    clocks
	arrived int
	gen     int
}

func (b *clusterBarrier) reset() {
	b.arrived, b.gen = 0, 0
	b.clocks.reset()
}

func (b *clusterBarrier) check(g *group) {
	if b.arrived == 0 {
		return
	}
	n := 0
	for _, c := range g.ctas {
		for _, w := range c.warps {
			if w.wait.on != exited {
				n++
			}
		}
	}
	if b.arrived >= n {
		b.arrived = 0
		b.gen++
		copy(b.done.vc, b.vc)
		copy(b.done.pvc, b.pvc)
		g.events++
	}
}

func (d *decoder) clusterBarrier() {
	d.k.clusters = true
	d.o.sync = aligned
	if !d.args(0, 0) {
		return
	}
	switch form := d.form("cluster", "aligned"); form {
	case "arrive", "arrive.release", "arrive.relaxed":
		d.o.fn = func(w *warp, o *op, m uint32) {
			b := &w.g.cluster
			if w.clusterGen > b.gen {
				w.trap(Misuse, o, first(m), "barrier.cluster.arrive again before barrier.cluster.wait")
			}
			w.clusterGen = b.gen + 1
			b.arrived++
			if form != "arrive.relaxed" && w.vc != nil {
				w.release(&b.clocks)
			}
			b.check(w.g)
		}
	case "wait", "wait.acquire":
		d.o.kind = opBlock
		d.o.fn = func(w *warp, o *op, m uint32) {
			b := &w.g.cluster
			if w.clusterGen == 0 {
				w.trap(Misuse, o, first(m), "barrier.cluster.wait without barrier.cluster.arrive")
			}
			wake := func() bool {
				if b.gen < w.clusterGen {
					return false
				}
				w.acquire(&b.done)
				return true
			}
			if !wake() {
				w.wait = waiting{on: atCluster, o: o, done: wake}
			}
		}
	default:
		d.unsupported()
	}
}

// fence orders this warp's accesses for others; with an atomic on either side
// it makes a release or an acquire.
func (d *decoder) fence() {
	form := d.form()
	switch form {
	case "gl", "sys", "sc.gpu", "sc.sys", "acq_rel.gpu", "acq_rel.sys", "acq_rel.cluster", "sc.cluster",
		"acquire.gpu", "release.gpu", "acquire.sys", "release.sys", "acquire.cluster", "release.cluster",
		"acquire.sync_restrict::shared::cluster.cluster", "release.sync_restrict::shared::cta.cluster":
		d.k.fences = true
		d.o.fn = func(w *warp, _ *op, _ uint32) { w.fence() }
	case "cta", "sc.cta", "acq_rel.cta", "acquire.cta", "release.cta":
		d.o.fn = func(w *warp, _ *op, _ uint32) { w.fence() }
	case "mbarrier_init.release.cluster":
		d.nothing() // the barrier that follows it publishes the init
	case "proxy.async", "proxy.async.shared::cta", "proxy.async.shared::cluster", "proxy.async.global", "proxy.async.shared",
		"proxy.async::generic.acquire.sync_restrict::shared::cluster.cluster",
		"proxy.async::generic.release.sync_restrict::shared::cta.cluster":
		d.o.fn = func(w *warp, _ *op, _ uint32) { w.proxyFence() }
	case "proxy.alias":
		d.nothing()
	default:
		if scope, ok := strings.CutPrefix(form, "proxy.tensormap::generic."); ok {
			_, scope, _ = strings.Cut(scope, ".")
			if slices.Contains([]string{"cta", "cluster", "gpu", "sys"}, scope) { // nothing writes maps behind the back of a launch
				d.nothing()
				return
			}
		}
		d.unsupported()
	}
}

func (w *warp) fence() {
	if w.vc == nil {
		return
	}
	w.tick()
	if w.hasHeard { // atomics before it become acquires
		w.acquire(&w.heard)
		w.hasHeard = false
	}
	for c, seg := range w.acquired {
		if old, ok := w.g.seen[c]; !ok || old < seg {
			w.g.seen[c] = seg
		}
	}
	w.acquired = nil
	if w.fenced == nil {
		c := w.g.newClocks()
		w.fenced = &c
	}
	copy(w.fenced.vc, w.vc)
	copy(w.fenced.pvc, w.pvc)
	w.fencedAt = true
}
