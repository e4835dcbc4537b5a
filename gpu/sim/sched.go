package sim

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Dim is an extent of a grid, a block or a cluster; zeros count as 1.
type Dim struct{ X, Y, Z int }

func (d Dim) ones() Dim { return Dim{max(d.X, 1), max(d.Y, 1), max(d.Z, 1)} }

// Count is the product of the extents.
func (d Dim) Count() int { return d.X * d.Y * d.Z }

func (d Dim) String() string { return fmt.Sprintf("%dx%dx%d", d.X, d.Y, d.Z) }

// Launch is a kernel launch.
type Launch struct {
	Kernel      *Kernel
	Grid        Dim
	Block       Dim
	Cluster     Dim    // the kernel's own when zero
	SharedBytes int    // dynamic shared memory
	Params      []byte // as Kernel.Pack lays them out
	Registers   int    // per thread, from ptxas; 0 when unknown
	Dependent   bool   // programmatic dependent launch: the launches before may still run
}

// LaunchError says why a launch could not begin.
type LaunchError struct {
	Kernel string
	Grid   Dim
	Block  Dim
	Msg    string

	Resources bool // more registers than the device has, where other reasons are invalid values
}

func (e *LaunchError) Error() string {
	return fmt.Sprintf("launch %s grid %v block %v: %s", e.Kernel, e.Grid, e.Block, e.Msg)
}

// launch is a Launch in progress, shared by its workers.
type launch struct {
	Launch
	dev    *Device
	warps  int // of a block
	agents int // of a block
	order  []int
	shadow *globalShadow
	before history         // what a dependent launch must wait for
	ctx    context.Context //nolint:containedctx // lives as long as the call of Launch that it came with
	failed atomic.Int64    // lowest cluster that failed, in running order

	mu    sync.Mutex
	turn  sync.Cond // clusters merge their shadows in running order
	merge int
}

// group is a cluster: blocks that run together, in one goroutine.
type group struct {
	l     *launch
	idx   int // of the cluster
	order int // its place in running order
	ctas  []*cta
	warps []*warp // of all blocks, in the order of this round

	begun    bool // its cluster has, and may be resumed
	moved    bool // since it was resumed it did more than poll
	alone    bool // no other cluster can change what it polls
	steps    int64
	events   int64 // changes of mbarriers and barriers completed: what a polling or waiting warp could notice
	diverged int64
	rnd      *rand.Rand
	pending  []*transfer // asynchronous operations that nothing has forced yet

	pages   map[uint64]*page
	cache   [64]*page
	spare   []*page
	bytes   map[*cell]*[4]cell
	seen    map[int32]int32 // clusters heard from, up to which segment
	segment int32
	asked   map[uint64]int32   // addresses that atomics and strong loads asked: PC
	atomics map[uint64]*clocks // inside the cluster, by address
	waited  []wait             // griddepcontrol.wait: by whom and when

	patterns []*loadPattern // of loads of shared memory, by PC

	tile  matrices    // scratch of mma and wgmma
	kinds []agentKind // by agent

	cluster clusterBarrier
	counts  []opCount
	prof    profile
	warned  map[string]*Report // by kind and line: the first of each
}

// cta is a block.
type cta struct {
	g      *group
	rank   int // in the cluster
	id     [3]int
	memory *ctaMemory // what holds the following
	smem   []byte
	init   []byte // 1 where written
	quads  []cell // shadow of shared memory
	cells  []cell // of the words of quads that are apart
	warps  []*warp
	bars   [16]*barrier // nil where never used
	mbars  map[uint32]*mbarrier
	nmbars int // agents given to mbarriers
	pool   int // registers free for setmaxnreg.inc
	left   int // warps that have left the kernel

	remote map[int]tag // last access by another block's agents
	exitVC []uint32    // what happened before its warps left; nil outside clusters
}

// Launch runs a kernel to its end. The error is a *LaunchError, a *Report, or
// the context's.
func (d *Device) Launch(ctx context.Context, cfg Launch) (*Profile, error) {
	cfg.Grid, cfg.Block = cfg.Grid.ones(), cfg.Block.ones()
	if c := cfg.Kernel.entry.ReqCluster; cfg.Cluster == (Dim{}) && c[0] > 0 {
		cfg.Cluster = Dim{c[0], c[1], c[2]}
	}
	cfg.Cluster = cfg.Cluster.ones()
	if err := d.checkLaunch(&cfg); err != nil {
		return nil, &LaunchError{cfg.Kernel.Name, cfg.Grid, cfg.Block, err.Error(), errors.Is(err, errResources)}
	}
	l := &launch{Launch: cfg, dev: d, ctx: ctx, warps: (cfg.Block.Count() + 31) / 32}
	l.agents = l.agentsPerCTA()
	l.turn.L = &l.mu
	n := cfg.Grid.Count() / cfg.Cluster.Count()
	l.failed.Store(int64(n))
	if !d.cfg.NoChecks {
		l.shadow = newGlobalShadow()
		l.before = d.history(cfg.Dependent)
		if d.last != nil {
			d.scratch.recycle(d.last)
			d.last = nil
		}
	}
	if d.cfg.Mode.kind == random {
		l.order = rand.New(rand.NewPCG(d.cfg.Mode.seed, 1)).Perm(n)
	}
	run := l.parallel
	if cfg.Kernel.globalAtomics {
		run = l.turns
	}
	groups, errs := run(n)
	d.last = l.shadow
	d.scratch.give(groups)
	for _, err := range errs {
		if err != nil && !errors.Is(err, errStopped) {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.profile(groups), nil
}

// parallel runs n clusters side by side. The errors are in running order.
func (l *launch) parallel(n int) ([]*group, []error) {
	groups := make([]*group, min(l.dev.cfg.Workers, n))
	errs := make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range groups {
		g := l.newGroup()
		groups[i] = g
		wg.Go(func() {
			for {
				at := next.Add(1) - 1
				if at > l.failed.Load() || at >= int64(n) {
					return
				}
				g.assign(int(at))
				if _, err := g.execute(); err != nil {
					errs[at] = err
					for old := l.failed.Load(); at < old && !l.failed.CompareAndSwap(old, at); old = l.failed.Load() {
					}
				}
			}
		})
	}
	wg.Wait()
	return groups, errs
}

// assign gives the group its next cluster, by its place in running order.
func (g *group) assign(at int) {
	g.order, g.idx, g.begun = at, at, false
	if g.l.order != nil {
		g.idx = g.l.order[at]
	}
}

// resident is how many clusters a device holds at once.
func (l *launch) resident() int {
	return max(1, l.occupancy().Blocks*l.dev.cfg.SMs/l.Cluster.Count())
}

// turns runs n clusters that may wait for each other in global memory: one after the
// other, but one that only polls lets the others run, as many as the device holds. By
// chance (Random) each lets others run now and then.
func (l *launch) turns(n int) ([]*group, []error) {
	const idlest = 1 << 11 // turns in which all only poll
	most := l.resident()
	var live, all, spare []*group
	var rnd *rand.Rand
	if m := l.dev.cfg.Mode; m.kind == random {
		rnd = rand.New(rand.NewPCG(m.seed, 3))
	}
	next, idle := 0, 0
	for next < n || len(live) > 0 {
		fresh := next < n && len(live) < most
		if fresh && rnd != nil && len(live) > 0 {
			fresh = rnd.IntN(2) == 0
		}
		if fresh {
			if len(spare) == 0 {
				g := l.newGroup()
				all, spare = append(all, g), append(spare, g)
			}
			g := spare[len(spare)-1]
			spare = spare[:len(spare)-1]
			g.assign(next)
			next++
			live = append(live, g)
			live[0], live[len(live)-1] = live[len(live)-1], live[0]
			idle = 0
		} else if rnd != nil {
			k := rnd.IntN(len(live))
			live[0], live[k] = live[k], live[0]
		}
		g := live[0]
		g.moved, g.alone = false, next == n && len(live) == 1
		done, err := g.execute()
		if err != nil {
			return all, []error{err}
		}
		if done {
			live, spare, idle = live[1:], append(spare, g), 0
			continue
		}
		live = append(live[1:], g)
		if idle++; g.moved {
			idle = 0
		}
		if idle > max(idlest, 64*len(live)) {
			return all, []error{l.stuck(live, next < n)}
		}
	}
	return all, nil
}

// stuck reports blocks that poll global memory for what none of them will write.
func (l *launch) stuck(live []*group, more bool) error {
	slices.SortFunc(live, func(a, b *group) int { return a.idx - b.idx })
	var ws []*warp
	for _, g := range live {
		for _, c := range g.ctas {
			ws = append(ws, c.warps...)
		}
	}
	what := "blocks wait for each other: each polls memory that no other changes"
	if more {
		what = fmt.Sprintf("the %d blocks that the device holds at once poll memory that none of them changes; the others begin when one of them ends",
			len(live)*l.Cluster.Count())
	}
	return deadlocked(ws, what)
}

var errResources = errors.New("out of resources")

// checkLaunch refuses what a driver refuses.
func (d *Device) checkLaunch(c *Launch) error {
	k := c.Kernel
	threads := c.Block.Count()
	per := c.Cluster.Count()
	limit := 100 << 10
	if d.cc >= 90 {
		limit = 228 << 10
	} else if d.cc == 80 {
		limit = 164 << 10
	}
	limit -= 1 << 10 // the system's share of every block
	req, maxn := k.entry.ReqNTID, k.entry.MaxNTID
	switch {
	case k.mod.dev != d:
		return fmt.Errorf("%s was loaded on another device", k.mod.File)
	case min(c.Grid.X, c.Grid.Y, c.Grid.Z, c.Block.X, c.Block.Y, c.Block.Z) < 1:
		return errors.New("extents must be at least 1")
	case c.Grid.X > 1<<31-1 || c.Grid.Y > 65535 || c.Grid.Z > 65535:
		return errors.New("the grid may have 2147483647 x 65535 x 65535 blocks at most")
	case c.Block.X > 1024 || c.Block.Y > 1024 || c.Block.Z > 64 || threads > 1024:
		return fmt.Errorf("%d threads a block; the limits are 1024 x 1024 x 64 and 1024 in all", threads)
	case req[0] > 0 && c.Block != (Dim{req[0], req[1], req[2]}):
		return fmt.Errorf("the kernel requires blocks of %dx%dx%d threads (.reqntid)", req[0], req[1], req[2])
	case maxn[0] > 0 && threads > maxn[0]*maxn[1]*maxn[2]:
		return fmt.Errorf("%d threads a block, the kernel was compiled for %d at most (.maxntid)", threads, maxn[0]*maxn[1]*maxn[2])
	case len(c.Params) != k.entry.ParamBytes:
		return fmt.Errorf("%d bytes of parameters, the kernel takes %d", len(c.Params), k.entry.ParamBytes)
	case c.SharedBytes < 0 || c.SharedBytes > 0 && !k.dynamic && c.SharedBytes > limit:
		return fmt.Errorf("%d bytes of dynamic shared memory", c.SharedBytes)
	case k.StaticShared()+c.SharedBytes > limit:
		return fmt.Errorf("%d bytes of shared memory (%d static), a block of %s may have %d",
			k.StaticShared()+c.SharedBytes, k.StaticShared(), d.cfg.Arch, limit)
	case c.Registers > 0 && (c.Registers+7)/8*8*((threads+31)/32*32) > 65536:
		return fmt.Errorf("%d registers for %d threads, a block may have 65536: %w", c.Registers, threads, errResources)
	case per > 1 && d.cc < 90:
		return fmt.Errorf("clusters need sm_90, the device is %s", d.cfg.Arch)
	case per > 16 || per > 8 && k.entry.MaxCluster < per:
		return fmt.Errorf("%d blocks a cluster, the portable limit is 8", per)
	case c.Grid.X%c.Cluster.X != 0 || c.Grid.Y%c.Cluster.Y != 0 || c.Grid.Z%c.Cluster.Z != 0:
		return fmt.Errorf("the grid is not a multiple of the cluster %v", c.Cluster)
	}
	if r := k.entry.ReqCluster; r[0] > 0 && c.Cluster != (Dim{r[0], r[1], r[2]}) {
		return fmt.Errorf("the kernel requires clusters of %dx%dx%d (.reqnctapercluster)", r[0], r[1], r[2])
	}
	return nil
}

// blockOf returns the index of a block of a cluster.
func (l *launch) blockOf(cluster, rank int) [3]int {
	c := l.Cluster
	nx, ny := l.Grid.X/c.X, l.Grid.Y/c.Y
	return [3]int{
		cluster%nx*c.X + rank%c.X,
		cluster/nx%ny*c.Y + rank/c.X%c.Y,
		cluster/(nx*ny)*c.Z + rank/(c.X*c.Y),
	}
}

// newGroup allocates what a worker reuses for its clusters.
func (l *launch) newGroup() *group {
	k := l.Kernel
	g := &group{l: l, pages: map[uint64]*page{}, bytes: map[*cell]*[4]cell{}, seen: map[int32]int32{}, atomics: map[uint64]*clocks{}, asked: map[uint64]int32{}}
	g.patterns = make([]*loadPattern, len(k.code))
	if l.dev.cfg.Profile {
		g.counts = make([]opCount, len(k.code))
		g.prof.init(len(k.code))
	}
	checks := !l.dev.cfg.NoChecks
	for rank := range l.Cluster.Count() {
		m := l.dev.scratch.takeCTA()
		c := &cta{g: g, rank: rank, mbars: map[uint32]*mbarrier{}, memory: m}
		n := k.static + l.SharedBytes
		m.shared(n) // with room for the widest access
		c.smem = m.smem[:n]
		if checks {
			c.init, c.quads, c.cells = m.init[:n], m.quads, m.cells
		}
		r, q := sized(&m.r, l.warps*k.n32), sized(&m.q, l.warps*k.n64)
		for i := range l.warps {
			w := &warp{c: c, g: g, id: i, r: r[i*k.n32:][:k.n32:k.n32], q: q[i*k.n64:][:k.n64:k.n64], p: make([]uint32, k.npred)}
			for lane := range 32 {
				for axis, v := range w.thread(lane) {
					w.tids[axis][lane] = uint32(v)
				}
			}
			for v, at := range k.const32 {
				for lane := range w.r[at] {
					w.r[at][lane] = v
				}
			}
			for v, at := range k.const64 {
				for lane := range w.q[at] {
					w.q[at][lane] = v
				}
			}
			if k.localBytes > 0 {
				w.local = make([]byte, 32*k.localBytes)
			}
			c.warps = append(c.warps, w)
		}
		g.ctas = append(g.ctas, c)
	}
	for _, c := range g.ctas {
		if checks && len(g.ctas) > 1 {
			c.remote, c.exitVC = map[int]tag{}, g.newClocks().vc
		}
		for _, w := range c.warps {
			w.agent, w.copyAgent = c.agent(agentWarp, w.id), c.agent(agentCopy, w.id)
			w.mmaAgent, w.bulkAgent = c.agent(agentMMA, w.id&^3), c.agent(agentBulk, w.id)
			if checks {
				s := g.newClocks()
				w.vc, w.pvc = s.vc, s.pvc
				if k.wgmma {
					w.mma.init(k.n32)
				}
			}
		}
	}
	g.kinds = make([]agentKind, l.agents*len(g.ctas))
	for a := range g.kinds {
		g.kinds[a], _, _ = g.agentOf(a)
	}
	g.cluster.clocks, g.cluster.done = g.newClocks(), g.newClocks()
	return g
}

// reset makes the group ready for its next cluster.
func (g *group) reset() {
	l, k := g.l, g.l.Kernel
	g.steps, g.events, g.segment, g.waited = 0, 0, 0, g.waited[:0]
	g.pending = g.pending[:0]
	clear(g.seen)
	clear(g.atomics)
	clear(g.asked)
	clear(g.bytes)
	g.cluster.reset()
	if m := l.dev.cfg.Mode; m.kind == random {
		g.rnd = rand.New(rand.NewPCG(m.seed, uint64(g.idx)+2))
	}
	regs := l.registers()
	for rank, c := range g.ctas {
		c.id = l.blockOf(g.idx, rank)
		clear(c.mbars)
		c.nmbars = 0
		c.pool, c.left = 0, 0
		clear(c.remote)
		clear(c.exitVC)
		for _, b := range c.bars {
			if b != nil {
				b.reset()
			}
		}
		if l.dev.cfg.NoChecks {
			clear(c.smem)
		} else {
			c.memory.renew()
		}
		for _, w := range c.warps {
			w.live = full
			if n := l.Block.Count() - 32*w.id; n < 32 {
				w.live = 1<<n - 1
			}
			w.splits = append(w.splits[:0], split{mask: w.live, pc: k.start})
			if w.cc = 0; k.calls {
				for i := range w.stack {
					w.stack[i] = w.stack[i][:0]
				}
			}
			w.wait, w.yield, w.polled = waiting{}, noYield, polled{}
			w.maxReg, w.clusterGen, w.unpolled = regs, 0, pollLoop
			w.copies.reset()
			w.bulks.reset()
			w.mma.reset()
			w.fencedAt, w.hasHeard, w.acquired, w.waited = false, false, nil, false
			if w.vc != nil {
				clear(w.vc)
				clear(w.pvc)
				w.clock, w.copyClock, w.copyDone, w.mmaClock, w.bulkClock = 1, 0, 0, 0, 0
				w.base = makeTag(w.agent, 0, 0, 0, 0)
			}
			clear(w.local)
			for _, r := range k.unset32 {
				clear(w.r[r][:])
			}
			for _, r := range k.unset64 {
				clear(w.q[r][:])
			}
			clear(w.p)
		}
	}
}

// poison makes unwritten shared memory look like nothing useful.
func poison(b []byte) { fill(b, 0xcd) }

var errStopped = errors.New("stopped")

// stop reports whether the cluster should give up because an earlier one
// failed or the caller lost interest.
func (g *group) stop() bool {
	return g.l.failed.Load() < int64(g.order) || g.l.ctx.Err() != nil
}

// expired ends a cluster that has run too long or is no longer wanted.
func (g *group) expired(w *warp, o *op, m uint32) {
	if g.stop() {
		panic(errStopped) //nolint:forbidigo // recovered by execute
	}
	w.trap(StepLimit, o, first(m), "still running after %d instructions, at this backward branch", g.l.dev.cfg.MaxSteps)
}

// execute runs one cluster and merges its shadow; it reports false when others must run
// before the cluster can go on.
func (g *group) execute() (done bool, err error) {
	merged := false
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *Report:
			err = r
		case hostError:
			err = r.error
		case error:
			if !errors.Is(r, errStopped) {
				err = fmt.Errorf("simulator: kernel %s, cluster %d: %w (please report this)", g.l.Kernel.Name, g.idx, r)
			} else {
				err = r
			}
		default:
			err = fmt.Errorf("simulator: kernel %s, cluster %d: %v (please report this)", g.l.Kernel.Name, g.idx, r)
		}
		if err != nil && !merged {
			g.takeTurn(func() { clear(g.pages); clear(g.cache[:]) })
		}
	}()
	if !g.begun {
		g.reset()
		g.begun = true
	}
	if !g.run() {
		return false, nil
	}
	var found *Report
	g.takeTurn(func() {
		merged = true
		if g.l.shadow != nil {
			found = g.flush()
		}
	})
	if found != nil {
		return true, found
	}
	return true, nil
}

// takeTurn runs f when every cluster before this one has had its turn, so that
// what is reported does not depend on who finished first.
func (g *group) takeTurn(f func()) {
	l := g.l
	if l.Kernel.globalAtomics { // one goroutine
		f()
		return
	}
	l.mu.Lock()
	for l.merge < g.order {
		l.turn.Wait()
	}
	l.mu.Unlock()
	f()
	l.mu.Lock()
	l.merge = g.order + 1
	l.turn.Broadcast()
	l.mu.Unlock()
}

// pollLoop is more instructions than a loop that only waits has between polls.
const pollLoop = 256

// run schedules the warps of a cluster until all have left; it reports false where they
// only poll global memory, which other clusters may change.
func (g *group) run() bool {
	all := g.warps[:0]
	for _, c := range g.ctas {
		all = append(all, c.warps...)
	}
	g.warps = all
	const quantum = 1 << 20
	const idlest = 1024      // rounds in which warps only poll: more than any single test needs
	const spinning = 1 << 12 // the same of memory
	const slice = 1 << 24    // instructions of a turn
	mixed := g.l.Kernel.globalAtomics
	idle, spun, used := 0, 0, int64(0)
	for {
		left, progress, sleeping, spinsNow, events := 0, false, false, false, g.events
		if g.rnd != nil {
			g.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		}
		for _, w := range all {
			if w.wait.on == exited {
				continue
			}
			left++
			if w.wait.done != nil && w.wait.done() {
				w.wait = waiting{}
			}
			if w.wait.on != running {
				continue
			}
			budget := int64(quantum)
			if g.rnd != nil {
				budget = 1 + g.rnd.Int64N(64)
			}
			n := budget - w.run(budget)
			used += n
			w.unpolled += n
			vain := w.yield == spins || w.polled.same > 0
			if w.yield == polls || vain {
				w.unpolled = 0
			}
			progress = progress || w.yield == noYield && w.unpolled > pollLoop
			sleeping = sleeping || w.yield == sleeps
			spinsNow = spinsNow || vain
			if w.wait.on == exited {
				w.c.warpExited(w)
				left--
				progress = true
			}
			if g.rnd != nil && len(g.pending) > 0 && g.rnd.IntN(4) == 0 {
				g.complete(g.rnd.IntN(len(g.pending)))
				progress = true
			}
		}
		switch {
		case left == 0:
			for len(g.pending) > 0 {
				g.complete(0)
			}
			g.checkGroups()
			return true
		case progress || g.events != events:
			idle, spun, g.moved = 0, 0, true
			if g.stop() {
				panic(errStopped) //nolint:forbidigo // recovered by execute
			}
		case len(g.pending) > 0:
			g.complete(0)
		case mixed && !g.alone && (sleeping || spinsNow):
			return false
		case spinsNow:
			if spun++; spun > spinning {
				g.deadlock()
			}
		case sleeping: // it may be polling memory; what writes it has run
			if g.steps += 1 << 16; g.steps > g.l.dev.cfg.MaxSteps {
				g.deadlock()
			}
		default:
			if idle++; idle > idlest || !anyRunning(all) {
				g.deadlock()
			}
		}
		if mixed && !g.alone && (used > slice || g.rnd != nil && g.rnd.IntN(16) == 0) {
			return false
		}
	}
}

func anyRunning(ws []*warp) bool {
	for _, w := range ws {
		if w.wait.on == running {
			return true
		}
	}
	return false
}

// checkGroups reports warpgroups whose warps did not execute the same wgmma.
func (g *group) checkGroups() {
	if !g.l.Kernel.wgmma {
		return
	}
	for _, c := range g.ctas {
		for i, w := range c.warps {
			if lead := c.warps[i&^3]; w.mmaClock != lead.mmaClock {
				w.trap(Divergence, &g.l.Kernel.code[len(g.l.Kernel.code)-1], 0,
					"the warp executed %d wgmma, the first of its warpgroup %d", w.mmaClock, lead.mmaClock)
			}
		}
	}
}

// deadlock reports who waits where.
func (g *group) deadlock() {
	var ws []*warp
	for _, c := range g.ctas {
		ws = append(ws, c.warps...)
	}
	throw(deadlocked(ws, "nothing can go on"))
}

// deadlocked makes the report of warps that wait.
func deadlocked(ws []*warp, what string) *Report {
	var lines []string
	var at *warp
	for _, w := range ws {
		if w.wait.on == exited {
			continue
		}
		if at == nil {
			at = w
		}
		lines = append(lines, w.where())
	}
	g := at.g
	const most = 12
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("and %d warps more", len(lines)-most))
	}
	for _, c := range g.ctas {
		for _, b := range c.sortedBarriers() {
			lines = append(lines, b.describe(c))
		}
	}
	o := at.wait.o
	if o == nil {
		o = &g.l.Kernel.code[at.splits[0].pc]
		if o.in.Op == "bra" && o.pc > 0 {
			o = &g.l.Kernel.code[o.pc-1]
		}
	}
	return at.report(Deadlock, o, first(at.live), "%s:\n\t%s", what, strings.Join(lines, "\n\t"))
}

// where says what a warp waits for.
func (w *warp) where() string {
	code := w.g.l.Kernel.code
	s := fmt.Sprintf("block %v warp %d", w.c.id, w.id)
	line := func(o *op) string { return fmt.Sprintf("line %d", o.in.Pos.Line) }
	switch w.wait.on {
	case atBarrier:
		b := w.c.bars[w.wait.bar]
		return fmt.Sprintf("%s at %s: barrier %d, %d of %d warps there", s, line(w.wait.o), b.id, b.arrived, b.want(w.c))
	case atCluster:
		return fmt.Sprintf("%s at %s: barrier.cluster.wait", s, line(w.wait.o))
	case forRegisters:
		return fmt.Sprintf("%s at %s: setmaxnreg.inc, %d registers free", s, line(w.wait.o), w.c.pool)
	case forWarpgroup:
		return fmt.Sprintf("%s at %s: a wgmma that other warps of its warpgroup have not reached", s, line(w.wait.o))
	case running, exited:
	}
	for _, sp := range w.splits {
		s += fmt.Sprintf(", lanes %#x around line %d", sp.mask, code[sp.pc].in.Pos.Line)
	}
	if w.yield == spins || w.yield == sleeps || w.polled.same > 0 {
		return s + ": polls memory"
	}
	return s + ": polls an mbarrier"
}

// registers is what each thread holds at launch.
func (l *launch) registers() int {
	if l.Registers > 0 {
		return (l.Registers + 7) / 8 * 8
	}
	if n := l.Kernel.entry.MaxNReg; n > 0 {
		return n
	}
	return min(65536/(l.warps*32)/8*8, 248)
}

// transfer is an asynchronous operation on its way.
type transfer struct {
	run   func()
	done  bool
	clock uint32  // wgmma: of the agent
	d, a  []int32 // wgmma: registers that are busy until it is waited for
	fifo  *async  // completes in order with the others of this queue; nil: any order
}

// start begins an asynchronous operation: it runs now, or is left pending.
func (g *group) start(t *transfer) {
	if g.l.dev.cfg.Mode.kind == eager {
		t.force()
		return
	}
	g.pending = append(g.pending, t)
}

func (t *transfer) force() {
	if !t.done {
		t.done = true
		t.run()
	}
}

// complete finishes the i-th pending operation, or the first of its queue.
func (g *group) complete(i int) {
	t := g.pending[i]
	if t.fifo != nil {
		for j, u := range g.pending {
			if u.fifo == t.fifo {
				i, t = j, u
				break
			}
		}
	}
	g.pending = append(g.pending[:i], g.pending[i+1:]...)
	t.force()
}

// sweep drops what was forced.
func (g *group) sweep() {
	keep := g.pending[:0]
	for _, t := range g.pending {
		if !t.done {
			keep = append(keep, t)
		}
	}
	g.pending = keep
}

// async is a queue of commit groups: cp.async, bulk copies or wgmma of a warp.
type async struct {
	open   []*transfer
	groups [][]*transfer
	clocks []uint32 // the agent's clock at the end of each group
}

func (a *async) reset() { a.open, a.groups, a.clocks = a.open[:0], a.groups[:0], a.clocks[:0] }

func (a *async) commit(clock uint32) {
	a.groups = append(a.groups, a.open)
	a.clocks = append(a.clocks, clock)
	a.open = nil
}

// wait completes groups until n are left and calls each, if any, for their
// transfers; it returns the agent's clock that is reached, 0 for none.
func (a *async) wait(g *group, n int, each func(*transfer)) (clock uint32) {
	forced := false
	for len(a.groups) > n {
		for _, t := range a.groups[0] {
			forced = forced || !t.done
			t.force()
			if each != nil {
				each(t)
			}
		}
		clock = a.clocks[0]
		a.groups, a.clocks = a.groups[1:], a.clocks[1:]
	}
	if forced {
		g.sweep()
	}
	return clock
}

// eachLane calls f for the lanes of a mask.
func eachLane(m uint32, f func(lane int)) {
	for ; m != 0; m &= m - 1 {
		f(bits.TrailingZeros32(m) & 31)
	}
}
