// Package picturetest makes pictures for the tests of other packages.
package picturetest

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/transfer/picture"
)

// Grey is a picture of such values, as a mask is, without a hash.
func Grey(w, h int, of func(x, y int) float32) *picture.Source {
	p := &picture.Picture{W: w, H: h}
	for y := range h {
		for x := range w {
			v := of(x, y)
			p.RGB = append(p.RGB, v, v, v)
		}
	}
	return p.Source("mask", "")
}

// Source is a picture as it comes from a file; another for each seed, with a hash that
// tells it from the others.
func Source(tb testing.TB, w, h, seed int) *picture.Source {
	tb.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{uint8(7*x + 50*seed), uint8(9*y + 31*seed), uint8(x*y*seed + 90), 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		tb.Fatal(err)
	}
	s, err := picture.Decode(b.Bytes(), 0)
	if err != nil {
		tb.Fatal(err)
	}
	s.SHA256 = strings.Repeat(string(rune('a'+seed)), 64)
	return s
}
