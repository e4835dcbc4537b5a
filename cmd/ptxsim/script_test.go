package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const docs = "../../docs/"

// write puts a file into a folder and returns its name.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The example of the documentation does what its page says, in every mode.
func TestExample(t *testing.T) {
	page, err := os.ReadFile(docs + "ptxsim.md")
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := ptxsim(t, "script", docs+"ptxsim-blur.script")
	out = strings.ReplaceAll(out, docs, "docs/")
	if code != 0 || errs != "" || !strings.Contains(string(page), out) {
		t.Errorf("%d %s\nptxsim.md does not have\n%s", code, errs, out)
	}
	script, err := os.ReadFile(docs + "ptxsim-blur.script")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), string(script)) {
		t.Error("ptxsim.md does not have the script as it is")
	}
	if code, out, _ := ptxsim(t, "script", docs+"ptxsim-blur.script", "-m", "all"); code != 0 || strings.Count(out, "done, 2 launches") != 5 {
		t.Errorf("%d %s", code, out)
	}
	// Without its barrier it does not.
	src, err := os.ReadFile(docs + "ptxsim-blur.ptx")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "ptxsim-blur.ptx", strings.ReplaceAll(string(src), "bar.sync", "// bar.sync"))
	file := write(t, dir, "blur.script", string(script))
	code, out, _ = ptxsim(t, "script", file)
	if code != exitReport || !strings.Contains(out, "blur.script:13: picture::blur<false>: race at ") || !strings.Contains(out, "the rest of the script was left out") {
		t.Errorf("%d %s", code, out)
	}
	for args, want := range map[string]int{
		"--no-check race": 0, "--no-check all": 0, "--no-checks": 0, "--check uninit": 0, "--check uninit,missing-wait --check proxy": 0, "--check race": exitReport,
		"--no-check uninit": exitReport, "--check race --no-check race": 0, "--check all": exitReport,
	} {
		if code, out, errs := ptxsim(t, append([]string{"script", file}, strings.Fields(args)...)...); code != want {
			t.Errorf("%s: exit %d, want %d: %s%s", args, code, want, out, errs)
		}
	}
	if _, out, _ := ptxsim(t, "script", file, "--no-check", "race"); !strings.Contains(out, "clean, not checked for race\n") {
		t.Error(out)
	}
	// A wrong weight is an expectation that is not met; the script goes on.
	write(t, dir, "ptxsim-blur.ptx", string(src))
	file = write(t, dir, "blur.script", strings.Replace(string(script), "1,4,6,4,1\n\nbuffer", "1,4,5,4,1\n\nbuffer", 1))
	code, out, _ = ptxsim(t, "script", file)
	for _, want := range []string{
		"blur.script:14: expected otherwise: rows+40: 1 of 15 elements differ; element 2 is 5, want 6\n", ":17: picture::pixels is as expected",
		":18: expected otherwise: blurred+40: 7 of 15 elements differ; element 0 is 0.01953125, want 0.0234375; the farthest, element 2 is 0.09765625, want 0.140625", "2 expectations are not met",
	} {
		if code != exitReport || !strings.Contains(out, want) {
			t.Errorf("%d, no %q in\n%s", code, want, out)
		}
	}
	code, out, _ = ptxsim(t, "script", file, "--json", "--profile")
	var r result
	if err := json.Unmarshal([]byte(out), &r); code != exitReport || err != nil || len(r.Failed) != 2 || len(r.Launches) != 2 ||
		r.Launches[1].Profile.WarpInstrs == 0 || len(r.Values) != 1 || strings.Join(r.Values[0].Values, " ") != "0 0 1 0 0" {
		t.Errorf("%d %v %s", code, err, out)
	}
}

const add = `.version 7.0
.target sm_80
.address_size 64
.global .f32 bias[4] = {1.0, 2.0, 3.0, 4.0};
.const .u32 times = 3;
.global .align 8 .b8 room[16];
.visible .entry add(.param .u64 y, .param .u64 x) {
	.reg .b64 %y, %x, %o; .reg .b32 %t, %n; .reg .f32 %a, %b;
	ld.param.u64 %y, [y]; ld.param.u64 %x, [x];
	mov.u32 %t, %tid.x; mul.wide.u32 %o, %t, 4;
	add.u64 %y, %y, %o; add.u64 %x, %x, %o;
	ld.global.f32 %a, [%x];
	mov.u64 %x, bias; add.u64 %x, %x, %o;
	ld.global.f32 %b, [%x];
	add.f32 %a, %a, %b;
	ld.const.u32 %n, [times]; cvt.rn.f32.u32 %b, %n;
	mul.f32 %a, %a, %b;
	st.global.f32 [%y], %a;
	ret;
}
`

// script runs one beside add.ptx.
func script(t *testing.T, text string, flags ...string) (dir string, code int, stdout, stderr string) {
	t.Helper()
	dir = t.TempDir()
	write(t, dir, "add.ptx", add)
	code, stdout, stderr = ptxsim(t, append([]string{"script", write(t, dir, "s.script", text)}, flags...)...)
	return dir, code, stdout, stderr
}

// Variables are read and set, buffers copied, arrays written and read back.
func TestScript(t *testing.T) {
	_, code, out, errs := script(t, "\ufeff"+`load add.ptx   # a comment
buffer "x=values:f32:1,2,3,4"
buffer y=empty:f32:4
print times
launch add y x --block 4
expect y=values:f32:6,12,18,24
set times=2
set bias=0.5
set bias+4=f32:-1
launch add \
    y x --block 4
expect y=values:f64:3,2,7,9
copy x=y --bytes 8
expect x=values:f32:3,2,3,4
copy x+8=y
copy y+4=x+12 --bytes 4
set room={ptr:x,f32:1.5,i8:-1}
expect room+8:f32=values:f32:1.5,0 --within 1
expect room+12:i8=values:s8:-1,0,0,0
expect times=2
out y=y.npy
out bias=bias.raw
out room:u64=room.bin
`)
	if code != exitUsage || !strings.Contains(errs, "s.script:15: x+8 has 8 bytes, 16 are to be copied into it; --bytes says how many") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	dir, code, out, errs := script(t, `load add.ptx
buffer x=values:f32:1,2,3,4
buffer y=empty:f32:2x2
launch add y x --block 4
set times=2
set bias=0.5
set bias+4=f32:-1
launch add y x --block 4
expect y=values:f64:3,2,7,9
copy y+4=x+12 --bytes 4
set room={ ptr:x, f32:1.5, { i8:-1 } }
expect room+12:i8=values:s8:-1,0,0,0
expect room+8:f32=values:f32:1.5,3.5e-43 --within 1e-40
expect times=2
out y=y.npy
out bias=bias.raw
out room:u64=room.bin
`)
	if code != 0 || errs != "" || !strings.Contains(out, "eager: done, 2 launches\n") {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "bias.raw"))
	if err != nil || len(raw) != 16 || bits(raw[4:], 4) != 0xbf800000 || bits(raw[12:], 4) != 0x3f000000 {
		t.Errorf("%x %v", raw, err)
	}
	npy, err := os.ReadFile(filepath.Join(dir, "y.npy"))
	if err != nil {
		t.Fatal(err)
	}
	if typ, shape, data, err := readNPY(bytes.NewReader(npy)); err != nil || typ.String() != "f32" || len(shape) != 2 || bits(data, 4) != 0x40400000 || bits(data[4:], 4) != 0x40800000 {
		t.Errorf("%v %v %x %v", typ, shape, data, err)
	}
	// What was written is read back, raw and as an array.
	write(t, dir, "again.script", `load add.ptx
buffer y=y.npy
buffer b=raw:f32:bias.raw
buffer c=raw:bias.raw
expect y=y.npy
expect y=raw:`+"y.npy"+`
`)
	if code, _, errs := ptxsim(t, "script", filepath.Join(dir, "again.script")); code != exitUsage || !strings.Contains(errs, "again.script:6: y has 4 elements, 36 are expected") {
		t.Errorf("%d %s", code, errs)
	}
	write(t, dir, "again.script", "load add.ptx\nbuffer b=raw:f32:bias.raw\nbuffer c=raw:bias.raw\nexpect b=raw:bias.raw\nexpect c:f32=values:f32:0.5,-1,0.5,0.5\nexpect c=bytes:bias.raw\n")
	if code, out, errs := ptxsim(t, "script", filepath.Join(dir, "again.script")); code != 0 {
		t.Errorf("%d %s%s", code, out, errs)
	}
	// The same with run.
	file := filepath.Join(dir, "add.ptx")
	code, out, errs = ptxsim(t, "run", file, "add", "y=empty:f32:4", "zeros:f32:4", "-b", "4", "--set", "times=5", "--set", "bias=values:f32:1,2,3,4",
		"--expect", "y=values:f32:5,10,15,20.5", "--within", "0.5", "--print", "y", "--out", "times="+filepath.Join(dir, "t.npy"), "--no-profile")
	if code != 0 || !strings.Contains(out, "eager: y, f32 4: 5 10 15 20\n") {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// What a kernel has left unwritten is never as expected, though it reads as zero.
func TestUnwritten(t *testing.T) {
	const text = "load add.ptx\nbuffer x=zeros:f32:8\nbuffer y=empty:f32:8\nset bias=0\nlaunch add y x --block 4\nexpect y=0\nout y=y.raw\n"
	_, code, out, _ := script(t, text)
	if code != exitReport || !strings.Contains(out, ":6: expected otherwise: y: element 4 was never written\n") || !strings.Contains(out, ":7: warning: y is written out, but its element 4 was never written\n") {
		t.Errorf("%d %s", code, out)
	}
	for _, off := range []string{"uninitialised", "all"} {
		if _, code, out, _ := script(t, text, "--no-check", off); code != 0 || strings.Contains(out, "never") {
			t.Errorf("%d %s", code, out)
		}
	}
	// The asynchronous stores of a Hopper count as writes.
	code, out, errs := ptxsim(t, "run", samples+"conv_wgmma.sm90a.ptx", "conv3x3_wgmma", "--grid", "1", "--block", "384", "--shared", "163904", "-m", "all",
		"--buffer", "x=zeros:f16:8x16x64", "--buffer", "w=rand:f16:128x576", "--buffer", "y=empty:f16:8x16x128", "--expect", "y=0",
		"map:x:f16:64x16x8x1:64x16x8x1:128", "map:w:f16:576x128:64x128:128", "map:y:f16:128x16x8x1:64x16x4x1:128", "zeros:f32:128", "64", "1")
	if code != 0 || strings.Count(out, "y is as expected") != 5 {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// What people do wrong gets one line with its place, before anything is launched.
func TestScriptMistakes(t *testing.T) {
	const begin = "load add.ptx\nbuffer x=zeros:f32:4\nbuffer y=zeros:f32:4\n"
	for text, want := range map[string]string{
		"":                              "s.script has no statement",
		"# nothing\n":                   "s.script has no statement",
		"lunch add y x":                 ":1: no statement lunch; did you mean launch?",
		"frobnicate":                    ":1: no statement frobnicate; there are load, buffer, map, set, copy, expect, print, out, launch",
		"load x.cu":                     "x.cu: is C++; nvcc -ptx compiles it to PTX",
		"load data.raw":                 "data.raw: is machine code; nvcc -ptx makes PTX",
		begin + "launch add<1, 2> y x":  ":4: kernel add<1,: write the name in quotes, or without spaces",
		begin + "launch add nullptr x":  "no buffer nullptr; a null pointer is 0; there are x, y",
		begin + "launch add data.raw x": "no buffer data.raw; raw:data.raw is the file; there are",
		"load":                          ":1: load takes one word, FILE.ptx; got 0",
		"load a.ptx b.ptx":              ":1: load takes one word, FILE.ptx; got 2",
		"load none.ptx":                 "none.ptx: there is no such file; check the name and the folder",
		"\x1b[31mload\x07 x":            ":1: no statement \ufffd[31mload\ufffd; there are load, buffer",
		"l\u00f6\u00e4\u00fc\u00f6\u00e4\u00fc\u00f6\u00e4": "; there are load, buffer",
		"launch add y x":                                ":1: no file is loaded; write load FILE.ptx before launch",
		"load \"add.ptx":                                ":1: the quote \" has no end",
		"load add.ptx \\":                               ":1: the last line ends with \\; take it away",
		begin + "launch":                                ":4: launch takes a kernel and its arguments",
		begin + "launch ad y x y":                       ":4: add takes 2 arguments (u64 y, u64 x), got 3",
		begin + "launch sub y x":                        "add.ptx: no kernel sub; it has add",
		begin + "launch add y z":                        ":4: argument 2 (x, a u64): no buffer z; there are x, y; variables bias, times, room",
		begin + "launch add y x --blok 4":               ":4: unknown flag --blok; did you mean --block?",
		begin + "launch add y x --block 4x":             ":4: --block 4x: want X, XxY or XxYxZ",
		begin + "launch add y x --shared -1":            ":4: --shared and --registers want 0 or more",
		begin + "launch add y x --shared many":          ":4: --shared many: give a whole number",
		begin + "launch add y x --help":                 ":4: ptxsim script --help tells",
		begin + "launch add y x=7":                      ":4: argument 2: x= is a name for a buffer, 7 is none",
		begin + "launch add y {f32:1}":                  ":4: argument 2 (x, a u64): the value has 4 bytes, the parameter 8: if it is an address, put the value into a buffer",
		begin + "launch add y {f32:1,}":                 `:4: argument 2: field "": want TYPE:VALUE`,
		begin + "launch add y {f32:1":                   ":4: the struct has no end",
		begin + "launch add y map:x:f32:4:4":            "the value has 128 bytes, the parameter 8",
		begin + "launch add y map:x:f32:4:4:swizle=3":   "no option swizle; there are swizzle, strides",
		begin + "buffer x=zeros:f32:1":                  ":4: two buffers are called x",
		begin + "buffer x":                              `:4: "x": want NAME=BUFFER, as x=zeros:f32:1000`,
		begin + "buffer z=7":                            `:4: "z=7": want NAME=BUFFER`,
		begin + "buffer 1z=zeros:f32:1":                 `:4: "1z" cannot be a name`,
		begin + "buffer f32=zeros:f32:1":                `:4: "f32" cannot be a name`,
		begin + "buffer z=zero:f32:1":                   `:4: z: "zero:f32:1" is no buffer and no value: want zeros:TYPE:N`,
		begin + "buffer z=zeros:f32":                    `:4: z: "zeros:f32": want zeros:TYPE:N`,
		begin + "buffer z=zeros:float:1":                `:4: z: "zeros:float:1": type "float": want f16`,
		begin + "buffer z=fill:f16:1:70000":             "70000 does not fit f16; write inf for infinity",
		begin + "buffer z=values:u8:1,2.5":              "2.5 is no u8, which is a whole number",
		begin + "buffer z=range:s32:4:0.5":              "0.5 is no whole number, which s32 wants",
		begin + "buffer z=rand:f32:4:x":                 `seed "x" is no whole number`,
		begin + "buffer z=zeros:f64:2000000000":         "a buffer of more than 2 GB",
		begin + "buffer z=none.npy":                     "none.npy: there is no such file",
		begin + "buffer z=raw:":                         "the name of the file is missing",
		begin + "buffer z=s.script.npy:":                "is no buffer and no value",
		begin + "map m=zeros:f32:4":                     `:4: "m=zeros:f32:4" is a buffer; want NAME=MAP`,
		begin + "map m=map:x:f32:4":                     "want map:NAME:TYPE:EXTENTS:BOX",
		begin + "map m=map:z:f32:4:4":                   ":4: m: no buffer z; there are x, y",
		begin + "map m=map:x:f32:4:3":                   ":4: m: tensor map: the box is 12 bytes wide",
		begin + "map m=map:x:f32:4:4:interleave=16":     "interleave= is not simulated; leave it out",
		begin + "map m=map:x:f32:4:4:fill=one":          `fill "one": what lies out of bounds reads as zeros or nan`,
		begin + "map m=map:x:f32:4x4:4x4:strides=16x2":  "strides 16x2: want 1, in bytes",
		begin + "map m=map:x:f32:4x4:4x4:steps=2":       "steps 2: want 2 element strides",
		begin + "map m=map:x:f32:4:4:lower=1":           "lower= is for im2col maps",
		begin + "map m=im2col:x:f32:4:lower=1":          "upper= is missing",
		begin + "map m=im2col-w:x:f32:4:lower=1":        "im2col-w mode are not simulated",
		begin + "set times":                             `:4: "times": want NAME=VALUE`,
		begin + "set times=1.5":                         ":4: times: 1.5 is no u32, which is a whole number",
		begin + "set times=values:u32:1,2":              ":4: times has 4 bytes, the value 8; NAME+BYTES sets a part",
		begin + "set bias=values:f32:1,2":               ":4: bias has 16 bytes, the value 8",
		begin + "set bias+16=f32:1":                     ":4: bias+16 lies behind bias, which has 16 bytes",
		begin + "set bias+x=f32:1":                      `:4: "bias+x": want bytes behind the +, as in bias+16`,
		begin + "set ime=1":                             ":4: no buffer ime; there are x, y; variables bias, times, room",
		begin + "set bias:f31=1":                        `:4: "bias:f31": type "f31"`,
		begin + "set bias=empty:f32:4":                  "bias: empty is no value; take zeros",
		begin + "copy y":                                `:4: "y": want TO=FROM`,
		begin + "copy y=x --bytes 20":                   ":4: x has 16 bytes, 20 are to be copied",
		begin + "expect y=values:f32:1":                 ":4: y has 4 elements, 1 are expected",
		begin + "expect y=values:s32:1,2,3,4":           ":4: y is f32, what is expected is s32; NAME:TYPE sees it as another type",
		begin + "expect y=0 --within -1":                ":4: --within and --relative want 0 or more",
		begin + "expect y=empty:f32:4":                  "empty is nothing to expect",
		begin + "print":                                 ":4: print takes one word, NAME; got 0",
		begin + "print z":                               ":4: no buffer z",
		begin + "print room:f64x":                       `type "f64x"`,
		begin + "out y=y.txt":                           ":4: y=y.txt: the name says what is written: FILE.npy is an array, FILE.raw or FILE.bin the bytes alone",
		begin + "out y":                                 `:4: "y": want NAME=FILE.npy`,
		begin + "out y=no/where/y.npy":                  "no/where",
		begin + "out y=y.npy\nout x=./y.npy":            "y.npy is written twice",
		begin + "buffer z=raw:data.raw\nout y=data.raw": "data.raw is read and would be overwritten",
	} {
		dir := t.TempDir()
		write(t, dir, "add.ptx", add)
		write(t, dir, "data.raw", "\x7fELF")
		write(t, dir, "x.cu", "__global__ void k() {}")
		code, out, errs := ptxsim(t, "script", write(t, dir, "s.script", text))
		if code != exitUsage || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, want) {
			t.Errorf("%q: exit %d, %s%s\twant %s", text, code, out, errs, want)
		}
		if data, err := os.ReadFile(filepath.Join(dir, "data.raw")); err != nil || string(data) != "\x7fELF" {
			t.Errorf("%q: data.raw was overwritten", text)
		}
	}
	for want, args := range map[string][]string{
		"script takes one file, got 0 arguments": {"script"}, "no such file": {"script", "none"},
		"ptxsim: --out q=q.npy: no buffer q; there are saxpy_param_1, y": {"run", samples + "elementwise.sm80.ptx", "saxpy", "y=zeros:f32:1e1", "zeros:f32:10", "1", "1e1", "--out", "q=q.npy"},
	} {
		if code, _, errs := ptxsim(t, args...); code != exitUsage || !strings.Contains(errs, want) {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
}

// Mistakes in the names of checks.
func TestCheckNames(t *testing.T) {
	for flag, want := range map[string]string{
		"--no-check=bounds": "--no-check out-of-bounds: it is always on", "--check=rase": "--check rase: no such check; uninitialised, race, missing-wait and missing-proxy-fence can be switched off",
		"--no-check=missing": "is it missing-wait or missing-proxy-fence?", "--no-check=": "no such check", "--mode=lasy": "want eager, lazy or random:SEED, or all", "--max-steps=0": "want at least 1",
	} {
		if _, code, out, errs := script(t, "load add.ptx\n", flag); code != exitUsage || !strings.Contains(errs, want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit %d %s%s\twant %s", flag, code, out, errs, want)
		}
	}
	if code, out, _ := ptxsim(t, "list", write(t, t.TempDir(), "add.ptx", add)); code != 0 || !strings.HasSuffix(out, "bias: .global variable, f32, 16 bytes: 1 2 3 4\ntimes: .const variable, u32, 4 bytes: 3\nroom: .global variable, b8, 16 bytes: 0 0 0 0 0 0 0 0 … 8 more\n") {
		t.Errorf("%d %s", code, out)
	}
	if _, code, out, errs := script(t, "load add.ptx\n", "--check=bounds,race"); code != 0 {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// A result that cannot be written when all is done is exit code 1.
func TestUnwritable(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	dir := t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(dir, "full.raw")); err != nil {
		t.Skip(err)
	}
	write(t, dir, "add.ptx", add)
	code, _, errs := ptxsim(t, "script", write(t, dir, "s.script", "load add.ptx\nout bias=full.raw\n"))
	if code != exitReport || !strings.Contains(errs, "s.script:2: ") || strings.Count(errs, "\n") != 1 {
		t.Errorf("%d %s", code, errs)
	}
}

// What a kernel prints stands in the JSON.
func TestPrintfJSON(t *testing.T) {
	const file = "../../gpu/sim/testdata/nvcc/calls.ptx"
	_, text, _ := ptxsim(t, "run", file, "says", "32", "-b", "32", "--no-profile")
	said, _, ok := strings.Cut(text, "eager: ")
	if !ok || !strings.Contains(said, "32") {
		t.Fatal(text)
	}
	code, out, _ := ptxsim(t, "run", file, "says", "32", "-b", "32", "--json")
	var r result
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || r.Printf != said || r.Profile == nil || r.Profile.WarpInstrs == 0 {
		t.Errorf("%d %v %q, want %q\n%s", code, err, r.Printf, said, out)
	}
}

// A warning is no error, but with --strict.
func TestWarnings(t *testing.T) {
	src, err := os.ReadFile(samples + "conv_wgmma.sm90a.ptx")
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, t.TempDir(), "k.ptx", strings.ReplaceAll(string(src), "cp.async.bulk.wait_group 0;", ""))
	args := []string{
		"run", file, "conv3x3_wgmma", "--grid", "1", "--block", "384", "--shared", "163904", "--no-profile",
		"--buffer", "x=rand:f16:8x16x64", "--buffer", "w=rand:f16:128x576", "--buffer", "y=empty:f16:8x16x128", "--map", "ym=map:y:f16:128x16x8x1:64x16x4x1:swizzle=128",
		"map:x:f16:64x16x8x1:64x16x8x1:128", "map:w:f16:576x128:64x128:128", "ym", "zeros:f32:128", "64", "1",
	}
	code, out, errs := ptxsim(t, args...)
	if code != 0 || !strings.Contains(out, "eager: warning: conv3x3_wgmma: missing wait at ") || !strings.Contains(out, "clean under every check, 1 warning\n") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if code, out, _ := ptxsim(t, append(args, "--strict")...); code != exitReport || !strings.Contains(out, "1 warning") {
		t.Errorf("strict: %d %s", code, out)
	}
	code, out, _ = ptxsim(t, append(args, "--json")...)
	var r result
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil || r.Report != nil || len(r.Warnings) != 1 {
		t.Errorf("%d %v %s", code, err, out)
	}
	if code, out, _ := ptxsim(t, append(args, "--strict", "--no-check", "wait")...); code != 0 || strings.Contains(out, "warning") {
		t.Errorf("without the check: %d %s", code, out)
	}
}

// A result that depends on when copies land is a warning, even where no check says why.
func TestModesDiffer(t *testing.T) {
	src, err := os.ReadFile(samples + "conv_mma.sm80.ptx")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "right.ptx", string(src))
	write(t, dir, "wrong.ptx", strings.ReplaceAll(string(src), "cp.async.wait_group 1;", ""))
	text := "buffer y=empty:f16:64x64\nlaunch conv3x3_mma y rand:f16:64x64 rand:f16:9x64x64:1 rand:f32:64:2 8 8 64 64 1 --block 128\n"
	right := write(t, dir, "right.script", "load right.ptx\n"+text)
	wrong := write(t, dir, "wrong.script", "load wrong.ptx\n"+text)
	if code, out, errs := ptxsim(t, "script", right, "-m", "all", "--no-check", "all", "--strict"); code != 0 || strings.Contains(out, "warning") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	code, out, errs := ptxsim(t, "script", wrong, "-m", "all", "--no-check", "all")
	if code != 0 || !strings.Contains(out, "lazy: warning: y is not as in mode eager: ") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if code, _, _ := ptxsim(t, "script", wrong, "-m", "all", "--no-check", "all", "--strict"); code != exitReport {
		t.Errorf("strict: %d", code)
	}
	if code, out, _ := ptxsim(t, "script", wrong, "-m", "all"); code != exitReport || !strings.Contains(out, "missing wait") {
		t.Errorf("%d %s", code, out)
	}
}

// Reading a hostile script ends in an error that has its place, or in statements.
func FuzzScript(f *testing.F) {
	example, err := os.ReadFile(docs + "ptxsim-blur.script")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example))
	f.Add("launch a {f32:1,{u8:1,ptr:x+4},pad:3,hex:00} 'b c' -1 1e9 --grid 2x3 -b 4 --shared=5 --dependent\ncopy a+4=b --bytes 3 \\\n\nmap m=im2col:x:f16:64x8x8:lower=-1:upper=-1:channels=64:pixels=9:128\r\nexpect a:f32=7 --within 1e-3")
	f.Add("set a=values:f32:1,nan,-inf,0x1p-3\nout b=c.raw\nprint d#\nload \"e f\\")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := parseScript("f", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") && !strings.HasPrefix(err.Error(), "f has") {
				t.Fatalf("no place: %v", err)
			}
			return
		}
		for _, l := range lines {
			if l.step == nil || !strings.HasPrefix(l.where, "f:") {
				t.Fatalf("%+v", l)
			}
		}
	})
}
