// Command gallery paints what each knob of stylize does. The cells stand in cells.txt;
// the result is a contact sheet for each knob, and tables between two marks of a page.
//
//	go run ./tools/gallery -bin bin/stylize -cells bin/gallery -page kernels/docs/gallery.md
//
// A cell that is in the folder of cells is not painted again: remove the folder to
// paint all of them afresh. With -only NAME,... the other sheets stay as they are on the
// page, whether their cells are in the folder or not.
package main

import (
	"crypto/sha256"
	_ "embed"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

//go:embed cells.txt
var cells string

const (
	content, style = "testdata/content.jpg", "testdata/style.jpg"
	cellW, cellH   = 176, 132 // of a cell on its sheet
	gap, label     = 6, 18    // between cells, and the line below them
	quality        = 85
	begin, end     = "<!-- gallery: written by make gallery from tools/gallery/cells.txt -->", "<!-- /gallery -->"
)

// Flags that every cell gets, before its own.
var always = []string{"--size", "192", "--weights", "random:0"}

// sheet is one knob.
type sheet struct {
	name, knob, useful, does string
	common                   []string // flags of every cell
	cells                    []string // the flags of each, as they stand in the file
}

func main() {
	bin := flag.String("bin", "bin/stylize", "the program")
	folder := flag.String("cells", "bin/gallery", "where the cells are kept")
	page := flag.String("page", "kernels/docs/gallery.md", "the page; sheets go to a folder of its name beside it")
	only := flag.String("only", "", "paint these sheets and keep the others: names, with commas between them (default all)")
	flag.Parse()
	var names []string
	if *only != "" {
		names = strings.Split(*only, ",")
	}
	if err := run(*bin, *folder, *page, names); err != nil {
		fmt.Fprintln(os.Stderr, "gallery:", err)
		os.Exit(1)
	}
}

func run(bin, folder, page string, only []string) error {
	sheets, err := parse(cells)
	if err != nil {
		return fmt.Errorf("cells.txt: %w", err)
	}
	for _, name := range only {
		if !slices.ContainsFunc(sheets, func(s sheet) bool { return s.name == name }) {
			return fmt.Errorf("cells.txt: has no sheet %q", name)
		}
	}
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	from, err := picture.Open(content, 0)
	if err != nil {
		return err
	}
	sheetsAt := strings.TrimSuffix(page, filepath.Ext(page))
	for _, dir := range []string{folder, sheetsAt} {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	var index, table strings.Builder
	fmt.Fprint(&index, "| knob | useful | what it does |\n| --- | --- | --- |\n")
	for _, s := range sheets {
		fmt.Fprintf(&index, "| [`%s`](#%s) | %s | %s |\n", s.knob, s.name, s.useful, s.does)
		if only != nil && !slices.Contains(only, s.name) {
			kept, err := s.kept(string(old))
			if err != nil {
				return fmt.Errorf("%s: %w", page, err)
			}
			table.WriteString(kept)
			continue
		}
		var painted []*picture.Picture
		for _, c := range s.cells {
			p, err := paint(bin, folder, s.flags(c))
			if err != nil {
				return err
			}
			painted = append(painted, p.Resize(cellW, cellH, picture.Bicubic))
		}
		path := filepath.Join(sheetsAt, s.name+".jpg")
		err := atomicfile.Write(path, func(w io.Writer) error {
			return jpeg.Encode(w, compose(s.cells, painted), &jpeg.Options{Quality: quality})
		})
		if err != nil {
			return err
		}
		s.write(&table, filepath.Base(sheetsAt), painted, from.Resize(cellW, cellH, picture.Bicubic))
	}
	return replace(page, string(old), index.String()+"\n"+table.String())
}

// parse reads the sheets.
func parse(text string) ([]sheet, error) {
	var all []sheet
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if head, ok := strings.CutPrefix(line, "="); ok {
			f := strings.Split(head, "|")
			if len(f) != 4 {
				return nil, fmt.Errorf("line %d: want = NAME | KNOB | USEFUL | WHAT IT DOES", i+1)
			}
			for j := range f {
				f[j] = strings.TrimSpace(f[j])
			}
			all = append(all, sheet{name: f[0], knob: f[1], useful: f[2], does: f[3]})
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("line %d: a cell before the first sheet", i+1)
		}
		s := &all[len(all)-1]
		if common, ok := strings.CutPrefix(line, "+"); ok {
			s.common = append(s.common, strings.Fields(common)...)
		} else {
			s.cells = append(s.cells, line)
		}
	}
	for _, s := range all {
		if len(s.cells) == 0 {
			return nil, fmt.Errorf("%s: the sheet has no cells", s.name)
		}
	}
	return all, nil
}

// flags are those of a cell. The last one given counts.
func (s sheet) flags(cell string) []string {
	return slices.Concat(always, s.common, strings.Fields(cell))
}

// paint paints a cell, unless it is there.
func paint(bin, folder string, flags []string) (*picture.Source, error) {
	sum := sha256.Sum256([]byte(strings.Join(flags, "\x00")))
	out := filepath.Join(folder, fmt.Sprintf("%x.png", sum[:8]))
	if _, err := os.Stat(out); err != nil {
		args := slices.Concat([]string{content, style, "-o", out, "-q"}, flags)
		fmt.Fprintln(os.Stdout, bin, strings.Join(args, " "))
		cmd := exec.Command(bin, args...)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(flags, " "), err)
		}
	}
	return picture.Open(out, 0)
}

// compose lays the cells of a sheet side by side, each above its flags.
func compose(labels []string, painted []*picture.Picture) image.Image {
	n := len(painted)
	m := image.NewRGBA(image.Rect(0, 0, n*cellW+(n-1)*gap, cellH+label))
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	for i, p := range painted {
		x0 := i * (cellW + gap)
		for y := range cellH {
			for x := range cellW {
				v := p.RGB[3*(y*cellW+x):]
				m.SetRGBA(x0+x, y, color.RGBA{level(v[0]), level(v[1]), level(v[2]), 255})
			}
		}
		face := basicfont.Face7x13
		text := labels[i]
		if most := cellW / face.Advance; len(text) > most { // what is left of it is the difference
			text = text[:most]
		}
		d := font.Drawer{Dst: m, Src: image.Black, Face: face, Dot: fixed.P(x0, cellH+label-5)}
		d.DrawString(text)
	}
	return m
}

// write appends a sheet and its measures.
func (s sheet) write(w io.Writer, folder string, painted []*picture.Picture, from *picture.Picture) {
	fmt.Fprint(w, s.title())
	if len(s.common) > 0 {
		fmt.Fprintf(w, "All with `%s`.\n\n", strings.Join(s.common, " "))
	}
	fmt.Fprintf(w, "![%s](%s/%s.jpg)\n\n| |", s.knob, folder, s.name)
	for _, c := range s.cells {
		fmt.Fprintf(w, " `%s` |", c)
	}
	fmt.Fprintf(w, "\n| --- |%s\n| away from the content |", strings.Repeat(" --- |", len(s.cells)))
	for _, p := range painted {
		fmt.Fprintf(w, " %.0f |", away(p, from))
	}
	fmt.Fprint(w, "\n| rough |")
	for _, p := range painted {
		fmt.Fprintf(w, " %.1f |", rough(p))
	}
	fmt.Fprint(w, "\n\n")
}

// kept is what write once appended, as it stands on the page.
func (s sheet) kept(page string) (string, error) {
	_, rest, ok := strings.Cut(page, s.title())
	if !ok {
		return "", fmt.Errorf("has no sheet %s yet; paint it too", s.name)
	}
	if next := strings.Index(rest, "### "); next >= 0 {
		rest = rest[:next]
	}
	rest, _, _ = strings.Cut(rest, end)
	return s.title() + rest, nil
}

func (s sheet) title() string { return "### " + s.name + "\n\n" }

func level(v float32) uint8 { return uint8(min(max(v, 0), 1)*255 + 0.5) }

// away is the root mean square of the difference of two pictures, in 8-bit levels.
func away(p, q *picture.Picture) float64 {
	sum := 0.0
	for i, v := range p.RGB {
		d := 255 * float64(v-q.RGB[i])
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(p.RGB)))
}

// rough is the mean difference of neighbours in a row, in 8-bit levels.
func rough(p *picture.Picture) float64 {
	sum, n := 0.0, 0
	for y := range p.H {
		row := p.RGB[3*y*p.W:][:3*p.W]
		for i := 3; i < len(row); i++ {
			sum += 255 * math.Abs(float64(row[i]-row[i-3]))
			n++
		}
	}
	return sum / float64(n)
}

// replace puts the table between the marks of the page.
func replace(page, old, table string) error {
	before, rest, ok := strings.Cut(old, begin+"\n")
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s: has no lines %s and %s", page, begin, end)
	}
	return atomicfile.Write(page, func(w io.Writer) error {
		_, err := io.WriteString(w, before+begin+"\n\n"+table+end+after)
		return err
	})
}
