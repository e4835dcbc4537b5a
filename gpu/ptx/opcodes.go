package ptx

import "strings"

// opcodes lists the instructions of the PTX ISA that a kernel of this project
// may hold, each with the modifiers that belong to it. "T" stands for any
// type. A simulator may support fewer combinations; anything outside this
// table is a mistake in the source, or newer than the table.
var opcodes = func() map[string]map[string]bool {
	const (
		scopes = " cta cluster gpu sys"
		order  = " relaxed acquire release acq_rel weak volatile mmio"
		spaces = " global shared shared::cta shared::cluster local const param param::entry param::func"
		cache  = " ca cg cs cv lu wb wt nc L1::evict_normal L1::evict_unchanged L1::evict_first L1::evict_last" +
			" L1::no_allocate L2::evict_last L2::evict_normal L2::evict_first L2::cache_hint L2::64B L2::128B L2::256B"
		cmp    = " eq ne lt le gt ge lo ls hi hs equ neu ltu leu gtu geu num nan"
		round  = " rn rz rm rp rna rni rzi rmi rpi"
		tensor = " 1d 2d 3d 4d 5d tile im2col im2col_no_offs tile::gather4 tile::scatter4 mbarrier::complete_tx::bytes" +
			" multicast::cluster cta_group::1 cta_group::2 bulk_group read"
	)
	text := map[string]string{
		"abs": "T ftz", "neg": "T ftz", "not": "T", "cnot": "T",
		"add": "T ftz sat cc" + round, "sub": "T ftz sat cc" + round, "addc": "T cc", "subc": "T cc",
		"mul": "T ftz sat lo hi wide" + round, "mul24": "T lo hi", "mad": "T ftz sat lo hi wide cc" + round, "madc": "T lo hi cc",
		"mad24": "T lo hi sat", "fma": "T ftz sat relu oob" + round, "div": "T ftz approx full" + round, "rem": "T",
		"min": "T ftz NaN xorsign abs relu", "max": "T ftz NaN xorsign abs relu", "sad": "T",
		"sqrt": "T ftz approx" + round, "rsqrt": "T ftz approx", "rcp": "T ftz approx ftz64h" + round,
		"ex2": "T ftz approx", "lg2": "T ftz approx", "sin": "T ftz approx", "cos": "T ftz approx", "tanh": "T approx",
		"and": "T", "or": "T", "xor": "T", "shl": "T", "shr": "T", "shf": "T l r clamp wrap", "lop3": "T or and",
		"bfe": "T", "bfi": "T", "bfind": "T shiftamt", "brev": "T", "clz": "T", "popc": "T", "prmt": "T f4e b4e rc8 ecl ecr rc16",
		"fns": "T", "szext": "T clamp wrap", "bmsk": "T clamp wrap", "dp4a": "T", "dp2a": "T lo hi", "copysign": "T", "testp": "T finite infinite number notanumber normal subnormal",
		"set": "T ftz and or xor" + cmp, "setp": "T ftz and or xor" + cmp, "selp": "T", "slct": "T ftz",
		"mov": "T v2 v4", "cvt": "T ftz sat relu satfinite pack" + round, "cvta": "T to" + spaces, "isspacep": spaces,
		"ld":  "T v2 v4 v8 unified" + spaces + cache + order + scopes,
		"ldu": "T v2 v4 global", "st": "T v2 v4 v8" + spaces + cache + order + scopes + " async mbarrier::complete_tx::bytes",
		"prefetch": "L1 L2 tensormap" + spaces + cache, "prefetchu": "L1",
		"createpolicy": "T fractional range cvt L2 global" + cache, "applypriority": "global" + cache, "discard": "global L2 L1",
		"atom": "T v2 v4 v8 noftz add and or xor cas exch min max inc dec" + spaces + order + scopes + " L2::cache_hint",
		"red":  "T v2 v4 v8 noftz add and or xor min max inc dec async mbarrier::complete_tx::bytes L2::cache_hint" + spaces + order + scopes,
		"bar":  "sync arrive red warp cta aligned popc and or T", "barrier": "sync arrive red wait cluster cta aligned popc and or release acquire relaxed T",
		"membar": "gl cta sys proxy alias", "fence": "sc acq_rel acquire release sync_restrict::shared::cta sync_restrict::shared::cluster mbarrier_init" +
			" proxy alias async tensormap::generic unidirectional" + spaces + scopes + " async::generic",
		"vote": "sync ballot all any uni T", "match": "sync any all T", "activemask": "T", "redux": "sync T add min max and or xor abs NaN",
		"shfl": "sync up down bfly idx T", "elect": "sync", "nanosleep": "T",
		"call": "uni", "bra": "uni", "brx": "idx uni", "ret": "uni", "exit": "", "trap": "", "brkpt": "", "pmevent": "mask",
		"ldmatrix": "sync aligned m8n8 x1 x2 x4 trans T" + spaces, "stmatrix": "sync aligned m8n8 x1 x2 x4 trans T" + spaces,
		"movmatrix": "sync aligned m8n8 trans T",
		"mma": "sync aligned row col m8n8k4 m8n8k16 m8n8k32 m8n8k128 m16n8k4 m16n8k8 m16n8k16 m16n8k32 m16n8k64 m16n8k128 m16n8k256" +
			" satfinite xor and popc rn rz rm rp T",
		"wmma": "load store mma a b c d sync aligned row col m16n16k16 m32n8k16 m8n32k16 m16n16k8 m8n8k4 m8n8k32 m8n8k128 satfinite" +
			" xor and popc rn rz rm rp T" + spaces,
		"cp": "async ca cg shared shared::cta shared::cluster global commit_group wait_group wait_all bulk tensor reduce prefetch noftz" +
			" L2 mbarrier arrive noinc T add min max inc dec and or xor" + tensor + cache,
		"cvt.pack": "", "mapa": "T" + spaces, "getctarank": "T" + spaces,
		"mbarrier": "init inval expect_tx complete_tx arrive arrive_drop test_wait try_wait pending_count noComplete parity T" +
			spaces + order + scopes,
		"wgmma": "fence commit_group wait_group mma_async sync aligned satfinite and popc T", "setmaxnreg": "inc dec sync aligned T",
		"griddepcontrol": "launch_dependents wait", "tensormap": "replace tile T",
	}
	m := map[string]map[string]bool{}
	for op, mods := range text {
		m[op] = map[string]bool{}
		for _, mod := range strings.Fields(mods) {
			m[op][mod] = true
		}
		if m[op]["T"] {
			delete(m[op], "T")
			for name := range typeByName {
				m[op][name] = true
			}
		}
	}
	return m
}()

// wgmmaShape reports whether a modifier is m64nNkK, N a multiple of 8 up to 256.
func wgmmaShape(mod string) bool {
	_, _, ok := ParseWGMMAShape(mod)
	return ok
}

// ParseWGMMAShape reads m64nNkK: N is a multiple of 8 from 8 to 256, K is 8,
// 16, 32 or 256.
func ParseWGMMAShape(mod string) (n, k int, ok bool) {
	rest, found := strings.CutPrefix(mod, "m64n")
	if !found {
		return 0, 0, false
	}
	a, b, found := strings.Cut(rest, "k")
	if !found {
		return 0, 0, false
	}
	n, okN := decimal(a)
	k, okK := decimal(b)
	return n, k, okN && okK && n >= 8 && n <= 256 && n%8 == 0 && (k == 8 || k == 16 || k == 32 || k == 256)
}

// decimal reads a short unsigned decimal number.
func decimal(s string) (int, bool) {
	if s == "" || len(s) > 9 || (len(s) > 1 && s[0] == '0') {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if !digit(s[i]) {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// checkOpcode says what is unknown about an opcode, or "".
func checkOpcode(op string, mods []string) string {
	known, ok := opcodes[op]
	if !ok {
		return "unknown opcode " + op
	}
	for _, m := range mods {
		if !known[m] && (op != "wgmma" || !wgmmaShape(m)) {
			return "unknown modifier ." + m + " of " + op
		}
	}
	return ""
}
