package sim

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

const full = ^uint32(0)

// laneOp is an instruction that works lane by lane: the register files of D, A,
// B, C ("rrr": 32 bits, "q": 64), and the loop.
type laneOp struct {
	files string
	fn    func(w *warp, o *op, m uint32)
}

type opKind uint8

const (
	opPlain  opKind = iota
	opBranch        // to tgt
	opExit          // lanes leave the kernel
	opBlock         // fn may leave the warp waiting
	opPoll          // a load or atomic that others' stores may be waited for with
	opCall          // fn, then to tgt
	opJump          // fn says where each lane goes on
)

// syncNeed says which lanes must arrive at an op together.
type syncNeed uint8

const (
	alone   syncNeed = iota
	aligned          // every live lane of the warp
	members          // the lanes of the mask operand (field mask)
)

// op is a decoded instruction. d, a, b, c index register files; what does not
// fit stands in ext.
type op struct {
	fn         func(w *warp, o *op, m uint32)
	d, a, b, c int32
	pred       int32 // guard, or -1
	not        bool
	kind       opKind
	sync       syncNeed
	tgt        int32
	mask       int32 // members: register of the mask
	pc         int32
	imm        int64
	ext        any
	in         *ptx.Instr
	uses, defs []int32 // 32-bit registers, for kernels with wgmma
}

// Kernel is a decoded entry.
type Kernel struct {
	Name  string
	mod   *Module
	entry *ptx.Entry
	code  []op

	n32, n64, npred int
	regs32, regs64  int     // of these, what the source declares; constants stand behind
	unset32         []int32 // registers that must be cleared for a block
	unset64         []int32
	const32         map[uint32]int32 // value -> the register that always holds it
	const64         map[uint64]int32
	sharedAt        map[*ptx.Var]uint64
	static          int // bytes of shared memory up to the dynamic part
	dynamic         bool
	localBytes      int
	globalAtomics   bool // clusters run one after the other
	asyncProxy      bool // TMA or wgmma: track proxy fences
	barriers        bool // mbarriers
	wgmma           bool // track registers in flight
	setsRegisters   bool // setmaxnreg
	clusters        bool // uses cluster instructions
	fences          bool
	start           int32 // PC of the entry, behind the functions that it calls
	calls           bool
}

// MaxThreads is what .maxntid or .reqntid allow in a block, 1024 by default.
func (k *Kernel) MaxThreads() int {
	for _, d := range [][3]int{k.entry.ReqNTID, k.entry.MaxNTID} {
		if d[0] > 0 {
			return d[0] * d[1] * d[2]
		}
	}
	return 1024
}

// StaticShared is the bytes of shared memory that the kernel declares.
func (k *Kernel) StaticShared() int { return max(k.static-sharedLow, 0) }

// DynamicShared reports whether it also takes some at launch.
func (k *Kernel) DynamicShared() bool { return k.dynamic }

// ParamBytes is the size of Launch.Params.
func (k *Kernel) ParamBytes() int { return k.entry.ParamBytes }

// LocalBytes is the local memory of one thread.
func (k *Kernel) LocalBytes() int { return k.localBytes }

// Opcodes counts the kernel's instructions by full name.
func (k *Kernel) Opcodes() map[string]int {
	n := map[string]int{}
	for i := range k.code {
		if in := k.code[i].in; in.Pos.Col > 0 {
			n[in.Name]++
		}
	}
	return n
}

func (k *Kernel) cuda(in *ptx.Instr) string {
	if f := in.Loc.File; f > 0 && f < len(k.mod.ptx.Files) {
		return fmt.Sprintf("%s:%d", k.mod.ptx.Files[f], in.Loc.Line)
	}
	return ""
}

// decoder turns one entry, or a function that it calls, into ops.
type decoder struct {
	k     *Kernel
	e     *ptx.Entry
	fs    map[string]*function // that the kernel calls, by name
	f     *function            // that is decoded, nil in the entry
	regs  []int32              // by ptx.Reg.Index: index in its file
	addrs map[*ptx.Var]uint64  // shared and local variables, parameters, globals
	in    *ptx.Instr
	o     *op
	from  int32      // PC of the first instruction
	low   [][2]int32 // of the instruction: registers that take the low halves of others, before it
}

func decodeEntry(mod *Module, e *ptx.Entry) (kernel *Kernel, err error) {
	defer func() {
		if r := recover(); r != nil {
			pe, ok := r.(*ptx.Error)
			if !ok {
				panic(r) //nolint:forbidigo // a mistake of the decoder itself
			}
			err = pe
		}
		if pe := new(ptx.Error); errors.As(err, &pe) && pe.Entry != e.Name { // it is the kernel that cannot run
			err = &ptx.Error{File: pe.File, Entry: e.Name, Pos: pe.Pos, Msg: fmt.Sprintf("calls %s, which cannot run: %s", pe.Entry, pe.Msg)}
		}
	}()
	k := &Kernel{Name: e.Name, mod: mod, entry: e, const32: map[uint32]int32{}, const64: map[uint64]int32{}}
	d := &decoder{k: k, e: e, addrs: map[*ptx.Var]uint64{}}
	if err := d.callees(); err != nil {
		return nil, err
	}
	if err := d.place(); err != nil {
		return nil, err
	}
	// Functions stand first: of lanes that part those with the lowest PC go first, so that
	// lanes that call come back to those that do not.
	var bodies []*decoder
	for _, f := range d.order() {
		bodies = append(bodies, &decoder{k: k, e: f.e, addrs: d.addrs, fs: d.fs, f: f})
	}
	bodies = append(bodies, d)
	for _, b := range bodies {
		if err := b.registers(); err != nil {
			return nil, err
		}
	}
	k.regs32, k.regs64 = k.n32, k.n64
	for _, b := range bodies {
		if err := b.body(); err != nil {
			return nil, err
		}
	}
	for i := range k.code {
		if c, ok := k.code[i].ext.(*call); ok && c.f != nil {
			k.code[i].tgt = c.f.start
		}
	}
	d.findUnset()
	return k, nil
}

// registers gives registers to what an entry or a function declares.
func (d *decoder) registers() error {
	k, e := d.k, d.e
	from := [3]int{k.n32, k.n64, k.npred}
	for _, r := range e.Regs {
		switch r.Type.Bits() {
		case 1:
			d.regs = append(d.regs, int32(k.npred))
			k.npred++
		case 64:
			d.regs = append(d.regs, int32(k.n64))
			k.n64++
		case 128:
			return d.errAt(e.Pos, "128-bit register %s is not supported", r.Name)
		default:
			d.regs = append(d.regs, int32(k.n32))
			k.n32++
		}
	}
	if d.f != nil {
		d.f.regs = [3][2]int{{from[0], k.n32}, {from[1], k.n64}, {from[2], k.npred}}
	}
	return nil
}

// body decodes the code of an entry or a function.
func (d *decoder) body() error {
	k, e := d.k, d.e
	base := int32(len(k.code))
	k.start = base
	if len(k.code)+len(e.Code) >= maxPC {
		return d.errAt(e.Pos, "%d instructions are more than the simulator tracks", len(k.code)+len(e.Code))
	}
	for i, in := range e.Code {
		o := op{pred: -1, pc: base + int32(i), in: in}
		if in.Pred != nil {
			o.pred, o.not = d.regs[in.Pred.Index], in.Not
		}
		d.in, d.o, d.low, d.from = in, &o, nil, base
		d.instr()
		d.takeLow()
		k.code = append(k.code, o)
	}
	end := op{pred: -1, kind: opExit, pc: int32(len(k.code)), in: &ptx.Instr{Name: "ret", Op: "ret", Pos: ptx.Pos{Line: e.Pos.Line}}}
	if d.f != nil {
		end.kind, end.fn = opJump, execReturn
		d.f.start = base
	}
	k.code = append(k.code, end)
	if k.wgmma {
		d.registerUse(int(base))
	}
	return nil
}

// place gives addresses to shared and local variables.
func (d *decoder) place() error {
	k, at := d.k, sharedLow
	dynAlign := 16
	var dynamic []*ptx.Var
	putLocal := func(v *ptx.Var) { // parameters of calls too
		k.localBytes = (k.localBytes + v.Align - 1) &^ (v.Align - 1)
		d.addrs[v] = uint64(k.localBytes)
		k.localBytes += v.Size
	}
	put := func(v *ptx.Var) {
		switch v.Space {
		case ptx.Shared:
			if v.Extern {
				dynamic = append(dynamic, v)
				dynAlign = max(dynAlign, v.Align)
				return
			}
			at = (at + v.Align - 1) &^ (v.Align - 1)
			d.addrs[v] = uint64(at)
			at += v.Size
		case ptx.Local:
			putLocal(v)
		case ptx.Global, ptx.Const:
			d.addrs[v] = uint64(k.mod.globals[v])
		case ptx.Param:
			d.addrs[v] = uint64(v.Offset) // generic only after cvta.param
		case ptx.NoSpace:
		}
	}
	used := map[*ptx.Var]bool{}
	use := func(e *ptx.Entry) {
		for _, in := range e.Code {
			for _, a := range in.Args {
				if m, ok := a.(*ptx.Mem); ok {
					a = m.Base
				}
				if v, ok := a.(*ptx.VarRef); ok {
					used[v.Var] = true
				}
			}
		}
	}
	use(k.entry)
	for _, f := range d.fs {
		use(f.e)
	}
	for _, v := range k.mod.ptx.Globals {
		if v.Space != ptx.Shared || used[v] {
			put(v)
		}
	}
	for _, v := range k.entry.Params {
		put(v)
	}
	for _, f := range d.order() {
		k.localBytes = (k.localBytes + 15) &^ 15
		f.local[0] = k.localBytes
		for _, v := range slices.Concat(f.e.Returns, f.e.Params) {
			putLocal(v)
		}
		for _, v := range f.e.Vars {
			if v.Space == ptx.Param {
				putLocal(v)
				continue
			}
			if v.Space == ptx.Local && f.recursive {
				return d.errAt(v.Pos, "%s calls itself and has local memory (%s), which is not supported", f.e.Name, v.Name)
			}
			put(v)
		}
		f.local[1] = k.localBytes
	}
	for _, v := range k.entry.Vars {
		if v.Space == ptx.Param {
			putLocal(v)
		} else {
			put(v)
		}
	}
	k.sharedAt, k.static = d.addrs, at
	if len(dynamic) > 0 {
		k.dynamic = true
		k.static = (at + dynAlign - 1) &^ (dynAlign - 1)
		for _, v := range dynamic {
			d.addrs[v] = uint64(k.static)
		}
	}
	if k.localBytes > 512<<10 {
		return d.errAt(k.entry.Pos, "%d bytes of local memory a thread, the limit is 512 KiB", k.localBytes)
	}
	return nil
}

func (d *decoder) errAt(pos ptx.Pos, format string, args ...any) error {
	return &ptx.Error{File: d.k.mod.File, Entry: d.e.Name, Pos: pos, Msg: fmt.Sprintf(format, args...)}
}

// fail gives the entry up: decodeEntry recovers the error.
func (d *decoder) fail(format string, args ...any) {
	panic(d.errAt(d.in.Pos, "%s: %s", d.in.Name, fmt.Sprintf(format, args...))) //nolint:forbidigo // recovered by decodeEntry
}

func (d *decoder) unsupported() { d.fail("this form of the instruction is not supported") }

// args checks the number of operands.
func (d *decoder) args(lo, hi int) bool {
	if n := len(d.in.Args); n < lo || n > hi {
		if lo == hi {
			d.fail("takes %d operands, got %d", lo, n)
		} else {
			d.fail("takes %d to %d operands, got %d", lo, hi, n)
		}
		return false
	}
	return true
}

// k32 and k64 return a register that always holds v.
func (d *decoder) k32(v uint32) int32 {
	i, ok := d.k.const32[v]
	if !ok {
		i = int32(d.k.n32)
		d.k.n32++
		d.k.const32[v] = i
	}
	return i
}

func (d *decoder) k64(v uint64) int32 {
	i, ok := d.k.const64[v]
	if !ok {
		i = int32(d.k.n64)
		d.k.n64++
		d.k.const64[v] = i
	}
	return i
}

// value resolves what is no register: a literal or an address.
func (d *decoder) value(a ptx.Operand, t ptx.Type) (uint64, bool) {
	switch x := a.(type) {
	case ptx.Imm:
		if x.Type == ptx.F64 && t.Bits() == 32 {
			return uint64(b32(float32(f64(x.Bits)))), true
		}
		return x.Bits, true
	case *ptx.VarRef:
		addr, ok := d.addrs[x.Var]
		if !ok {
			d.fail("%s has no address", x.Var.Name)
		}
		return addr + uint64(x.Offset), true
	default:
		return 0, false
	}
}

// src32, src64 and srcPred return the register of a source operand.
func (d *decoder) src32(a ptx.Operand) int32 {
	if r, ok := a.(*ptx.Reg); ok {
		switch b := r.Type.Bits(); {
		case b == 64 && (d.in.Op == "st" || d.in.Op == "cvt"): // of a wider source the low half counts
			d.k.n32++
			low := int32(d.k.n32 - 1)
			d.low = append(d.low, [2]int32{low, d.regs[r.Index]})
			return low
		case b == 64 || b == 1:
			d.fail("operand %s has %d bits, 32 are wanted", r.Name, b)
		}
		return d.regs[r.Index]
	}
	v, ok := d.value(a, ptx.B32)
	if !ok {
		d.fail("operand %v is not a 32-bit value", a)
	}
	return d.k32(uint32(v))
}

// takeLow has the instruction fill the registers of its wide sources first.
func (d *decoder) takeLow() {
	if d.low == nil {
		return
	}
	low, fn := d.low, d.o.fn
	d.o.fn = func(w *warp, o *op, m uint32) {
		for _, r := range low {
			to, from := &w.r[r[0]], &w.q[r[1]]
			for i := range to {
				to[i] = uint32(from[i])
			}
		}
		fn(w, o, m)
	}
}

// src16 is src32 for instructions that work on 16 bits, whose registers hold
// zeros above them.
func (d *decoder) src16(a ptx.Operand) int32 {
	if imm, ok := a.(ptx.Imm); ok {
		return d.k32(uint32(uint16(imm.Bits)))
	}
	return d.src32(a)
}

func (d *decoder) src64(a ptx.Operand) int32 {
	if r, ok := a.(*ptx.Reg); ok {
		if b := r.Type.Bits(); b != 64 {
			d.fail("operand %s has %d bits, 64 are wanted", r.Name, b)
		}
		return d.regs[r.Index]
	}
	v, ok := d.value(a, ptx.B64)
	if !ok {
		d.fail("operand %v is not a 64-bit value", a)
	}
	return d.k64(v)
}

// predicate returns a source predicate and whether it is negated. A literal is a
// register that nothing writes, which is false, negated if the literal is true.
func (d *decoder) predicate(a ptx.Operand) (int32, bool) {
	if imm, ok := a.(ptx.Imm); ok {
		d.k.npred++
		return int32(d.k.npred - 1), imm.Bits != 0
	}
	if n, ok := a.(*ptx.Not); ok {
		return d.regs[n.Reg.Index], true
	}
	if r, ok := a.(*ptx.Reg); ok && r.Type == ptx.Pred {
		return d.regs[r.Index], false
	}
	d.fail("operand %v is not a predicate", a)
	return 0, false
}

// dst32, dst64 and dstPred return the register of a result; a sink gets a
// register of its own.
func (d *decoder) dst32(a ptx.Operand) int32 {
	switch x := a.(type) {
	case *ptx.Reg:
		if b := x.Type.Bits(); b == 64 || b == 1 {
			d.fail("result %s has %d bits, 32 are wanted", x.Name, b)
		}
		return d.regs[x.Index]
	case ptx.Sink:
		d.k.n32++
		return int32(d.k.n32 - 1)
	}
	d.fail("result %v is not a register", a)
	return 0
}

func (d *decoder) dst64(a ptx.Operand) int32 {
	switch x := a.(type) {
	case *ptx.Reg:
		if b := x.Type.Bits(); b != 64 {
			d.fail("result %s has %d bits, 64 are wanted", x.Name, b)
		}
		return d.regs[x.Index]
	case ptx.Sink:
		d.k.n64++
		return int32(d.k.n64 - 1)
	}
	d.fail("result %v is not a register", a)
	return 0
}

func (d *decoder) dstPred(a ptx.Operand) int32 {
	switch x := a.(type) {
	case *ptx.Reg:
		if x.Type == ptx.Pred {
			return d.regs[x.Index]
		}
	case ptx.Sink:
		d.k.npred++
		return int32(d.k.npred - 1)
	}
	d.fail("result %v is not a predicate register", a)
	return 0
}

// imm reads a literal operand.
func (d *decoder) imm(i int) int64 {
	if i < len(d.in.Args) {
		if x, ok := d.in.Args[i].(ptx.Imm); ok && x.Type == ptx.S64 {
			return int64(x.Bits)
		}
	}
	d.fail("operand %d must be a whole number", i+1)
	return 0
}

// vec returns the elements of a vector operand, or the operand alone.
func vec(a ptx.Operand) []ptx.Operand {
	if v, ok := a.(*ptx.Vec); ok {
		return v.Elems
	}
	return []ptx.Operand{a}
}

// instr decodes one instruction: by name where it works lane by lane, else by
// its opcode.
func (d *decoder) instr() {
	in := d.in
	if l, ok := laneOps[in.Name]; ok && d.lanewise(l) {
		return
	}
	switch in.Op {
	case "mov":
		d.mov()
	case "cvta":
		d.cvta()
	case "isspacep":
		d.isspacep()
	case "setp":
		d.setp()
	case "selp":
		d.selp()
	case "and", "or", "xor", "not":
		d.predicateLogic()
	case "set":
		d.set()
	case "testp":
		d.testp()
	case "lop3":
		d.lop3()
	case "bfi":
		d.bfi()
	case "bra":
		d.bra()
	case "ret", "exit":
		d.o.kind = opExit
		if in.Op == "ret" && d.f != nil {
			d.o.kind, d.o.fn = opJump, execReturn
		}
	case "call":
		d.call()
	case "brx":
		d.brx()
	case "add", "sub", "mad", "addc", "subc", "madc":
		d.carry()
	case "trap":
		d.o.fn = func(w *warp, o *op, m uint32) { w.trap(Misuse, o, first(m), "the kernel executed trap") }
	case "nanosleep":
		d.o.kind = opBlock
		d.o.fn = func(w *warp, _ *op, _ uint32) { w.yield = sleeps }
	case "ld", "ldu", "st":
		if in.Has("async") {
			d.async()
		} else {
			d.loadStore()
		}
	case "atom", "red":
		if in.Has("async") {
			d.async()
		} else {
			d.atomic()
		}
	case "discard":
		d.discard()
	case "prefetch", "prefetchu", "applypriority", "pmevent":
		d.nothing()
	case "createpolicy":
		if d.args(1, 4) {
			d.o.d = d.dst64(in.Args[0])
			d.o.fn = func(*warp, *op, uint32) {}
		}
	case "membar", "fence":
		d.fence()
	case "bar", "barrier":
		d.barrier()
	case "shfl":
		d.shfl()
	case "vote":
		d.vote()
	case "match":
		d.match()
	case "redux":
		d.redux()
	case "elect":
		d.elect()
	case "activemask":
		d.activemask()
	case "cp":
		if in.Has("bulk") {
			d.bulk()
		} else {
			d.cpAsync()
		}
	case "ldmatrix":
		d.ldmatrix()
	case "stmatrix":
		d.stmatrix()
	case "movmatrix":
		d.movmatrix()
	case "mma":
		d.mma()
	case "wmma":
		d.wmma()
	case "wgmma":
		d.wgmma()
	case "mbarrier":
		d.mbarrier()
	case "mapa", "getctarank":
		d.mapa()
	case "setmaxnreg":
		d.setmaxnreg()
	case "griddepcontrol":
		d.griddepcontrol()
	default:
		d.unsupported()
	}
	if d.o.fn == nil && d.o.kind != opExit && d.o.kind != opBranch {
		d.unsupported()
	}
}

// lanewise decodes through the generated table. It declines forms that share a
// name with a lane-wise one: vectors, special registers, predicates.
func (d *decoder) lanewise(l laneOp) bool {
	args := d.in.Args
	if len(args) != len(l.files) {
		return false
	}
	for i, a := range args {
		switch x := a.(type) {
		case *ptx.Reg:
			if x.Type == ptx.Pred {
				return false
			}
		case ptx.Imm, ptx.Sink:
		case *ptx.VarRef:
			if i == 0 {
				return false
			}
		default:
			return false
		}
	}
	into := ptx.NoType // of a conversion
	if d.in.Op == "cvt" && !d.in.Has("pack") {
		into = d.in.Types()[0]
	}
	d.o.fn = l.fn
	if row := vectors[d.in.Name]; row != nil {
		d.o.fn = l.vector(row)
	}
	if r, ok := args[0].(*ptx.Reg); ok && (into == ptx.S8 || into == ptx.S16) && r.Type.Bits() == 32 {
		d.o.fn = func(w *warp, o *op, m uint32) { // the table fills 16 bits, the sign the rest
			l.fn(w, o, m)
			D := &w.r[o.d]
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				D[i] = uint32(int32(int16(D[i])))
			}
		}
	}
	short := d.in.Type().Bits() == 16 && d.in.Op != "cvt"
	at := [4]*int32{&d.o.d, &d.o.a, &d.o.b, &d.o.c}
	for i, a := range args {
		switch {
		case i == 0 && l.files[0] == 'r':
			*at[i] = d.dst32(a)
		case i == 0:
			*at[i] = d.dst64(a)
		case l.files[i] == 'r' && short && (i < 3 || !d.in.Has("wide")) && (i < 2 || d.in.Op[:2] != "sh"):
			*at[i] = d.src16(a)
		case l.files[i] == 'r':
			*at[i] = d.src32(a)
		default:
			*at[i] = d.src64(a)
		}
	}
	return true
}

func (d *decoder) nothing() { d.o.fn = func(*warp, *op, uint32) {} }

func (d *decoder) bra() {
	if !d.args(1, 1) {
		return
	}
	l, ok := d.in.Args[0].(*ptx.Label)
	if !ok {
		d.fail("%v is not a label", d.in.Args[0])
		return
	}
	d.o.kind, d.o.tgt = opBranch, d.from+int32(l.PC)
}

// registerUse lists the 32-bit registers of every op, which wgmma may have in
// flight.
func (d *decoder) registerUse(from int) {
	for i := range d.k.code[from:] {
		o := &d.k.code[from+i]
		if o.in.Op == "wgmma" {
			continue
		}
		for n, a := range o.in.Args {
			list := &o.uses
			if _, address := a.(*ptx.Mem); n == 0 && !address && o.in.Op != "bar" {
				list = &o.defs
			}
			d.collect(a, list)
		}
	}
}

func (d *decoder) collect(a ptx.Operand, list *[]int32) {
	registers(a, func(x *ptx.Reg) {
		if b := x.Type.Bits(); b == 16 || b == 32 {
			*list = append(*list, d.regs[x.Index])
		}
	})
}

// registers calls f for the registers of an operand.
func registers(a ptx.Operand, f func(*ptx.Reg)) {
	switch x := a.(type) {
	case *ptx.Reg:
		f(x)
	case *ptx.Vec:
		for _, e := range x.Elems {
			registers(e, f)
		}
	case *ptx.Pair:
		registers(x.A, f)
		registers(x.B, f)
	case *ptx.Mem:
		registers(x.Base, f)
		if x.Coords != nil {
			registers(x.Coords, f)
		}
	}
}

// form returns the modifiers behind the opcode joined, without those in drop.
func (d *decoder) form(drop ...string) string {
	var keep []string
next:
	for _, m := range d.in.Mods {
		for _, x := range drop {
			if m == x {
				continue next
			}
		}
		keep = append(keep, m)
	}
	return strings.Join(keep, ".")
}

// LaneOps lists the instructions that work lane by lane, by full name, and
// Comparisons those of setp, as "lt.f32": a conformance suite must have a case
// for each.
func LaneOps() []string { return slices.Sorted(maps.Keys(laneOps)) }

// Comparisons is described with LaneOps.
func Comparisons() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for k := range compare32 {
			if !yield(k) {
				return
			}
		}
		for k := range compare64 {
			if !yield(k) {
				return
			}
		}
	})
}
