package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/transfer/picture"
)

const docs = "../../kernels/docs"

// The page has every cell and no other, its sheets are there, and all are small.
func TestPageIsCurrent(t *testing.T) {
	sheets, err := parse(cells)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(docs, "gallery.md"))
	if err != nil {
		t.Fatal(err)
	}
	total, n := int64(0), 0
	for _, s := range sheets {
		_, rest, ok := strings.Cut(string(page), "](gallery/"+s.name+".jpg)\n")
		if !ok || !strings.Contains(string(page), s.does) {
			t.Errorf("%s is not on the page as cells.txt has it; run make gallery", s.name)
			continue
		}
		if row, _, _ := strings.Cut(strings.TrimSpace(rest), "\n"); row != "| | `"+strings.Join(s.cells, "` | `")+"` |" {
			t.Errorf("%s: the page has %s; run make gallery", s.name, row)
		}
		path := filepath.Join(docs, "gallery", s.name+".jpg")
		st, err := os.Stat(path)
		if err != nil {
			t.Error(err)
			continue
		}
		total, n = total+st.Size(), n+1
		p, err := picture.Open(path, 0)
		if want := len(s.cells)*(cellW+gap) - gap; err != nil || p.W != want || p.H != cellH+label {
			t.Errorf("%s: %v; run make gallery", s.name, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(docs, "gallery")); err != nil || len(entries) != n {
		t.Errorf("%d sheets, and %d files of them: %v", n, len(entries), err)
	}
	if total > 50e3*int64(len(sheets)) {
		t.Errorf("%d sheets have %d bytes, more than 50 kB each", len(sheets), total)
	}
}

func TestParse(t *testing.T) {
	sheets, err := parse("# words\n\n= a | --a | all | says so\n+ --b 1\n--a 1\n--a 2\n")
	if err != nil || len(sheets) != 1 || sheets[0].name != "a" || !slices.Equal(sheets[0].cells, []string{"--a 1", "--a 2"}) {
		t.Fatalf("%+v, %v", sheets, err)
	}
	if got := strings.Join(sheets[0].flags("--a 2"), " "); got != strings.Join(always, " ")+" --b 1 --a 2" {
		t.Error(got)
	}
	for text, want := range map[string]string{"--a 1": "before the first sheet", "= a | b": "line 1", "= a | b | c | d": "no cells"} {
		if _, err := parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A sheet that is kept is the one that was written, between any neighbours.
func TestKept(t *testing.T) {
	one := &picture.Picture{W: 1, H: 1, RGB: []float32{0, 0, 0}}
	var page, middle strings.Builder
	page.WriteString(begin + "\n\n| index |\n\n")
	sheets := []sheet{{name: "a", cells: []string{"--a 1"}}, {name: "ab", cells: []string{"--b 1"}, common: []string{"--x"}}, {name: "b", cells: []string{"--c 1"}}}
	for _, s := range sheets {
		s.write(&page, "gallery", []*picture.Picture{one}, one)
	}
	page.WriteString(end + "\nwords\n")
	for _, s := range sheets {
		middle.Reset()
		s.write(&middle, "gallery", []*picture.Picture{one}, one)
		if kept, err := s.kept(page.String()); err != nil || kept != middle.String() {
			t.Errorf("%s: kept %q, written %q: %v", s.name, kept, middle.String(), err)
		}
	}
	if _, err := (sheet{name: "c"}).kept(page.String()); err == nil || !strings.Contains(err.Error(), "no sheet c yet") {
		t.Error(err)
	}
}

// The measures, on pictures whose values are known.
func TestMeasures(t *testing.T) {
	p := &picture.Picture{W: 2, H: 1, RGB: []float32{0, 0, 0, 1, 1, 1}}
	q := &picture.Picture{W: 2, H: 1, RGB: []float32{0, 0, 0, 0, 0, 0}}
	if a, r := away(p, q), rough(p); a < 180.3 || a > 180.4 || r != 255 || rough(q) != 0 || away(q, q) != 0 {
		t.Errorf("%g away, %g rough", a, r)
	}
}
