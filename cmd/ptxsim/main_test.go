package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

const samples = "../../gpu/sim/testdata/"

// ptxsim runs the program and returns its exit code and what it wrote.
func ptxsim(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), append([]string{"ptxsim"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestList(t *testing.T) {
	code, out, errs := ptxsim(t, "list", samples+"sgemm.sm80.ptx")
	if code != 0 || errs != "" || !strings.Contains(out, "sgemm: 409 instructions, 8448 bytes shared, at most 256 threads") || !strings.Contains(out, "u64  sgemm_param_0") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
	code, out, _ = ptxsim(t, "list", "--json", samples+"conv_wgmma.sm90a.ptx")
	var ks []kernelInfo
	if err := json.Unmarshal([]byte(out), &ks); code != 0 || err != nil || len(ks) != 2 || ks[0].Params[0].Bytes != 128 || !ks[0].DynamicShared {
		t.Errorf("%d, %v: %s", code, err, out)
	}
}

// A kernel gets buffers of every kind and its result comes back as .npy.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	x := filepath.Join(dir, "x.npy")
	var data []byte
	for i := range 1000 {
		data = le.AppendUint32(data, math.Float32bits(float32(i)))
	}
	var b bytes.Buffer
	if err := writeNPY(&b, ptx.F32, []int{10, 100}, data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(x, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	y := filepath.Join(dir, "y.npy")
	code, out, errs := ptxsim(t, "run", samples+"elementwise.sm80.ptx", "saxpy", "y=fill:f32:1000:0.5", x, "-2", "1000", "--grid", "4", "-b", "256", "--out", "y="+y)
	if code != 0 || !strings.Contains(out, "eager: clean under every check") || !strings.Contains(out, "3.91 sectors") {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	f, err := os.Open(y)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	typ, shape, got, err := readNPY(f)
	if err != nil || typ != ptx.F32 || len(shape) != 1 || shape[0] != 1000 {
		t.Fatal(typ, shape, err)
	}
	for i := range 1000 {
		if v := math.Float32frombits(le.Uint32(got[4*i:])); v != 0.5-2*float32(i) {
			t.Fatalf("y[%d] = %g", i, v)
		}
	}
	code, out, _ = ptxsim(t, "run", samples+"sgemm.sm80.ptx", "sgemm", "-g", "2x1", "-b", "256", "empty:f32:64x128", "rand:f32:64x48", "rand:f32:48x128:7", "64", "128", "48", "-m", "all")
	if code != 0 || strings.Count(out, "clean") != 5 {
		t.Errorf("%d\n%s", code, out)
	}
	// A kernel with tensor maps.
	code, out, errs = ptxsim(t, "run", samples+"conv_wgmma.sm90a.ptx", "conv3x3_wgmma", "--grid", "1x1x1", "--block", "384", "--shared", "163904", "-m", "lazy", "--no-profile",
		"--buffer", "x=rand:f16:8x16x64", "--buffer", "w=rand:f16:128x576", "--buffer", "y=empty:f16:8x16x128",
		"map:x:f16:64x16x8x1:64x16x8x1:128", "map:w:f16:576x128:64x128:128", "map:y:f16:128x16x8x1:64x16x4x1:128", "zeros:f32:128", "64", "1")
	if code != 0 && !strings.Contains(errs, "shared memory") || code == 0 && !strings.Contains(out, "clean") {
		t.Errorf("%d\n%s%s", code, out, errs)
	}
}

// A kernel that cannot run leaves the others of its file alone.
func TestSomeKernels(t *testing.T) {
	file := filepath.Join(t.TempDir(), "some.ptx")
	src := `.version 8.0
.target sm_80
.address_size 64
.func (.param .b32 r) f(.param .b32 x) { .reg .b32 %r; ret; } // "}"
.visible .entry odd(.param .u64 out) { frob.b32 "}" { ; } /* } */ }
.visible .entry later(.param .texref t) { ret; }
.visible .entry form(.param .u64 out) { .reg .b32 %r<3>; brkpt; ret; }
.visible .entry good(.param .u64 out) { .reg .b64 %o; ld.param.u64 %o, [out]; st.global.u32 [%o], 7; ret; }`
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := ptxsim(t, "list", file)
	for _, want := range []string{"good: 3 instructions", "odd: cannot run: line 5: unknown opcode frob", "later: cannot run: line 6: ", "form: cannot run: line 7: brkpt"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in %s%s", code, want, out, errs)
		}
	}
	if code, _, errs := ptxsim(t, "run", file, "good", "zeros:u32:1"); code != 0 {
		t.Errorf("exit %d, %s", code, errs)
	}
	if code, _, errs := ptxsim(t, "run", file, "form", "zeros:u32:1"); code != exitUsage || !strings.Contains(errs, "in form: brkpt: this form") || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit %d, %s", code, errs)
	}
	if err := os.WriteFile(file, []byte(src[:len(src)-40]), 0o600); err != nil { // no end of the last
		t.Fatal(err)
	}
	if code, _, errs := ptxsim(t, "list", file); code != exitUsage || !strings.Contains(errs, "end of file") {
		t.Errorf("cut short: exit %d, %s", code, errs)
	}
}

// A struct is given by its fields or its bytes.
func TestStruct(t *testing.T) {
	dir := t.TempDir()
	file, out := filepath.Join(dir, "s.ptx"), filepath.Join(dir, "o.npy")
	src := `.version 7.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 out, .param .align 8 .b8 s[24]) {
	.reg .b64 %o, %p; .reg .b32 %r<5>; .reg .b16 %h;
	ld.param.u64 %o, [out];
	ld.param.u16 %h, [s];
	cvt.u32.u16 %r1, %h;
	ld.param.u32 %r2, [s+4];
	ld.param.u64 %p, [s+8];
	ld.param.u32 %r3, [s+16];
	st.global.u32 [%o], %r1;
	st.global.u32 [%p+4], %r2;
	st.global.u32 [%o+8], %r3;
	ret;
}`
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []string{"{u16:7,f32:1.5,o,s32:-2}", "{u16:7, f32:1.5, o, u32:4294967294}"} {
		code, _, errs := ptxsim(t, "run", file, "k", "o=zeros:u32:3", spec, "--out", "o="+out)
		if code != 0 {
			t.Fatalf("%s: %d %s", spec, code, errs)
		}
		f, err := os.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		_, _, got, err := readNPY(f)
		f.Close()
		if err != nil || le.Uint32(got) != 7 || le.Uint32(got[4:]) != math.Float32bits(1.5) || le.Uint32(got[8:]) != 0xfffffffe {
			t.Errorf("%s: %x, %v", spec, got, err)
		}
	}
	for spec, want := range map[string]string{
		"7": "is not 24 bytes; write a struct as", "{u32:1": "the struct has no end", "{u32}": "want TYPE:VALUE", "{u8:300}": "does not fit u8",
		"{q}": "no buffer q; there are o", "hex:00": "has 1 bytes, the parameter 24; give the missing fields, or pad:23", "hex:xy": "want two digits for each byte", "{u64:1,u64:1,u64:1,u8:1}": "has 32 bytes, the parameter 24",
	} {
		code, _, errs := ptxsim(t, "run", file, "k", "o=zeros:u32:3", spec)
		if code != exitUsage || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit %d, %q, want %q", spec, code, errs, want)
		}
	}
	if code, _, errs := ptxsim(t, "run", file, "k", "o=zeros:u32:3", "hex:"+strings.Repeat("00", 24)); code != exitReport {
		t.Errorf("a null pointer in bytes: exit %d, %s", code, errs)
	}
}

// What the checks report ends with exit code 1, as text and as JSON.
func TestReports(t *testing.T) {
	args := []string{"run", samples + "elementwise.sm80.ptx", "saxpy", "-g", "4", "-b", "256", "y=zeros:f32:999", "rand:f32:1000", "2", "1000"}
	code, out, _ := ptxsim(t, args...)
	if code != exitReport || !strings.Contains(out, "out of bounds at "+samples+"elementwise.sm80.ptx:44 block [3 0 0] thread [231 0 0]") {
		t.Errorf("%d\n%s", code, out)
	}
	code, out, _ = ptxsim(t, append(args, "--json")...)
	var r result
	if err := json.Unmarshal([]byte(out), &r); code != exitReport || err != nil || r.Report == nil || r.Report.Kind != "out of bounds" || r.Report.Block != [3]int{3, 0, 0} {
		t.Errorf("%d, %v: %s", code, err, out)
	}
	src, err := os.ReadFile(samples + "sgemm.sm80.ptx")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mutant.ptx")
	if err := os.WriteFile(file, bytes.Replace(src, []byte("bar.sync"), []byte("//"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ = ptxsim(t, "run", file, "sgemm", "-b", "256", "empty:f32:64x64", "rand:f32:64x48", "rand:f32:48x64", "64", "64", "48")
	if code != exitReport || !strings.Contains(out, "uninitialised") && !strings.Contains(out, "race") {
		t.Errorf("%d\n%s", code, out)
	}
}

// Mistakes get one line that says what to do, and exit code 2.
func TestUsage(t *testing.T) {
	file := samples + "elementwise.sm80.ptx"
	bad := filepath.Join(t.TempDir(), "bad.ptx")
	if err := os.WriteFile(bad, []byte(".version 7.0\n.target sm_80\n.address_size 64\n.entry k() { frob; }"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"no command walk; there are list, run, script and exec", []string{"walk"}},
		{"list takes one file, got 0 arguments", []string{"list"}},
		{"no such file", []string{"list", "nowhere.ptx"}},
		{"bad.ptx:4:14 in k: unknown opcode frob", []string{"run", bad, "k"}},
		{"run takes a file, a kernel and its arguments", []string{"run", file}},
		{"sax fits 2 kernels: saxpy, saxpy4; say more of one, or sax#1", []string{"run", file, "sax"}},
		{"no kernel daxpy; it has ", []string{"run", file, "daxpy"}},
		{"saxpy takes 4 arguments (u64 saxpy_param_0", []string{"run", file, "saxpy", "1"}},
		{`argument 3 (saxpy_param_2, a f32): "x" is no number`, []string{"run", file, "saxpy", "zeros:f32:8", "zeros:f32:8", "x", "8"}},
		{"two buffers are called y", []string{"run", file, "saxpy", "y=zeros:f32:8", "y=zeros:f32:8", "1", "8"}},
		{`"ones:f32:8" is no buffer and no value: want zeros:TYPE:N`, []string{"run", file, "saxpy", "ones:f32:8", "zeros:f32:8", "1", "8"}},
		{`type "f31": want f16`, []string{"run", file, "saxpy", "zeros:f31:8", "zeros:f32:8", "1", "8"}},
		{`"0x4" is no number of elements`, []string{"run", file, "saxpy", "zeros:f32:0x4", "zeros:f32:8", "1", "8"}},
		{"99999999999 does not fit u32", []string{"run", file, "saxpy", "zeros:f32:8", "zeros:f32:8", "1", "99999999999"}},
		{"--grid 4x: want X, XxY or XxYxZ", []string{"run", file, "saxpy", "zeros:f32:8", "zeros:f32:8", "1", "8", "--grid", "4x"}},
		{"threads a block", []string{"run", file, "saxpy", "zeros:f32:8", "zeros:f32:8", "1", "8", "-b", "2048"}},
		{`mode "eagre": want eager, lazy or random:SEED`, []string{"run", file, "saxpy", "zeros:f32:8", "zeros:f32:8", "1", "8", "-m", "eagre"}},
		{"no buffer z; there are saxpy_param_1, y", []string{"run", file, "saxpy", "y=zeros:f32:8", "zeros:f32:8", "1", "8", "--out", "z=z.npy"}},
		{"want NAME=FILE.npy", []string{"run", file, "saxpy", "y=zeros:f32:8", "zeros:f32:8", "1", "8", "--out", "y"}},
		{"did you mean --block?", []string{"run", file, "saxpy", "--blok", "3"}},
		{"compiled for sm_90a, the device is sm_80", []string{"list", "--arch", "sm_80", samples + "conv_wgmma.sm90a.ptx"}},
		{"no buffer q; there are", []string{"run", samples + "conv_wgmma.sm90a.ptx", "cluster_sampler", "map:q:f16:64:64", "zeros:f32:1"}},
		{"this is no .npy file", []string{"run", file, "saxpy", "bad.npy", "zeros:f32:8", "1", "8"}},
	} {
		if c.args[len(c.args)-1] == "8" && len(c.args) > 3 && c.args[3] == "bad.npy" {
			c.args[3] = filepath.Join(t.TempDir(), "bad.npy")
			if err := os.WriteFile(c.args[3], []byte("hello, world"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		code, out, errs := ptxsim(t, c.args...)
		if code != exitUsage || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v\n\texit %d, wrote %q\n\twant %q %s", c.args, code, errs, c.want, out)
		}
	}
	if code, out, _ := ptxsim(t); code != 0 || !strings.Contains(out, "ptxsim run") {
		t.Errorf("%d %s", code, out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b bytes.Buffer
	if code := run(ctx, []string{"ptxsim", "run", file, "saxpy", "zeros:f32:8", "zeros:f32:8", "1", "8"}, &b, &b); code != exitInterrupted {
		t.Errorf("cancelled: %d %s", code, b.String())
	}
}

// An array that is written reads back, whatever its type and shape.
func TestNPY(t *testing.T) {
	for _, typ := range npyTypes {
		for _, shape := range [][]int{{1}, {7}, {3, 4}, {2, 3, 5, 1}, {}} {
			data := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, elems(shape))[:elems(shape)*typ.Bits()/8]
			var b bytes.Buffer
			if err := writeNPY(&b, typ, shape, data); err != nil {
				t.Fatal(err)
			}
			if n := b.Len() - len(data); n%64 != 0 {
				t.Errorf("%v %v: the header has %d bytes", typ, shape, n)
			}
			gt, gs, gd, err := readNPY(&b)
			if err != nil || gt != typ || len(gs) != len(shape) || !bytes.Equal(gd, data) {
				t.Errorf("%v %v: %v %v %v", typ, shape, gt, gs, err)
			}
		}
	}
	for _, c := range []struct{ head, want string }{
		{"{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", "elements of type >f4"},
		{"{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", "Fortran order"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }", "at least 1"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999, 99999999), }", "below 2^31"},
		{"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "wants 12 bytes"},
		{"{'descr': [('a', '<f4')]}", "malformed"},
	} {
		file := npyMagic + "\x01\x00" + string(le.AppendUint16(nil, uint16(len(c.head)))) + c.head + "12345678"
		if _, _, _, err := readNPY(strings.NewReader(file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.head, err)
		}
	}
}

// Reading hostile arrays ends in an error or an array of the size it claims.
func FuzzNPY(f *testing.F) {
	var b bytes.Buffer
	if err := writeNPY(&b, ptx.F32, []int{2, 3}, make([]byte, 24)); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(npyMagic + "\x02\x00\xff\xff\xff\xff{"))
	f.Fuzz(func(t *testing.T, file []byte) {
		typ, shape, data, err := readNPY(bytes.NewReader(file))
		if err == nil && len(data) != elems(shape)*typ.Bits()/8 {
			t.Fatalf("%v %v with %d bytes", typ, shape, len(data))
		}
	})
}
