package main

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// bench is a device with a buffer x and a map m.
func bench(tb testing.TB) *session {
	tb.Helper()
	s := newSession(&options{arch: "sm_90a", maxSteps: 1}, sim.Eager, nil, nil, false)
	if _, err := s.add("x", &value{typ: ptx.F32, shape: []int{64}, data: make([]byte, 256)}); err != nil {
		tb.Fatal(err)
	}
	s.values["m"] = &value{typ: ptx.U8, shape: []int{128}, data: make([]byte, 128), align: 64}
	return s
}

// Structs are laid out as C does it.
func TestLayout(t *testing.T) {
	s := bench(t)
	address := hex.EncodeToString(le.AppendUint64(nil, uint64(s.buffers["x"].ptr)))
	for spec, want := range map[string]string{
		"{i32:5,f32:1.5,ptr:x}":      "05000000" + "0000c03f" + address,
		"{u8:1,ptr:0}":               "01" + strings.Repeat("00", 15),
		"{u8:1,x}":                   "0100000000000000" + address,
		"{x,u8:1}":                   address + "0100000000000000",
		"{u8:1,{u16:2,u8:3},u8:4}":   "0100" + "02000300" + "0400",
		"{u8:1,pad:2,u8:2,hex:ffee}": "010000" + "02" + "ffee",
		"{ u8:1 , i16:-2 }":          "0100feff",
		"{f16:1,bf16:1}":             "003c803f",
		"{f64:-0.5}":                 "000000000000e0bf",
		"{b32:1.0,b32:7}":            "0000803f07000000",
		"{b64:0x10}":                 "1000000000000000",
		"{u16:010}":                  "0a00",
		"hex:00FF10":                 "00ff10",
		"values:u8:1,0x10,255":       "0110ff",
		"fill:u16:2:3":               "03000300",
		"range:s8:3:-1":              "ff0001",
		"range:f32:2:1:0.5":          "0000803f0000c03f",
		"f32:nan":                    "0000c07f",
		"{u8:1,m}":                   "01" + strings.Repeat("00", 63+128),
	} {
		sp, err := parseSpec(spec)
		if err != nil {
			t.Error(err)
			continue
		}
		v, err := sp.value(s, ptx.NoType)
		if err != nil || hex.EncodeToString(v.data) != want || v.size() != len(v.data) {
			t.Errorf("%s: %x, %v\nwant %s", spec, v.data, err, want)
		}
	}
	if sp, _ := parseSpec("ptr:x+16"); sp == nil {
		t.Error("no ptr:x+16")
	} else if v, err := sp.value(s, ptx.NoType); err != nil || le.Uint64(v.data) != uint64(s.buffers["x"].ptr)+16 {
		t.Errorf("%+v %v", v, err)
	}
	for spec, want := range map[string]string{
		"{u8:300}": "300 does not fit u8", "{x+256}": "lies behind x", "{b128:1}": "no buffer and no value", "{f32:1e39}": "does not fit f32",
		"{zeros:f32:4}": "want TYPE:VALUE", "{x.npy}": "want TYPE:VALUE", "{7}": "want TYPE:VALUE", "{u8:1}}": "one } too many", "{{u8:1}": "the struct has no end",
		"{}": "want TYPE:VALUE", "{pad:0}": "want a number of bytes", "{pad:99999}": "want a number of bytes", "{pad:65536,u8:1}": "more than 65536 bytes",
		strings.Repeat("{", 40) + "u8:1" + strings.Repeat("}", 40): "more than 16 structs within structs", "": "an empty word",
		"{u8:}": `"" is no number`, "hex:0": "two digits for each byte", "f32:1,2": `"1,2" is no number`, "x y": "is no name", "+4": "+4",
	} {
		sp, err := parseSpec(spec)
		if err == nil {
			_, err = sp.value(s, ptx.NoType)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", spec, err, want)
		}
	}
}

// A word becomes the tensor map that its options say.
func TestTensorMaps(t *testing.T) {
	s := bench(t)
	for spec, want := range map[string]string{
		"map:x:f32:8x8:4x2":                     "{f32 %d [8 8] [32] [4 2] [] 0 false}",
		"map:x+16:f32:8x8:8x2:32":               "{f32 %d+16 [8 8] [32] [8 2] [] 1 false}",
		"map:x:f32:8x8:4x2:strides=64:fill=nan": "{f32 %d [8 8] [64] [4 2] [] 0 true}",
		"map:x:f16:8x8:8x4:steps=1x2:swizzle=0": "{f16 %d [8 8] [16] [8 4] [1 2] 0 false}",
		"map:x:tf32:64:4:fill=zeros":            "{tf32 %d [64] [] [4] [] 0 false}",
	} {
		sp, err := parseSpec(spec)
		if err != nil {
			t.Error(err)
			continue
		}
		m := sp.(*tensorMap)
		base := "%d"
		if m.of.offset > 0 {
			base = fmt.Sprintf("%%d+%d", m.of.offset)
		}
		tl := m.tiled
		if got := fmt.Sprintf("{%v "+"%s"+" %v %v %v %v %v %v}", tl.Type, base, tl.Dims, tl.Strides, tl.Box, tl.ElementStrides, tl.Swizzle, tl.NaNFill); got != want {
			t.Errorf("%s: %s, want %s", spec, got, want)
		}
		v, err := sp.value(s, ptx.NoType)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		tl.Base = uint64(s.buffers["x"].ptr) + uint64(m.of.offset)
		if direct, err := sim.EncodeTiled(tl); err != nil || string(direct[:]) != string(v.data) {
			t.Errorf("%s: not the map of its description: %v", spec, err)
		}
	}
	sp, err := parseSpec("im2col:x:f16:8x4x3x1:lower=-1x-1:upper=0x-1:channels=8:pixels=6:fill=nan")
	if err != nil {
		t.Fatal(err)
	}
	if m := sp.(*tensorMap); fmt.Sprint(m.column.Lower, m.column.Upper, m.column.ChannelsPerPixel, m.column.PixelsPerColumn, m.tiled.NaNFill) != "[-1 -1] [0 -1] 8 6 true" {
		t.Errorf("%+v", m)
	}
	if v, err := sp.value(s, ptx.NoType); err != nil || len(v.data) != 128 {
		t.Error(v, err)
	}
}

// Numbers count as equal within what is allowed, NaN as itself.
func TestCompare(t *testing.T) {
	for _, c := range []struct {
		got, want        string
		within, relative float64
		says             string
	}{
		{"values:f32:1,2", "values:f32:1,2", 0, 0, ""},
		{"values:f32:0,nan,inf", "values:f64:-0,nan,inf", 0, 0, ""},
		{"values:f32:1,2", "values:f32:1,2.5", 0.5, 0, ""},
		{"values:f32:1,2", "values:f32:1,2.5", 0.4, 0, "1 of 2 elements differ; element 1 is 2, want 2.5"},
		{"values:f32:1", "values:f32:1.0005", 0.0004, 0, "element 0 is 1, want 1.0005"},
		{"values:f32:1", "values:f32:1.0005", 0.0006, 0, ""},
		{"values:f32:100", "values:f32:110", 0, 0.1, ""},
		{"values:f32:110", "values:f32:100", 0, 0.09, "1 of 1 elements differ; element 0 is 110, want 100"},
		{"values:f32:nan", "values:f32:1", 1e30, 0, "element 0 is NaN, want 1"},
		{"values:f32:inf", "values:f32:1", 1e30, 1, "element 0 is +Inf, want 1"},
		{"values:f32:1,2,3", "values:f32:0,9,3", 0, 0, "2 of 3 elements differ; element 0 is 1, want 0; the farthest, element 1 is 2, want 9"},
		{"values:u8:255", "values:s32:255", 0, 0, ""},
		{"values:s8:-1", "values:u8:255", 0, 0, "element 0 is -1, want 255"},
		{"values:u64:0xffffffffffffffff", "values:u64:0xfffffffffffffffe", 0, 0, "1 of 1"},
		{"values:u64:0xffffffffffffffff", "values:b64:0xffffffffffffffff", 0, 0, ""},
		{"values:s32:-3", "values:s32:-5", 2, 0, ""},
		{"values:s32:-3", "values:s32:-5", 1, 0, "element 0 is -3, want -5"},
		{"values:f16:1", "values:bf16:1", 0, 0, ""},
	} {
		eval := func(text string) *value {
			sp, err := parseSpec(text)
			if err != nil {
				t.Fatal(err)
			}
			v, err := sp.value(bench(t), ptx.NoType)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		g, w := eval(c.got), eval(c.want)
		if got := compare(g.data, g.typ, w.data, w.typ, elems(g.shape), c.within, c.relative); got != c.says && (c.says == "" || !strings.Contains(got, c.says)) {
			t.Errorf("%s against %s: %q, want %q", c.got, c.want, got, c.says)
		}
	}
}

// Reading a hostile word ends in an error or in a spec whose bytes are as many as it says.
func FuzzSpec(f *testing.F) {
	for _, s := range []string{
		"{i32:5,f32:1.5,ptr:x}", "{u8:1,{u16:2,m},hex:00ff,pad:3}", "map:x:f32:8x8:4x2:strides=64:steps=1x2:fill=nan:128", "range:s8:5:-3:2", "rand:bf16:3x4:7",
		"im2col:x:f16:8x4x3x1:lower=-1x-1:upper=0x-1:channels=8:pixels=6", "values:f32:1,nan,-inf,0x1p-3", "fill:f64:2:1e300", "x+0x10", "7", "-0x1p4", "empty:u8:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, word string) {
		sp, err := parseSpec(word)
		if err != nil {
			return
		}
		switch a := sp.(type) {
		case *file:
			return // of the machine
		case *array:
			if elems(a.shape) > 1<<16 {
				return
			}
		}
		v, err := sp.value(bench(t), ptx.U32)
		if err != nil {
			return
		}
		if a, ok := sp.(*array); v.size() != len(v.data) && (!ok || a.kind != "empty") {
			t.Fatalf("%q: %d bytes, want %d", word, len(v.data), v.size())
		}
	})
}
