package sim

import (
	"math/rand/v2"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// A fragment that is unpacked again after others, or after one register or its type
// has changed, is what it is when unpacked first.
func TestFragmentA(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	w := &warp{r: make([][32]uint32, 8)}
	regs := []int32{5, 2, 7, 0}
	var used matrices
	for range 200 {
		if rnd.IntN(3) > 0 {
			w.r[regs[rnd.IntN(4)]][rnd.IntN(32)] = rnd.Uint32() & 0xbfffbfff // no NaN
		}
		typ := []ptx.Type{ptx.F16, ptx.BF16, ptx.TF32}[rnd.IntN(3)]
		n := 2 << rnd.IntN(2)
		k := n * 4
		if typ == ptx.TF32 {
			k = n * 2
		}
		switch rnd.IntN(6) {
		case 0:
			used.negate()
		case 1:
			used.rows[0][0] = 1
			used.transpose()
		}
		var fresh matrices
		fresh.fragmentA(w, regs[:n], k, typ)
		used.fragmentA(w, regs[:n], k, typ)
		if used.a != fresh.a {
			t.Fatalf("%v k=%d: a differs", typ, k)
		}
	}
}
