package main

import (
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
)

// Every distance belongs to the row that names it, and to one only.
func TestRows(t *testing.T) {
	for distance, want := range map[int]string{0: "0", 1: "1", 2: "2 to 3", 3: "2 to 3", 31: "16 to 31", 63: "32 to 63", 64: "64 and more", 500: "64 and more"} {
		if got := span(row(distance)); got != want {
			t.Errorf("%d pixels are in the row %q, not %q", distance, got, want)
		}
	}
	if e := edge(3, 9, 12, 11); e != 1 {
		t.Errorf("%d pixels from the edge, not 1", e)
	}
}

// Features are compared at the same place of the window: of two that count pixels, only
// one that is off differs, and in its row.
func TestCompare(t *testing.T) {
	count := func(first, n int) feature {
		f := feature{gpu.Shape{N: 1, H: n, W: n, C: 1}, nil}
		for y := range n {
			for x := range n {
				f.v = append(f.v, float32((y+first)*1000+x+first))
			}
		}
		return f
	}
	want, got := count(-margin, side+2*margin), count(-16, side+32)
	errs := make([][]ratio, len(rows))
	for r := range errs {
		errs[r] = make([]ratio, 1)
	}
	got.at(16+5, 16+100)[0] += 7
	compare(errs, 0, got, want, 16)
	for r := range errs {
		if e, wrong := errs[r][0].sum, r == row(5); wrong && e != 49 || !wrong && e != 0 {
			t.Errorf("%s: %g", span(r), e)
		}
	}
}
