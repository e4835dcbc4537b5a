package batch

import "github.com/stylize-gpu/stylize/transfer"

// Lanes are devices of one CPU that work off one list.
type Lanes struct {
	n        int
	pictures map[[2]int]int // by extent, at all of their levels
	hand     int            // that a lane may have in work at once, whatever picture it has
}

// Lanes looks how many pictures n lanes have to paint at each extent.
func (l *List) Lanes(n, snap int) *Lanes {
	all := &Lanes{n, map[[2]int]int{}, len(takes) - 1}
	for _, it := range l.Items {
		if it.present {
			continue
		}
		stages := it.stages(snap)
		all.hand = min(all.hand, transfer.InHand(stages, mostSlots))
		for _, st := range stages {
			all.pictures[[2]int{st.W, st.H}]++
		}
	}
	return all
}

// takes are what a picture takes of the time that it takes alone, where so many are painted
// side by side: weights of deep layers are read from memory once for all of them. It lies
// between what docs/batch.md has of 64x64 and of 128x128.
var takes = [...]float64{1: 1, 2: 0.85, 3: 0.8, 4: 0.75}

// sideBySide is the number of pixels that gain so: with more, features leave the caches.
const sideBySide = 1 << 15

// mostSlots is how many pictures of an extent gain from being side by side.
func mostSlots(w, h int) int { return max(min(sideBySide/(w*h), len(takes)-1), 1) }

// slots is how many pictures of an extent each lane paints side by side. An empty slot is
// computed, too, so a few pictures are spread over the lanes first.
func (l *Lanes) slots(w, h int) int {
	n := l.pictures[[2]int{w, h}]
	best, least := 1, 0.0
	for slots := 1; slots <= mostSlots(w, h); slots++ {
		rounds := (n + l.n*slots - 1) / (l.n * slots)
		if took := float64(max(rounds, 1)*slots) * takes[slots]; slots == 1 || took < least {
			best, least = slots, took
		}
	}
	return best
}
