package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const wanders = `.version 8.0
.target sm_90a
.visible .entry conv(.param .u64 a) { setmaxnreg.dec.sync.aligned.u32 40; ret; }
`

// says is what ptxas -v prints of a kernel.
func says(kernel, spills, registers string) string {
	return "ptxas info    : Compiling entry function '" + kernel + "' for 'sm_90a'\nptxas info    : Function properties for " + kernel +
		"\n    16 bytes stack frame, " + spills + " bytes spill stores, 0 bytes spill loads\nptxas info    : Used " + registers + " registers, 48 bytes smem\n"
}

// fake is a ptxas that prints a text and ends.
func fake(t *testing.T, version, text, code string) assembler {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ptxas")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncat <<'END'\n"+text+"END\nexit "+code+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return assembler{version: version, driver: "r500", path: path}
}

// What an older compiler does to a kernel is an error where it would be slow or hang,
// and stands in the row where it is only worth knowing.
func TestMatrix(t *testing.T) {
	for name, c := range map[string]struct {
		ptx, text, code, err, row string
	}{
		"good":               {wanders, says("conv", "0", "168"), "0", "", ": 168, "},
		"fewer registers":    {wanders, says("conv", "0", "160"), "0", "conv has 160 registers and spills 0 bytes, and must have 168", ""},
		"spills and moves":   {wanders, says("conv", "4", "168"), "0", "spills 4 bytes", ""},
		"spills a little":    {strings.Replace(wanders, "setmaxnreg", "nothing", 1), says("conv", "12", "80"), "0", "", ": 80, conv spills 12 B, "},
		"spills":             {strings.Replace(wanders, "setmaxnreg", "nothing", 1), says("conv", "20", "80"), "0", "conv spills 20 bytes", ""},
		"serialised":         {wanders, "ptxas info    : (C7515) Potential Performance Loss: wgmma.mma_async instructions are serialized due to x in the function 'conv'\n" + says("conv", "0", "168"), "0", "(C7515)", ""},
		"a newer .version":   {wanders, "ptxas k.ptx, line 1; fatal   : Unsupported .version 8.0; current version is '7.8'\n", "255", "ptxas 12.0, of drivers from r500 on: conv.sm90a.ptx: refused (exit status 255): ptxas k.ptx, line 1; fatal   : Unsupported .version 8.0", ""},
		"another kernel":     {wanders, says("other", "0", "168"), "0", "the MANIFEST does not know other", ""},
		"a kernel is gone":   {wanders, "", "0", "1 entries were expected, 0 are there", ""},
		"no such ptxas here": {wanders, "", "no", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := &manifest{files: []shippedFile{{"conv.sm90a.ptx", sum([]byte(c.ptx)), "sm_90a", map[string]int{"conv": 168}}}}
			a := fake(t, "12.0", c.text, c.code)
			if c.code == "no" {
				a.path, c.err = filepath.Join(t.TempDir(), "ptxas"), "no such file"
			}
			rows, err := matrix([]assembler{a}, m, func(string) ([]byte, error) { return []byte(c.ptx), nil })
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("%v, want %q", err, c.err)
			}
			if err == nil && !strings.HasPrefix(rows[0], "matrix conv.sm90a.ptx "+sum([]byte(c.ptx))+" | 12.0"+c.row) {
				t.Errorf("row %q", rows[0])
			}
		})
	}
}

// Times are of the files that were asked for, and what an assembler refuses has none.
func TestTimes(t *testing.T) {
	file := func(name string) shippedFile {
		return shippedFile{name, sum([]byte(wanders)), "sm_90a", map[string]int{"conv": 168}}
	}
	m := &manifest{files: []shippedFile{file("conv_f16.sm90a.ptx"), file("conv_tf32.sm90a.ptx"), file("gram.sm80.ptx")}}
	read := func(string) ([]byte, error) { return []byte(wanders), nil }
	two := []assembler{fake(t, "12.0", says("conv", "0", "168"), "0"), fake(t, "13.0", says("conv", "0", "168"), "0")}
	for words, want := range map[string][]string{"": {"conv_f16.sm90a.ptx", "conv_tf32.sm90a.ptx", "gram.sm80.ptx", "all"}, "_f16 gram": {"conv_f16.sm90a.ptx", "gram.sm80.ptx", "all"}} {
		var b strings.Builder
		if err := times(&b, two, m, strings.Fields(words), read); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		if len(lines) != 2+len(want) || lines[0] != "| seconds by ptxas | 12.0 | 13.0 |" || lines[1] != "| --- | --- | --- |" {
			t.Fatalf("%q: %q", words, lines)
		}
		for i, name := range want {
			if cells := strings.Split(lines[2+i], " | "); cells[0] != "| "+name || len(cells) != 3 {
				t.Errorf("%q: %q, want those of %s", words, lines[2+i], name)
			}
		}
	}
	two[1] = fake(t, "13.0", "ptxas fatal   : no\n", "255")
	if err := times(&strings.Builder{}, two, m, nil, read); err == nil || !strings.Contains(err.Error(), "ptxas 13.0") {
		t.Errorf("%v", err)
	}
	if err := times(&strings.Builder{}, two, m, []string{"wgmma"}, read); err == nil {
		t.Error("a word that no file has is no error")
	}
}

// Nobody is asked twice about the same file.
func TestMatrixAsksOnce(t *testing.T) {
	f := shippedFile{"conv.sm90a.ptx", sum([]byte(wanders)), "sm_90a", map[string]int{"conv": 168}}
	row := "matrix conv.sm90a.ptx " + f.hash + " | 12.0: 168, 1.0 s\n"
	for hash, asks := range map[string]bool{f.hash: false, sum(nil): true} {
		m := &manifest{files: []shippedFile{f}, rows: map[string]string{f.name: strings.Replace(row, f.hash, hash, 1)}}
		rows, err := matrix([]assembler{{version: "12.0", path: "/nowhere/ptxas"}}, m, func(string) ([]byte, error) { return []byte(wanders), nil })
		if (err != nil) != asks || err == nil && rows[0] != row {
			t.Errorf("%q, %v", rows, err)
		}
	}
}

// A row stands as long as its file does: what changes afterwards has to be asked about
// again.
func TestMatrixRows(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "MANIFEST")
	row := "matrix conv.sm90a.ptx " + sum([]byte(wanders))
	for _, a := range assemblers {
		row += " | " + a.version + ": 168, 1.0 s"
	}
	own := "# Written by make ptx.\nconv.sm90a.ptx  " + sum([]byte(wanders)) + "  from abc\n  conv registers 168 shared 48 HGMMA 24\n"
	f := folder{src: dir, dst: dir}
	was := shipped
	shipped = f
	defer func() { shipped = was }()
	for name, c := range map[string]struct{ rows, err, kept string }{
		"all":            {matrixHead() + row + "\n", "", matrixHead() + row + "\n"},
		"none":           {"", "asked about 1 of its files, conv.sm90a.ptx", ""},
		"another file":   {matrixHead() + strings.Replace(row, sum([]byte(wanders)), sum(nil), 1) + "\n", "asked about 1", ""},
		"an age missing": {matrixHead() + strings.Replace(row, "12.4: ", "12.5: ", 1) + "\n", "asked about 1", matrixHead() + strings.Replace(row, "12.4: ", "12.5: ", 1) + "\n"},
	} {
		if err := os.WriteFile(path, []byte(own+c.rows), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := checkMatrix(f); (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
		if kept := keptRows(path, map[string][]byte{filepath.Join(dir, "conv.sm90a.ptx"): []byte(wanders)}); kept != c.kept {
			t.Errorf("%s: %q is kept, want %q", name, kept, c.kept)
		}
		m, err := readManifest(path)
		if err != nil || m.own != own || len(m.files) != 1 || m.files[0].arch != "sm_90a" || m.files[0].registers["conv"] != 168 {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	if err := checkMatrix(folder{src: "elsewhere", dst: "elsewhere"}); err != nil { // which no old driver sees
		t.Error(err)
	}
}

// A source whose entries are modules has a file for each, with what all of them share.
func TestModules(t *testing.T) {
	text := "// head\n.version 8.0\n.address_size 64\n\n\t// .globl\ta\n// x has been demoted\n.extern .shared .b8 s[];\n\n.visible .entry a(\n)\n{\nret;\n\n}\n\t// .globl\tb\n.visible .entry b(\n)\n{\nret;\n}\n\n"
	head := "// head\n.version 8.0\n.address_size 64\n\n.extern .shared .b8 s[];\n\n"
	all := modulesOf("whole", []byte(text), true)
	if len(all) != 2 || all[0].name != "a" || all[1].name != "b" || string(all[0].text) != head+".visible .entry a(\n)\n{\nret;\n\n}\n" || string(all[1].text) != head+".visible .entry b(\n)\n{\nret;\n}\n" {
		t.Errorf("%q", all)
	}
	if all := modulesOf("whole", []byte(text), false); len(all) != 1 || all[0].name != "whole" || string(all[0].text) != text {
		t.Errorf("%q", all)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "conv_x.cu"), []byte("source"), 0o644); err != nil {
		t.Fatal(err)
	}
	for module, want := range map[string]string{"conv_x": "conv_x.cu", "conv_x_f16": "conv_x.cu", "conv_x_f16_128x64_split2": "conv_x.cu", "conv": "", "other": ""} {
		cu, text, err := sourceOf(dir, module)
		if want == "" != (err != nil) || err == nil && (filepath.Base(cu) != want || string(text) != "source") {
			t.Errorf("%s: %s, %v", module, cu, err)
		}
	}
}
