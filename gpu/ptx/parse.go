package ptx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// What a source may ask for. Far above anything a compiler emits; it keeps a
// hostile file from taking the machine.
const (
	maxRegs  = 1 << 18 // registers of one entry
	maxBytes = 1 << 28 // size of one variable
	maxDepth = 64      // nested scopes, nested braces
)

// Parse reads a whole source. The error, if any, is an *Error.
func Parse(file string, src []byte) (*Module, error) { return read(file, src, false) }

// ParseSome leaves out kernels and device functions that it cannot read, and says why in
// Module.Refused. What is wrong outside of them is an error.
func ParseSome(file string, src []byte) (*Module, error) { return read(file, src, true) }

func read(file string, src []byte, some bool) (*Module, error) {
	p := &parser{
		some: some,
		lex:  lexer{src: string(src), line: 1},
		mod:  &Module{File: file},
		top:  newBlock(nil),
	}
	if err := p.module(); err != nil {
		return nil, p.located(err)
	}
	return p.mod, nil
}

type parser struct {
	lex   lexer
	tok   token
	mod   *Module
	top   *Block // module scope
	entry *Entry
	block *Block
	depth int
	loc   Loc
	fix   []labelUse
	some  bool   // kernels may be left out
	last  *Label // the label that was met last
	inits int    // bytes of initial values
	dense int    // bytes of the one that is read, if no list in it is short
}

// labelUse is a branch to a label that may come later.
type labelUse struct {
	block *Block
	label *Label
}

func newBlock(up *Block) *Block {
	return &Block{Up: up, Regs: map[string]*Reg{}, Vars: map[string]*Var{}, Labels: map[string]*Label{}, Vecs: map[string]*Vec{}}
}

func (p *parser) errorf(pos Pos, format string, args ...any) error {
	e := &Error{File: p.mod.File, Pos: pos, Msg: fmt.Sprintf(format, args...)}
	if p.entry != nil {
		e.Entry = p.entry.Name
	}
	return e
}

func (p *parser) advance() error {
	t, err := p.lex.next()
	p.tok = t
	return err
}

func (p *parser) is(text string) bool { return p.tok.kind == punct && p.tok.text == text }

func (p *parser) expect(text string) error {
	if !p.is(text) {
		return p.errorf(p.tok.pos, "expected %q, found %v", text, p.tok)
	}
	return p.advance()
}

// take advances over a punctuation if it is there.
func (p *parser) take(text string) (bool, error) {
	if !p.is(text) {
		return false, nil
	}
	return true, p.advance()
}

func (p *parser) name() (string, error) {
	t := p.tok
	if t.kind != word || strings.ContainsAny(t.text, ".:") {
		return "", p.errorf(t.pos, "expected a name, found %v", t)
	}
	return t.text, p.advance()
}

func (p *parser) int() (int, error) {
	pos := p.tok.pos
	imm, err := p.number()
	if err != nil {
		return 0, err
	}
	if v := int64(imm.Bits); imm.Type == S64 && v >= 0 && v <= math.MaxInt32 {
		return int(v), nil
	}
	return 0, p.errorf(pos, "expected a small whole number, found %v", imm)
}

// number reads a literal with its sign, or a constant expression of whole numbers.
func (p *parser) number() (Imm, error) { return p.expression(0, 0) }

// binding is how strongly an operator of constant expressions binds, as in C.
var binding = map[string]int{"|": 1, "^": 2, "&": 3, "<<": 4, ">>": 4, "+": 5, "-": 5, "*": 6, "/": 6, "%": 6}

// operator returns the operator that comes next, or "".
func (p *parser) operator() string {
	if p.tok.kind != punct {
		return ""
	}
	t := p.tok.text
	if t == "<" || t == ">" {
		if string(p.lex.at(p.tok.end)) != t {
			return ""
		}
		t += t
	}
	if binding[t] == 0 {
		return ""
	}
	return t
}

func (p *parser) expression(least, depth int) (Imm, error) {
	x, err := p.term(depth)
	if err != nil || x.Type != S64 {
		return x, err
	}
	for {
		pos, o := p.tok.pos, p.operator()
		if o == "" || binding[o] <= least {
			return x, nil
		}
		for range len(o) {
			if err := p.advance(); err != nil {
				return x, err
			}
		}
		y, err := p.expression(binding[o], depth+1)
		if err != nil {
			return x, err
		}
		if y.Type != S64 {
			return x, p.errorf(pos, "constant expressions are of whole numbers, found %v", y)
		}
		a, b := int64(x.Bits), int64(y.Bits)
		switch o {
		case "|":
			a |= b
		case "^":
			a ^= b
		case "&":
			a &= b
		case "<<":
			a <<= uint64(b) & 63
		case ">>":
			a >>= uint64(b) & 63
		case "+":
			a += b
		case "-":
			a -= b
		case "*":
			a *= b
		default:
			if b == 0 || b == -1 && o == "/" && a == math.MinInt64 {
				return x, p.errorf(pos, "%d %s %d has no value", a, o, b)
			}
			if o == "/" {
				a /= b
			} else {
				a %= b
			}
		}
		x.Bits = uint64(a)
	}
}

// term reads a literal, one with a sign in front, or an expression in parentheses.
func (p *parser) term(depth int) (Imm, error) {
	if depth > maxDepth {
		return Imm{}, p.errorf(p.tok.pos, "parentheses nested too deep")
	}
	if open, err := p.take("("); err != nil {
		return Imm{}, err
	} else if open {
		x, err := p.expression(0, depth+1)
		if err != nil {
			return x, err
		}
		return x, p.expect(")")
	}
	if not, err := p.take("~"); err != nil {
		return Imm{}, err
	} else if not {
		x, err := p.term(depth + 1)
		x.Bits = ^x.Bits
		if err == nil && x.Type != S64 {
			err = p.errorf(p.tok.pos, "~ is of whole numbers")
		}
		return x, err
	}
	neg, err := p.take("-")
	if err != nil {
		return Imm{}, err
	}
	t := p.tok
	if neg && p.is("(") {
		x, err := p.term(depth + 1)
		x.Bits = -x.Bits
		return x, err
	}
	if t.kind != number {
		return Imm{}, p.errorf(t.pos, "expected a number, found %v", t)
	}
	imm, ok := literal(t.text, neg)
	if !ok {
		return Imm{}, p.errorf(t.pos, "malformed number %s", t.text)
	}
	return imm, p.advance()
}

func literal(s string, neg bool) (Imm, bool) {
	if len(s) > 2 && (s[:2] == "0f" || s[:2] == "0F") && len(s) == 10 {
		v, err := strconv.ParseUint(s[2:], 16, 32)
		if neg {
			v ^= 1 << 31
		}
		return Imm{v, F32}, err == nil
	}
	if len(s) > 2 && (s[:2] == "0d" || s[:2] == "0D") && len(s) == 18 {
		v, err := strconv.ParseUint(s[2:], 16, 64)
		if neg {
			v ^= 1 << 63
		}
		return Imm{v, F64}, err == nil
	}
	if strings.Contains(s, ".") || strings.ContainsAny(s, "eE") && !strings.HasPrefix(s, "0x") && !strings.HasPrefix(s, "0X") {
		v, err := strconv.ParseFloat(s, 64)
		if neg {
			v = -v
		}
		return Imm{math.Float64bits(v), F64}, err == nil
	}
	v, err := strconv.ParseUint(strings.TrimRight(s, "uU"), 0, 64)
	if neg {
		v = -v
	}
	return Imm{v, S64}, err == nil
}

func (p *parser) module() error {
	if err := p.advance(); err != nil {
		return err
	}
	for p.tok.kind != eof {
		t := p.tok
		if t.kind != dotWord {
			return p.errorf(t.pos, "expected a directive, found %v", t)
		}
		if err := p.advance(); err != nil {
			return err
		}
		if err := p.topLevel(t); err != nil {
			return err
		}
	}
	if p.mod.Version == [2]int{} {
		return p.errorf(Pos{1, 1}, "no .version directive: is this PTX?")
	}
	if len(p.mod.Target) == 0 {
		return p.errorf(Pos{1, 1}, "no .target directive")
	}
	return nil
}

func (p *parser) topLevel(t token) error {
	switch t.text {
	case ".version":
		major, minor, ok := strings.Cut(p.tok.text, ".")
		a, okA := decimal(major)
		b, okB := decimal(minor)
		if p.tok.kind != number || !ok || !okA || !okB {
			return p.errorf(p.tok.pos, "malformed .version %v", p.tok)
		}
		p.mod.Version = [2]int{a, b}
		return p.advance()
	case ".target":
		for {
			n, err := p.name()
			if err != nil {
				return err
			}
			p.mod.Target = append(p.mod.Target, n)
			if more, err := p.take(","); err != nil || !more {
				return err
			}
		}
	case ".address_size":
		n, err := p.int()
		if err == nil && n != 64 {
			return p.errorf(t.pos, ".address_size %d: only 64 is supported", n)
		}
		return err
	case ".file":
		return p.file()
	case ".section":
		return p.section()
	case ".visible", ".weak", ".common":
		if p.tok.kind != dotWord {
			return p.errorf(p.tok.pos, "expected a directive behind %s, found %v", t.text, p.tok)
		}
		next := p.tok
		if err := p.advance(); err != nil {
			return err
		}
		return p.topLevel(next)
	case ".extern":
		next := p.tok
		if next.kind == dotWord && next.text == ".func" {
			if err := p.advance(); err != nil {
				return err
			}
			return p.topLevel(next)
		}
		if next.kind != dotWord || next.text != ".shared" {
			return p.errorf(next.pos, ".extern %v: only shared memory and functions can be extern", next)
		}
		if err := p.advance(); err != nil {
			return err
		}
		return p.variable(next, true)
	case ".global", ".const", ".shared":
		return p.variable(t, false)
	case ".pragma":
		return p.pragma()
	case ".entry", ".func":
		start, name := p.lex, p.tok.text
		err := p.kernel(t.text == ".func")
		var e *Error
		if err == nil || !p.some || !errors.As(p.located(err), &e) {
			return err
		}
		if e.Entry == "" {
			e.Entry = name
		}
		if t.text == ".func" {
			p.mod.RefusedFuncs = append(p.mod.RefusedFuncs, e)
		} else {
			p.mod.Refused = append(p.mod.Refused, e)
		}
		p.lex = start
		return p.skip()
	case ".alias":
		return p.errorf(t.pos, ".alias is not supported")
	default:
		return p.errorf(t.pos, "unknown directive %s", t.text)
	}
}

// located gives an error of the lexer a place.
func (p *parser) located(err error) error {
	if e := new(Error); errors.As(err, &e) {
		return err
	}
	return p.errorf(p.tok.pos, "%v", err)
}

// skip passes over what follows, up to the end of its body or to a semicolon before one.
func (p *parser) skip() error {
	p.entry, p.block, p.fix, p.depth = nil, nil, nil, 0
	l := &p.lex
	for depth := 0; ; l.off++ {
		if err := l.skipSpace(); err != nil {
			return err
		}
		switch c := l.at(l.off); {
		case l.off >= len(l.src):
			return p.errorf(l.pos(), "expected the end of a body, found end of file")
		case c == '"':
			n := strings.IndexAny(l.src[l.off+1:], "\"\n")
			if n < 0 {
				return p.errorf(l.pos(), "string without an end")
			}
			l.off += n
			if l.src[l.off+1] == '"' {
				l.off++
			}
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
		if c := l.at(l.off); depth == 0 && (c == '}' || c == ';') {
			l.off++
			return p.advance()
		}
	}
}

// file reads .file N "name" [, time, size].
func (p *parser) file() error {
	n, err := p.int()
	if err != nil {
		return err
	}
	if p.tok.kind != str || n > 1000 {
		return p.errorf(p.tok.pos, "malformed .file")
	}
	for len(p.mod.Files) <= n {
		p.mod.Files = append(p.mod.Files, "")
	}
	p.mod.Files[n] = p.tok.text
	if err := p.advance(); err != nil {
		return err
	}
	for {
		more, err := p.take(",")
		if err != nil || !more {
			return err
		}
		if _, err := p.number(); err != nil {
			return err
		}
	}
}

// section skips debug data: .section .debug_str { … }.
func (p *parser) section() error {
	for !p.is("}") {
		if p.tok.kind == eof {
			return p.errorf(p.tok.pos, "section without an end")
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	return p.advance()
}

var spaceByName = map[string]Space{
	".global": Global, ".const": Const, ".shared": Shared, ".local": Local, ".param": Param,
}

// variable reads what follows a state space: [.align N] .type name[n][m] [= init] {, name} ;
func (p *parser) variable(t token, extern bool) error {
	v, err := p.declared(t, extern)
	if err != nil {
		return err
	}
	if eq, err := p.take("="); err != nil {
		return err
	} else if eq {
		if v.Space != Global && v.Space != Const {
			return p.errorf(v.Pos, "%s variables cannot be initialised", v.Space)
		}
		p.dense = 0
		if err := p.initializer(v, 0, v.extents); err != nil {
			return err
		}
		if v.Size == 0 { // of an extent that was left out
			v.Size = len(v.Init)
		}
	}
	if v.Size == 0 && !v.Extern {
		return p.errorf(v.Pos, "%s has neither an extent nor an initial value", v.Name)
	}
	scope := p.block
	if scope == nil {
		scope = p.top
	}
	if scope == p.top || v.Space == Global || v.Space == Const {
		p.mod.Globals = append(p.mod.Globals, v)
	} else {
		p.entry.Vars = append(p.entry.Vars, v)
	}
	if scope.Vars[v.Name] != nil {
		return p.errorf(v.Pos, "%s is declared twice", v.Name)
	}
	scope.Vars[v.Name] = v
	return p.expect(";")
}

// declared reads one declaration up to its name and extents.
func (p *parser) declared(t token, extern bool) (*Var, error) {
	v := &Var{Space: spaceByName[t.text], Extern: extern}
	vector := 1
	for p.tok.kind == dotWord {
		d := p.tok
		if err := p.advance(); err != nil {
			return nil, err
		}
		switch d.text {
		case ".align":
			n, err := p.int()
			if err != nil {
				return nil, err
			}
			if n < 1 || n&(n-1) != 0 || n > 1<<16 {
				return nil, p.errorf(d.pos, ".align %d is not a power of two", n)
			}
			v.Align = n
		case ".ptr", ".global", ".const", ".shared", ".local": // attributes of pointer parameters
			if v.Space != Param {
				return nil, p.errorf(d.pos, "unexpected %s", d.text)
			}
		case ".v2", ".v4":
			vector = int(d.text[2] - '0')
		case ".attribute":
			if err := p.attribute(); err != nil {
				return nil, err
			}
		default:
			ty := typeByName[d.text[1:]]
			if !ty.declared() || ty == Pred {
				return nil, p.errorf(d.pos, "%s is not a type of a variable", d.text)
			}
			v.Type = ty
		}
	}
	if v.Type == NoType {
		return nil, p.errorf(p.tok.pos, "declaration without a type")
	}
	v.Pos = p.tok.pos
	n, err := p.name()
	if err != nil {
		return nil, err
	}
	if vector*v.Type.Bits() > 128 {
		return nil, p.errorf(v.Pos, "%s is a vector of more than 128 bits", n)
	}
	v.Name, v.Size = n, vector*v.Type.Bits()/8
	v.Align = max(v.Align, v.Size)
	for {
		open, err := p.take("[")
		if err != nil {
			return nil, err
		}
		if !open {
			break
		}
		if p.is("]") && len(v.extents) == 0 && v.Space != Param {
			v.extents = append(v.extents, 0)
		} else {
			n, err := p.int()
			if err != nil {
				return nil, err
			}
			if n < 1 || v.Size > maxBytes/n {
				return nil, p.errorf(v.Pos, "%s: impossible extent %d", v.Name, n)
			}
			v.Size *= n
			v.extents = append(v.extents, n)
		}
		if err := p.expect("]"); err != nil {
			return nil, err
		}
	}
	if len(v.extents) > 0 && v.extents[0] == 0 {
		v.Size = 0
	}
	if vector > 1 {
		v.extents = append(v.extents, vector)
	}
	return v, nil
}

// attribute reads ( .managed ), which changes nothing here.
func (p *parser) attribute() error {
	if err := p.expect("("); err != nil {
		return err
	}
	if t := p.tok; t.kind != dotWord || t.text != ".managed" {
		return p.errorf(t.pos, "attribute %v is not supported", t)
	}
	if err := p.advance(); err != nil {
		return err
	}
	return p.expect(")")
}

// initializer reads the initial value of a variable, or of a part of it that begins at
// byte at and has these extents: braces around the elements of each dimension. What the
// last list leaves out is zero.
func (p *parser) initializer(v *Var, at int, extents []int) error {
	if len(extents) == 0 {
		return p.initialValue(v, at)
	}
	if err := p.expect("{"); err != nil {
		return err
	}
	size := v.Type.Bits() / 8
	for _, n := range extents[1:] {
		size *= n
	}
	for i := 0; !p.is("}"); i++ {
		if n := extents[0]; n > 0 && i == n {
			return p.errorf(p.tok.pos, "%s: more initial values than elements", v.Name)
		}
		if err := p.initializer(v, at+i*size, extents[1:]); err != nil {
			return err
		}
		if extents[0] == 0 { // grows by whole elements
			if err := p.extend(v, at+(i+1)*size); err != nil {
				return err
			}
		}
		if more, err := p.take(","); err != nil {
			return err
		} else if !more {
			break
		}
	}
	return p.expect("}")
}

// extend makes an initial value n bytes long.
func (p *parser) extend(v *Var, n int) error {
	more := n - len(v.Init)
	if more <= 0 {
		return nil
	}
	if p.inits += more; p.inits > maxBytes {
		return p.errorf(v.Pos, "initial values of more than %d bytes", maxBytes)
	}
	v.Init = append(v.Init, make([]byte, more)...)
	return nil
}

// initialValue reads one element: a number, an address such as x+4 or generic(x)+4, or a
// byte of one, 0xff00(x).
func (p *parser) initialValue(v *Var, at int) error {
	size := v.Type.Bits() / 8
	if err := p.extend(v, at+size); err != nil {
		return err
	}
	t := p.tok
	if at != p.dense {
		return p.errorf(t.pos, "%s: a list in front of this value is short: the PTX ISA fills it with zeros, NVIDIA's assembler does not", v.Name)
	}
	p.dense += size
	if t.kind == word {
		if v.Type != U32 && v.Type != U64 {
			return p.errorf(t.pos, "an address cannot be the initial value of a .%v variable", v.Type)
		}
		return p.initialAddress(v, Ref{At: at, Bytes: size})
	}
	imm, err := p.number()
	if err != nil {
		return err
	}
	if p.is("(") {
		shift := bits.TrailingZeros64(imm.Bits)
		if imm.Type != S64 || v.Type < U8 || v.Type > U64 || shift%8 != 0 || imm.Bits>>(shift&63) != 0xff {
			return p.errorf(t.pos, "%v of an address: want a mask of one byte, as 0xff00, for an unsigned variable", imm)
		}
		if err := p.advance(); err != nil {
			return err
		}
		if err := p.initialAddress(v, Ref{At: at, Bytes: 1, Shift: shift}); err != nil {
			return err
		}
		return p.expect(")")
	}
	value := imm.Bits
	float := v.Type.Float()
	switch {
	case float == (imm.Type == S64) && (float || v.Type < B8 || v.Type > B64), v.Type == F16, v.Type == BF16, v.Type == TF32,
		imm.Type != S64 && size < 4, size > 8, v.Type == F16x2, v.Type == BF16x2:
		return p.errorf(t.pos, "%v cannot be the initial value of a .%v variable", imm, v.Type)
	case imm.Type == F64 && size == 4:
		value = uint64(math.Float32bits(float32(math.Float64frombits(value))))
	case imm.Type == F32 && size == 8:
		value = math.Float64bits(float64(math.Float32frombits(uint32(value))))
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], value)
	copy(v.Init[at:at+size], b[:])
	return nil
}

// initialAddress reads an address within an initial value.
func (p *parser) initialAddress(v *Var, r Ref) error {
	t := p.tok
	n, err := p.name()
	if err != nil {
		return err
	}
	if n == "generic" && p.is("(") {
		if err := p.advance(); err != nil {
			return err
		}
		t = p.tok
		if n, err = p.name(); err != nil {
			return err
		}
		if err := p.expect(")"); err != nil {
			return err
		}
	}
	if r.Var = p.variableNamed(n); r.Var == nil {
		r.Var = p.top.Vars[n]
	}
	switch {
	case p.mod.Func(n) != nil:
		return p.errorf(t.pos, "the address of function %s: calls through addresses are not supported", n)
	case r.Var == nil:
		return p.errorf(t.pos, "%s is no variable declared before", n)
	case r.Var.Space != Global && r.Var.Space != Const:
		return p.errorf(t.pos, "the address of %s, in .%v: only addresses of .global and .const variables are known before a launch", n, r.Var.Space)
	}
	if r.Offset, err = p.plus(); err != nil {
		return err
	}
	v.Refs = append(v.Refs, r)
	return nil
}

// kernel reads an entry, or a function, from its name or what it returns on.
func (p *parser) kernel(function bool) error {
	e := &Entry{Pos: p.tok.pos, Body: newBlock(p.top)}
	p.entry = e
	defer func() { p.entry = nil }()
	if function && p.tok.kind == dotWord { // .noreturn and the like
		if err := p.advance(); err != nil {
			return err
		}
	}
	var err error
	if function {
		if e.Returns, err = p.params(e); err != nil {
			return err
		}
	}
	e.Pos = p.tok.pos
	if e.Name, err = p.name(); err != nil {
		return err
	}
	defined := p.mod.Entry(e.Name) != nil
	if f := p.mod.Func(e.Name); f != nil {
		defined = defined || !function || f.Body != nil
	}
	if defined && !function {
		return p.errorf(e.Pos, "entry %s is defined twice", e.Name)
	}
	if e.Params, err = p.params(e); err != nil {
		return err
	}
	if err := p.performance(e); err != nil {
		return err
	}
	if semi, err := p.take(";"); err != nil || semi { // a declaration alone
		if e.Body = nil; function {
			p.mod.Funcs = append(p.mod.Funcs, e)
		}
		return err
	}
	if defined {
		return p.errorf(e.Pos, "%s is defined twice", e.Name)
	}
	p.block, p.fix, p.loc, p.last = e.Body, nil, Loc{}, nil
	defer func() { p.block = nil }()
	if !p.is("{") {
		return p.errorf(p.tok.pos, "expected the body of %s, found %v", e.Name, p.tok)
	}
	if err := p.body(); err != nil {
		return err
	}
	for i := 0; i < len(p.fix); i++ { // grows by the targets of brx.idx
		if err := p.resolve(p.fix[i]); err != nil {
			return err
		}
	}
	if function {
		p.mod.Funcs = append(p.mod.Funcs, e)
	} else {
		p.mod.Entries = append(p.mod.Entries, e)
	}
	return nil
}

// resolve finds the label that a branch meant, which may have come later.
func (p *parser) resolve(u labelUse) error {
	for b := u.block; b != nil; b = b.Up {
		if l := b.Labels[u.label.Name]; l != nil {
			u.label.PC, u.label.Targets = l.PC, l.Targets
			return nil
		}
	}
	return p.errorf(u.label.Pos, "%s is neither a register, a variable nor a label", u.label.Name)
}

// params reads ( .param …, … ), where there is one.
func (p *parser) params(e *Entry) (vs []*Var, err error) {
	open, err := p.take("(")
	if err != nil || !open {
		return nil, err
	}
	for !p.is(")") {
		t := p.tok
		if t.kind != dotWord || t.text != ".param" {
			return nil, p.errorf(t.pos, "expected .param, found %v", t)
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		v, err := p.declared(t, false)
		if err != nil {
			return nil, err
		}
		v.Offset = (e.ParamBytes + v.Align - 1) &^ (v.Align - 1)
		e.ParamBytes = v.Offset + v.Size
		if e.ParamBytes > 32764 {
			return nil, p.errorf(v.Pos, "parameters take %d bytes, the limit is 32764", e.ParamBytes)
		}
		if v.Name != "_" { // of a declaration
			if e.Body.Vars[v.Name] != nil {
				return nil, p.errorf(v.Pos, "parameter %s is declared twice", v.Name)
			}
			e.Body.Vars[v.Name] = v
		}
		vs = append(vs, v)
		if more, err := p.take(","); err != nil {
			return nil, err
		} else if !more {
			break
		}
	}
	return vs, p.expect(")")
}

func (p *parser) performance(e *Entry) error {
	for p.tok.kind == dotWord {
		t := p.tok
		if err := p.advance(); err != nil {
			return err
		}
		var err error
		switch t.text {
		case ".maxntid":
			e.MaxNTID, err = p.dims()
		case ".reqntid":
			e.ReqNTID, err = p.dims()
		case ".reqnctapercluster":
			e.ReqCluster, err = p.dims()
		case ".minnctapersm", ".maxnctapersm":
			e.MinCTAs, err = p.int()
		case ".maxnreg":
			e.MaxNReg, err = p.int()
		case ".maxclusterrank":
			e.MaxCluster, err = p.int()
		case ".explicitcluster":
			e.Explicit = true
		case ".noreturn":
		case ".pragma":
			err = p.pragma()
		default:
			err = p.errorf(t.pos, "unknown directive %s", t.text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) pragma() error {
	if p.tok.kind != str {
		return p.errorf(p.tok.pos, "expected a string behind .pragma, found %v", p.tok)
	}
	if err := p.advance(); err != nil {
		return err
	}
	return p.expect(";")
}

func (p *parser) dims() (d [3]int, err error) {
	d = [3]int{1, 1, 1}
	for i := range d {
		if d[i], err = p.int(); err != nil {
			return d, err
		}
		if d[i] < 1 {
			return d, p.errorf(p.tok.pos, "extents must be at least 1")
		}
		if more, err := p.take(","); err != nil || !more {
			return d, err
		}
	}
	return d, nil
}

// body reads { statements } into p.block.
func (p *parser) body() error {
	if p.depth++; p.depth > maxDepth {
		return p.errorf(p.tok.pos, "scopes nested too deep")
	}
	defer func() { p.depth-- }()
	if err := p.expect("{"); err != nil {
		return err
	}
	for !p.is("}") {
		if err := p.statement(); err != nil {
			return err
		}
	}
	return p.advance()
}

func (p *parser) statement() error {
	t := p.tok
	switch {
	case t.kind == eof:
		return p.errorf(t.pos, "the body has no end")
	case p.is(";"):
		return p.advance()
	case p.is("{"):
		outer := p.block
		p.block = newBlock(outer)
		outer.Stmts = append(outer.Stmts, p.block)
		err := p.body()
		p.block = outer
		return err
	case t.kind == dotWord:
		return p.directive(t)
	case t.kind == word && p.lex.at(t.end) == ':':
		return p.label(t)
	}
	return p.instruction()
}

func (p *parser) label(t token) error {
	if strings.ContainsAny(t.text, ".:") {
		return p.errorf(t.pos, "malformed label %v", t)
	}
	if p.block.Labels[t.text] != nil {
		return p.errorf(t.pos, "label %s is defined twice", t.text)
	}
	l := &Label{Name: t.text, Pos: t.pos, PC: len(p.entry.Code)}
	p.last = l
	p.block.Labels[t.text] = l
	p.block.Stmts = append(p.block.Stmts, l)
	if err := p.advance(); err != nil {
		return err
	}
	return p.expect(":")
}

func (p *parser) directive(t token) error {
	if t.text == ".loc" { // ends with its line, not with a semicolon
		return p.location()
	}
	if err := p.advance(); err != nil {
		return err
	}
	switch t.text {
	case ".reg":
		return p.registers()
	case ".shared", ".local", ".param", ".global", ".const":
		return p.variable(t, false)
	case ".pragma":
		return p.pragma()
	case ".branchtargets":
		return p.branchTargets(t)
	case ".callprototype", ".calltargets":
		return p.errorf(t.pos, "%s: calls through a register are not supported", t.text)
	default:
		return p.errorf(t.pos, "unknown directive %s", t.text)
	}
}

// branchTargets reads the labels of a table for brx.idx, which has a label itself.
func (p *parser) branchTargets(t token) error {
	if p.last == nil || p.last.PC != len(p.entry.Code) {
		return p.errorf(t.pos, ".branchtargets without a label in front")
	}
	for {
		pos := p.tok.pos
		n, err := p.name()
		if err != nil {
			return err
		}
		l := &Label{Name: n, Pos: pos, PC: -1}
		p.fix = append(p.fix, labelUse{p.block, l})
		p.last.Targets = append(p.last.Targets, l)
		if more, err := p.take(","); err != nil {
			return err
		} else if !more {
			return p.expect(";")
		}
	}
}

// location reads .loc FILE LINE COLUMN …
func (p *parser) location() error {
	line := p.lex.line
	if err := p.advance(); err != nil {
		return err
	}
	f, err := p.int()
	if err != nil {
		return err
	}
	n, err := p.int()
	if err != nil {
		return err
	}
	p.loc = Loc{File: f, Line: n}
	if p.lex.line == line {
		p.lex.skipLine()
	}
	return p.advance()
}

func (p *parser) registers() error {
	t := p.tok
	elems := ""
	if t.kind == dotWord && (t.text == ".v2" || t.text == ".v4") {
		elems = "xyzw"[:t.text[2]-'0']
		if err := p.advance(); err != nil {
			return err
		}
		t = p.tok
	}
	ty := NoType
	if t.kind == dotWord {
		ty = typeByName[t.text[1:]]
	}
	if !ty.declared() {
		return p.errorf(t.pos, "expected a type behind .reg, found %v", t)
	}
	if err := p.advance(); err != nil {
		return err
	}
	for {
		pos := p.tok.pos
		n, err := p.name()
		if err != nil {
			return err
		}
		names := []string{n}
		if open, err := p.take("<"); err != nil {
			return err
		} else if open {
			count, err := p.int()
			if err != nil {
				return err
			}
			if len(p.entry.Regs)+count > maxRegs {
				return p.errorf(pos, "more than %d registers", maxRegs)
			}
			names = names[:0]
			for i := range count {
				names = append(names, n+strconv.Itoa(i))
			}
			if err := p.expect(">"); err != nil {
				return err
			}
		}
		if elems != "" {
			if names, err = p.vectors(pos, names, elems); err != nil {
				return err
			}
		}
		for _, name := range names {
			if p.block.Regs[name] != nil {
				return p.errorf(pos, "register %s is declared twice", name)
			}
			r := &Reg{Name: name, Type: ty, Index: len(p.entry.Regs)}
			p.entry.Regs = append(p.entry.Regs, r)
			p.block.Regs[name] = r
			if base, _, ok := strings.Cut(name, "."); ok {
				p.block.Vecs[base].Elems = append(p.block.Vecs[base].Elems, r)
			}
		}
		if len(p.entry.Regs) > maxRegs {
			return p.errorf(pos, "more than %d registers", maxRegs)
		}
		if more, err := p.take(","); err != nil {
			return err
		} else if !more {
			return p.expect(";")
		}
	}
}

// vectors declares vector registers, and returns the names of their elements.
func (p *parser) vectors(pos Pos, names []string, elems string) (each []string, err error) {
	if len(p.entry.Regs)+len(names)*len(elems) > maxRegs {
		return nil, p.errorf(pos, "more than %d registers", maxRegs)
	}
	for _, n := range names {
		if p.block.Vecs[n] != nil {
			return nil, p.errorf(pos, "register %s is declared twice", n)
		}
		p.block.Vecs[n] = &Vec{}
		for _, e := range elems {
			each = append(each, n+"."+string(e))
		}
	}
	return each, nil
}

func (p *parser) vec(name string) *Vec {
	for b := p.block; b != nil; b = b.Up {
		if v := b.Vecs[name]; v != nil {
			return v
		}
	}
	return nil
}

// call reads [(results),] function [, (arguments)].
func (p *parser) call(in *Instr) error {
	list := func() (*Vec, error) {
		v := &Vec{}
		if err := p.expect("("); err != nil {
			return nil, err
		}
		for !p.is(")") {
			o, err := p.operand(1)
			if err != nil {
				return nil, err
			}
			v.Elems = append(v.Elems, o)
			if more, err := p.take(","); err != nil {
				return nil, err
			} else if !more {
				break
			}
		}
		return v, p.expect(")")
	}
	results, args := &Vec{}, &Vec{}
	var err error
	if p.is("(") {
		if results, err = list(); err != nil {
			return err
		}
		if err := p.expect(","); err != nil {
			return err
		}
	}
	pos := p.tok.pos
	n, err := p.name()
	if err != nil {
		return err
	}
	if p.reg(n) != nil {
		return p.errorf(pos, "calls through a register are not supported")
	}
	if more, err := p.take(","); err != nil {
		return err
	} else if more {
		if args, err = list(); err != nil {
			return err
		}
	}
	in.Args = []Operand{Callee{n}, results, args}
	return nil
}

func (p *parser) instruction() error {
	in := &Instr{Pos: p.tok.pos, Loc: p.loc}
	if guard, err := p.take("@"); err != nil {
		return err
	} else if guard {
		if in.Not, err = p.take("!"); err != nil {
			return err
		}
		t := p.tok
		n, err := p.name()
		if err != nil {
			return err
		}
		if in.Pred = p.reg(n); in.Pred == nil || in.Pred.Type != Pred {
			return p.errorf(t.pos, "%s is not a predicate register", n)
		}
	}
	t := p.tok
	if t.kind != word {
		return p.errorf(t.pos, "expected an instruction, found %v", t)
	}
	in.Name = t.text
	parts := splitOpcode(t.text)
	in.Op, in.Mods = parts[0], parts[1:]
	if msg := checkOpcode(in.Op, in.Mods); msg != "" {
		return p.errorf(t.pos, "%s in %s", msg, t.text)
	}
	if err := p.advance(); err != nil {
		return err
	}
	if in.Op == "call" {
		if err := p.call(in); err != nil {
			return err
		}
	}
	for in.Op != "call" && !p.is(";") {
		o, err := p.operand(0)
		if err != nil {
			return err
		}
		in.Args = append(in.Args, o)
		if more, err := p.take(","); err != nil {
			return err
		} else if !more {
			break
		}
	}
	p.block.Stmts = append(p.block.Stmts, in)
	p.entry.Code = append(p.entry.Code, in)
	return p.expect(";")
}

// splitOpcode cuts at dots: "a.b::c.d" is a, b::c, d.
func splitOpcode(s string) []string { return strings.Split(s, ".") }

func (p *parser) reg(name string) *Reg {
	for b := p.block; b != nil; b = b.Up {
		if r := b.Regs[name]; r != nil {
			return r
		}
	}
	return nil
}

func (p *parser) variableNamed(name string) *Var {
	for b := p.block; b != nil; b = b.Up {
		if v := b.Vars[name]; v != nil {
			return v
		}
	}
	return nil
}

// specials are the special registers that %name may mean, with and without a
// dimension.
var specials = func() map[string]bool {
	m := map[string]bool{}
	for _, n := range []string{
		"laneid", "warpid", "nwarpid", "smid", "nsmid", "gridid", "clock", "clock_hi", "clock64", "globaltimer",
		"globaltimer_lo", "globaltimer_hi", "lanemask_eq", "lanemask_le", "lanemask_lt", "lanemask_ge", "lanemask_gt",
		"dynamic_smem_size", "total_smem_size", "cluster_ctarank", "cluster_nctarank", "is_explicit_cluster",
	} {
		m[n] = true
	}
	m["current_graph_exec"] = true
	for _, n := range []string{"tid", "ntid", "ctaid", "nctaid", "clusterid", "nclusterid", "cluster_ctaid", "cluster_nctaid"} {
		m[n] = true // all of it, as a vector
		for _, d := range []string{"x", "y", "z"} {
			m[n+"."+d] = true
		}
	}
	return m
}()

func (p *parser) operand(depth int) (Operand, error) {
	t := p.tok
	if depth > maxDepth {
		return nil, p.errorf(t.pos, "braces nested too deep")
	}
	switch {
	case p.is("{"):
		return p.vector(depth)
	case p.is("["):
		return p.memory(depth)
	case p.is("!"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		n, err := p.name()
		if err != nil {
			return nil, err
		}
		r := p.reg(n)
		if r == nil || r.Type != Pred {
			return nil, p.errorf(t.pos, "%s is not a predicate register", n)
		}
		return &Not{r}, nil
	case p.is("-") || p.is("~") || p.is("(") || t.kind == number:
		return p.number()
	case t.kind != word:
		return nil, p.errorf(t.pos, "expected an operand, found %v", t)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	o, err := p.named(t)
	if err != nil {
		return nil, err
	}
	if bar, err := p.take("|"); err != nil || !bar {
		return o, err
	}
	b, err := p.operand(depth + 1)
	return &Pair{o, b}, err
}

// named resolves a word: a register, a variable, a special register, _ or a
// label, in that order.
func (p *parser) named(t token) (Operand, error) {
	if t.text == "_" {
		return Sink{}, nil
	}
	if r := p.reg(t.text); r != nil {
		return r, nil
	}
	if v := p.vec(t.text); v != nil {
		return v, nil
	}
	if v := p.variableNamed(t.text); v != nil {
		o, err := p.plus()
		return &VarRef{v, o}, err
	}
	if t.text[0] == '%' {
		if specials[t.text[1:]] {
			return Special{t.text[1:]}, nil
		}
		return nil, p.errorf(t.pos, "%s is neither a register nor a special register", t.text)
	}
	if t.text == "WARP_SZ" {
		return Imm{32, S64}, nil
	}
	l := &Label{Name: t.text, Pos: t.pos, PC: -1}
	p.fix = append(p.fix, labelUse{p.block, l})
	return l, nil
}

// plus reads an optional +offset or -offset.
func (p *parser) plus() (int64, error) {
	if p.is("-") {
		t := p.tok
		imm, err := p.number()
		if err == nil && imm.Type != S64 {
			err = p.errorf(t.pos, "an offset must be a whole number")
		}
		return int64(imm.Bits), err
	}
	more, err := p.take("+")
	if err != nil || !more {
		return 0, err
	}
	t := p.tok
	imm, err := p.number()
	if err == nil && imm.Type != S64 {
		err = p.errorf(t.pos, "an offset must be a whole number")
	}
	return int64(imm.Bits), err
}

func (p *parser) vector(depth int) (*Vec, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	v := &Vec{}
	for {
		o, err := p.operand(depth + 1)
		if err != nil {
			return nil, err
		}
		v.Elems = append(v.Elems, o)
		more, err := p.take(",")
		if err != nil {
			return nil, err
		}
		if !more {
			return v, p.expect("}")
		}
	}
}

func (p *parser) memory(depth int) (*Mem, error) {
	pos := p.tok.pos
	if err := p.advance(); err != nil {
		return nil, err
	}
	base, err := p.operand(depth + 1)
	if err != nil {
		return nil, err
	}
	m := &Mem{Base: base}
	switch b := base.(type) {
	case *Reg:
		if m.Offset, err = p.plus(); err != nil {
			return nil, err
		}
	case *VarRef: // the offset was read with the name; keep it in one place
		m.Base, m.Offset = &VarRef{Var: b.Var}, b.Offset
	case Imm:
	default:
		return nil, p.errorf(pos, "%v is not an address", base)
	}
	if more, err := p.take(","); err != nil {
		return nil, err
	} else if more {
		if !p.is("{") {
			return nil, p.errorf(p.tok.pos, "expected coordinates, found %v", p.tok)
		}
		if m.Coords, err = p.vector(depth + 1); err != nil {
			return nil, err
		}
	}
	return m, p.expect("]")
}
