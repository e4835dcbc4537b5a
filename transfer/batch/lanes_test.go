package batch

import (
	"testing"

	"github.com/stylize-gpu/stylize/transfer"
)

// A lane paints small pictures side by side where there are enough of them: no slot is to
// stand empty for longer than the others gain.
func TestLaneSlots(t *testing.T) {
	for _, c := range []struct{ lanes, pictures, w, h, want int }{
		{2, 1000, 64, 64, 4},
		{2, 1000, 128, 128, 2},
		{2, 1000, 128, 86, 2},
		{2, 1000, 96, 96, 3},
		{2, 1000, 256, 256, 1},
		{2, 1000, 4096, 4096, 1},
		{1, 1000, 64, 64, 4},
		{2, 1, 64, 64, 1},
		{2, 2, 64, 64, 1},
		{2, 4, 64, 64, 2},
		{2, 3, 64, 64, 2},
		{2, 5, 64, 64, 3}, // one lane has three of them, the other two
		{2, 8, 64, 64, 4},
		{2, 6, 64, 64, 3},
		{2, 4, 128, 128, 2},
		{2, 6, 128, 128, 1}, // three each, of which two side by side and one pay for four
	} {
		l := &Lanes{n: c.lanes, pictures: map[[2]int]int{{c.w, c.h}: c.pictures}}
		if got := l.slots(c.w, c.h); got != c.want {
			t.Errorf("%d pictures of %dx%d in %d lanes: %d slots, want %d", c.pictures, c.w, c.h, c.lanes, got, c.want)
		}
	}
}

// Only pictures that are still to be painted count, at each of their levels.
func TestLanesCountPictures(t *testing.T) {
	many(t, 7) // 40 by 28, 29 and 30
	paint(t, "out/00.png", 9, 9, 1)
	in := inputs("out/{content}.png", "in")
	in.Options.Ladder = []transfer.Level{{Size: 16, Iterations: 1}}
	l, err := check(t, in, Checks{})
	if err != nil {
		t.Fatal(err)
	}
	got := l.Lanes(2, 0).pictures
	if len(got) != 4 || got[[2]int{16, 16}] != 6 || got[[2]int{32, 22}] != 2 || got[[2]int{32, 23}] != 2 || got[[2]int{32, 24}] != 2 {
		t.Errorf("%v", got)
	}
}
