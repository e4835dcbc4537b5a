package sim

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

var everyMode = []Mode{Eager, Lazy, Random(1), Random(2), Random(3), Random(4)}

// Blocks that wait for each other in global memory go on in every mode, whoever runs
// first, and two runs with one seed give the same.
func TestBlocksWait(t *testing.T) {
	const prologue = "mov.u32 %r1, %ctaid.x;\nmov.u32 %r2, %nctaid.x;\nsub.u32 %r3, %r2, 1;\n"
	for _, c := range []struct {
		name, body  string
		grid, block int
		want        func(block int) uint32 // b[block]
	}{
		{
			// Block i waits for block i+1; the last does not wait.
			name: "for the next", grid: 20, block: 1,
			body: prologue + `
				mad.wide.u32 %q1, %r1, 4, %a;
				mad.wide.u32 %q2, %r1, 4, %b;
				mov.u32 %r5, 0;
				setp.eq.u32 %p1, %r1, %r3;
				@%p1 bra DONE;
			WAIT:
				ld.acquire.gpu.global.u32 %r4, [%q1+4];
				setp.eq.u32 %p2, %r4, 0;
				@%p2 bra WAIT;
				ld.global.u32 %r5, [%q2+4];
			DONE:
				add.u32 %r5, %r5, 1;
				st.global.u32 [%q2], %r5;
				st.release.gpu.global.u32 [%q1], 1;`,
			want: func(b int) uint32 { return uint32(20 - b) },
		},
		{
			// Two barriers of the whole grid, as cooperative groups make them; a warp of each
			// block waits at bar.sync.
			name: "grid barrier", grid: 12, block: 64,
			body: prologue + `
				mad.wide.u32 %q2, %r1, 4, %b;
				setp.ne.u32 %p1, %t, 0;
				@!%p1 st.global.u32 [%q2], %r1;
				mov.u32 %r6, %r2;
			AGAIN:
				bar.sync 0;
				@%p1 bra BEHIND;
				membar.gl;
				atom.global.add.u32 %r4, [%a], 1;
			WAIT:
				ld.volatile.global.u32 %r4, [%a];
				setp.lt.u32 %p2, %r4, %r6;
				@%p2 bra WAIT;
				membar.gl;
			BEHIND:
				bar.sync 0;
				setp.ne.u32 %p3, %r6, %r2;
				@%p3 bra LAST;
				add.u32 %r7, %r1, 1;
				rem.u32 %r7, %r7, %r2;
				mad.wide.u32 %q3, %r7, 4, %b;
				@!%p1 ld.global.u32 %r8, [%q3];
				add.u32 %r6, %r6, %r2;
				bra AGAIN;
			LAST:
				@!%p1 st.global.u32 [%q2], %r8;`,
			want: func(b int) uint32 { return uint32((b + 1) % 12) },
		},
		{
			// A lock by compare-and-swap with a pause, around a plain sum.
			name: "lock", grid: 9, block: 1,
			body: prologue + `
			WAIT:
				atom.acquire.gpu.global.cas.b32 %r4, [%a], 0, 1;
				setp.eq.u32 %p1, %r4, 0;
				@%p1 bra MINE;
				nanosleep.u32 100;
				bra WAIT;
			MINE:
				ld.global.u32 %r5, [%b];
				add.u32 %r5, %r5, 1;
				st.global.u32 [%b], %r5;
				atom.release.gpu.global.exch.b32 %r4, [%a], 0;`,
			want: func(b int) uint32 {
				if b == 0 {
					return 9
				}
				return 0
			},
		},
	} {
		for _, m := range everyMode {
			t.Run(c.name+"/"+m.String(), func(t *testing.T) {
				var last []byte
				for range 2 {
					r := newRig(t, Config{Mode: m, Profile: true, MaxSteps: 1 << 24}, "tiny.ptx", tiny("sm_80", c.body))
					a, b := r.bytes("A", make([]byte, 1024)), r.bytes("B", make([]byte, 1024))
					p, err := r.launch("t", Dim{X: c.grid}, Dim{X: c.block}, 0, a, b)
					if err != nil {
						t.Fatal(err)
					}
					out := make([]byte, 4*c.grid)
					if err := r.dev.Read(b, out); err != nil {
						t.Fatal(err)
					}
					for i := range c.grid {
						if got := le.Uint32(out[4*i:]); got != c.want(i) {
							t.Errorf("block %d left %d, want %d", i, got, c.want(i))
						}
					}
					count := le.AppendUint64(nil, uint64(p.WarpInstrs))
					if last != nil && string(last) != string(count) {
						t.Errorf("%x instructions, the first time %x", count, last)
					}
					last = count
				}
			})
		}
	}
}

// What cannot go on is said soon.
func TestBlocksStuck(t *testing.T) {
	spin := "WAIT:\nld.acquire.gpu.global.u32 %r1, [%a];\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 bra WAIT;"
	barrier := "atom.acq_rel.gpu.global.add.u32 %r1, [%a], 1;\nmov.u32 %r2, %nctaid.x;\nWAIT:\nld.acquire.gpu.global.u32 %r1, [%a];\nsetp.lt.u32 %p1, %r1, %r2;\n@%p1 bra WAIT;"
	for _, c := range []struct {
		name, body, says string
		sms, grid        int
		clean            bool
	}{
		{name: "alone", body: spin, grid: 1, says: "polls memory"},
		{name: "together", body: spin, grid: 3, says: "blocks wait for each other"},
		{name: "grid barrier", body: barrier, sms: 1, grid: 32, clean: true},
		{name: "more than the device holds", body: barrier, sms: 1, grid: 33, says: "the 32 blocks that the device holds at once"},
	} {
		for _, m := range everyMode[:3] {
			t.Run(c.name+"/"+m.String(), func(t *testing.T) {
				begin := time.Now()
				r := newRig(t, Config{Mode: m, SMs: c.sms}, "tiny.ptx", tiny("sm_80", c.body))
				a, b := r.bytes("A", make([]byte, 1024)), r.bytes("B", make([]byte, 1024))
				_, err := r.launch("t", Dim{X: c.grid}, Dim{X: 1}, 0, a, b)
				if c.clean {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				var rep *Report
				if !errors.As(err, &rep) || rep.Kind != Deadlock || !strings.Contains(rep.Msg, c.says) {
					t.Errorf("got %v, want a deadlock that says %q", err, c.says)
				}
				if d := time.Since(begin); d > 30*time.Second {
					t.Errorf("said after %v", d)
				}
			})
		}
	}
}

// The report of the "last block" idiom without a fence names the fence that is missing, and
// on which side.
func TestMissingFence(t *testing.T) {
	body := func(before, behind string) string {
		return `
			mov.u32 %r1, %ctaid.x;
			mad.wide.u32 %q1, %r1, 4, %b;
			st.global.u32 [%q1], %r1;
			` + before + `
			atom.global.add.u32 %r2, [%a], 1;
			` + behind + `
			setp.ne.u32 %p1, %r2, 3;
			@%p1 bra DONE;
			ld.global.u32 %r3, [%b];
			ld.global.u32 %r4, [%b+4];
			add.u32 %r3, %r3, %r4;
			st.global.u32 [%a+4], %r3;
		DONE:`
	}
	for _, c := range []struct{ before, behind, says string }{
		{"membar.gl;", "membar.gl;", ""},
		{"membar.gl;", "", "the atom at line 17 meets the other block, but no fence (__threadfence(), membar.gl or fence.acq_rel.gpu) stands between it and this access"},
		{"", "membar.gl;", "there no fence (__threadfence(), membar.gl or fence.acq_rel.gpu) stands between the access and the atom at line 17"},
	} {
		for _, m := range everyMode {
			err := runTiny(t, Config{Mode: m}, "sm_80", body(c.before, c.behind), 4, 1)
			if c.says == "" {
				if err != nil {
					t.Errorf("%v: %v", m, err)
				}
				continue
			}
			var rep *Report
			if !errors.As(err, &rep) || rep.Kind != Race || !strings.Contains(rep.Msg, c.says) {
				t.Errorf("%v: got %v, want a race that says %q", m, err, c.says)
			}
		}
	}
}

// A launch that polls ends when it is no longer wanted.
func TestBlocksStop(t *testing.T) {
	r := newRig(t, Config{}, "tiny.ptx", tiny("sm_80", "WAIT:\nadd.u32 %r2, %r2, 1;\nst.global.u32 [%b], 1;\nld.acquire.gpu.global.u32 %r1, [%a];\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 bra WAIT;"))
	a, b := r.bytes("A", make([]byte, 1024)), r.bytes("B", make([]byte, 1024))
	k := r.mod.Kernels[0]
	params, err := k.Pack(a, b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := r.dev.Launch(ctx, Launch{Kernel: k, Grid: Dim{X: 2}, Block: Dim{X: 1}, Params: params}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the time", err)
	}
}
