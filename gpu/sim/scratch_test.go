package sim

import "testing"

// What launches hand on is bounded, however many blocks one had at once and however large
// those of others are.
func TestScratchIsBounded(t *testing.T) {
	var s scratch
	blocks := func(n, registers int) (all []*group) {
		for range n {
			m := s.takeCTA()
			sized(&m.r, registers)
			all = append(all, &group{ctas: []*cta{{memory: m}}})
		}
		return all
	}
	const large = 1 << 16 // registers: 8 MB
	for _, c := range []struct{ blocks, registers int }{{2, large}, {1000, 64}, {2, large}, {100, large}, {1, 8}} {
		s.give(blocks(c.blocks, c.registers))
		bytes := 0
		for _, m := range s.ctas {
			bytes += m.bytes()
		}
		if bytes != s.kept || bytes > mostKept || len(s.ctas) < 2 {
			t.Errorf("%d blocks of %d registers: %d blocks of %d bytes are kept, %d counted", c.blocks, c.registers, len(s.ctas), bytes, s.kept)
		}
	}
}
