//go:build !amd64

package sim

import "github.com/stylize-gpu/stylize/gpu/ptx"

func fmaRow(d, a, b, c *[32]uint32) { fmaRowGo(d, a, b, c) }

func products(d [][16]float64, a *[16][16]float64, b [][16]float64) { productsGo(d, a, b) }

func widen(d [][16]float64, at int, src []uint32, t ptx.Type) { widenGo(d, at, src, t) }

func widenAt(d [][16]float64, at int, mem []byte, rows []uint32, t ptx.Type) {
	widenAtGo(d, at, mem, rows, t)
}

func span(at, a *[32]uint32, offset uint32) (first, last, all uint32) { return spanGo(at, a, offset) }

func samePattern(at, from *[32]uint32) bool { return samePatternGo(at, from) }

func loadQuads(d0, d1, d2, d3 *[32]uint32, mem []byte, at *[32]uint32) {
	loadQuadsGo(d0, d1, d2, d3, mem, at)
}

func sum(d, c *[32]uint32, products *[8][16]float64, odd, row int) {
	sumGo(d, c, products, odd, row)
}

func loadRow(d *[32]uint32, mem *[128]byte) { loadRowGo(d, mem) }

func storeRow(mem *[128]byte, s *[32]uint32) { storeRowGo(mem, s) }

func storeQuads(mem []byte, at, s0, s1, s2, s3 *[32]uint32) { storeQuadsGo(mem, at, s0, s1, s2, s3) }

func broadcastWords(d *[32]uint32, v uint32) { broadcastGo(d, v) }

func broadcastLongs(d *[32]uint64, v uint64) { broadcastGo(d, v) }

func strided(a *[32]uint64, n uint64) bool { return stridedGo(a, n) }

func joinRow(dst, src []uint32) { joinGo(dst, src) }

var (
	vectors           map[string]any
	vectorComparisons map[string]func(a, b *[32]uint32) uint32
)
