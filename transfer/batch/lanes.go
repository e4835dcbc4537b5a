package batch

// Lanes are devices of one CPU that work off one list.
type Lanes struct {
	n        int
	pictures map[[2]int]int // by the extent of their last level
}

// Lanes looks how many pictures of each extent there are for n lanes to paint.
func (l *List) Lanes(n, snap int) *Lanes {
	all := &Lanes{n, map[[2]int]int{}}
	for _, it := range l.Items {
		if it.present {
			continue
		}
		levels := it.stages(snap)
		end := levels[len(levels)-1]
		all.pictures[[2]int{end.W, end.H}]++
	}
	return all
}

// takes are what a picture takes of the time that it takes alone, where so many are painted
// side by side: weights of deep layers are read from memory once for all of them. It lies
// between what docs/batch.md has of 64x64 and of 128x128.
var takes = [...]float64{1: 1, 2: 0.85, 3: 0.8, 4: 0.75}

// sideBySide is the number of pixels that gain so: with more, features leave the caches.
const sideBySide = 1 << 15

// slots is how many pictures of an extent each lane paints side by side. An empty slot is
// computed, too, so a few pictures are spread over the lanes first.
func (l *Lanes) slots(w, h int) int {
	n := l.pictures[[2]int{w, h}]
	best, least := 1, 0.0
	for slots := 1; slots < len(takes) && slots <= max(sideBySide/(w*h), 1); slots++ {
		rounds := (n + l.n*slots - 1) / (l.n * slots)
		if took := float64(max(rounds, 1)*slots) * takes[slots]; slots == 1 || took < least || n == 0 {
			best, least = slots, took
		}
	}
	return best
}
