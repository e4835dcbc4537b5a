package gpu

import (
	"fmt"
	"sort"
)

// Align is the alignment of every placed buffer, in bytes: a multiple of any
// vector and of a GPU's widest transaction.
const Align = 256

// Span is one block of memory that a device wants placed: its size and the
// first and last step (inclusive) at which it holds a value that matters.
// First == Last for a block that one step fills and nobody reads.
type Span struct {
	Name        string
	Bytes       int64
	First, Last int
}

// Placement says where each span lies in one arena.
type Placement struct {
	Offsets []int64 // by span
	Bytes   int64   // size of the arena
	Floor   int64   // the largest sum of spans alive at one step: no arena is smaller
	At      int     // the step where that happens
}

// Place packs spans into one arena so that no two that are alive together
// overlap. It goes through the spans from the largest to the smallest and puts
// each at the lowest free offset (greedy by size; Pisarchyk and Lee,
// arXiv 2001.03288). The result depends on the spans alone.
func Place(spans []Span) (Placement, error) {
	p := Placement{Offsets: make([]int64, len(spans))}
	order := make([]int, len(spans))
	steps := 0
	for i, s := range spans {
		if s.Bytes < 0 || s.First < 0 || s.Last < s.First {
			return p, fmt.Errorf("place %s: %d bytes alive from step %d to %d", s.Name, s.Bytes, s.First, s.Last)
		}
		order[i] = i
		steps = max(steps, s.Last+1)
	}
	sort.SliceStable(order, func(a, b int) bool { return spans[order[a]].Bytes > spans[order[b]].Bytes })

	alive := make([]int64, steps)
	var placed []int // kept sorted by offset
	for _, i := range order {
		s, size := spans[i], round(spans[i].Bytes)
		for t := s.First; t <= s.Last; t++ {
			alive[t] += size
		}
		var at int64
		for _, j := range placed { // lowest gap between neighbours alive with s
			o := spans[j]
			if o.Last < s.First || s.Last < o.First {
				continue
			}
			if at+size <= p.Offsets[j] {
				break
			}
			at = max(at, p.Offsets[j]+round(o.Bytes))
		}
		p.Offsets[i] = at
		p.Bytes = max(p.Bytes, at+size)
		k := sort.Search(len(placed), func(k int) bool { return p.Offsets[placed[k]] > at })
		placed = append(placed, 0)
		copy(placed[k+1:], placed[k:])
		placed[k] = i
	}
	for t, n := range alive {
		if n > p.Floor {
			p.Floor, p.At = n, t
		}
	}
	return p, nil
}

func round(n int64) int64 { return (n + Align - 1) / Align * Align }
