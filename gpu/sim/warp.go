package sim

import (
	"fmt"
	"math/bits"
	"slices"
)

// warp is 32 lanes with their registers.
type warp struct {
	c    *cta
	g    *group
	id   int // in the block
	r    [][32]uint32
	q    [][32]uint64
	p    []uint32      // predicates, a bit for each lane
	tids [3][32]uint32 // thread index, by axis

	live   uint32 // lanes that have not left the kernel
	splits []split
	wait   waiting
	yield  yieldKind
	local  []byte // local memory, lane after lane

	// checks; vc is nil when they are off
	agent, copyAgent, mmaAgent, bulkAgent int
	vc, pvc                               []uint32
	clock                                 uint32
	copyClock, copyDone                   uint32
	mmaClock, bulkClock                   uint32
	base                                  tag // agent's part of a tag

	fenced   *clocks         // global fence: what was before it
	fencedAt bool            // a fence since the last atomic
	acquired map[int32]int32 // clusters heard from through atomics, until a fence
	heard    clocks          // the same inside the cluster
	hasHeard bool

	waited bool // for the launches before, itself or behind a warp that has

	copies, bulks async
	mma           mmaState
	maxReg        int // setmaxnreg
	clusterGen    int // of the cluster barrier that it arrived at

	unpolled int64 // instructions since it last polled in vain
	polled   polled

	cc    uint32      // carries, a bit for each lane
	stack [32][]frame // calls of each lane
	jump  [32]int32   // where lanes go on, by opJump
}

// polled is what a warp has found in memory that others may change: the last few
// answers to its strong loads and atomics, as hashes, and how often since it last
// stored or found something else they were these.
type polled struct {
	last [8]uint64
	next int
	same int
}

// patience is how often an answer may stay the same before others get a turn.
const patience = 256

// found notes what strong loads or atomics of lanes m found.
func (w *warp) found(hash uint64) {
	p := &w.polled
	if !slices.Contains(p.last[:], hash) {
		p.last[p.next&7] = hash
		p.next++
		p.same = 0
		return
	}
	if p.same++; p.same >= patience {
		p.same, w.yield = 0, spins
	}
}

// split is a set of lanes at one PC.
type split struct {
	pc     int32
	mask   uint32
	age    int32 // turns it has given to others
	parked bool  // at an op that waits for more lanes
}

// waiting says what a warp is blocked on.
type waiting struct {
	on   waitKind
	bar  int // named barrier, or registers
	o    *op
	done func() bool // asks whether it can go on
}

// yieldKind says why a warp lets others run.
type yieldKind uint8

const (
	noYield yieldKind = iota
	polls             // an mbarrier whose phase has not ended
	sleeps            // nanosleep: it may poll memory
	spins             // polls memory and finds it as it was, again and again
)

type waitKind uint8

const (
	running waitKind = iota
	atBarrier
	atCluster
	forRegisters
	forWarpgroup
	exited
)

// run executes the warp until it blocks, yields, leaves the kernel, or has used
// its budget of instructions, which it returns the rest of.
func (w *warp) run(budget int64) int64 {
	g := w.g
	code := g.l.Kernel.code
	count := g.counts
	track := g.l.Kernel.wgmma && w.vc != nil
	w.yield = noYield
	for w.wait.on == running && w.yield == noYield {
		k, next := w.pick()
		s := w.splits[k]
		pc, mask, back := s.pc, s.mask, 0
	straight:
		for {
			o := &code[pc]
			m := mask
			if o.pred >= 0 {
				if o.not {
					m &^= w.p[o.pred]
				} else {
					m &= w.p[o.pred]
				}
			}
			if budget--; budget < 0 {
				w.store(k, pc, mask, s.age)
				return 0
			}
			if count != nil {
				count[pc].warps++
				if o.kind == opBranch { // taken or not, every lane of the split decides
					count[pc].lanes += int64(bits.OnesCount32(mask))
				} else {
					count[pc].lanes += int64(bits.OnesCount32(m))
				}
			}
			if m != 0 && o.sync != alone {
				if need := w.needs(o, m); need&^m != 0 {
					w.park(k, pc, mask, m, s.age)
					break straight
				}
			}
			switch o.kind {
			case opPlain:
				if m != 0 {
					if track {
						w.trackRegisters(o, m)
					}
					if o.sync == members {
						w.together(o, m)
					} else {
						o.fn(w, o, m)
					}
				}
				pc++
			case opBlock, opPoll:
				if m != 0 {
					if track && o.kind == opPoll {
						w.trackRegisters(o, m)
					}
					o.fn(w, o, m)
				}
				pc++
				if w.wait.on != running || w.yield != noYield {
					age := s.age
					if w.yield != noYield {
						age++
					}
					w.store(k, pc, mask, age)
					break straight
				}
			case opBranch:
				switch m {
				case 0:
					pc++
				case mask:
					if o.tgt <= pc {
						if g.steps += int64(pc - o.tgt + 1); g.steps > g.l.dev.cfg.MaxSteps || g.stop() {
							g.expired(w, o, m)
						}
						if back++; back > 64 && len(w.splits) > 1 {
							w.store(k, o.tgt, mask, s.age+1)
							break straight
						}
					}
					pc = o.tgt
				default:
					age := s.age
					if o.tgt <= pc {
						age++
						if g.steps += int64(pc - o.tgt + 1); g.steps > g.l.dev.cfg.MaxSteps || g.stop() {
							g.expired(w, o, m)
						}
					}
					w.splits[k] = split{pc: pc + 1, mask: mask &^ m, age: s.age}
					w.splits = append(w.splits, split{pc: o.tgt, mask: m, age: age})
					g.diverged++
					w.merge()
					break straight
				}
			case opCall:
				if m == 0 {
					pc++
					break
				}
				o.fn(w, o, m)
				for x := m; x != 0; x &= x - 1 {
					w.jump[bits.TrailingZeros32(x)&31] = o.tgt
				}
				w.turn(o, m)
				w.goOn(k, pc, mask, m, s.age)
				break straight
			case opJump:
				if m == 0 {
					pc++
					break
				}
				o.fn(w, o, m)
				w.turn(o, m)
				w.goOn(k, pc, mask, m, s.age)
				break straight
			case opExit:
				w.live &^= m
				mask &^= m
				pc++
				for i := range w.splits { // fewer lanes to wait for now
					w.splits[i].parked = false
				}
				if mask == 0 {
					w.splits = append(w.splits[:k], w.splits[k+1:]...)
					if len(w.splits) == 0 {
						w.wait = waiting{on: exited}
					}
					break straight
				}
			}
			if pc >= next {
				w.store(k, pc, mask, s.age)
				if pc == next {
					w.merge()
				}
				break straight
			}
		}
	}
	return budget
}

// turn counts calls and jumps against the step limit.
func (w *warp) turn(o *op, m uint32) {
	g := w.g
	if g.steps++; g.steps > g.l.dev.cfg.MaxSteps || g.stop() {
		g.expired(w, o, m)
	}
}

func (w *warp) store(k int, pc int32, mask uint32, age int32) {
	w.splits[k] = split{pc: pc, mask: mask, age: age}
}

// pick chooses the split to run: not parked, youngest, lowest PC. It also
// returns the PC of the next one, where they may meet.
func (w *warp) pick() (k int, next int32) {
	const never = 1 << 30
	if len(w.splits) == 1 && !w.splits[0].parked {
		return 0, never
	}
	k = -1
	for i := range w.splits {
		s := &w.splits[i]
		if s.parked {
			continue
		}
		if k < 0 || s.age < w.splits[k].age || s.age == w.splits[k].age && s.pc < w.splits[k].pc {
			k = i
		}
	}
	if k < 0 {
		w.divergent()
	}
	next = never
	for i := range w.splits {
		if s := &w.splits[i]; i != k && s.pc < next && s.pc > w.splits[k].pc {
			next = s.pc
		}
	}
	return k, next
}

// needs returns the lanes that must be at o together.
func (w *warp) needs(o *op, m uint32) uint32 {
	if o.sync == aligned {
		return w.live
	}
	need, masks := uint32(0), &w.r[o.mask]
	for x := m; x != 0; x &= x - 1 {
		lane := bits.TrailingZeros32(x) & 31
		if masks[lane]>>lane&1 == 0 {
			w.trap(Misuse, o, lane, "lane %d executes it but is not in its member mask %#x", lane, masks[lane])
		}
		need |= masks[lane]
	}
	return need & w.live
}

// together executes an op with member masks: once for each set of lanes that
// name the same members.
func (w *warp) together(o *op, m uint32) {
	masks := w.r[o.mask]
	for m != 0 {
		lane := first(m)
		same := uint32(0)
		for x := m; x != 0; x &= x - 1 {
			i := bits.TrailingZeros32(x) & 31
			same |= one(masks[i] == masks[lane]) << i
		}
		o.fn(w, o, same)
		m &^= same
	}
}

// park leaves lanes m at pc until others join them; the rest of the split,
// whose guard is false, goes on.
func (w *warp) park(k int, pc int32, mask, m uint32, age int32) {
	w.splits[k] = split{pc: pc, mask: m, age: age, parked: true}
	if rest := mask &^ m; rest != 0 {
		w.splits = append(w.splits, split{pc: pc + 1, mask: rest, age: age})
	}
	w.merge()
}

// merge joins splits that stand at the same PC.
func (w *warp) merge() {
	for i := 0; i < len(w.splits); i++ {
		for j := i + 1; j < len(w.splits); j++ {
			if w.splits[i].pc != w.splits[j].pc {
				continue
			}
			w.splits[i].mask |= w.splits[j].mask
			w.splits[i].age = min(w.splits[i].age, w.splits[j].age)
			w.splits[i].parked = false
			w.splits = append(w.splits[:j], w.splits[j+1:]...)
			j--
		}
	}
}

// divergent reports lanes that wait for lanes that will not come.
func (w *warp) divergent() {
	code := w.g.l.Kernel.code
	s := w.splits[0]
	o := &code[s.pc]
	msg := fmt.Sprintf("lanes %#08x wait for the others of %#08x", s.mask, w.needs(o, s.mask))
	for _, t := range w.splits[1:] {
		msg += fmt.Sprintf("; lanes %#08x wait at line %d (%s)", t.mask, code[t.pc].in.Pos.Line, code[t.pc].in.Name)
	}
	if len(w.splits) == 1 {
		msg += ", which passed by or were masked off"
	}
	w.trap(Divergence, o, first(s.mask), "%s", msg)
}
