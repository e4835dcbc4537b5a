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

func loadQuads(d0, d1, d2, d3 *[32]uint32, mem []byte, at *[32]uint32) {
	loadQuadsGo(d0, d1, d2, d3, mem, at)
}

func sum(d, c *[32]uint32, products *[8][16]float64, odd, row int) {
	sumGo(d, c, products, odd, row)
}

func joinRow(dst, src []uint32) { joinGo(dst, src) }

var (
	vectors           map[string]any
	vectorComparisons map[string]func(a, b *[32]uint32) uint32
)
