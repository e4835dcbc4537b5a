package sim

// vectors are lane-wise instructions for whole warps, and comparisons of setp, by
// name.
var vectors, vectorComparisons = func() (map[string]any, map[string]func(a, b *[32]uint32) uint32) {
	if !avx2 {
		return nil, nil
	}
	return map[string]any{
			"add.f32":            addFloats,
			"add.rn.f32":         addFloats,
			"add.s32":            addWords,
			"add.s64":            addLongs,
			"add.u32":            addWords,
			"add.u64":            addLongs,
			"and.b32":            andWords,
			"and.b64":            andLongs,
			"cvta.to.global.u64": copyLongs,
			"mov.b32":            copyWords,
			"mov.u32":            copyWords,
			"mov.s32":            copyWords,
			"mov.f32":            copyWords,
			"mov.b64":            copyLongs,
			"mov.u64":            copyLongs,
			"mov.s64":            copyLongs,
			"mov.f64":            copyLongs,
			"cvt.f32.f16":        floatsOfHalves,
			"cvt.s64.s32":        signExtend,
			"cvt.s64.u32":        zeroExtend,
			"cvt.u64.s32":        signExtend,
			"cvt.u64.u32":        zeroExtend,
			"fma.rn.f32":         fmaAVX2,
			"mad.lo.s32":         madWords,
			"mad.lo.u32":         madWords,
			"max.s32":            maxSigned,
			"max.u32":            maxUnsigned,
			"min.s32":            minSigned,
			"min.u32":            minUnsigned,
			"mul.f32":            mulFloats,
			"mul.lo.s32":         mulWords,
			"mul.lo.u32":         mulWords,
			"mul.rn.f32":         mulFloats,
			"mul.wide.s32":       mulWideSigned,
			"mul.wide.u32":       mulWideUnsigned,
			"or.b32":             orWords,
			"or.b64":             orLongs,
			"shl.b32":            shlWords,
			"shl.b64":            shlLongs,
			"shr.b32":            shrWords,
			"shr.b64":            shrLongs,
			"shr.s32":            sarWords,
			"shr.u32":            shrWords,
			"shr.u64":            shrLongs,
			"sub.f32":            subFloats,
			"sub.rn.f32":         subFloats,
			"sub.s32":            subWords,
			"sub.s64":            subLongs,
			"sub.u32":            subWords,
			"sub.u64":            subLongs,
			"xor.b32":            xorWords,
			"xor.b64":            xorLongs,
		}, map[string]func(a, b *[32]uint32) uint32{
			"eq.b32":  equal,
			"eq.f32":  equalFloat,
			"eq.s32":  equal,
			"eq.u32":  equal,
			"ge.f32":  greaterEqualFloat,
			"ge.s32":  greaterEqualSigned,
			"gt.f32":  greaterFloat,
			"gt.s32":  greaterSigned,
			"le.f32":  lessEqualFloat,
			"le.s32":  lessEqualSigned,
			"lt.f32":  lessFloat,
			"lt.s32":  lessSigned,
			"ne.b32":  notEqual,
			"ne.s32":  notEqual,
			"ne.u32":  notEqual,
			"neu.f32": notEqualUnordered,
		}
}()

//go:noescape
func copyWords(d, a *[32]uint32)

//go:noescape
func copyLongs(d, a *[32]uint64)

//go:noescape
func addWords(d, a, b *[32]uint32)

//go:noescape
func subWords(d, a, b *[32]uint32)

//go:noescape
func mulWords(d, a, b *[32]uint32)

//go:noescape
func andWords(d, a, b *[32]uint32)

//go:noescape
func orWords(d, a, b *[32]uint32)

//go:noescape
func xorWords(d, a, b *[32]uint32)

//go:noescape
func shlWords(d, a, b *[32]uint32)

//go:noescape
func shrWords(d, a, b *[32]uint32)

//go:noescape
func sarWords(d, a, b *[32]uint32)

//go:noescape
func minSigned(d, a, b *[32]uint32)

//go:noescape
func maxSigned(d, a, b *[32]uint32)

//go:noescape
func minUnsigned(d, a, b *[32]uint32)

//go:noescape
func maxUnsigned(d, a, b *[32]uint32)

//go:noescape
func addFloats(d, a, b *[32]uint32)

//go:noescape
func subFloats(d, a, b *[32]uint32)

//go:noescape
func mulFloats(d, a, b *[32]uint32)

//go:noescape
func addLongs(d, a, b *[32]uint64)

//go:noescape
func subLongs(d, a, b *[32]uint64)

//go:noescape
func andLongs(d, a, b *[32]uint64)

//go:noescape
func orLongs(d, a, b *[32]uint64)

//go:noescape
func xorLongs(d, a, b *[32]uint64)

//go:noescape
func mulWideSigned(d *[32]uint64, a, b *[32]uint32)

//go:noescape
func mulWideUnsigned(d *[32]uint64, a, b *[32]uint32)

//go:noescape
func shlLongs(d, a *[32]uint64, b *[32]uint32)

//go:noescape
func shrLongs(d, a *[32]uint64, b *[32]uint32)

//go:noescape
func signExtend(d *[32]uint64, a *[32]uint32)

//go:noescape
func zeroExtend(d *[32]uint64, a *[32]uint32)

//go:noescape
func equal(a, b *[32]uint32) uint32

//go:noescape
func notEqual(a, b *[32]uint32) uint32

//go:noescape
func greaterSigned(a, b *[32]uint32) uint32

//go:noescape
func lessEqualSigned(a, b *[32]uint32) uint32

//go:noescape
func lessSigned(a, b *[32]uint32) uint32

//go:noescape
func greaterEqualSigned(a, b *[32]uint32) uint32

//go:noescape
func lessFloat(a, b *[32]uint32) uint32

//go:noescape
func lessEqualFloat(a, b *[32]uint32) uint32

//go:noescape
func greaterFloat(a, b *[32]uint32) uint32

//go:noescape
func greaterEqualFloat(a, b *[32]uint32) uint32

//go:noescape
func equalFloat(a, b *[32]uint32) uint32

//go:noescape
func notEqualUnordered(a, b *[32]uint32) uint32

//go:noescape
func madWords(d, a, b, c *[32]uint32)

//go:noescape
func floatsOfHalves(d, a *[32]uint32)
