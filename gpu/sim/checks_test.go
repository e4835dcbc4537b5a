package sim

import (
	"context"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// tiny wraps a body into a kernel t(a, b) with registers %r, %q, %p, the
// thread in %t and the addresses in %a and %b.
func tiny(arch, body string) []byte {
	version := "7.0"
	if arch != "sm_80" {
		version = "8.0"
	}
	return []byte(".version " + version + "\n.target " + arch + "\n.address_size 64\n.entry t(.param .u64 a, .param .u64 b)\n{\n" +
		".reg .pred %p<8>;\n.reg .b32 %r<20>, %t;\n.reg .b64 %q<20>, %a, %b;\n" +
		"ld.param.u64 %a, [a];\nld.param.u64 %b, [b];\nmov.u32 %t, %tid.x;\n" + body + "\nret;\n}\n")
}

// runTiny launches a tiny kernel over two initialised buffers of 1 KiB.
func runTiny(t *testing.T, cfg Config, arch, body string, grid, block int) error {
	t.Helper()
	r := newRig(t, cfg, "tiny.ptx", tiny(arch, body))
	a, b := r.bytes("A", make([]byte, 1024)), r.bytes("B", make([]byte, 1024))
	_, err := r.launch("t", Dim{X: grid}, Dim{X: block}, 0, a, b)
	return err
}

// What each check says of the smallest kernel that deserves it, and that its
// repaired twin is clean.
func TestChecks(t *testing.T) {
	mine := "mad.wide.u32 %q1, %t, 4, %a;\n"
	buf := ".shared .align 8 .b8 buf[256];\nmov.u32 %r9, buf;\nmad.lo.u32 %r1, %t, 4, %r9;\n"
	big := ".shared .align 32 .b8 big[512];\nmov.u32 %r9, big;\nmad.lo.u32 %r1, %t, 4, %r9;\n"
	other := "xor.b32 %r2, %t, 1;\nmad.lo.u32 %r2, %r2, 4, %r9;\n"
	for _, c := range []struct {
		name, arch  string
		bad, good   string
		grid, block int
		kind        Kind
		says        string
	}{
		{
			name: "global out of bounds", kind: OutOfBounds, says: "A+1024 (1024 bytes",
			bad: mine + "st.global.u32 [%q1+900], %t;", good: mine + "st.global.u32 [%q1+896], %t;",
		},
		{name: "null pointer", kind: OutOfBounds, says: "which no allocation holds", bad: "mov.u64 %q1, 16;\nld.global.u32 %r1, [%q1];", good: ""},
		{name: "shared out of bounds", kind: OutOfBounds, says: "shared address", bad: buf + "st.shared.u32 [%r1+132], %t;", good: buf + "st.shared.u32 [%r1+128], %t;"},
		{
			name: "shared memory that the block before wrote", kind: Uninitialised, says: "buf+0", grid: 2,
			bad:  buf + "mov.u32 %r5, %ctaid.x;\nsetp.eq.u32 %p0, %r5, 0;\n@%p0 st.shared.u32 [%r1], %t;\nld.shared.u32 %r3, [%r1];",
			good: buf + "st.shared.u32 [%r1], %t;\nld.shared.u32 %r3, [%r1];",
		},
		{name: "misaligned", kind: Misaligned, says: "A+2", bad: mine + "ld.global.u32 %r1, [%q1+2];", good: mine + "ld.global.u32 %r1, [%q1];"},
		{
			name: "lanes without bar.warp.sync", kind: Race, says: "buf+4",
			bad:  buf + other + "st.shared.u32 [%r1], %t;\nld.shared.u32 %r3, [%r2];",
			good: buf + other + "st.shared.u32 [%r1], %t;\nbar.warp.sync 0xffffffff;\nld.shared.u32 %r3, [%r2];",
		},
		{
			name: "lanes that overwrite what others read", kind: Race, says: "read",
			bad:  buf + other + "st.shared.u32 [%r1], 1;\nbar.warp.sync 0xffffffff;\nld.shared.u32 %r3, [%r2];\nst.shared.u32 [%r1], 2;",
			good: buf + other + "st.shared.u32 [%r1], 1;\nbar.warp.sync 0xffffffff;\nld.shared.u32 %r3, [%r2];\nbar.warp.sync 0xffffffff;\nst.shared.u32 [%r1], 2;",
		},
		{
			name: "different values to one place", kind: Race, says: "lanes 0 and 1 store different values",
			bad: "st.global.u32 [%a], %t;", good: "st.global.u32 [%a], 7;",
		},
		{
			name: "halves of a word by two warps", kind: Race, says: "A+0", block: 64,
			bad:  "shr.u32 %r3, %t, 5;\nmad.wide.u32 %q1, %r3, 2, %a;\nand.b32 %r4, %t, 31;\nsetp.eq.u32 %p0, %r4, 0;\n@%p0 st.global.u16 [%q1], %r3;\n@%p0 ld.global.u32 %r4, [%a];",
			good: "shr.u32 %r3, %t, 5;\nmad.wide.u32 %q1, %r3, 2, %a;\nand.b32 %r4, %t, 31;\nsetp.eq.u32 %p0, %r4, 0;\n@%p0 st.global.u16 [%q1], %r3;\n@%p0 ld.global.u16 %r4, [%q1];\nbar.sync 0;\n@%p0 ld.global.u32 %r4, [%a];",
		},
		{
			name: "blocks that meet in global memory", kind: Race, says: "another block", grid: 2,
			bad: mine + "st.global.u32 [%q1], %t;", good: "mov.u32 %r5, %ctaid.x;\nmad.lo.u32 %t, %r5, 32, %t;\n" + mine + "st.global.u32 [%q1], %t;",
		},
		{
			name: "halves of a word by two blocks", kind: Race, says: "another block", grid: 2,
			bad:  "mov.u32 %r5, %ctaid.x;\nsetp.eq.u32 %p0, %t, 0;\nmad.wide.u32 %q1, %r5, 1, %a;\n@%p0 st.global.u8 [%q1], %r5;\n@%p0 st.global.u8 [%q1+1], %r5;",
			good: "mov.u32 %r5, %ctaid.x;\nsetp.eq.u32 %p0, %t, 0;\nmad.wide.u32 %q1, %r5, 2, %a;\n@%p0 st.global.u8 [%q1], %r5;\n@%p0 st.global.u8 [%q1+1], %r5;",
		},
		{
			name: "a flag between blocks without the writer's fence", kind: Race, says: "another block", grid: 2,
			bad:  "setp.ne.u32 %p1, %t, 0;\n@%p1 bra OUT;\natom.relaxed.gpu.global.add.u32 %r5, [%a+192], 1;\nsetp.ne.u32 %p0, %r5, 0;\n@%p0 bra R;\nst.global.u32 [%a], 7;\nst.relaxed.gpu.global.u32 [%a+128], 1;\nbra OUT;\nR:\nld.relaxed.gpu.global.u32 %r1, [%a+128];\nsetp.eq.u32 %p2, %r1, 0;\n@%p2 bra OUT;\nfence.acq_rel.gpu;\nld.global.u32 %r2, [%a];\nOUT:\nret;",
			good: "setp.ne.u32 %p1, %t, 0;\n@%p1 bra OUT;\natom.relaxed.gpu.global.add.u32 %r5, [%a+192], 1;\nsetp.ne.u32 %p0, %r5, 0;\n@%p0 bra R;\nst.global.u32 [%a], 7;\nfence.acq_rel.gpu;\nst.relaxed.gpu.global.u32 [%a+128], 1;\nbra OUT;\nR:\nld.relaxed.gpu.global.u32 %r1, [%a+128];\nsetp.eq.u32 %p2, %r1, 0;\n@%p2 bra OUT;\nfence.acq_rel.gpu;\nld.global.u32 %r2, [%a];\nOUT:\nret;",
		},
		{
			name: "a flag between blocks without the reader's fence", kind: Race, says: "another block", grid: 2,
			bad:  "setp.ne.u32 %p1, %t, 0;\n@%p1 bra OUT;\natom.relaxed.gpu.global.add.u32 %r5, [%a+192], 1;\nsetp.ne.u32 %p0, %r5, 0;\n@%p0 bra R;\nst.global.u32 [%a], 7;\nfence.acq_rel.gpu;\nst.relaxed.gpu.global.u32 [%a+128], 1;\nbra OUT;\nR:\nld.relaxed.gpu.global.u32 %r1, [%a+128];\nsetp.eq.u32 %p2, %r1, 0;\n@%p2 bra OUT;\nld.global.u32 %r2, [%a];\nOUT:\nret;",
			good: "setp.ne.u32 %p1, %t, 0;\n@%p1 bra OUT;\natom.relaxed.gpu.global.add.u32 %r5, [%a+192], 1;\nsetp.ne.u32 %p0, %r5, 0;\n@%p0 bra R;\nst.global.u32 [%a], 7;\nfence.acq_rel.gpu;\nst.relaxed.gpu.global.u32 [%a+128], 1;\nbra OUT;\nR:\nld.relaxed.gpu.global.u32 %r1, [%a+128];\nsetp.eq.u32 %p2, %r1, 0;\n@%p2 bra OUT;\nfence.acq_rel.gpu;\nld.global.u32 %r2, [%a];\nOUT:\nret;",
		},
		{
			name: "a volatile flag between blocks", kind: Race, says: "another block", grid: 2,
			bad:  "setp.ne.u32 %p1, %t, 0;\n@%p1 bra OUT;\natom.relaxed.gpu.global.add.u32 %r5, [%a+192], 1;\nsetp.ne.u32 %p0, %r5, 0;\n@%p0 bra R;\nst.global.u32 [%a], 7;\nst.volatile.global.u32 [%a+128], 1;\nbra OUT;\nR:\nld.volatile.global.u32 %r1, [%a+128];\nsetp.eq.u32 %p2, %r1, 0;\n@%p2 bra OUT;\nmembar.gl;\nld.global.u32 %r2, [%a];\nOUT:\nret;",
			good: "setp.ne.u32 %p1, %t, 0;\n@%p1 bra OUT;\natom.relaxed.gpu.global.add.u32 %r5, [%a+192], 1;\nsetp.ne.u32 %p0, %r5, 0;\n@%p0 bra R;\nst.global.u32 [%a], 7;\nmembar.gl;\nst.volatile.global.u32 [%a+128], 1;\nbra OUT;\nR:\nld.volatile.global.u32 %r1, [%a+128];\nsetp.eq.u32 %p2, %r1, 0;\n@%p2 bra OUT;\nmembar.gl;\nld.global.u32 %r2, [%a];\nOUT:\nret;",
		},
		{
			name: "an address of shared memory where a generic one is wanted", kind: OutOfBounds, says: "not an address of this block's shared memory",
			bad:  buf + "st.shared.u32 [%r1], 1;\nbar.warp.sync 0xffffffff;\nmov.u64 %q1, buf;\nldmatrix.sync.aligned.m8n8.x1.b16 {%r1}, [%q1];",
			good: buf + "st.shared.u32 [%r1], 1;\nbar.warp.sync 0xffffffff;\nmov.u64 %q1, buf;\ncvta.shared.u64 %q1, %q1;\nldmatrix.sync.aligned.m8n8.x1.b16 {%r1}, [%q1];",
		},
		{
			name: "non-coherent load of what the kernel writes", kind: Race, says: "non-coherent",
			bad: mine + "st.global.u32 [%q1], %t;\nld.global.nc.u32 %r1, [%q1];", good: mine + "st.global.u32 [%q1], %t;\nld.global.u32 %r1, [%q1];",
		},
		{
			name: "a lane that others wait for has gone by", kind: Divergence, says: "lanes 0x0000ffff wait for the others",
			bad: "setp.lt.u32 %p0, %t, 16;\n@%p0 bar.sync 0;\n@!%p0 bar.sync 1;", good: "bar.sync 0;\nbar.sync 1;",
		},
		{
			name: "barrier one warp misses", kind: Deadlock, says: "barrier 1, 1 of 2 warps there", block: 64,
			bad: "setp.lt.u32 %p0, %t, 32;\n@%p0 bar.sync 1, 64;\nbar.sync 0;", good: "bar.sync 1, 64;",
		},
		{
			name: "shuffle from a lane outside", kind: Misuse, says: "does not take part",
			bad:  "setp.lt.u32 %p0, %t, 16;\n@%p0 shfl.sync.idx.b32 %r1, %t, 20, 31, 0xffff;",
			good: "setp.lt.u32 %p0, %t, 16;\n@%p0 shfl.sync.idx.b32 %r1, %t, 5, 31, 0xffff;",
		},
		{name: "member mask without the lane", kind: Misuse, says: "not in its member mask", bad: "bar.warp.sync 0xff;", good: "bar.warp.sync 0xffffffff;"},
		{name: "no end", kind: StepLimit, says: "still running after", bad: "L:\nbra L;", good: ""},
		{name: "trap", kind: Misuse, says: "executed trap", bad: "trap;", good: ""},
		{
			name: "local memory out of bounds", kind: OutOfBounds, says: "local memory",
			bad:  ".local .align 4 .b8 d[16];\nmov.u64 %q1, d;\nst.local.u32 [%q1+16], %t;",
			good: ".local .align 4 .b8 d[16];\nmov.u64 %q1, d;\nst.local.u32 [%q1+12], %t;",
		},
		{
			name: "mbarrier not initialised", kind: Misuse, says: "no mbarrier was initialised", arch: "sm_90a",
			bad: buf + "mbarrier.arrive.shared::cta.b64 _, [%r9];", good: "",
		},
		{
			name: "mbarrier overwritten", kind: Misuse, says: "live mbarrier", arch: "sm_90a",
			bad:  buf + "setp.eq.u32 %p0, %t, 0;\n@%p0 mbarrier.init.shared::cta.b64 [%r9], 1;\nbar.sync 0;\nst.shared.u32 [%r1], %t;",
			good: buf + "setp.eq.u32 %p0, %t, 0;\n@%p0 mbarrier.init.shared::cta.b64 [%r9], 1;\nbar.sync 0;\nst.shared.u32 [%r1+8], %t;",
		},
		{
			name: "tensor map that is none", kind: Misuse, says: "no tensor map", arch: "sm_90a",
			bad:  ".shared .align 1024 .b8 tile[1024];\nmov.u32 %r1, tile;\ncp.async.bulk.tensor.1d.global.shared::cta.tile.bulk_group [%a, {%r2}], [%r1];",
			good: "",
		},
		{
			name: "tensor map in parameters, by an address that is not generic", kind: Misuse, says: "no tensor map at 0x0", arch: "sm_90a",
			bad:  ".shared .align 1024 .b8 tile[1024];\nmov.u32 %r1, tile;\nmov.b64 %q1, a;\ncp.async.bulk.tensor.1d.global.shared::cta.tile.bulk_group [%q1, {%r2}], [%r1];",
			good: "",
		},
		{
			name: "parameter by an address that is not generic", kind: OutOfBounds, says: "which no memory holds", arch: "sm_90a",
			bad:  "mov.b64 %q1, b;\nld.u64 %q2, [%q1];",
			good: "mov.b64 %q1, b;\ncvta.param.u64 %q1, %q1;\nld.u64 %q2, [%q1];",
		},
		{
			name: "what was discarded is read", kind: Uninitialised, says: "A+124",
			bad:  "setp.eq.u32 %p0, %t, 0;\n@%p0 discard.global.L2 [%a], 128;\n@%p0 ld.global.u32 %r1, [%a+124];",
			good: "setp.eq.u32 %p0, %t, 0;\n@%p0 discard.global.L2 [%a], 128;\n@%p0 st.global.u32 [%a+124], 5;\n@%p0 ld.global.u32 %r1, [%a+124];",
		},
		{
			name: "wmma with an address for each lane", kind: Misuse, says: "lanes 0 and 1 have different addresses",
			bad:  mine + "wmma.load.c.sync.aligned.row.m16n16k16.global.f16 {%r1, %r2, %r3, %r4}, [%q1];",
			good: "wmma.load.c.sync.aligned.row.m16n16k16.global.f16 {%r1, %r2, %r3, %r4}, [%a];",
		},
		{
			name: "wmma with rows out of line", kind: Misaligned, says: "18 bytes apart, want multiples of 16",
			bad:  "wmma.load.c.sync.aligned.row.m16n16k16.global.f16 {%r1, %r2, %r3, %r4}, [%a], 9;",
			good: "wmma.load.c.sync.aligned.row.m16n16k16.global.f16 {%r1, %r2, %r3, %r4}, [%a], 24;",
		},
		{
			name: "wmma that stores where other lanes have", kind: Race, says: "big+",
			bad:  big + "st.shared.u32 [%r1], %t;\nwmma.store.d.sync.aligned.row.m16n16k16.shared.f16 [%r9], {%r2, %r3, %r4, %r5};",
			good: big + "st.shared.u32 [%r1], %t;\nbar.warp.sync 0xffffffff;\nwmma.store.d.sync.aligned.row.m16n16k16.shared.f16 [%r9], {%r2, %r3, %r4, %r5};",
		},
		{
			name: "wgmma with part of a warpgroup", kind: Misuse, says: "four whole warps", arch: "sm_90a",
			bad:  "setp.eq.u32 %p0, %t, %t;\nwgmma.fence.sync.aligned;\nwgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%r1, %r2, %r3, %r4}, %q1, %q2, %p0, 1, 1, 0, 0;",
			good: "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			arch := c.arch
			if arch == "" {
				arch = "sm_80"
			}
			for _, m := range modes {
				cfg := Config{Mode: m, MaxSteps: 1 << 16, Workers: 1} // kernels that race would race in Go too
				err := runTiny(t, cfg, arch, c.bad, max(c.grid, 1), max(c.block, 32))
				var r *Report
				if !errors.As(err, &r) || r.Kind != c.kind || !strings.Contains(r.Error(), c.says) {
					t.Errorf("%v: got %v\nwant %s: … %s …", m, err, c.kind, c.says)
				}
				if err := runTiny(t, cfg, arch, c.good, max(c.grid, 1), max(c.block, 32)); err != nil {
					t.Errorf("%v: the correct kernel: %v", m, err)
				}
			}
		})
	}
}

// A report names the place: kernel, line, block, thread, allocation, and the
// other side.
func TestReportPlace(t *testing.T) {
	body := "mov.u32 %r5, %ctaid.x;\nmad.wide.u32 %q1, %r5, 4, %a;\nmad.wide.u32 %q1, %t, 4, %q1;\nst.global.u32 [%q1], 1;"
	err := runTiny(t, Config{Workers: 1}, "sm_80", body, 2, 32) // blocks that race would race in Go too
	var r *Report
	if !errors.As(err, &r) {
		t.Fatal(err)
	}
	line := 1 + strings.Count(strings.SplitAfter(string(tiny("sm_80", body)), "st.global")[0], "\n")
	if r.Kernel != "t" || r.File != "tiny.ptx" || r.Line != line || r.Block != [3]int{1, 0, 0} || r.Thread != [3]int{0, 0, 0} ||
		!strings.Contains(r.Msg, "A+4") || r.Other == nil || r.Other.Block != [3]int{0, 0, 0} || r.Other.Line != line {
		t.Errorf("%+v, other %+v", r, r.Other)
	}
}

// A launch that depends on those before must wait before it touches what they
// wrote or writes what they read, and must not read it through the non-coherent
// cache even then.
func TestDependentLaunch(t *testing.T) {
	const (
		wait  = "griddepcontrol.wait;\n"
		here  = "mad.wide.u32 %q1, %t, 4, %a;\n" // a word of A
		there = "mad.wide.u32 %q2, %t, 4, %b;\n" // and one of B
		first = "setp.lt.u32 %p1, %t, 32;\n"
		must  = "griddepcontrol.wait must come first"
	)
	writeA, readA := here+"st.global.u32 [%q1], %t;\n", here+"ld.global.u32 %r1, [%q1];\n"
	writeB := there + "st.global.u32 [%q2], %t;\n"
	for i, c := range []struct {
		launches []string // the first does not depend
		says     string
	}{
		{[]string{writeA, readA}, "A+0 (1024 bytes"},
		{[]string{writeA, readA}, "written by a launch before, which may still run: " + must},
		{[]string{writeA, writeA}, must},
		{[]string{writeA, "ld.global.u32 %r1, [%a];\n"}, must}, // all lanes at one place
		{[]string{readA, writeA}, "read by a launch before, which may still run: " + must},
		{[]string{readA, readA}, ""},
		{[]string{writeB, readA}, ""},
		{[]string{writeA, wait + readA}, ""},
		{[]string{readA, wait + writeA}, ""},
		{[]string{writeA, wait + strings.Replace(readA, "ld.global", "ld.global.nc", 1)}, "non-coherent load of A+0"},
		// The launch before the last may run too, unless that has not begun early.
		{[]string{writeA, writeB, readA}, must},
		{[]string{writeA, writeB, wait + readA}, ""},
		{[]string{writeA, wait + writeB, readA}, must},
		// One warp waits: the other must be behind it.
		{[]string{writeA, first + "@%p1 griddepcontrol.wait;\n" + readA}, must},
		{[]string{writeA, first + "@%p1 griddepcontrol.wait;\nbar.sync 0;\n" + readA}, ""},
	} {
		r := newRig(t, Config{}, "tiny.ptx", tiny("sm_90a", "ret;"))
		a, b := r.bytes("A", make([]byte, 1024)), r.bytes("B", make([]byte, 1024))
		var err error
		for j, body := range c.launches {
			mod, e := r.dev.Load("tiny.ptx", tiny("sm_90a", body))
			if e != nil {
				t.Fatal(e)
			}
			k, e := mod.Kernel("t")
			if e != nil {
				t.Fatal(e)
			}
			params, e := k.Pack(a, b)
			if e != nil {
				t.Fatal(e)
			}
			_, err = r.dev.Launch(t.Context(), Launch{Kernel: k, Block: Dim{X: 64}, Params: params, Dependent: j > 0})
			if last := j == len(c.launches)-1; err != nil && !last {
				t.Errorf("%d: launch %d: %v", i, j, err)
			}
		}
		var rep *Report
		if errors.As(err, &rep) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%d: want %q: %v", i, c.says, err)
		}
	}
	// A launch that does not depend has waited for all.
	r := newRig(t, Config{}, "tiny.ptx", tiny("sm_90a", writeA))
	a := r.bytes("A", make([]byte, 1024))
	for range 2 {
		if _, err := r.launch("t", Dim{X: 1}, Dim{X: 64}, 0, a, a); err != nil {
			t.Error(err)
		}
	}
}

// What cannot be launched is refused with the reason, before anything runs.
func TestLaunchRefuses(t *testing.T) {
	src := []byte(".version 8.0\n.target sm_90a\n.address_size 64\n.extern .shared .align 16 .b8 raw[];\n" +
		".entry t(.param .u64 a, .param .u32 n)\n.maxntid 256, 1, 1\n{\n.reg .b32 %r<2>;\nmov.u32 %r1, raw;\nret;\n}\n" +
		".entry c()\n.reqnctapercluster 2, 1, 1\n{\nret;\n}\n.entry q()\n.reqntid 64, 1, 1\n{\nret;\n}\n")
	d := New(Config{})
	mod, err := d.Load("l.ptx", src)
	if err != nil {
		t.Fatal(err)
	}
	other, err := New(Config{}).Load("l.ptx", src)
	if err != nil {
		t.Fatal(err)
	}
	k := func(m *Module, name string) *Kernel {
		k, err := m.Kernel(name)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	params := make([]byte, 12)
	for _, c := range []struct {
		l    Launch
		want string
	}{
		{Launch{Kernel: k(mod, "t"), Params: params[:8]}, "8 bytes of parameters, the kernel takes 12"},
		{Launch{Kernel: k(mod, "t"), Params: params, Block: Dim{X: 257}}, "compiled for 256 at most"},
		{Launch{Kernel: k(mod, "t"), Params: params, Block: Dim{X: 2048}}, "2048 threads a block"},
		{Launch{Kernel: k(mod, "t"), Params: params, Block: Dim{X: -1}}, ""},
		{Launch{Kernel: k(mod, "t"), Params: params, Grid: Dim{X: 1, Y: 70000}}, "the grid may have"},
		{Launch{Kernel: k(mod, "t"), Params: params, SharedBytes: 300 << 10}, "bytes of shared memory"},
		{Launch{Kernel: k(mod, "t"), Params: params, Block: Dim{X: 256}, Registers: 300}, "out of resources"},
		{Launch{Kernel: k(mod, "c"), Grid: Dim{X: 3}}, "not a multiple of the cluster"},
		{Launch{Kernel: k(mod, "c"), Grid: Dim{X: 4}, Cluster: Dim{X: 4}}, "requires clusters of 2x1x1"},
		{Launch{Kernel: k(mod, "t"), Params: params, Grid: Dim{X: 32}, Cluster: Dim{X: 32}}, "the portable limit is 8"},
		{Launch{Kernel: k(mod, "q"), Block: Dim{X: 32}}, "requires blocks of 64x1x1"},
		{Launch{Kernel: k(other, "t"), Params: params}, "another device"},
	} {
		_, err := d.Launch(t.Context(), c.l)
		if c.want == "" { // not positive counts as one
			if err != nil {
				t.Errorf("%+v: %v", c.l, err)
			}
			continue
		}
		var le *LaunchError
		if !errors.As(err, &le) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if _, err := k(mod, "t").Pack(Ptr(1)); err == nil || !strings.Contains(err.Error(), "takes 2 arguments, got 1") {
		t.Error(err)
	}
	if _, err := k(mod, "t").Pack(Ptr(1), uint64(2)); err == nil || !strings.Contains(err.Error(), "takes 4 bytes, got 8") {
		t.Error(err)
	}
	if _, err := mod.Kernel("nope"); err == nil || !strings.Contains(err.Error(), "it has t, c, q") {
		t.Error(err)
	}
}

// What the simulator cannot do is refused when a module is loaded.
func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct{ arch, src, want string }{
		{"sm_90a", string(tiny("sm_80", "brkpt;")), "in t: brkpt: this form of the instruction is not supported"},
		{"sm_90a", string(tiny("sm_80", "add.s32 %q1, %r2, 3;")), "result %q1 has 64 bits, 32 are wanted"},
		{"sm_90a", string(tiny("sm_80", "add.s32 %r1, %r2;")), "not supported"},
		{"sm_90a", string(tiny("sm_80", "ld.global.v4.u32 {%r1, %r2}, [%a];")), "2 registers for 4 values"},
		{"sm_90a", string(tiny("sm_80", "mma.sync.aligned.m16n8k32.row.col.f16.f16.f16.f16 {%r1, %r2}, {%r1, %r2, %r3, %r4}, {%r1, %r2}, {%r1, %r2};")), "not supported"},
		{"sm_90a", string(tiny("sm_90a", "setmaxnreg.inc.sync.aligned.u32 100;")), "multiple of 8"},
		{"sm_90a", string(tiny("sm_90a", "tensormap.replace.tile.b32 [%a], %r1;")), "not supported"},
		{"sm_80", string(tiny("sm_90a", "")), "compiled for sm_90a, the device is sm_80"},
		{"sm_90", string(tiny("sm_90a", "")), "compiled for sm_90a, the device is sm_90"},
		{"sm_banana", "", `arch "sm_banana"`},
		{"sm_90a", "hello", "expected a directive"},
	} {
		_, err := New(Config{Arch: c.arch}).Load("l.ptx", []byte(c.src))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// Memory functions answer as a driver's, with the reason.
func TestMemory(t *testing.T) {
	d := New(Config{Memory: 1 << 20})
	p, err := d.Alloc("p", 1<<19)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Alloc("q", 1<<20); !errors.Is(err, ErrOutOfMemory) || !strings.Contains(err.Error(), "524288 of 1048576 free") {
		t.Error(err)
	}
	if _, err := d.Alloc("z", 0); !errors.Is(err, ErrInvalidValue) {
		t.Error(err)
	}
	if err := d.Set(p, 0x01020304, 4, 1<<17); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	if err := d.Read(p+4, b); err != nil || le.Uint64(b) != 0x0102030401020304 {
		t.Errorf("%x, %v", b, err)
	}
	if err := d.Copy(p, p+8, 16); err != nil {
		t.Error(err)
	}
	for _, err := range []error{d.Read(p+1<<19, b), d.Write(p+1<<19-4, b), d.Write(7, b), d.Free(p + 8), d.Set(p+1, 0, 4, 1), d.Copy(p, 3, 1)} {
		if !errors.Is(err, ErrInvalidValue) {
			t.Errorf("%v", err)
		}
	}
	if base, n, err := d.Range(p + 77); base != p || n != 1<<19 || err != nil {
		t.Errorf("%v %v %v", base, n, err)
	}
	if err := d.Free(p); err != nil {
		t.Fatal(err)
	}
	if free, total := d.MemInfo(); free != total {
		t.Errorf("%d of %d free", free, total)
	}
	if err := d.Free(p); !errors.Is(err, ErrInvalidValue) {
		t.Errorf("freed twice: %v", err)
	}
}

// A launch ends when its context does.
func TestCancel(t *testing.T) {
	r := newRig(t, Config{}, "tiny.ptx", tiny("sm_80", "L:\nbra L;"))
	k, err := r.mod.Kernel("t")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := r.dev.Launch(ctx, Launch{Kernel: k, Params: make([]byte, 16)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// With several workers the report is still that of the first block that fails.
func TestDeterministic(t *testing.T) {
	for range 8 {
		err := runTiny(t, Config{Workers: 4}, "sm_80",
			"mov.u32 %r5, %ctaid.x;\nmad.wide.u32 %q1, %r5, 32, %a;\nld.global.u32 %r1, [%q1];", 64, 32)
		if err == nil || !strings.Contains(err.Error(), "block [32 0 0]") {
			t.Fatalf("got %v, want block 32 of 64 out of bounds", err)
		}
	}
	if err := runTiny(t, Config{Workers: 1}, "sm_80",
		"mov.u32 %r5, %ctaid.x;\nrem.u32 %r5, %r5, 37;\nmad.wide.u32 %q1, %r5, 4, %a;\nsetp.eq.u32 %p0, %t, 0;\n@%p0 st.global.u32 [%q1], %r5;", 64, 32); err == nil || !strings.Contains(err.Error(), "block [37 0 0]") {
		t.Errorf("not the first block that collides: %v", err)
	}
}

// fma.rn rounds once: held against arithmetic of any precision where two
// roundings would differ, and on random bits.
func TestFMA(t *testing.T) {
	exact := func(a, b, c float32) float32 {
		f := func(x float32) *big.Float { return new(big.Float).SetPrec(1200).SetFloat64(float64(x)) }
		v, _ := new(big.Float).SetPrec(1200).Add(new(big.Float).SetPrec(1200).Mul(f(a), f(b)), f(c)).Float32()
		return v
	}
	if got, want := fma32(1+0x1p-12, 1+0x1p-12, 0x1p-80), float32(1+0x1p-11+0x1p-23); got != want {
		t.Errorf("got %b, want %b", got, want)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300_000 {
		a, b, c := f32(rnd.Uint32()), f32(rnd.Uint32()), f32(rnd.Uint32())
		switch rnd.IntN(3) {
		case 0: // a sum near halfway between two values
			a, b = float32(1+rnd.IntN(1<<12))*0x1p-12, float32(1+rnd.IntN(1<<12))*0x1p-12
			c = float32(math.Ldexp(float64(rnd.IntN(3)-1), -24-rnd.IntN(60)))
		case 1: // subnormal results
			a, b = a*0x1p-70, b*0x1p-70
			c = f32(rnd.Uint32() & 0x807fffff)
		}
		if a != a || b != b || c != c || math.IsInf(float64(a)*float64(b)+float64(c), 0) || math.IsInf(float64(c), 0) || math.IsNaN(float64(a)*float64(b)+float64(c)) {
			continue
		}
		if got, want := fma32(a, b, c), exact(a, b, c); got != want {
			t.Fatalf("seed 3, 4: fma(%b, %b, %b) = %b, want %b", a, b, c, got, want)
		}
	}
}

// Conversions to 16 bits, against arithmetic of any precision at every boundary:
// each value, halfway points and their neighbours.
func TestHalves(t *testing.T) {
	for h := range 1 << 16 {
		v := h2f(uint16(h))
		if v != v {
			if f2h(v) != nan16 {
				t.Fatalf("NaN %#x gives %#x", h, f2h(v))
			}
			continue
		}
		if f2h(v) != uint16(h) || f2hz(v) != uint16(h) {
			t.Fatalf("%#x comes back as %#x and %#x", h, f2h(v), f2hz(v))
		}
		up := h2f(uint16(h + 1))
		if h&0x7fff >= 0x7bff || up != up {
			continue
		}
		mid := (v + up) / 2
		even := uint16(h + h&1)
		if got := f2h(mid); got != even {
			t.Fatalf("halfway behind %#x gives %#x, want %#x", h, got, even)
		}
		if got := f2h(math.Nextafter32(mid, v)); got != uint16(h) {
			t.Fatalf("just short of halfway behind %#x gives %#x", h, got)
		}
		if got := f2h(math.Nextafter32(mid, up)); got != uint16(h+1) {
			t.Fatalf("just past halfway behind %#x gives %#x", h, got)
		}
	}
	for b := range 1 << 16 {
		if v := bf2f(uint16(b)); v == v && f2bf(v) != uint16(b) {
			t.Fatalf("bfloat16 %#x comes back as %#x", b, f2bf(v))
		}
	}
}

// Loading and running hostile modules ends in an error or a result, never in a
// panic or a hang.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("conform/testdata/*.ptx")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for i := 0; i < len(files); i += 7 {
		src, err := os.ReadFile(files[i])
		if err != nil {
			f.Fatal(err)
		}
		if len(src) < 4<<10 {
			f.Add(src)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		d := New(Config{MaxSteps: 1 << 12, Workers: 1, Memory: 1 << 22})
		mod, err := d.LoadSome("f.ptx", src)
		if err != nil {
			if strings.Contains(err.Error(), "please report") {
				t.Fatal(err)
			}
			return
		}
		for _, k := range mod.Kernels {
			params := make([]byte, k.ParamBytes())
			if p, err := d.Alloc("p", 4096); err == nil {
				for i := 0; i+8 <= len(params); i += 8 {
					le.PutUint64(params[i:], uint64(p))
				}
			}
			_, err := d.Launch(t.Context(), Launch{Kernel: k, Block: Dim{X: 32}, Params: params})
			if err != nil && strings.Contains(err.Error(), "please report") {
				t.Fatal(err)
			}
		}
	})
}

var _ = ptx.B32
