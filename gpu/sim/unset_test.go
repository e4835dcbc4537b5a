package sim

import (
	"slices"
	"testing"
)

// The registers that a lane may read before it has written them are found.
func TestUnsetRegisters(t *testing.T) {
	for _, c := range []struct {
		name, body string
		unset      []string // of %r and %q
	}{
		{"read first", "add.u32 %r1, %r2, 1;", []string{"%r2"}},
		{"written first", "mov.u32 %r2, 1;\nadd.u32 %r1, %r2, 1;", nil},
		{"read and written", "add.u32 %r1, %r1, 1;", []string{"%r1"}},
		{"64 bits", "cvt.u64.u32 %q1, %t;\nadd.u64 %q2, %q1, %q3;", []string{"%q3"}},
		{"by some lanes", "setp.lt.u32 %p1, %t, 9;\n@%p1 mov.u32 %r1, 1;\nadd.u32 %r2, %r1, 1;", []string{"%r1"}},
		{"on one way", "setp.lt.u32 %p1, %t, 9;\n@%p1 bra L;\nmov.u32 %r1, 1;\nmov.u32 %r3, 1;\nL: add.u32 %r2, %r1, 1;", []string{"%r1"}},
		{"on both ways", "setp.lt.u32 %p1, %t, 9;\n@%p1 bra L;\nmov.u32 %r1, 1;\nbra M;\nL: mov.u32 %r1, 2;\nM: add.u32 %r2, %r1, 1;", nil},
		{"on the first way", "setp.lt.u32 %p1, %t, 9;\n@%p1 bra L;\nmov.u32 %r1, 1;\nbra M;\nL: mov.u32 %r3, 2;\nM: add.u32 %r2, %r1, 1;", []string{"%r1"}},
		{"before a loop", "mov.u32 %r1, 4;\nL: sub.u32 %r1, %r1, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra L;", nil},
		{"around a loop", "mov.u32 %r1, 4;\nbra M;\nL: add.u32 %r3, %r2, 1;\nM: sub.u32 %r1, %r1, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra L;", []string{"%r2"}},
		{"late in a loop", "mov.u32 %r1, 4;\nL: mov.u32 %r4, %r2;\nmov.u32 %r2, 1;\nsub.u32 %r1, %r1, 1;\nsetp.ne.u32 %p1, %r1, 0;\n@%p1 bra L;", []string{"%r2"}},
		{"of other lanes", "mov.u32 %r2, 1;\nshfl.sync.idx.b32 %r1, %r2, 1, 31, -1;", []string{"%r1", "%r2"}},
		{"an address", "st.global.u32 [%a+4], %r5;\nst.global.u32 [%q4], %t;", []string{"%r5", "%q4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newRig(t, Config{}, "tiny.ptx", tiny("sm_80", c.body)).mod.Kernels[0]
			var got []string
			for i, r := range k.entry.Regs { // in the order of their files: none is declared twice
				at := int32(0)
				for _, s := range k.entry.Regs[:i] {
					if s.Type.Bits() > 1 && (s.Type.Bits() == 64) == (r.Type.Bits() == 64) {
						at++
					}
				}
				if r.Type.Bits() == 64 && slices.Contains(k.unset64, at) || r.Type.Bits() == 32 && slices.Contains(k.unset32, at) {
					got = append(got, r.Name)
				}
			}
			if !slices.Equal(got, c.unset) {
				t.Errorf("%v, want %v", got, c.unset)
			}
		})
	}
}

// A wgmma's registers count as read where a copy has them as coordinates of a tensor.
func TestCoordinatesAreRead(t *testing.T) {
	k := newRig(t, Config{}, "tiny.ptx", tiny("sm_90a", "wgmma.fence.sync.aligned;\ncp.async.bulk.prefetch.tensor.2d.L2.global.tile [%a, {%r1, %r2}];")).mod.Kernels[0]
	for _, o := range k.code {
		if o.in.Op == "cp" {
			if len(o.uses) != 2 || o.uses[0] == o.uses[1] || len(o.defs) != 0 {
				t.Errorf("%v reads %v and writes %v", o.in, o.uses, o.defs)
			}
			return
		}
	}
	t.Error("no copy")
}

// A launch never sees what registers held before it began.
func TestRegistersOfOthers(t *testing.T) {
	unset := tiny("sm_80", "shl.b32 %r2, %t, 2;\ncvt.u64.u32 %q1, %r2;\nadd.u64 %a, %a, %q1;\nsetp.lt.u32 %p1, %t, 9;\n@%p1 mov.u32 %r1, 7;\nst.global.u32 [%a], %r1;")
	r := newRig(t, Config{}, "tiny.ptx", unset)
	a := r.bytes("A", make([]byte, 128))
	dirty := func(r *rig) {
		for _, m := range r.dev.scratch.ctas {
			for i := range m.r {
				broadcastWords(&m.r[i], 0xdeadbeef)
			}
			for i := range m.q {
				broadcastLongs(&m.q[i], 0xdeadbeefdeadbeef)
			}
		}
	}
	for range 2 {
		if _, err := r.launch("t", Dim{}, Dim{X: 32}, 0, a, a); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 128)
		if err := r.dev.Read(a, got); err != nil {
			t.Fatal(err)
		}
		for i := range 32 {
			if v, want := le.Uint32(got[4*i:]), 7*one(i < 9); v != want {
				t.Fatalf("lane %d has %#x, want %d", i, v, want)
			}
		}
		dirty(r)
	}
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			r := newRig(t, Config{Workers: 1}, s.file, source(t, s.file))
			for range 2 {
				if _, err := s.run(r); err != nil {
					t.Fatal(err)
				}
				dirty(r)
			}
		})
	}
}
