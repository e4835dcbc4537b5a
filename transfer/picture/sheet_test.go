package picture

import (
	"flag"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// plain is a picture of one colour.
func plain(w, h int, r, g, b float32) *Picture {
	p := &Picture{W: w, H: h}
	for range w * h {
		p.RGB = append(p.RGB, r, g, b)
	}
	return p
}

func drawnSheet(t *testing.T, s Sheet) *Picture {
	t.Helper()
	p, err := s.Draw()
	if err != nil {
		t.Fatal(err)
	}
	if len(p.RGB) != 3*p.W*p.H || p.Alpha != nil {
		t.Fatalf("%dx%d with %d values", p.W, p.H, len(p.RGB))
	}
	for _, v := range p.RGB {
		if !(v >= 0 && v <= 1) {
			t.Fatalf("value %v", v)
		}
	}
	return p
}

func TestGrid(t *testing.T) {
	for n, want := range map[int]int{-3: 1, 0: 1, 1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3, 7: 4, 8: 4, 9: 3, 10: 5, 12: 4, 16: 4, 20: 5, 100: 10} {
		if got := Grid(n); got != want {
			t.Errorf("%d cells: %d columns, want %d", n, got, want)
		}
	}
	for n := 1; n < 500; n++ {
		c := Grid(n)
		if rows := (n + c - 1) / c; c < rows || c > rows+3 {
			t.Errorf("%d cells: %dx%d", n, c, rows)
		}
	}
}

// Where everything lies, of a font of 10 pixels, whose line is 12.
func TestSheetExtents(t *testing.T) {
	red, blue := plain(100, 60, 1, 0, 0), plain(40, 80, 0, 0, 1)
	p := drawnSheet(t, Sheet{Columns: 2, Cells: []Cell{{Picture: red}, {Picture: blue}, {Picture: red}}})
	const m = 12
	if p.W != 3*m+2*100 || p.H != 3*m+2*80 {
		t.Fatalf("%dx%d", p.W, p.H)
	}
	pixel := func(x, y int) string { return fmt.Sprint(p.RGB[3*(y*p.W+x):][:3]) }
	for _, c := range []struct {
		x, y int
		want string
	}{
		{0, 0, "[1 1 1]"},
		{m, m + 9, "[1 1 1]"},
		{m, m + 10, "[1 0 0]"}, // in the middle of its cell
		{m + 99, m + 69, "[1 0 0]"},
		{m + 100, m + 69, "[1 1 1]"},
		{2*m + 100 + 29, m, "[1 1 1]"},
		{2*m + 100 + 30, m, "[0 0 1]"},
		{2*m + 100 + 69, m + 79, "[0 0 1]"},
		{2*m + 100 + 70, m + 79, "[1 1 1]"},
		{m, 2*m + 80 + 10, "[1 0 0]"},
		{2*m + 150, 2*m + 80 + 40, "[1 1 1]"}, // an empty place
	} {
		if got := pixel(c.x, c.y); got != c.want {
			t.Errorf("at %d,%d: %s, want %s", c.x, c.y, got, c.want)
		}
	}

	// Two lines of label, a title and headings make room, and nothing else moves.
	q := drawnSheet(t, Sheet{Title: "T", Columns: 2, Cols: []string{"a", "b"}, Rows: []string{"1", "2"}, Cells: []Cell{{red, []string{"x", "y"}}, {Picture: blue}, {Picture: red}}})
	if q.H != p.H+2*(2*m+m/4)+(17+m/2)+(m+m/2) || q.W <= p.W+m || q.W > p.W+m+8 {
		t.Errorf("%dx%d, without texts %dx%d", q.W, q.H, p.W, p.H)
	}
	if d := drawnSheet(t, Sheet{Cols: []string{"a", "b", "c"}, Cells: []Cell{{Picture: red}, {Picture: red}}}); d.W != 4*m+3*100 {
		t.Errorf("the headings give no columns: %d wide", d.W)
	}
}

// inked counts dark pixels in a part of a picture.
func inked(p *Picture, left, top, right, bottom int) (n int) {
	for y := top; y < bottom; y++ {
		for x := left; x < right; x++ {
			if p.RGB[3*(y*p.W+x)] < 0.5 {
				n++
			}
		}
	}
	return n
}

// Labels stand below their own cell and nowhere else, and a long one is cut.
func TestSheetLabels(t *testing.T) {
	white := plain(120, 50, 1, 1, 1)
	long := strings.Repeat("strength=0.25 ", 9)
	p := drawnSheet(t, Sheet{Columns: 3, Cells: []Cell{{white, []string{"seed=1"}}, {white, []string{long}}, {Picture: white}}})
	const m = 12
	label := func(cell int) int {
		x := m + cell*(120+m)
		return inked(p, x, m+50, x+120, m+50+m/4+m)
	}
	if label(0) < 20 || label(1) < 2*label(0) || label(2) != 0 {
		t.Errorf("%d, %d and %d dark pixels", label(0), label(1), label(2))
	}
	if all := inked(p, 0, 0, p.W, p.H); all != label(0)+label(1) {
		t.Errorf("%d dark pixels, %d of them in labels", all, label(0)+label(1))
	}
	grey := 0 // letters are smooth
	for _, v := range p.RGB {
		if v > 0.2 && v < 0.9 {
			grey++
		}
	}
	if grey < 100 {
		t.Errorf("%d grey values", grey)
	}
	l, err := letters(10)
	if err != nil {
		t.Fatal(err)
	}
	for room, want := range map[int]string{1000: long, 60: "strength=0…", 11: "…", 3: ""} {
		got := l.short(long, room)
		if got != want || l.width(got) > room {
			t.Errorf("in %d pixels: %q, want %q", room, got, want)
		}
	}
	again := drawnSheet(t, Sheet{Columns: 3, Cells: []Cell{{white, []string{"seed=1"}}, {white, []string{long}}, {Picture: white}}})
	if !slices.Equal(p.RGB, again.RGB) {
		t.Error("the same sheet has other pixels")
	}
}

// Letters grow with the cells, within bounds.
func TestSheetLetters(t *testing.T) {
	for w, want := range map[int]float64{10: 10, 200: 10, 300: 15, 560: 28, 3000: 28} {
		l, err := Sheet{Cells: []Cell{{Picture: plain(w, 4, 0, 0, 0)}}}.layout()
		if err != nil {
			t.Fatal(err)
		}
		if perEm := float64(l.text.line) / want; math.Abs(perEm-1.2) > 0.08 {
			t.Errorf("cells of %d pixels: lines of %d", w, l.text.line)
		}
	}
}

// Pictures are shrunk but never enlarged; transparent ones lie on white; what is missing is
// a grey field.
func TestSheetPictures(t *testing.T) {
	half := plain(8, 8, 1, 0, 0)
	half.Alpha = slices.Repeat([]float32{0.5}, 64)
	p := drawnSheet(t, Sheet{Size: 50, Columns: 3, Cells: []Cell{{Picture: plain(400, 200, 0, 1, 0)}, {Picture: half}, {}}})
	if p.W != 4*12+3*50 || p.H != 2*12+25 {
		t.Fatalf("%dx%d", p.W, p.H)
	}
	for x, want := range map[int]string{12 + 25: "[0 1 0]", 24 + 50 + 25: "[1 0.5 0.5]", 24 + 50 + 25 - 5: "[1 1 1]", 36 + 125: "[0.93 0.93 0.93]"} {
		if got := fmt.Sprint(p.RGB[3*((12+12)*p.W+x):][:3]); got != want {
			t.Errorf("at %d: %s, want %s", x, got, want)
		}
	}
	if half.RGB[1] != 0 {
		t.Error("a picture was changed")
	}
	for _, s := range []Sheet{{}, {Title: "x"}, {Cells: []Cell{{Picture: &Picture{W: 1 << 14, H: 1 << 14}}}}} {
		if p, err := s.Draw(); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", p, err)
		}
	}
	drawnSheet(t, Sheet{Columns: math.MaxInt, Cells: []Cell{{}}, Title: "nothing", Rows: []string{"a", "b", "c"}, Cols: []string{"d"}})
	drawnSheet(t, Sheet{Cells: []Cell{{plain(1, 1, 0, 0, 0), []string{"łódź 東京 \x00\n", ""}}}, Title: "a title longer than the sheet is wide"})
}

var sheetFile = flag.String("sheet", "", "where TestSheetOfSamples leaves its sheet, to be looked at")

// The sample pictures and what this package does to their colours.
func TestSheetOfSamples(t *testing.T) {
	content, err := Open("../../testdata/content.jpg", 0)
	if err != nil {
		t.Fatal(err)
	}
	style, err := Open("../../testdata/style.jpg", 0)
	if err != nil {
		t.Fatal(err)
	}
	w, h := Fit(content.W, content.H, 240, 16)
	c, s := content.Resize(w, h, Bicubic), style.Resize(w, h, Bicubic)
	sheet := Sheet{
		Title: "content.jpg painted as style.jpg", Size: 240,
		Rows: []string{"as it is", "chroma of the content"}, Cols: []string{"content", "style", "content, colours of the style", "style, colours of the content"},
	}
	for _, p := range []*Picture{c, s, c.MatchColors(s), s.MatchColors(c), c, s.WithChroma(c), c.MatchColors(s).WithChroma(c), c.WithChroma(s)} {
		sheet.Cells = append(sheet.Cells, Cell{p, []string{fmt.Sprintf("cell %d", len(sheet.Cells)+1), "strength=0.3 layers=relu1_1:1,relu2_1:0.8"}})
	}
	p := drawnSheet(t, sheet)
	if err := p.Save(filepath.Join(t.TempDir(), "sheet.png"), SaveOptions{Bits: 8}); err != nil {
		t.Fatal(err)
	}
	if *sheetFile != "" {
		if err := p.Save(*sheetFile, SaveOptions{Bits: 8}); err != nil {
			t.Fatal(err)
		}
	}
}
