package sim

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// Device functions. Each has registers and a place in local memory of its own, for its
// parameters and what it declares; a function that calls itself, directly or through
// others, saves both at each call. Lanes remember for themselves where they go on, so
// that lanes that called from different places may run a function together.

// function is a device function that a kernel calls.
type function struct {
	e         *ptx.Entry
	calls     []string
	recursive bool
	start     int32     // PC
	regs      [3][2]int // from and to: 32-bit, 64-bit and predicate registers
	local     [2]int    // from and to in local memory
}

// call is a decoded call.
type call struct {
	f             *function
	args, results []move
}

// move copies bytes from one place in local memory to another.
type move struct{ to, from, n int }

// frame is where a lane goes on behind a call, and what it finds there again.
type frame struct {
	call  *call
	back  int32
	saved []uint64 // registers and local memory of a function that calls itself
}

const deepest = 1024 // calls within calls

// callees finds the functions that the entry calls, and that they call.
func (d *decoder) callees() error {
	d.fs = map[string]*function{}
	var visit func(e *ptx.Entry) ([]string, error)
	visit = func(e *ptx.Entry) ([]string, error) {
		var names []string
		for _, in := range e.Code {
			if in.Op != "call" {
				continue
			}
			n := in.Args[0].(ptx.Callee).Name
			if builtins[n] != nil {
				continue
			}
			names = append(names, n)
			if d.fs[n] != nil {
				continue
			}
			for _, refused := range d.k.mod.ptx.RefusedFuncs {
				if refused.Entry == n {
					return nil, d.errAt(in.Pos, "calls %s, which cannot run: %s", n, refused.Msg)
				}
			}
			fe := d.k.mod.ptx.Func(n)
			if fe == nil || fe.Body == nil {
				return nil, d.errAt(in.Pos, "call of %s, which the source does not define", n)
			}
			f := &function{e: fe}
			d.fs[n] = f
			var err error
			if f.calls, err = visit(fe); err != nil {
				return nil, err
			}
		}
		return names, nil
	}
	if _, err := visit(d.e); err != nil {
		return err
	}
	for n, f := range d.fs {
		f.recursive = d.reaches(f, n, map[string]bool{})
	}
	return nil
}

// reaches reports whether f calls a function, directly or through others.
func (d *decoder) reaches(f *function, name string, seen map[string]bool) bool {
	for _, n := range f.calls {
		if n == name {
			return true
		}
		if !seen[n] {
			seen[n] = true
			if d.reaches(d.fs[n], name, seen) {
				return true
			}
		}
	}
	return false
}

// order is the functions as the source has them.
func (d *decoder) order() []*function {
	var fs []*function
	for _, f := range d.fs {
		fs = append(fs, f)
	}
	slices.SortFunc(fs, func(a, b *function) int {
		if a.e.Pos.Line != b.e.Pos.Line {
			return a.e.Pos.Line - b.e.Pos.Line
		}
		return a.e.Pos.Col - b.e.Pos.Col
	})
	return fs
}

// call: call[.uni] [(results),] function [, (arguments)], results and arguments being
// .param variables.
func (d *decoder) call() {
	name := d.in.Args[0].(ptx.Callee).Name
	places := func(a ptx.Operand) (vs []*ptx.Var) {
		for _, e := range a.(*ptx.Vec).Elems {
			r, ok := e.(*ptx.VarRef)
			if !ok || r.Var.Space != ptx.Param || r.Offset != 0 {
				d.fail("%v is not a .param variable", e)
			}
			vs = append(vs, r.Var)
		}
		return vs
	}
	results, args := places(d.in.Args[1]), places(d.in.Args[2])
	if b := builtins[name]; b != nil {
		b(d, results, args)
		return
	}
	f := d.fs[name]
	if len(results) != len(f.e.Returns) || len(args) != len(f.e.Params) {
		d.fail("%s takes %d arguments and returns %d values, here are %d and %d", name, len(f.e.Params), len(f.e.Returns), len(args), len(results))
	}
	moves := func(to, from []*ptx.Var) (ms []move) {
		for i := range to {
			if to[i].Size != from[i].Size {
				d.fail("%s has %d bytes, %s of %s %d", from[i].Name, from[i].Size, to[i].Name, name, to[i].Size)
			}
			ms = append(ms, move{int(d.place1(to[i])), int(d.place1(from[i])), to[i].Size})
		}
		return ms
	}
	d.k.calls = true
	d.o.ext = &call{f: f, args: moves(f.e.Params, args), results: moves(results, f.e.Returns)}
	d.o.kind, d.o.fn = opCall, execCall
}

// place1 is where a .param variable stands in local memory. A kernel's own parameters
// stand elsewhere.
func (d *decoder) place1(v *ptx.Var) uint64 {
	if slices.Contains(d.k.entry.Params, v) {
		d.fail("%s is a parameter of the kernel: it is no argument of a call", v.Name)
	}
	return d.addrs[v]
}

// localOf is the local memory of a lane.
func (w *warp) localOf(lane int) []byte {
	n := w.g.l.Kernel.localBytes
	return w.local[lane*n:][:n:n]
}

func execCall(w *warp, o *op, m uint32) {
	c := o.ext.(*call)
	for ; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m) & 31
		if len(w.stack[i]) >= deepest {
			w.trap(Misuse, o, i, "%d calls within calls: %s calls itself without an end, or the stack is too small for it", deepest, c.f.e.Name)
		}
		fr := frame{call: c, back: o.pc + 1}
		if c.f.recursive {
			fr.saved = w.save(c.f, i)
		}
		w.stack[i] = append(w.stack[i], fr)
		local := w.localOf(i)
		for _, a := range c.args {
			copy(local[a.to:a.to+a.n], local[a.from:])
		}
	}
}

// execReturn leaves in w.jump where the lanes go on.
func execReturn(w *warp, _ *op, m uint32) {
	for ; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m) & 31
		n := len(w.stack[i]) - 1
		fr := w.stack[i][n]
		w.stack[i] = w.stack[i][:n]
		local := w.localOf(i)
		var out [][]byte
		for _, r := range fr.call.results {
			out = append(out, slices.Clone(local[r.from:r.from+r.n]))
		}
		if fr.saved != nil {
			w.restore(fr.call.f, i, fr.saved)
		}
		for k, r := range fr.call.results {
			copy(local[r.to:], out[k])
		}
		w.jump[i] = fr.back
	}
}

// save and restore keep what a lane has of a function: registers and local memory.
func (w *warp) save(f *function, lane int) []uint64 {
	var s []uint64
	for r := f.regs[0][0]; r < f.regs[0][1]; r++ {
		s = append(s, uint64(w.r[r][lane]))
	}
	for r := f.regs[1][0]; r < f.regs[1][1]; r++ {
		s = append(s, w.q[r][lane])
	}
	for r := f.regs[2][0]; r < f.regs[2][1]; r++ {
		s = append(s, uint64(w.p[r]>>lane&1))
	}
	for _, b := range w.localOf(lane)[f.local[0]:f.local[1]] {
		s = append(s, uint64(b))
	}
	return s
}

func (w *warp) restore(f *function, lane int, s []uint64) {
	for r := f.regs[0][0]; r < f.regs[0][1]; r++ {
		w.r[r][lane], s = uint32(s[0]), s[1:]
	}
	for r := f.regs[1][0]; r < f.regs[1][1]; r++ {
		w.q[r][lane], s = s[0], s[1:]
	}
	for r := f.regs[2][0]; r < f.regs[2][1]; r++ {
		w.p[r] = w.p[r]&^(1<<lane) | uint32(s[0])<<lane
		s = s[1:]
	}
	for i := range w.localOf(lane)[f.local[0]:f.local[1]] {
		w.localOf(lane)[f.local[0]+i] = byte(s[i])
	}
}

// brx.idx[.uni] index, table: to the label that the table, of .branchtargets, has there.
func (d *decoder) brx() {
	if d.form("uni") != "idx" || !d.args(2, 2) {
		d.unsupported()
	}
	l, ok := d.in.Args[1].(*ptx.Label)
	if !ok || len(l.Targets) == 0 {
		d.fail("%v is not the label of .branchtargets", d.in.Args[1])
	}
	var to []int32
	for _, t := range l.Targets {
		to = append(to, d.from+int32(t.PC))
	}
	d.o.a = d.src32(d.in.Args[0])
	d.o.kind = opJump
	d.o.fn = func(w *warp, o *op, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			k := w.r[o.a][i]
			if int(k) >= len(to) {
				w.trap(Misuse, o, i, "index %d of a table of %d labels", k, len(to))
			}
			w.jump[i] = to[k]
		}
	}
}

// goOn moves lanes m of split k, whose others stay behind it, to where w.jump says.
func (w *warp) goOn(k int, pc int32, mask, m uint32, age int32) {
	w.splits = append(w.splits[:k], w.splits[k+1:]...)
	if rest := mask &^ m; rest != 0 {
		w.splits = append(w.splits, split{pc: pc + 1, mask: rest, age: age})
	}
	for m != 0 {
		to, same := w.jump[first(m)], uint32(0)
		for x := m; x != 0; x &= x - 1 {
			i := bits.TrailingZeros32(x) & 31
			same |= one(w.jump[i] == to) << i
		}
		a := age
		if to <= pc {
			a++
		}
		w.splits = append(w.splits, split{pc: to, mask: same, age: a})
		m &^= same
	}
	w.merge()
}

// carry: add, sub and mad with .cc, and addc, subc and madc, of 32 and 64 bits. The
// carry of each lane is a bit of w.cc; that of a subtraction is a borrow.
func (d *decoder) carry() {
	in := d.in
	t := in.Type()
	sets := in.Has("cc")
	takes := in.Op[len(in.Op)-1] == 'c'
	form := d.form("cc", t.String())
	isMad := in.Op == "mad" || in.Op == "madc"
	if !sets && !takes || t.Float() || t.Bits() < 32 || t.Bits() > 64 || isMad != (form == "lo" || form == "hi") || !isMad && form != "" {
		d.unsupported()
	}
	n := 3
	if isMad {
		n = 4
	}
	if !d.args(n, n) {
		return
	}
	sub := in.Op == "sub" || in.Op == "subc"
	a := in.Args
	wide := t.Bits() == 64
	get, put := d.src32, d.dst32
	if wide {
		get, put = d.src64, d.dst64
	}
	d.o.d, d.o.a, d.o.b = put(a[0]), get(a[1]), get(a[2])
	if isMad {
		d.o.c = get(a[3])
	}
	d.o.fn = func(w *warp, o *op, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			var x, y, c uint64
			if wide {
				x, y, c = w.q[o.a][i], w.q[o.b][i], w.q[o.c][i]
			} else {
				x, y, c = uint64(w.r[o.a][i]), uint64(w.r[o.b][i]), uint64(w.r[o.c][i])
			}
			if isMad {
				x, y = product(x, y, t, form == "hi"), c
			}
			in := uint64(0)
			if takes {
				in = uint64(w.cc >> i & 1)
			}
			var v, out uint64
			switch {
			case sub && wide:
				v, out = bits.Sub64(x, y, in)
			case sub:
				v32, b := bits.Sub32(uint32(x), uint32(y), uint32(in))
				v, out = uint64(v32), uint64(b)
			case wide:
				v, out = bits.Add64(x, y, in)
			default:
				v32, c := bits.Add32(uint32(x), uint32(y), uint32(in))
				v, out = uint64(v32), uint64(c)
			}
			if wide {
				w.q[o.d][i] = v
			} else {
				w.r[o.d][i] = uint32(v)
			}
			if sets {
				w.cc = w.cc&^(1<<i) | uint32(out)<<i
			}
		}
	}
}

// product is the low or the high half of x*y.
func product(x, y uint64, t ptx.Type, high bool) uint64 {
	switch {
	case t.Bits() == 32 && !high:
		return uint64(uint32(x * y))
	case t.Bits() == 32 && t.Signed():
		return uint64(uint32(uint64(int64(int32(x))*int64(int32(y))) >> 32))
	case t.Bits() == 32:
		return x * y >> 32
	case !high:
		return x * y
	case t.Signed():
		return mulHiSigned(x, y)
	default:
		return mulHi(x, y)
	}
}

// builtins are the functions that a driver brings along.
var builtins map[string]func(d *decoder, results, args []*ptx.Var)

func init() {
	builtins = map[string]func(d *decoder, results, args []*ptx.Var){"vprintf": (*decoder).vprintf, "__assertfail": (*decoder).assertFail}
}

// sizes checks what a builtin is given.
func (d *decoder) sizes(results, args []*ptx.Var, wantResults, want []int) {
	of := func(vs []*ptx.Var) (n []int) {
		for _, v := range vs {
			d.place1(v)
			n = append(n, v.Size)
		}
		return n
	}
	if r, a := of(results), of(args); !slices.Equal(r, wantResults) || !slices.Equal(a, want) {
		d.fail("%v takes arguments of %v bytes and returns %v, here are %v and %v", d.in.Args[0], want, wantResults, a, r)
	}
}

// text reads a string at a generic address.
func (w *warp) text(o *op, addr uint64, lane int) string {
	const longest = 1 << 16
	var b []byte
	for len(b) < longest {
		c := w.touch(o, ptx.NoSpace, addr+uint64(len(b)), 1, lane, false, false, false)[0]
		if c == 0 {
			return string(b)
		}
		b = append(b, c)
	}
	w.trap(Misuse, o, lane, "a string of more than %d bytes", longest)
	return ""
}

// assertFail ends the kernel as a failed assert does.
func (d *decoder) assertFail(results, args []*ptx.Var) {
	d.sizes(results, args, nil, []int{8, 8, 4, 8, 8})
	var at [4]uint64
	for i := range at {
		at[i] = d.addrs[args[i]]
	}
	d.o.fn = func(w *warp, o *op, m uint32) {
		i := first(m)
		l := w.localOf(i)
		w.trap(Assertion, o, i, "%s:%d: %s: assertion %q failed", w.text(o, le.Uint64(l[at[1]:]), i), le.Uint32(l[at[2]:]),
			w.text(o, le.Uint64(l[at[3]:]), i), w.text(o, le.Uint64(l[at[0]:]), i))
	}
}

// vprintf writes to Config.Printf: lane after lane, and blocks in their order.
func (d *decoder) vprintf(results, args []*ptx.Var) {
	d.sizes(results, args, []int{4}, []int{8, 8})
	format, list, result := d.addrs[args[0]], d.addrs[args[1]], d.addrs[results[0]]
	d.k.globalAtomics = true // one block after the other
	d.o.fn = func(w *warp, o *op, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			l := w.localOf(i)
			s, n := w.printf(o, w.text(o, le.Uint64(l[format:]), i), le.Uint64(l[list:]), i)
			le.PutUint32(l[result:], uint32(n))
			if out := w.g.l.dev.cfg.Printf; out != nil {
				if _, err := out.Write([]byte(s)); err != nil {
					throwError(fmt.Errorf("printf of a kernel: %w", err))
				}
			}
		}
	}
}
