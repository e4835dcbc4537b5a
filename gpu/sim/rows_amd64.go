package sim

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// avx2 says that the loops of rows_amd64.s can be used.
var avx2 = cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3, cpuid.F16C)

//go:noescape
func fmaAVX2(d, a, b, c *[32]uint32)

//go:noescape
func productsAVX2(d *[16]float64, a *[16][16]float64, b *[16]float64, columns int)

//go:noescape
func widenF16AVX2(d *float64, src *uint32, rows int)

//go:noescape
func widenBF16AVX2(d *float64, src *uint32, rows int)

//go:noescape
func widenTF32AVX2(d *float64, src *uint32, rows int)

func fmaRow(d, a, b, c *[32]uint32) {
	if avx2 {
		fmaAVX2(d, a, b, c)
	} else {
		fmaRowGo(d, a, b, c)
	}
}

func products(d [][16]float64, a *[16][16]float64, b [][16]float64) {
	if avx2 {
		productsAVX2(&d[0], a, &b[0], len(b))
	} else {
		productsGo(d, a, b)
	}
}

func widen(d [][16]float64, at int, src []uint32, t ptx.Type) {
	switch {
	case !avx2:
		widenGo(d, at, src, t)
	case t == ptx.F16:
		widenF16AVX2(&d[0][at], &src[0], len(src)/4)
	case t == ptx.BF16:
		widenBF16AVX2(&d[0][at], &src[0], len(src)/4)
	default:
		widenTF32AVX2(&d[0][at], &src[0], len(src)/4)
	}
}

//go:noescape
func widenAtF16AVX2(d *float64, mem *byte, at *uint32, rows int)

//go:noescape
func widenAtBF16AVX2(d *float64, mem *byte, at *uint32, rows int)

//go:noescape
func widenAtTF32AVX2(d *float64, mem *byte, at *uint32, rows int)

func widenAt(d [][16]float64, at int, mem []byte, rows []uint32, t ptx.Type) {
	switch {
	case !avx2:
		widenAtGo(d, at, mem, rows, t)
	case t == ptx.F16:
		widenAtF16AVX2(&d[0][at], &mem[0], &rows[0], len(rows))
	case t == ptx.BF16:
		widenAtBF16AVX2(&d[0][at], &mem[0], &rows[0], len(rows))
	default:
		widenAtTF32AVX2(&d[0][at], &mem[0], &rows[0], len(rows))
	}
}

//go:noescape
func spanAVX2(at, a *[32]uint32, offset uint32) (first, last, all uint32)

//go:noescape
func samePatternAVX2(at, from *[32]uint32) bool

func samePattern(at, from *[32]uint32) bool {
	if avx2 {
		return samePatternAVX2(at, from)
	}
	return samePatternGo(at, from)
}

//go:noescape
func loadQuadsAVX2(d0, d1, d2, d3 *[32]uint32, mem *byte, at *[32]uint32)

//go:noescape
func sumAVX2(d, c *[32]uint32, products *float64)

func span(at, a *[32]uint32, offset uint32) (first, last, all uint32) {
	if avx2 {
		return spanAVX2(at, a, offset)
	}
	return spanGo(at, a, offset)
}

func loadQuads(d0, d1, d2, d3 *[32]uint32, mem []byte, at *[32]uint32) {
	if avx2 {
		loadQuadsAVX2(d0, d1, d2, d3, &mem[0], at)
	} else {
		loadQuadsGo(d0, d1, d2, d3, mem, at)
	}
}

func sum(d, c *[32]uint32, products *[8][16]float64, odd, row int) {
	if avx2 {
		sumAVX2(d, c, &products[odd][row])
	} else {
		sumGo(d, c, products, odd, row)
	}
}

//go:noescape
func joinAVX2(dst, src *uint32, n int)

func joinRow(dst, src []uint32) {
	n := len(dst) &^ 7
	if !avx2 {
		n = 0
	}
	if n > 0 {
		joinAVX2(&dst[0], &src[0], n)
	}
	joinGo(dst[n:], src[n:])
}

//go:noescape
func storeQuadsAVX2(mem *byte, at, s0, s1, s2, s3 *[32]uint32)

func loadRow(d *[32]uint32, mem *[128]byte) {
	if avx2 {
		copyWords(d, (*[32]uint32)(unsafe.Pointer(mem)))
	} else {
		loadRowGo(d, mem)
	}
}

func storeRow(mem *[128]byte, s *[32]uint32) {
	if avx2 {
		copyWords((*[32]uint32)(unsafe.Pointer(mem)), s)
	} else {
		storeRowGo(mem, s)
	}
}

func storeQuads(mem []byte, at, s0, s1, s2, s3 *[32]uint32) {
	if avx2 {
		storeQuadsAVX2(&mem[0], at, s0, s1, s2, s3)
	} else {
		storeQuadsGo(mem, at, s0, s1, s2, s3)
	}
}

//go:noescape
func broadcastWordsAVX2(d *[32]uint32, v uint32)

//go:noescape
func broadcastLongsAVX2(d *[32]uint64, v uint64)

func broadcastWords(d *[32]uint32, v uint32) {
	if avx2 {
		broadcastWordsAVX2(d, v)
	} else {
		broadcastGo(d, v)
	}
}

func broadcastLongs(d *[32]uint64, v uint64) {
	if avx2 {
		broadcastLongsAVX2(d, v)
	} else {
		broadcastGo(d, v)
	}
}

//go:noescape
func stridedAVX2(a *[32]uint64, n uint64) bool

func strided(a *[32]uint64, n uint64) bool {
	if avx2 {
		return stridedAVX2(a, n)
	}
	return stridedGo(a, n)
}
