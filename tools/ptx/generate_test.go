package main

import (
	"slices"
	"strings"
	"testing"
)

const demo = `# 1 "/usr/include/other.h"
extern "C" __attribute__((global)) void not_ours_f32(float* y) {}
# 1 "k/demo.cu" 2
constexpr int BM = 8, kBytes = (BM + 1) * 2;
enum { kFirst, kSecond };
namespace inner {
constexpr int kT = BM * 2;
}
struct Row {
    const float *a, *b;
    void* w;
    __attribute__((device)) int sum() const { return count + inner::kT; }
    unsigned count;
    flag last;
};
template <class T>
struct Epilogue {
    T* y;
    flag relu;
};
template <class E, int CH>
struct Conv {
    static constexpr int kHalf = CH / 2, kShared = kHalf << 4;
    static __attribute__((device)) void run(int c) { if (c < kHalf) return; }
};
extern "C" __attribute__((global)) __attribute__((launch_bounds(64, 1))) void scale_f16(
    f16* __restrict__ y, const f16* __restrict__ x, const float* __maybe_null__ __restrict__ b_x, unsigned long long elems) {}
extern "C" __attribute__((global)) __attribute__((launch_bounds(64, 1))) void scale_f32(
    f32* __restrict__ y, const f32* __restrict__ x, const float* __maybe_null__ __restrict__ b_x, unsigned long long elems) {}
#pragma unroll
extern "C" __attribute__((global)) void conv_tf32_64x8(const __attribute__((grid_constant)) CUtensorMap __maybe_null__ x,
    const Row* rows, int c, Element<tf32>::Store* y, flag relu) { Conv<tf32, 64>::run(c); }
`

var demoValues = map[string]int64{
	"BM": 8, "kBytes": 18, "kFirst": 0, "kSecond": 1, "inner::kT": 16, "Conv<tf32, 64>::kShared": 512,
	"sizeof(Row)": 32, "offsetof(Row, a)": 0, "offsetof(Row, b)": 8, "offsetof(Row, w)": 16, "offsetof(Row, count)": 24, "offsetof(Row, last)": 28,
}

const demoPTX = `.version 8.0
.target sm_90
.address_size 64
.visible .entry scale_f16(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d) .maxntid 64, 1, 1 { griddepcontrol.wait; ret; }
.visible .entry scale_f32(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d) .maxntid 64, 1, 1 { ret; }
.visible .entry conv_tf32_64x8(.param .align 128 .b8 a[128], .param .u64 b, .param .u32 c, .param .u64 d, .param .u32 e) .maxntid 32, 1, 1 .reqnctapercluster 2, 1, 1 { ret; }
`

// generate is args_gen.go of a source and its PTX.
func generate(text, code string) (string, error) {
	s, err := scan([]byte(text), "k")
	if err != nil {
		return "", err
	}
	for _, e := range expressions(s) {
		if _, ok := demoValues[e]; !ok {
			return "", &unknown{e}
		}
	}
	a := &api{byEntry: map[string]*family{}}
	if err := a.add("demo.cu", "demo", s, demoValues); err != nil {
		return "", err
	}
	if err := a.compiled("sm90", []byte(code)); err != nil {
		return "", err
	}
	src, err := a.source()
	return string(src), err
}

type unknown struct{ expression string }

func (u *unknown) Error() string { return "nvcc is asked for " + u.expression }

func TestGenerate(t *testing.T) {
	got, err := generate(demo, demoPTX)
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(got) // whatever gofmt aligns
	for _, want := range []string{
		"demoBytes = 18 // kBytes", "demoSecond = 1 // kSecond", "demoInnerT = 16 // inner::kT",
		"// ScaleArgs are the parameters of scale_f16 and scale_f32 (demo.cu).",
		"Y Ptr // T* X Ptr // const T* BX Ptr // const float*, may be null Elems int // unsigned long long }",
		`{Name: "b_x", Kind: Pointer, Elem: F32, MayBeNull: true},`, `{Name: "y", Kind: Pointer, Elem: stored, Out: true},`,
		`name: "scale", source: "demo", arch: "sm90", threads: scaleThreads, overlaps: true,`,
		"// DemoRow is a row of a table: Row of demo.cu.",
		"A, B Ptr // const float* W Ptr // void* Count int // unsigned Last bool // flag }",
		`{Param{Name: "w", Kind: Pointer, Elem: stored, Out: true}, 16},`,
		"func DemoRowTable(t Elem, rows ...DemoRow) (Table, error) {",
		"X Map // CUtensorMap, may be null Rows Ptr // const DemoRow* C int // int EpilogueArgs }",
		`{name: "conv_tf32_64x8", module: "demo", elem: TF32, tile: Tile{64, 8, 1, 1, false}, stages: 0, shared: 512, cluster: 2},`,
	} {
		if !contains(words, strings.Fields(want)) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "not_ours") {
		t.Error("a header of the system is looked at")
	}
}

func contains(words, part []string) bool {
	for i := range words {
		if len(words)-i >= len(part) && slices.Equal(words[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

// What the generator does not know, or what does not fit together, is an error and
// never left out.
func TestGenerateRefuses(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"f32* __restrict__ y, const f32*", "f32* __restrict__ y, f32*", "scale_f32: its parameters are not those of scale_f16"},
		{"const float* __maybe_null__ __restrict__ b_x, unsigned long long elems) {}\nextern", "const float* __restrict__ b_x, unsigned long long elems) {}\nextern", "scale_f32: its parameters are not those of scale_f16"},
		{"const Row* rows, int c", "const Row* rows, short c", "c: no scalar of type short"},
		{"const Row* rows", "const half2* rows", "rows: no element of type half2"},
		{"int c, E", "int __maybe_null__ c, E", "c: MAYBE_NULL is for pointers"},
		{"conv_tf32_64x8(", "conv_64x8(", "conv_64x8: no element type in the name"},
		{"template <class E, int CH>", "template <class E, int DEPTH>", "no field of Tile is for DEPTH"},
		{"Conv<tf32, 64>", "Conv<tf32, BM>", "nvcc is asked for Conv<tf32, BM>::kShared"},
		{", int c, Element", ", int c, int d, Element", "conv_tf32_64x8 has 5 parameters, its source 6"},
		{", int c, Element", ", unsigned long long c, Element", "conv_tf32_64x8: c has 4 bytes, its type 8"},
		{"void conv_tf32_64x8", "void conv_tf32_64x16", "conv_tf32_64x8 is no entry of a source"},
	} {
		text := strings.ReplaceAll(demo, c.from, c.to)
		if text == demo {
			t.Fatalf("no %q in the source", c.from)
		}
		if _, err := generate(text, demoPTX); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.to, err, c.want)
		}
	}
}
