//go:build !amd64

package sim

import "github.com/stylize-gpu/stylize/gpu/ptx"

func fmaRow(d, a, b, c *[32]uint32) { fmaRowGo(d, a, b, c) }

func products(d [][16]float64, a *[16][16]float64, b [][16]float64) { productsGo(d, a, b) }

func widen(d [][16]float64, at int, src []uint32, t ptx.Type) { widenGo(d, at, src, t) }
