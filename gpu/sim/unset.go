package sim

import (
	"math/bits"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// writers are opcodes that write all of their first operand for every lane that executes
// them.
var writers = func() map[string]bool {
	m := map[string]bool{}
	for op := range strings.FieldsSeq("abs add and bfe bfi brev clz copysign cos cvt cvta div ex2 fma ld ldmatrix lg2 lop3 mad max min mma " +
		"mov mul neg not or popc prmt rcp rem rsqrt selp set shf shl shr sin sqrt sub tanh xor") {
		m[op] = true
	}
	return m
}()

// registerSet has a bit for each 32-bit register of the source, then one for each of 64
// bits.
type registerSet []uint64

func (s registerSet) add(r int)      { s[r/64] |= 1 << (r % 64) }
func (s registerSet) has(r int) bool { return s[r/64]>>(r%64)&1 != 0 }

// findUnset finds the registers that a lane may read before it has written them, or whose
// value in other lanes is read. A block begins with zeros in these; in the others nobody
// sees what the block before has left.
func (d *decoder) findUnset() {
	k := d.k
	n := k.regs32 + k.regs64
	unset := make(registerSet, (n+63)/64)
	if !d.follow(unset) {
		for r := range n {
			unset.add(r)
		}
	}
	for i, word := range unset {
		for ; word != 0; word &= word - 1 {
			if r := 64*i + bits.TrailingZeros64(word); r < k.regs32 {
				k.unset32 = append(k.unset32, int32(r))
			} else {
				k.unset64 = append(k.unset64, int32(r-k.regs32))
			}
		}
	}
}

// follow adds to unset what is read on some way through the code before it is written. It
// reports false where the ways are not known.
func (d *decoder) follow(unset registerSet) bool {
	code := d.k.code
	set := map[int32]registerSet{} // by target of a branch: what is written on every way there
	target := map[int32]bool{}
	for i := range code {
		if kind := code[i].kind; kind == opCall || kind == opJump {
			return false
		} else if kind == opBranch {
			target[code[i].tgt] = true
		}
	}
	changed := true
	meet := func(pc int32, now registerSet) {
		old := set[pc]
		if old == nil {
			set[pc], changed = append(registerSet{}, now...), true
			return
		}
		for i, v := range now {
			changed = changed || old[i]&^v != 0
			old[i] &= v
		}
	}
	now := make(registerSet, len(unset))
	for changed { // once more where a branch back has written less
		changed = false
		clear(now)
		reached := true
		for pc := d.k.start; int(pc) < len(code); pc++ {
			if target[pc] {
				if reached {
					meet(pc, now)
				}
				if reached = set[pc] != nil; reached {
					copy(now, set[pc])
				}
			}
			if !reached {
				continue
			}
			o := &code[pc]
			d.visit(o, now, unset)
			if o.kind == opBranch {
				meet(o.tgt, now)
			}
			reached = o.pred >= 0 || o.kind != opBranch && o.kind != opExit
		}
	}
	return true
}

// visit adds what an op reads of others than set to unset, and what it writes to set.
func (d *decoder) visit(o *op, set, unset registerSet) {
	args := o.in.Args
	var result ptx.Operand
	if writers[o.in.Op] && len(args) > 0 {
		result, args = args[0], args[1:]
	}
	for _, a := range args {
		d.each(a, func(r int) {
			if o.sync != alone || !set.has(r) {
				unset.add(r)
			}
		})
	}
	if o.pred < 0 { // else some lanes keep what they have
		d.each(result, set.add)
	}
}

// each calls f for the registers of an operand, by their place in a registerSet.
func (d *decoder) each(a ptx.Operand, f func(r int)) {
	registers(a, func(x *ptx.Reg) {
		switch b := x.Type.Bits(); {
		case b == 64:
			f(d.k.regs32 + int(d.regs[x.Index]))
		case b > 1:
			f(int(d.regs[x.Index]))
		}
	})
}
