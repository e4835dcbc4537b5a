package ptx

import (
	"fmt"
	"strings"
)

// Pos is a place in the source, both counted from 1.
type Pos struct{ Line, Col int }

func (p Pos) String() string { return fmt.Sprintf("%d:%d", p.Line, p.Col) }

// Error is the first thing that was wrong with a source.
type Error struct {
	File  string // as given to Parse
	Entry string // the kernel it is in, or ""
	Pos   Pos
	Msg   string
}

func (e *Error) Error() string {
	in := ""
	if e.Entry != "" {
		in = " in " + e.Entry
	}
	return fmt.Sprintf("%s:%v%s: %s", e.File, e.Pos, in, e.Msg)
}

// Module is one PTX source.
type Module struct {
	File    string
	Version [2]int   // .version major, minor
	Target  []string // .target, e.g. ["sm_90a"]
	Files   []string // .file, by index; the names that Instr.Loc counts
	Globals []*Var   // .global and .const variables, .extern .shared
	Entries []*Entry
	Funcs   []*Entry // device functions, also those that are only declared
	Refused []*Error // kernels that ParseSome could not read

	RefusedFuncs []*Error // and functions; no kernel that calls one can run
}

// Func returns the device function with that name, its definition where there is one,
// or nil.
func (m *Module) Func(name string) (f *Entry) {
	for _, e := range m.Funcs {
		if e.Name == name && (f == nil || e.Body != nil) {
			f = e
		}
	}
	return f
}

// Entry returns the kernel with that name, or nil.
func (m *Module) Entry(name string) *Entry {
	for _, e := range m.Entries {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// Space is a state space.
type Space uint8

// The state spaces that variables live in.
const (
	NoSpace Space = iota
	Global
	Shared
	Const
	Local
	Param
)

func (s Space) String() string {
	return [...]string{"", "global", "shared", "const", "local", "param"}[s]
}

// Type is a fundamental type of PTX.
type Type uint8

// The types. B are untyped bits, U and S integers, F floats.
const (
	NoType Type = iota
	Pred
	B8
	B16
	B32
	B64
	U8
	U16
	U32
	U64
	S8
	S16
	S32
	S64
	F16
	F16x2
	BF16
	BF16x2
	TF32
	F32
	F64
	B128

	// Of instructions alone: no variable or register has these.
	E4M3
	E5M2
	E4M3x2
	E5M2x2
	S4
	U4
	B1
	U16x2
	S16x2
	S2
	U2
)

var typeNames = [...]string{
	"", "pred", "b8", "b16", "b32", "b64", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64",
	"f16", "f16x2", "bf16", "bf16x2", "tf32", "f32", "f64", "b128",
	"e4m3", "e5m2", "e4m3x2", "e5m2x2", "s4", "u4", "b1", "u16x2", "s16x2", "s2", "u2",
}

var typeByName = func() map[string]Type {
	m := map[string]Type{}
	for t, n := range typeNames {
		if t > 0 {
			m[n] = Type(t)
		}
	}
	return m
}()

func (t Type) String() string { return typeNames[t] }

// TypeNamed returns the type with a name such as "f32", or NoType.
func TypeNamed(name string) Type { return typeByName[name] }

// Bits is the width of a value, 1 for predicates.
func (t Type) Bits() int {
	return [...]int{0, 1, 8, 16, 32, 64, 8, 16, 32, 64, 8, 16, 32, 64, 16, 32, 16, 32, 32, 32, 64, 128, 8, 8, 16, 16, 4, 4, 1, 32, 32, 2, 2}[t]
}

// Float reports whether values of the type are floating point.
func (t Type) Float() bool { return t >= F16 && t <= F64 || t >= E4M3 && t <= E5M2x2 }

// Signed reports whether the type is a signed integer.
func (t Type) Signed() bool { return t >= S8 && t <= S64 || t == S4 || t == S2 }

// declared reports whether variables and registers may have the type.
func (t Type) declared() bool { return t > NoType && t < E4M3 }

// Var is a variable of some state space, or a kernel parameter.
type Var struct {
	Name   string
	Pos    Pos
	Space  Space
	Type   Type
	Align  int    // bytes, a power of two
	Size   int    // bytes; 0 for the extern shared array, whose size the launch gives
	Offset int    // Param: where it begins among the parameters
	Extern bool   // dynamic shared memory
	Init   []byte // Global, Const: initial value, shorter than Size when the rest is zero
	Refs   []Ref  // addresses that the initial value holds, in place of zeros in Init

	extents []int // elements along each dimension, those of a vector last; 0: as many as the initial value has
}

// Ref is the generic address of a variable within an initial value: the low Bytes
// bytes, at byte At, of (address of Var + Offset) >> Shift.
type Ref struct {
	At, Bytes int
	Var       *Var
	Offset    int64
	Shift     int
}

// Reg is a virtual register.
type Reg struct {
	Name  string
	Type  Type
	Index int // among the registers of its entry, in order of declaration
}

// Label is a place to branch to.
type Label struct {
	Name string
	Pos  Pos
	PC   int // index into Entry.Code of the instruction behind it; -1 until it is met

	Targets []*Label // what .branchtargets lists behind it, for brx.idx
}

// Entry is a kernel, or a device function.
type Entry struct {
	Name       string
	Pos        Pos
	Params     []*Var
	Returns    []*Var // of a function
	ParamBytes int
	MaxNTID    [3]int // .maxntid, zero when absent
	ReqNTID    [3]int // .reqntid
	MinCTAs    int    // .minnctapersm
	MaxNReg    int    // .maxnreg
	ReqCluster [3]int // .reqnctapercluster
	MaxCluster int    // .maxclusterrank
	Explicit   bool   // .explicitcluster
	Regs       []*Reg
	Vars       []*Var   // .shared, .local and .param variables, in order
	Body       *Block   // nil for a function that is only declared
	Code       []*Instr // every instruction of the body, in textual order
}

// Block is a { } scope: its own registers, variables and labels.
type Block struct {
	Up     *Block
	Regs   map[string]*Reg
	Vars   map[string]*Var
	Labels map[string]*Label
	Vecs   map[string]*Vec // .v2 and .v4 registers; an element of v is the register v.x
	Stmts  []Stmt
}

// Stmt is an *Instr, a *Label or a *Block.
type Stmt interface{ stmt() }

func (*Instr) stmt() {}
func (*Label) stmt() {}
func (*Block) stmt() {}

// Loc is a line of the CUDA source, from .loc; File 0 when unknown.
type Loc struct{ File, Line int }

// Instr is one instruction.
type Instr struct {
	Pos  Pos
	Loc  Loc
	Pred *Reg // guard, or nil
	Not  bool // the guard is negated
	Name string
	Op   string   // "ld"
	Mods []string // "global", "v4", "f32"
	Args []Operand
}

// Has reports whether the instruction carries a modifier.
func (i *Instr) Has(mod string) bool {
	for _, m := range i.Mods {
		if m == mod {
			return true
		}
	}
	return false
}

// Type returns the last modifier that is a type, the one that most
// instructions work in, or NoType.
func (i *Instr) Type() Type {
	for k := len(i.Mods) - 1; k >= 0; k-- {
		if t := typeByName[i.Mods[k]]; t != NoType {
			return t
		}
	}
	return NoType
}

// Types returns the modifiers that are types, in order.
func (i *Instr) Types() []Type {
	var ts []Type
	for _, m := range i.Mods {
		if t := typeByName[m]; t != NoType {
			ts = append(ts, t)
		}
	}
	return ts
}

func (i *Instr) String() string {
	var b strings.Builder
	if i.Pred != nil {
		b.WriteByte('@')
		if i.Not {
			b.WriteByte('!')
		}
		b.WriteString(i.Pred.Name + " ")
	}
	b.WriteString(i.Name)
	for k, a := range i.Args {
		if k > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %v", a)
	}
	return b.String()
}

// Operand is what an instruction works on: *Reg, *Not, Imm, *Vec, *Mem,
// *VarRef, *Label, Special, Sink, *Pair or Callee.
type Operand interface {
	fmt.Stringer
	operand()
}

// Not is a negated predicate operand.
type Not struct{ Reg *Reg }

// Imm is a literal. Bits holds an integer in two's complement, or the bits of
// an fp32 (0f…) or fp64 (0d… and decimals) literal.
type Imm struct {
	Bits uint64
	Type Type // S64 for integers, F32 or F64 for floats
}

// Vec is { a, b, … }.
type Vec struct{ Elems []Operand }

// Mem is an address, [ base + offset ] or [ base, { coordinates } ].
type Mem struct {
	Base   Operand // *Reg, *VarRef or Imm
	Offset int64
	Coords *Vec // tensor copies only
}

// VarRef is the address of a variable, with an offset.
type VarRef struct {
	Var    *Var
	Offset int64
}

// Special is a special register, with its dimension in the name: "tid.x".
type Special struct{ Name string }

// Sink is _, a result that is thrown away.
type Sink struct{}

// Pair is a|b, two results.
type Pair struct{ A, B Operand }

// Callee is the function of a call, whose other operands are two Vecs: what it returns
// into, and its arguments.
type Callee struct{ Name string }

func (*Reg) operand()    {}
func (*Not) operand()    {}
func (Imm) operand()     {}
func (*Vec) operand()    {}
func (*Mem) operand()    {}
func (*VarRef) operand() {}
func (*Label) operand()  {}
func (Special) operand() {}
func (Sink) operand()    {}
func (*Pair) operand()   {}
func (Callee) operand()  {}

func (r *Reg) String() string    { return r.Name }
func (n *Not) String() string    { return "!" + n.Reg.Name }
func (l *Label) String() string  { return l.Name }
func (s Special) String() string { return "%" + s.Name }
func (Sink) String() string      { return "_" }
func (c Callee) String() string  { return c.Name }
func (p *Pair) String() string   { return p.A.String() + "|" + p.B.String() }

func (i Imm) String() string {
	switch i.Type {
	case F32:
		return fmt.Sprintf("0f%08X", i.Bits)
	case F64:
		return fmt.Sprintf("0d%016X", i.Bits)
	default:
		return fmt.Sprint(int64(i.Bits))
	}
}

// String leaves out the middle of long vectors: wgmma has 128 registers.
func (v *Vec) String() string {
	if n := len(v.Elems); n > 8 {
		return fmt.Sprintf("{%v, … %v}", v.Elems[0], v.Elems[n-1])
	}
	s := make([]string, len(v.Elems))
	for i, e := range v.Elems {
		s[i] = e.String()
	}
	return "{" + strings.Join(s, ", ") + "}"
}

func offset(o int64) string {
	if o == 0 {
		return ""
	}
	return fmt.Sprintf("%+d", o)
}

func (v *VarRef) String() string { return v.Var.Name + offset(v.Offset) }

func (m *Mem) String() string {
	s := m.Base.String() + offset(m.Offset)
	if m.Coords != nil {
		s += ", " + m.Coords.String()
	}
	return "[" + s + "]"
}
