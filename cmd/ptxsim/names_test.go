package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	gemmHalf   = "_Z4gemmILi128ELi64E6__halfEvPT1_"
	gemmFloat  = "_Z4gemmILi128ELi64EfEvPT1_"
	device     = "_ZN7cutlass13device_kernelINS_4gemm6kernel13GemmUniversalIN4cute5tupleIJiiiiEEEEEEEvNT_6ParamsE"
	anonymous  = "_ZN65_GLOBAL__N__0a1b2c3d_9_kernel_cu_1234abcd_5678aaaa_1234567890abcd1kEPf"
	plainScale = "scale"
	myGemm     = "_Z6mygemmILi128ELi64EfEvPT1_"
)

// A kernel is found by what people call it, and by a part that no other has.
func TestNames(t *testing.T) {
	long := func(c string) string { // of 800 letters; only the last differs
		return "_Z4longI" + strings.Repeat("6abcdefI", 80) + "1" + c + strings.Repeat("E", 80) + "Evv"
	}
	n := newNames("kernel", "f.ptx", []string{gemmHalf, gemmFloat, device, anonymous, plainScale, myGemm, "scale2", long("x"), long("y")})
	for want, name := range map[string]string{
		gemmHalf: gemmHalf, "gemm<128, 64, float>": gemmFloat, "gemm<128,64,float>": gemmFloat, "mygemm": myGemm, "gemm<128,64,_": gemmHalf, "__half": gemmHalf, "device_kernel": device,
		"cutlass::device_kernel": device, "k(float": anonymous, "scale": plainScale, "scale2": "scale2", "scale#2": "scale2", "gemm#2": gemmFloat,
		n.label[long("x")]: long("x"), n.label[long("y")]: long("y"),
	} {
		if got, err := n.find(want); err != nil || got != name {
			t.Errorf("%s: %s, %v", want, got, err)
		}
	}
	for want, msg := range map[string]string{
		"gemm":   "f.ptx: gemm fits 2 kernels: gemm<128, 64, __half>, gemm<128, 64, float>; say more of one, or gemm#1",
		"gemm#9": "gemm#9 of 4 kernels: ", "nothing": "f.ptx: no kernel nothing; it has gemm<", "": "a kernel has a name",
	} {
		if _, err := n.find(want); err == nil || !strings.Contains(err.Error(), msg) || utf8.RuneCountInString(err.Error()) > 9*(longestName+2)+100 {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, s := range n.label {
		if utf8.RuneCountInString(s) > longestName+3 {
			t.Errorf("a label of %d letters: %s", utf8.RuneCountInString(s), s)
		}
	}
	text := fmt.Sprintf("%s: race at f.ptx:3: read of _ZZ5sgemmE2As+4, [%s_param_1], %s, _Zonk", device, gemmFloat, long("x"))
	if got, want := plain(text, n), "cutlass::device_kernel: race at f.ptx:3: read of sgemm::As+4, [gemm<128, 64, float>_param_1], "+n.label[long("x")]+", _Zonk"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// What list and run print has the short names, whatever is said; JSON has both.
func TestShortNames(t *testing.T) {
	file := filepath.Join(t.TempDir(), "names.ptx")
	kernel := func(name, body string) string {
		return fmt.Sprintf(".visible .entry %[1]s(.param .u64 %[1]s_param_0) { .reg .b64 %%o; ld.param.u64 %%o, [%[1]s_param_0]; %[2]s ret; }\n", name, body)
	}
	src := ".version 8.0\n.target sm_80\n.address_size 64\n" + kernel(gemmHalf, "st.global.u32 [%o], 7;") + kernel(gemmFloat, "st.global.u32 [%o+4], 7;") + kernel(device, "frob;")
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := ptxsim(t, "list", file)
	if code != 0 || !strings.Contains(out, "gemm<128, 64, __half>: 3 instructions") || !strings.Contains(out, "u64  gemm<128, 64, float>_param_0") ||
		!strings.Contains(out, "cutlass::device_kernel: cannot run") || strings.Contains(out, "_Z") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if _, out, _ := ptxsim(t, "list", "--json", file); !strings.Contains(out, `"name": "`+gemmHalf+`"`) || !strings.Contains(out, `"demangled": "void gemm\u003c128, 64, __half\u003e(__half*)"`) {
		t.Errorf("%s", out)
	}
	if code, out, _ := ptxsim(t, "run", file, "half", "zeros:u32:1"); code != 0 || !strings.Contains(out, "gemm<128, 64, __half>  grid") {
		t.Errorf("%d %s", code, out)
	}
	if code, out, _ := ptxsim(t, "run", file, "float", "zeros:u32:1"); code != exitReport || !strings.Contains(out, "eager: gemm<128, 64, float>: out of bounds at ") || strings.Contains(out, "_Z") {
		t.Errorf("%d %s", code, out)
	}
	for _, args := range [][]string{{"device", "zeros:u32:1"}, {"float", "7", "8"}, {"float", "x"}, {"gemm", "7"}, {"float", "zeros:u32:1", "--block", "2000"}} {
		if code, _, errs := ptxsim(t, append([]string{"run", file}, args...)...); code != exitUsage || strings.Contains(errs, "_Z") || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: %d %s", args, code, errs)
		}
	}
}
