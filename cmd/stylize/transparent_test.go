package main

import (
	"image"
	"image/color"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/transfer/picture"
)

// Colours that transparent pixels of a style hide are no matter, and a style that shows
// nothing is refused before any work.
func TestTransparentStyle(t *testing.T) {
	samples(t)
	style := func(name string, hidden color.NRGBA, visible int) {
		m := image.NewNRGBA(image.Rect(0, 0, 40, 30))
		for y := range 30 {
			for x := range 40 {
				m.SetNRGBA(x, y, hidden)
				if x < visible {
					m.SetNRGBA(x, y, color.NRGBA{uint8(7 * x), uint8(9 * y), uint8(x * y), 255})
				}
			}
		}
		writePNG(t, name, m)
	}
	style("red.png", color.NRGBA{255, 0, 0, 0}, 20)
	style("blue.png", color.NRGBA{0, 0, 255, 0}, 20)
	style("grey.png", color.NRGBA{128, 128, 128, 255}, 20)
	style("nothing.png", color.NRGBA{1, 2, 3, 0}, 0)
	paint := func(style string) []float32 {
		if code, _, stderr := stylize(t.Context(), "content.png", style, "-o", "out.png", small, "-n", "2", rnd); code != 0 {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		s, err := picture.Open("out.png", 0)
		if err != nil {
			t.Fatal(err)
		}
		return s.Resize(s.W, s.H, picture.Bicubic).RGB
	}
	red := paint("red.png")
	if !slices.Equal(red, paint("blue.png")) {
		t.Error("hidden colours of a style are seen in the result")
	}
	if slices.Equal(red, paint("grey.png")) {
		t.Error("what is visible is not seen in the result")
	}
	os.Remove("out.png")
	code, _, stderr := stylize(t.Context(), "content.png", "nothing.png", "-o", "out.png", small, rnd)
	if code != exitUsage || !strings.Contains(stderr, "nothing.png: is transparent everywhere") || strings.Count(stderr, "\n") > 1 {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, err := os.Stat("out.png"); err == nil {
		t.Error("a result was written")
	}
}
