package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind says what was wrong.
type Kind string

// The kinds of reports.
const (
	OutOfBounds   Kind = "out of bounds"
	Misaligned    Kind = "misaligned"
	Uninitialised Kind = "uninitialised"
	Race          Kind = "race"
	InFlight      Kind = "missing wait"        // touches what an asynchronous operation still reads or writes
	ProxyFence    Kind = "missing proxy fence" // generic write read through the async proxy
	Divergence    Kind = "divergent"
	Deadlock      Kind = "deadlock"
	StepLimit     Kind = "step limit"
	Misuse        Kind = "misuse" // an instruction used against its rules
	Assertion     Kind = "assertion"
)

// Access is one side of a conflict.
type Access struct {
	What   string `json:"what"` // "write", "TMA read", …
	Line   int    `json:"line"` // of the PTX source
	Source string `json:"source,omitempty"`
	Block  [3]int `json:"block"`
	Thread [3]int `json:"thread"`
	Lanes  bool   `json:"lanes,omitempty"` // several lanes of the warp of Thread
}

func (a *Access) String() string {
	th := fmt.Sprintf("thread %v", a.Thread)
	if a.Lanes {
		th = fmt.Sprintf("the warp of thread %v", a.Thread)
	}
	s := fmt.Sprintf("%s at line %d by block %v %s", a.What, a.Line, a.Block, th)
	if a.Source != "" {
		s += " (" + a.Source + ")"
	}
	return s
}

// Report is what a check found. It ends the launch.
type Report struct {
	Kind   Kind    `json:"kind"`
	Kernel string  `json:"kernel"`
	File   string  `json:"file"`
	Line   int     `json:"line"`           // of the PTX source
	Instr  string  `json:"instr"`          // the instruction there
	CUDA   string  `json:"cuda,omitempty"` // file:line of the CUDA source, with -lineinfo
	Block  [3]int  `json:"block"`
	Thread [3]int  `json:"thread"`
	Msg    string  `json:"message"` // with address and allocation
	Other  *Access `json:"other,omitempty"`
}

func (r *Report) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s at %s:%d", r.Kernel, r.Kind, r.File, r.Line)
	if r.CUDA != "" {
		fmt.Fprintf(&b, " (%s)", r.CUDA)
	}
	fmt.Fprintf(&b, " block %v thread %v: %s", r.Block, r.Thread, r.Msg)
	if r.Other != nil {
		fmt.Fprintf(&b, "; the other access: %v", r.Other)
	}
	if r.Instr != "" {
		fmt.Fprintf(&b, "\n\t%s", r.Instr)
	}
	return b.String()
}

// thread converts a lane to its thread index in the block.
func (w *warp) thread(lane int) [3]int {
	t := w.id*32 + lane
	b := w.g.l.Block
	return [3]int{t % b.X, t / b.X % b.Y, t / (b.X * b.Y)}
}

// report makes a report about an op that a lane of the warp executes.
func (w *warp) report(kind Kind, o *op, lane int, format string, args ...any) *Report {
	r := &Report{
		Kind: kind, Kernel: w.g.l.Kernel.Name, File: w.g.l.Kernel.mod.File,
		Block: w.c.id, Thread: w.thread(lane), Msg: fmt.Sprintf(format, args...),
	}
	if o != nil {
		r.Line, r.Instr, r.CUDA = o.in.Pos.Line, o.in.String(), w.g.l.Kernel.cuda(o.in)
	}
	return r
}

// trap ends the cluster with a report. Launch recovers it.
func (w *warp) trap(kind Kind, o *op, lane int, format string, args ...any) {
	throw(w.report(kind, o, lane, format, args...))
}

// warn notes what no rule forbids and no rule allows; the cluster goes on.
func (w *warp) warn(kind Kind, o *op, lane int, format string, args ...any) {
	if w.g.l.dev.ignores(kind) {
		return
	}
	key := fmt.Sprint(kind, o.pc)
	if old := w.g.warned[key]; old != nil && slices.Compare(old.Block[:], w.c.id[:]) <= 0 {
		return
	}
	if w.g.warned == nil {
		w.g.warned = map[string]*Report{}
	}
	w.g.warned[key] = w.report(kind, o, lane, format, args...)
}

// warnings are one of each kind and line, of the lowest block.
func warnings(groups []*group) []*Report {
	first := map[string]*Report{}
	for _, g := range groups {
		for key, r := range g.warned {
			if old := first[key]; old == nil || slices.Compare(r.Block[:], old.Block[:]) < 0 {
				first[key] = r
			}
		}
	}
	return slices.SortedFunc(maps.Values(first), func(a, b *Report) int {
		return cmp.Or(a.Line-b.Line, cmp.Compare(a.Kind, b.Kind))
	})
}

// hostError is what went wrong outside of the kernel.
type hostError struct{ error }

func throwError(err error) {
	panic(hostError{err}) //nolint:forbidigo // recovered by execute
}

func throw(r *Report) {
	panic(r) //nolint:forbidigo // recovered by runGroup, never crosses the API
}

// conflict reports an access against the earlier one that a tag stands for.
func (w *warp) conflict(o *op, lane int, what string, where string, old tag, oldWhat string) {
	kind := Race
	agent := old.agent()
	if k, _, _ := w.g.agentOf(agent); k != agentWarp {
		kind = InFlight
	}
	r := w.report(kind, o, lane, "%s of %s is not ordered behind an earlier %s", what, where, oldWhat)
	r.Other = w.g.accessOf(old, oldWhat)
	if k, _, _ := w.g.agentOf(agent); k == agentBarrier && old.clock() == clockMask {
		r.Kind, r.Other = Misuse, nil
		r.Msg = fmt.Sprintf("%s of %s, which holds a live mbarrier", what, where)
	}
	w.raise(r)
}
