package sim

import (
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// first is the lowest lane of a mask.
func first(m uint32) int { return bits.TrailingZeros32(m) & 31 }

// mov: registers and addresses are lane-wise; here are special registers and
// the packing and unpacking of vectors, and predicates.
func (d *decoder) mov() {
	if !d.args(2, 2) {
		return
	}
	dst, src := d.in.Args[0], d.in.Args[1]
	t := d.in.Type()
	if s, ok := src.(ptx.Special); ok {
		if d.in.Has("v4") {
			d.specialVector(vec(dst), s.Name)
		} else {
			d.special(dst, s.Name)
		}
		return
	}
	if d.in.Has("v2") || d.in.Has("v4") {
		d.unsupported()
	}
	if v, ok := src.(*ptx.Vec); ok {
		d.pack(dst, v.Elems, t)
		return
	}
	if v, ok := dst.(*ptx.Vec); ok {
		d.unpack(v.Elems, src, t)
		return
	}
	if t == ptx.Pred {
		d.o.d = d.dstPred(dst)
		if imm, ok := src.(ptx.Imm); ok {
			v := -one(imm.Bits != 0)
			d.o.fn = func(w *warp, o *op, m uint32) { w.p[o.d] = w.p[o.d]&^m | v&m }
			return
		}
		a, not := d.predicate(src)
		d.o.a = a
		d.o.fn = func(w *warp, o *op, m uint32) {
			v := w.p[o.a]
			if not {
				v = ^v
			}
			w.p[o.d] = w.p[o.d]&^m | v&m
		}
		return
	}
	d.unsupported()
}

func (d *decoder) pack(dst ptx.Operand, elems []ptx.Operand, t ptx.Type) {
	switch {
	case t.Bits() == 32 && len(elems) == 2:
		d.o.d, d.o.a, d.o.b = d.dst32(dst), d.src16(elems[0]), d.src16(elems[1])
		d.o.fn = func(w *warp, o *op, m uint32) {
			D, A, B := &w.r[o.d], &w.r[o.a], &w.r[o.b]
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				D[i] = A[i]&0xffff | B[i]<<16
			}
		}
	case t.Bits() == 64 && len(elems) == 2:
		d.o.d, d.o.a, d.o.b = d.dst64(dst), d.src32(elems[0]), d.src32(elems[1])
		d.o.fn = func(w *warp, o *op, m uint32) {
			D, A, B := &w.q[o.d], &w.r[o.a], &w.r[o.b]
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				D[i] = uint64(A[i]) | uint64(B[i])<<32
			}
		}
	case t.Bits() == 64 && len(elems) == 4:
		var s [4]int32
		for i, e := range elems {
			s[i] = d.src16(e)
		}
		d.o.d = d.dst64(dst)
		d.o.fn = func(w *warp, o *op, m uint32) {
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				w.q[o.d][i] = uint64(w.r[s[0]][i]&0xffff) | uint64(w.r[s[1]][i]&0xffff)<<16 |
					uint64(w.r[s[2]][i]&0xffff)<<32 | uint64(w.r[s[3]][i]&0xffff)<<48
			}
		}
	case len(elems) > 1 && t.Bits() == 8*len(elems): // bytes
		var s [4]int32
		for i, e := range elems {
			s[i] = d.src32(e)
		}
		d.o.d = d.dst32(dst)
		n := len(elems)
		d.o.fn = func(w *warp, o *op, m uint32) {
			eachLane(m, func(i int) {
				var v uint32
				for k, r := range s[:n] {
					v |= w.r[r][i] & 0xff << (8 * k)
				}
				w.r[o.d][i] = v
			})
		}
	default:
		d.unsupported()
	}
}

func (d *decoder) unpack(elems []ptx.Operand, src ptx.Operand, t ptx.Type) {
	var e [4]int32
	if len(elems) > 4 {
		d.unsupported()
		return
	}
	for i, x := range elems {
		e[i] = d.dst32(x)
	}
	switch {
	case t.Bits() == 32 && len(elems) == 2:
		d.o.a = d.src32(src)
		d.o.fn = func(w *warp, o *op, m uint32) {
			A := w.r[o.a] // a copy: a result may be the source
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				w.r[e[0]][i], w.r[e[1]][i] = A[i]&0xffff, A[i]>>16
			}
		}
	case t.Bits() == 64 && len(elems) == 2:
		d.o.a = d.src64(src)
		d.o.fn = func(w *warp, o *op, m uint32) {
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				w.r[e[0]][i], w.r[e[1]][i] = uint32(w.q[o.a][i]), uint32(w.q[o.a][i]>>32)
			}
		}
	case t.Bits() == 64 && len(elems) == 4:
		d.o.a = d.src64(src)
		d.o.fn = func(w *warp, o *op, m uint32) {
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				for k := range e {
					w.r[e[k]][i] = uint32(w.q[o.a][i]>>(16*k)) & 0xffff
				}
			}
		}
	case len(elems) > 1 && t.Bits() == 8*len(elems):
		d.o.a = d.src32(src)
		n := len(elems)
		d.o.fn = func(w *warp, o *op, m uint32) {
			A := w.r[o.a]
			eachLane(m, func(i int) {
				for k, r := range e[:n] {
					w.r[r][i] = A[i] >> (8 * k) & 0xff
				}
			})
		}
	default:
		d.unsupported()
	}
}

// special registers, as functions of warp and lane.
var specials = map[string]func(w *warp, lane int) uint64{
	"tid.x":    func(w *warp, l int) uint64 { return uint64(w.tids[0][l]) },
	"tid.y":    func(w *warp, l int) uint64 { return uint64(w.tids[1][l]) },
	"tid.z":    func(w *warp, l int) uint64 { return uint64(w.tids[2][l]) },
	"ntid.x":   func(w *warp, _ int) uint64 { return uint64(w.g.l.Block.X) },
	"ntid.y":   func(w *warp, _ int) uint64 { return uint64(w.g.l.Block.Y) },
	"ntid.z":   func(w *warp, _ int) uint64 { return uint64(w.g.l.Block.Z) },
	"ctaid.x":  func(w *warp, _ int) uint64 { return uint64(w.c.id[0]) },
	"ctaid.y":  func(w *warp, _ int) uint64 { return uint64(w.c.id[1]) },
	"ctaid.z":  func(w *warp, _ int) uint64 { return uint64(w.c.id[2]) },
	"nctaid.x": func(w *warp, _ int) uint64 { return uint64(w.g.l.Grid.X) },
	"nctaid.y": func(w *warp, _ int) uint64 { return uint64(w.g.l.Grid.Y) },
	"nctaid.z": func(w *warp, _ int) uint64 { return uint64(w.g.l.Grid.Z) },

	"laneid":  func(_ *warp, l int) uint64 { return uint64(l) },
	"warpid":  func(w *warp, _ int) uint64 { return uint64(w.id) },
	"nwarpid": func(w *warp, _ int) uint64 { return uint64(len(w.c.warps)) },
	"smid":    func(w *warp, _ int) uint64 { return uint64(w.g.idx % w.g.l.dev.cfg.SMs) },
	"nsmid":   func(w *warp, _ int) uint64 { return uint64(w.g.l.dev.cfg.SMs) },
	"gridid":  func(*warp, int) uint64 { return 1 },

	"current_graph_exec": func(*warp, int) uint64 { return 0 }, // of a launch that is in no graph

	"lanemask_eq": func(_ *warp, l int) uint64 { return 1 << l },
	"lanemask_lt": func(_ *warp, l int) uint64 { return 1<<l - 1 },
	"lanemask_le": func(_ *warp, l int) uint64 { return 2<<l - 1 },
	"lanemask_gt": func(_ *warp, l int) uint64 { return uint64(^uint32(2<<l - 1)) },
	"lanemask_ge": func(_ *warp, l int) uint64 { return uint64(^uint32(1<<l - 1)) },

	"clock":          func(w *warp, _ int) uint64 { return uint64(w.g.steps) },
	"clock_hi":       func(w *warp, _ int) uint64 { return uint64(w.g.steps) >> 32 },
	"clock64":        func(w *warp, _ int) uint64 { return uint64(w.g.steps) },
	"globaltimer":    func(w *warp, _ int) uint64 { return uint64(w.g.steps) },
	"globaltimer_lo": func(w *warp, _ int) uint64 { return uint64(w.g.steps) },
	"globaltimer_hi": func(w *warp, _ int) uint64 { return uint64(w.g.steps) >> 32 },

	"dynamic_smem_size":   func(w *warp, _ int) uint64 { return uint64(w.g.l.SharedBytes) },
	"total_smem_size":     func(w *warp, _ int) uint64 { return uint64(len(w.c.smem) - sharedLow) },
	"cluster_ctarank":     func(w *warp, _ int) uint64 { return uint64(w.c.rank) },
	"cluster_nctarank":    func(w *warp, _ int) uint64 { return uint64(len(w.g.ctas)) },
	"is_explicit_cluster": func(w *warp, _ int) uint64 { return uint64(one(w.g.l.Kernel.entry.Explicit)) },
	"cluster_ctaid.x":     func(w *warp, _ int) uint64 { return uint64(w.c.id[0] % w.g.l.Cluster.X) },
	"cluster_ctaid.y":     func(w *warp, _ int) uint64 { return uint64(w.c.id[1] % w.g.l.Cluster.Y) },
	"cluster_ctaid.z":     func(w *warp, _ int) uint64 { return uint64(w.c.id[2] % w.g.l.Cluster.Z) },
	"cluster_nctaid.x":    func(w *warp, _ int) uint64 { return uint64(w.g.l.Cluster.X) },
	"cluster_nctaid.y":    func(w *warp, _ int) uint64 { return uint64(w.g.l.Cluster.Y) },
	"cluster_nctaid.z":    func(w *warp, _ int) uint64 { return uint64(w.g.l.Cluster.Z) },
	"clusterid.x":         func(w *warp, _ int) uint64 { return uint64(w.c.id[0] / w.g.l.Cluster.X) },
	"clusterid.y":         func(w *warp, _ int) uint64 { return uint64(w.c.id[1] / w.g.l.Cluster.Y) },
	"clusterid.z":         func(w *warp, _ int) uint64 { return uint64(w.c.id[2] / w.g.l.Cluster.Z) },
	"nclusterid.x":        func(w *warp, _ int) uint64 { return uint64(w.g.l.Grid.X / w.g.l.Cluster.X) },
	"nclusterid.y":        func(w *warp, _ int) uint64 { return uint64(w.g.l.Grid.Y / w.g.l.Cluster.Y) },
	"nclusterid.z":        func(w *warp, _ int) uint64 { return uint64(w.g.l.Grid.Z / w.g.l.Cluster.Z) },
}

// specialVector is mov.v4.u32 of a special register of three dimensions; the fourth element
// is 0.
func (d *decoder) specialVector(dst []ptx.Operand, name string) {
	if len(dst) != 4 || d.in.Type().Bits() != 32 || specials[name+".x"] == nil {
		d.unsupported()
	}
	var get [3]func(w *warp, lane int) uint64
	var to [4]int32
	for i, e := range dst {
		to[i] = d.dst32(e)
		if i < 3 {
			get[i] = specials[name+"."+"xyz"[i:i+1]]
		}
	}
	d.o.fn = func(w *warp, _ *op, m uint32) {
		eachLane(m, func(i int) {
			for k, f := range get {
				w.r[to[k]][i] = uint32(f(w, i))
			}
			w.r[to[3]][i] = 0
		})
	}
}

func (d *decoder) special(dst ptx.Operand, name string) {
	get, ok := specials[name]
	if !ok {
		d.fail("special register %%%s is not supported", name)
		return
	}
	if d.in.Type().Bits() == 64 {
		d.o.d = d.dst64(dst)
		d.o.fn = func(w *warp, o *op, m uint32) {
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				w.q[o.d][i] = get(w, i)
			}
		}
		return
	}
	d.o.d = d.dst32(dst)
	if axis := strings.Index("xyz", strings.TrimPrefix(name, "tid.")); axis >= 0 && len(name) == 5 {
		d.o.fn = func(w *warp, o *op, m uint32) {
			D, T := &w.r[o.d], &w.tids[axis]
			if m == full {
				*D = *T
				return
			}
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				D[i] = T[i]
			}
		}
		return
	}
	perLane := strings.HasPrefix(name, "lane")
	d.o.fn = func(w *warp, o *op, m uint32) {
		if m == full && !perLane {
			broadcastWords(&w.r[o.d], uint32(get(w, 0)))
			return
		}
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			w.r[o.d][i] = uint32(get(w, i))
		}
	}
}

// cvta adds or takes away the window of a state space. Global addresses, and
// constants, which live in global memory here, are generic as they are.
func (d *decoder) cvta() {
	if !d.args(2, 2) {
		return
	}
	var base uint64
	switch {
	case d.in.Has("shared"), d.in.Has("shared::cta"), d.in.Has("shared::cluster"):
		base = sharedBase
	case d.in.Has("local"):
		base = localBase
	case d.in.Has("param"), d.in.Has("param::entry"):
		base = paramBase
	case d.in.Has("global"), d.in.Has("const"):
	default:
		d.unsupported()
		return
	}
	if d.in.Has("to") {
		base = -base
	}
	if d.in.Type().Bits() != 64 {
		d.unsupported()
		return
	}
	d.o.d, d.o.a = d.dst64(d.in.Args[0]), d.src64(d.in.Args[1])
	d.o.fn = func(w *warp, o *op, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			w.q[o.d][i] = w.q[o.a][i] + base
		}
	}
}

func (d *decoder) isspacep() {
	if !d.args(2, 2) {
		return
	}
	lo, hi := uint64(0), uint64(0)
	switch d.form() {
	case "global", "const":
		lo, hi = globalBase, ^uint64(0)
	case "shared", "shared::cta", "shared::cluster":
		lo, hi = sharedBase, sharedBase+windowBytes
	case "local":
		lo, hi = localBase, localBase+windowBytes
	case "param", "param::entry":
		lo, hi = paramBase, paramBase+windowBytes
	default:
		d.unsupported()
		return
	}
	d.o.d, d.o.a = d.dstPred(d.in.Args[0]), d.src64(d.in.Args[1])
	d.o.fn = func(w *warp, o *op, m uint32) {
		var r uint32
		for i, a := range w.q[o.a] {
			r |= one(a >= lo && a < hi) << i
		}
		w.p[o.d] = w.p[o.d]&^m | r&m
	}
}

// comparison is what setp and set compare: lanes of the low or only elements, and of the
// upper ones of pairs.
type comparison struct {
	low, high func(w *warp) uint32
	bool      string // how the result is combined with a predicate, or ""
}

// comparison decodes CMP[.BOOL][.ftz], operands a and b of a type, which are the second and
// the third of the instruction.
func (d *decoder) comparison(t ptx.Type, drop ...string) comparison {
	c, cmp := comparison{}, ""
	for _, m := range d.in.Mods {
		switch {
		case m == "and" || m == "or" || m == "xor":
			c.bool = m
		case m == "ftz" || m == t.String() || slices.Contains(drop, m):
		case cmp != "":
			d.unsupported()
		default:
			cmp = m
		}
	}
	d.args(3, 4)
	if (c.bool != "") != (len(d.in.Args) == 4) {
		d.unsupported()
	}
	ftz, elem := d.in.Has("ftz"), t
	switch t {
	case ptx.F16x2:
		elem = ptx.F16
	case ptx.BF16x2:
		elem = ptx.BF16
	default:
	}
	if ftz && elem != ptx.F32 && elem != ptx.F16 {
		d.unsupported()
	}
	name := cmp + "." + elem.String()
	if f := compare64[name]; f != nil {
		a, b := d.src64(d.in.Args[1]), d.src64(d.in.Args[2])
		c.low = func(w *warp) uint32 { return f(&w.q[a], &w.q[b]) }
		return c
	}
	f := compare32[name]
	if v := vectorComparisons[name]; v != nil {
		f = v
	}
	if f == nil {
		d.unsupported()
	}
	src := d.src32
	if t.Bits() == 16 {
		src = d.src16
	}
	a, b := src(d.in.Args[1]), src(d.in.Args[2])
	d.o.a, d.o.b = a, b
	of := func(shift int) func(w *warp) uint32 {
		return func(w *warp) uint32 {
			x, y := w.r[a], w.r[b]
			for _, v := range []*[32]uint32{&x, &y} {
				for i := range v {
					v[i] >>= shift
					switch {
					case ftz && elem == ptx.F32:
						v[i] = flush(v[i])
					case ftz:
						v[i] = uint32(flush16(uint16(v[i])))
					}
				}
			}
			return f(&x, &y)
		}
	}
	switch {
	case elem != t:
		c.low, c.high = of(0), of(16)
	case ftz:
		c.low = of(0)
	default:
		c.low = func(w *warp) uint32 { return f(&w.r[a], &w.r[b]) }
	}
	return c
}

// combined is a comparison's function of its result and a predicate.
func (d *decoder) combined(c comparison) func(w *warp, r uint32) uint32 {
	if c.bool == "" {
		return func(_ *warp, r uint32) uint32 { return r }
	}
	p, not := d.predicate(d.in.Args[3])
	return func(w *warp, r uint32) uint32 {
		v := w.p[p]
		if not {
			v = ^v
		}
		switch c.bool {
		case "and":
			return r & v
		case "or":
			return r | v
		default:
			return r ^ v
		}
	}
}

// setp.CMP[.BOOL][.ftz].type p[|q], a, b[, [!]c]: q is the opposite of p, or of pairs the
// comparison of the upper halves.
func (d *decoder) setp() {
	t := d.in.Type()
	c := d.comparison(t)
	combine := d.combined(c)
	p, q := int32(0), int32(-1)
	if pair, ok := d.in.Args[0].(*ptx.Pair); ok {
		p, q = d.dstPred(pair.A), d.dstPred(pair.B)
	} else {
		p = d.dstPred(d.in.Args[0])
	}
	d.o.d = p
	if c.bool == "" && q < 0 {
		if cmp := compare32[d.form()]; cmp != nil { // the usual one
			if v := vectorComparisons[d.form()]; v != nil {
				cmp = v
			}
			d.o.fn = func(w *warp, o *op, m uint32) { w.p[o.d] = w.p[o.d]&^m | cmp(&w.r[o.a], &w.r[o.b])&m }
			return
		}
		d.o.fn = func(w *warp, o *op, m uint32) { w.p[o.d] = w.p[o.d]&^m | c.low(w)&m }
		return
	}
	d.o.fn = func(w *warp, o *op, m uint32) {
		r := c.low(w)
		other := ^r
		if c.high != nil && q >= 0 {
			other = c.high(w)
		}
		r, other = combine(w, r), combine(w, other)
		w.p[p] = w.p[p]&^m | r&m
		if q >= 0 {
			w.p[q] = w.p[q]&^m | other&m
		}
	}
}

// set.CMP[.BOOL][.ftz].dtype.type d, a, b[, [!]c]: ones, or 1.0, where it holds.
func (d *decoder) set() {
	ts := d.in.Types()
	if len(ts) != 2 {
		d.unsupported()
	}
	yes := map[ptx.Type]uint32{
		ptx.U32: full, ptx.S32: full, ptx.F32: 0x3f800000, ptx.U16: 0xffff, ptx.S16: 0xffff, ptx.F16: 0x3c00, ptx.BF16: 0x3f80,
		ptx.F16x2: 0x3c00, ptx.BF16x2: 0x3f80,
	}[ts[0]]
	var drop []string
	if ts[0] != ts[1] {
		drop = append(drop, ts[0].String())
	}
	c := d.comparison(ts[1], drop...)
	combine := d.combined(c)
	if c.high != nil && yes == full {
		yes = 0xffff // of each half
	}
	half := ts[1] == ptx.F16 || ts[1] == ptx.BF16
	switch ts[0] {
	case ptx.U16, ptx.S16, ptx.F16, ptx.BF16:
		if !half || ts[0].Float() && ts[0] != ts[1] {
			d.unsupported()
		}
	case ptx.F16x2, ptx.BF16x2:
		if ts[0] != ts[1] {
			d.unsupported()
		}
	default: // of 32 bits: takes any
	}
	if yes == 0 || c.high != nil && ts[0] == ptx.F32 {
		d.unsupported()
	}
	d.o.d = d.dst32(d.in.Args[0])
	d.o.fn = func(w *warp, o *op, m uint32) {
		low, high := combine(w, c.low(w)), uint32(0)
		if c.high != nil {
			high = combine(w, c.high(w))
		}
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			w.r[o.d][i] = -(low>>i&1)&yes | (-(high>>i&1)&yes)<<16
		}
	}
}

// testp.KIND.type p, a
func (d *decoder) testp() {
	d.args(2, 2)
	t := d.in.Type()
	if t != ptx.F32 && t != ptx.F64 {
		d.unsupported()
	}
	var test func(v float64, subnormal bool) bool
	switch d.form(t.String()) {
	case "finite":
		test = func(v float64, _ bool) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	case "infinite":
		test = func(v float64, _ bool) bool { return math.IsInf(v, 0) }
	case "number":
		test = func(v float64, _ bool) bool { return !math.IsNaN(v) }
	case "notanumber":
		test = func(v float64, _ bool) bool { return math.IsNaN(v) }
	case "normal": // zeros too
		test = func(v float64, subnormal bool) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) && !subnormal }
	case "subnormal":
		test = func(_ float64, subnormal bool) bool { return subnormal }
	default:
		d.unsupported()
	}
	d.o.d = d.dstPred(d.in.Args[0])
	if t == ptx.F64 {
		d.o.a = d.src64(d.in.Args[1])
	} else {
		d.o.a = d.src32(d.in.Args[1])
	}
	d.o.fn = func(w *warp, o *op, m uint32) {
		var r uint32
		for i := range 32 {
			v, least := 0.0, 0x1p-126
			if t == ptx.F64 {
				v, least = f64(w.q[o.a][i]), 0x1p-1022
			} else {
				v = float64(f32(w.r[o.a][i]))
			}
			r |= one(test(v, v != 0 && math.Abs(v) < least)) << i
		}
		w.p[o.d] = w.p[o.d]&^m | r&m
	}
}

func (d *decoder) selp() {
	if !d.args(4, 4) {
		return
	}
	c, not := d.predicate(d.in.Args[3])
	d.o.c = c
	if d.in.Type().Bits() == 64 {
		d.o.d, d.o.a, d.o.b = d.dst64(d.in.Args[0]), d.src64(d.in.Args[1]), d.src64(d.in.Args[2])
		d.o.fn = func(w *warp, o *op, m uint32) {
			p := w.p[o.c]
			if not {
				p = ^p
			}
			D, A, B := &w.q[o.d], &w.q[o.a], &w.q[o.b]
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				if p>>i&1 != 0 {
					D[i] = A[i]
				} else {
					D[i] = B[i]
				}
			}
		}
		return
	}
	src := d.src32
	if d.in.Type().Bits() == 16 {
		src = d.src16
	}
	d.o.d, d.o.a, d.o.b = d.dst32(d.in.Args[0]), src(d.in.Args[1]), src(d.in.Args[2])
	d.o.fn = func(w *warp, o *op, m uint32) {
		p := w.p[o.c]
		if not {
			p = ^p
		}
		D, A, B := &w.r[o.d], &w.r[o.a], &w.r[o.b]
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			if p>>i&1 != 0 {
				D[i] = A[i]
			} else {
				D[i] = B[i]
			}
		}
	}
}

// and, or, xor, not on predicates.
func (d *decoder) predicateLogic() {
	if d.in.Type() != ptx.Pred || d.form("pred") != "" {
		d.unsupported()
		return
	}
	n := 3
	if d.in.Op == "not" {
		n = 2
	}
	if !d.args(n, n) {
		return
	}
	d.o.d = d.dstPred(d.in.Args[0])
	a, notA := d.predicate(d.in.Args[1])
	b, notB := a, notA
	if n == 3 {
		b, notB = d.predicate(d.in.Args[2])
	}
	opcode := d.in.Op
	d.o.fn = func(w *warp, o *op, m uint32) {
		x, y := w.p[a], w.p[b]
		if notA {
			x = ^x
		}
		if notB {
			y = ^y
		}
		switch opcode {
		case "and":
			x &= y
		case "or":
			x |= y
		case "xor":
			x ^= y
		default:
			x = ^x
		}
		w.p[o.d] = w.p[o.d]&^m | x&m
	}
}

// lop3.b32 d, a, b, c, table and lop3.{or,and}.b32 d|p, a, b, c, table, q
func (d *decoder) lop3() {
	combine := d.form("b32")
	if combine != "" && combine != "or" && combine != "and" || d.in.Type() != ptx.B32 {
		d.unsupported()
	}
	n := 5
	if combine != "" {
		n++
	}
	d.args(n, n)
	dst, p, q, not := d.in.Args[0], int32(-1), int32(0), false
	if combine != "" {
		pair, ok := dst.(*ptx.Pair)
		if !ok {
			d.unsupported()
		}
		dst, p = pair.A, d.dstPred(pair.B)
		q, not = d.predicate(d.in.Args[5])
	}
	d.o.d, d.o.a, d.o.b, d.o.c = d.dst32(dst), d.src32(d.in.Args[1]), d.src32(d.in.Args[2]), d.src32(d.in.Args[3])
	d.o.imm = d.imm(4)
	d.o.fn = func(w *warp, o *op, m uint32) {
		var some uint32
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k) & 31
			w.r[o.d][i] = lop3(w.r[o.a][i], w.r[o.b][i], w.r[o.c][i], uint32(o.imm))
			some |= one(w.r[o.d][i] != 0) << i
		}
		if p < 0 {
			return
		}
		v := w.p[q]
		if not {
			v = ^v
		}
		if combine == "or" {
			some |= v
		} else {
			some &= v
		}
		w.p[p] = w.p[p]&^m | some&m
	}
}

// bfi.{b32,b64} d, a, b, place, bits
func (d *decoder) bfi() {
	form := d.form()
	if form != "b32" && form != "b64" {
		d.unsupported()
	}
	d.args(5, 5)
	a := d.in.Args
	d.o.c = d.src32(a[3])
	n := d.src32(a[4])
	if form == "b64" {
		d.o.d, d.o.a, d.o.b = d.dst64(a[0]), d.src64(a[1]), d.src64(a[2])
		d.o.fn = func(w *warp, o *op, m uint32) {
			eachLane(m, func(i int) { w.q[o.d][i] = bfi64(w.q[o.a][i], w.q[o.b][i], w.r[o.c][i], w.r[n][i]) })
		}
		return
	}
	d.o.d, d.o.a, d.o.b = d.dst32(a[0]), d.src32(a[1]), d.src32(a[2])
	d.o.fn = func(w *warp, o *op, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			w.r[o.d][i] = bfi32(w.r[o.a][i], w.r[o.b][i], w.r[o.c][i], w.r[n][i])
		}
	}
}

// memberMask decodes the mask operand of a .sync instruction.
func (d *decoder) memberMask(a ptx.Operand) {
	d.o.sync, d.o.mask = members, d.src32(a)
}

// shfl.sync.MODE.b32 d[|p], a, b, c, mask
func (d *decoder) shfl() {
	if !d.args(5, 5) {
		return
	}
	mode := ""
	for _, m := range []string{"up", "down", "bfly", "idx"} {
		if d.in.Has(m) {
			mode = m
		}
	}
	if d.form(mode) != "sync.b32" {
		d.unsupported()
		return
	}
	dst, p := d.in.Args[0], int32(-1)
	if pair, ok := dst.(*ptx.Pair); ok {
		dst, p = pair.A, d.dstPred(pair.B)
	}
	d.o.d, d.o.a, d.o.b, d.o.c = d.dst32(dst), d.src32(d.in.Args[1]), d.src32(d.in.Args[2]), d.src32(d.in.Args[3])
	d.memberMask(d.in.Args[4])
	d.o.fn = func(w *warp, o *op, m uint32) {
		A, pm := w.r[o.a], uint32(0)
		for x := m; x != 0; x &= x - 1 {
			i := bits.TrailingZeros32(x) & 31
			bv, cv := w.r[o.b][i]&31, w.r[o.c][i]
			seg, clamp := int(cv>>8&31), int(cv&31)
			lo := i & seg
			hi := lo | clamp&^seg
			var j int
			var ok bool
			switch mode {
			case "up":
				j = i - int(bv)
				ok = j >= hi
			case "down":
				j = i + int(bv)
				ok = j <= hi
			case "bfly":
				j = i ^ int(bv)
				ok = j <= hi
			default:
				j = lo | int(bv)&^seg
				ok = j <= hi
			}
			if !ok {
				j = i
			}
			if m>>j&1 == 0 {
				w.trap(Misuse, o, i, "lane %d reads lane %d, which does not take part (mask %#x)", i, j, m)
			}
			w.r[o.d][i] = A[j]
			pm |= one(ok) << i
		}
		if p >= 0 {
			w.p[p] = w.p[p]&^m | pm
		}
	}
}

// vote.sync.{all,any,uni}.pred p, [!]a, mask and vote.sync.ballot.b32 d, [!]a, mask
func (d *decoder) vote() {
	if !d.args(3, 3) {
		return
	}
	a, not := d.predicate(d.in.Args[1])
	d.memberMask(d.in.Args[2])
	form := d.form()
	if kind := d.form("sync", "b32", "pred"); d.in.Has("sync") { // modifiers in any order
		form = "sync." + kind + "." + d.in.Type().String()
	}
	if form == "sync.ballot.b32" {
		d.o.d = d.dst32(d.in.Args[0])
	} else {
		d.o.d = d.dstPred(d.in.Args[0])
	}
	if _, ok := map[string]bool{"sync.ballot.b32": true, "sync.all.pred": true, "sync.any.pred": true, "sync.uni.pred": true}[form]; !ok {
		d.unsupported()
		return
	}
	d.o.fn = func(w *warp, o *op, m uint32) {
		v := w.p[a]
		if not {
			v = ^v
		}
		v &= m
		var r bool
		switch form {
		case "sync.all.pred":
			r = v == m
		case "sync.any.pred":
			r = v != 0
		case "sync.uni.pred":
			r = v == m || v == 0
		default:
			for x := m; x != 0; x &= x - 1 {
				w.r[o.d][bits.TrailingZeros32(x)&31] = v
			}
			return
		}
		w.p[o.d] &^= m
		if r {
			w.p[o.d] |= m
		}
	}
}

// match.any.sync.TYPE d, a, mask and match.all.sync.TYPE d[|p], a, mask
func (d *decoder) match() {
	form := d.form("sync", "b32", "b64")
	if form != "any" && form != "all" || !d.in.Has("sync") {
		d.unsupported()
	}
	if !d.args(3, 3) {
		return
	}
	all := form == "all"
	dst, p := d.in.Args[0], int32(-1)
	if pair, ok := dst.(*ptx.Pair); ok && all {
		dst, p = pair.A, d.dstPred(pair.B)
	}
	d.o.d = d.dst32(dst)
	wide := d.in.Type().Bits() == 64
	if wide {
		d.o.a = d.src64(d.in.Args[1])
	} else {
		d.o.a = d.src32(d.in.Args[1])
	}
	d.memberMask(d.in.Args[2])
	d.o.fn = func(w *warp, o *op, m uint32) {
		var a [32]uint64
		for i := range a {
			if wide {
				a[i] = w.q[o.a][i]
			} else {
				a[i] = uint64(w.r[o.a][i])
			}
		}
		for x := m; x != 0; x &= x - 1 {
			i, r := bits.TrailingZeros32(x)&31, uint32(0)
			for j := range a {
				r |= one(m>>j&1 != 0 && a[j] == a[i]) << j
			}
			if all && r != m {
				r = 0
			}
			w.r[o.d][i] = r
			if p >= 0 {
				w.p[p] = w.p[p]&^(1<<i) | one(r == m)<<i
			}
		}
	}
}

// redux.sync.OP.type d, a, mask
func (d *decoder) redux() {
	if !d.args(3, 3) {
		return
	}
	t := d.in.Type()
	name := strings.TrimSuffix(d.form("sync"), "."+t.String())
	f := reduction(name, t)
	if f == nil || t.Bits() != 32 || t.Float() {
		d.unsupported()
		return
	}
	d.o.d, d.o.a = d.dst32(d.in.Args[0]), d.src32(d.in.Args[1])
	d.memberMask(d.in.Args[2])
	d.o.fn = func(w *warp, o *op, m uint32) {
		i := first(m)
		r := uint64(w.r[o.a][i])
		for x := m & (m - 1); x != 0; x &= x - 1 {
			r = f(r, uint64(w.r[o.a][bits.TrailingZeros32(x)&31]))
		}
		for x := m; x != 0; x &= x - 1 {
			w.r[o.d][bits.TrailingZeros32(x)&31] = uint32(r)
		}
	}
}

// elect.sync d|p, mask: the lowest lane of the mask leads.
func (d *decoder) elect() {
	if !d.args(2, 2) {
		return
	}
	pair, ok := d.in.Args[0].(*ptx.Pair)
	if !ok {
		d.unsupported()
		return
	}
	d.o.d, d.o.a = d.dst32(pair.A), d.dstPred(pair.B)
	d.memberMask(d.in.Args[1])
	d.o.fn = func(w *warp, o *op, m uint32) {
		l := first(m)
		for x := m; x != 0; x &= x - 1 {
			w.r[o.d][bits.TrailingZeros32(x)&31] = uint32(l)
		}
		w.p[o.a] = w.p[o.a]&^m | 1<<l
	}
}

func (d *decoder) activemask() {
	if !d.args(1, 1) {
		return
	}
	d.o.d = d.dst32(d.in.Args[0])
	d.o.fn = func(w *warp, o *op, m uint32) {
		for x := m; x != 0; x &= x - 1 {
			w.r[o.d][bits.TrailingZeros32(x)&31] = m
		}
	}
}
