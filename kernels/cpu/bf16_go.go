//go:build !cgo

package cpu

type cTiles struct{}

// Tiles returns nil: bf16 needs C.
func (l *Loops) Tiles() *Tiles { return nil }

// AMX returns nil.
func AMX() *Tiles { return nil }

const noTiles = "kernels/cpu: no bf16 in a build without C"

// TilesPack and those that follow are never called: there are no [Tiles].
func (p *Pool) TilesPack(t *Tiles, w []float32, co, ci int, dgrad bool, out []float32) {
	panic(noTiles)
}

func (p *Pool) TilesPackFirst(t *Tiles, w, out []float32)                       { panic(noTiles) }
func (p *Pool) TilesMatrix(t *Tiles, g []float32, c, pixels int, out []float32) { panic(noTiles) }
func (p *Pool) TilesConv(t *Tiles, a *TilesConv)                                { panic(noTiles) }
func (p *Pool) TilesFromPlain(t *Tiles, m, x []float32, h, w, c int)            { panic(noTiles) }
func (p *Pool) TilesToPlain(t *Tiles, x, m []float32, h, w, c int)              { panic(noTiles) }
func (p *Pool) TilesMul(t *Tiles, y, m, mask []float32, h, w, c int)            { panic(noTiles) }
func (p *Pool) TilesPeak(t *Tiles, rounds int) float64                          { panic(noTiles) }
func (p *Pool) TilesFirst(t *Tiles, y, bits, x, weights, bias []float32, n, h, w, strip int, work []float32) {
	panic(noTiles)
}

func (p *Pool) TilesGram(t *Tiles, g, m []float32, h, w, c, slices int, work []float32) {
	panic(noTiles)
}

func (p *Pool) TilesMSEFwd(t *Tiles, m, target []float32, h, w, c int) float64 { panic(noTiles) }

func (p *Pool) TilesMSEBwd(t *Tiles, y, m, target []float32, scale float32, h, w, c int) {
	panic(noTiles)
}
