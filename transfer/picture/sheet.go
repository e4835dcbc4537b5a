package picture

import (
	"errors"
	"fmt"
	"image"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Sheet is a contact sheet: pictures in a grid on white, with what they are below each.
type Sheet struct {
	Title   string   // above all; may be empty
	Cells   []Cell   // row by row
	Columns int      // at most one a cell; 0 for as many as Cols has headings, or else Grid
	Rows    []string // headings of the rows, on the left, and of the columns, on top;
	Cols    []string // either may be left out
	Size    int      // the longest side of a picture; larger ones are shrunk to it. 0 is no limit
}

// Cell is a picture and its label, which has a line for each text.
type Cell struct {
	Picture *Picture // nil leaves a grey field
	Label   []string
}

// Grid is a number of columns for n cells: about as many as there are rows, or one more
// where that leaves fewer places empty.
func Grid(n int) int {
	c := max(int(math.Ceil(math.Sqrt(float64(n)))), 1)
	empty := func(c int) int { return (n+c-1)/c*c - n }
	if n > 1 && empty(c+1) < empty(c) {
		return c + 1
	}
	return c
}

// What a sheet looks like.
const (
	paper, blank, ink   = 1, 0.93, 0.1 // values of grey
	leastFont, mostFont = 10, 28       // pixels
)

// Draw draws the sheet. Every cell has the extent of the largest picture; smaller ones lie
// in its middle, transparent ones on white. The letters grow with the cells, from 10 to 28
// pixels; a text that is longer than its place ends in an ellipsis. A sheet without cells,
// or of more pixels than DefaultMaxPixels, which could not be opened again, is an error.
func (s Sheet) Draw() (*Picture, error) {
	if len(s.Cells) == 0 {
		return nil, errors.New("a contact sheet needs a picture")
	}
	l, err := s.layout()
	if err != nil {
		return nil, err
	}
	if int64(l.w)*int64(l.h) > DefaultMaxPixels {
		return nil, fmt.Errorf("a contact sheet of %dx%d pixels is too large; make its pictures smaller or fewer", l.w, l.h)
	}
	out := &Picture{W: l.w, H: l.h, RGB: make([]float32, 3*l.w*l.h)}
	for i := range out.RGB {
		out.RGB[i] = paper
	}
	if s.Title != "" {
		l.title.write(out, s.Title, l.margin, l.margin, l.w-2*l.margin, left)
	}
	for c, text := range s.Cols {
		if c < l.columns {
			l.text.write(out, text, l.x(c), l.top-l.margin/2-l.text.line, l.cellW, centre)
		}
	}
	for r, text := range s.Rows {
		if r < l.rows {
			l.text.write(out, text, l.margin, l.y(r)+(l.cellH-l.text.line)/2, l.heading, left)
		}
	}
	for i, c := range s.Cells {
		x, y := l.x(i%l.columns), l.y(i/l.columns)
		if p := s.fitted(c.Picture); p != nil {
			out.lay(p, x+(l.cellW-p.W)/2, y+(l.cellH-p.H)/2)
		} else {
			out.shade(x, y, l.cellW, l.cellH)
		}
		for k, text := range c.Label {
			l.text.write(out, text, x, y+l.cellH+l.text.line/4+k*l.text.line, l.cellW, centre)
		}
	}
	return out, nil
}

// layout is where everything lies, in pixels.
type layout struct {
	w, h         int // of the sheet
	columns      int
	rows         int
	cellW, cellH int // of the pictures
	stepY        int // from a row to the next
	margin       int // around the sheet and between cells
	left, top    int // of the first cell
	heading      int // width of the headings of rows
	text, title  *lettering
}

func (l *layout) x(column int) int { return l.left + column*(l.cellW+l.margin) }
func (l *layout) y(row int) int    { return l.top + row*l.stepY }

func (s Sheet) layout() (*layout, error) {
	l := &layout{columns: min(s.Columns, max(len(s.Cells), len(s.Cols)))}
	if l.columns < 1 {
		l.columns = len(s.Cols)
	}
	if l.columns < 1 {
		l.columns = Grid(len(s.Cells))
	}
	l.rows = (len(s.Cells) + l.columns - 1) / l.columns
	lines := 0
	for _, c := range s.Cells {
		if c.Picture != nil {
			w, h := s.extent(c.Picture)
			l.cellW, l.cellH = max(l.cellW, w), max(l.cellH, h)
		}
		lines = max(lines, len(c.Label))
	}
	if l.cellW == 0 { // nothing but grey fields
		l.cellW, l.cellH = 64, 64
	}
	size := min(max(float64(l.cellW)/20, leastFont), mostFont)
	var err error
	if l.text, err = letters(size); err != nil {
		return nil, err
	}
	if l.title, err = letters(size * 1.4); err != nil {
		return nil, err
	}
	l.margin = l.text.line
	for _, text := range s.Rows {
		l.heading = max(l.heading, min(l.text.width(text), l.cellW))
	}
	l.left, l.top, l.stepY = l.margin, l.margin, l.cellH+l.margin
	if l.heading > 0 {
		l.left += l.heading + l.margin
	}
	if s.Title != "" {
		l.top += l.title.line + l.margin/2
	}
	if len(s.Cols) > 0 {
		l.top += l.text.line + l.margin/2
	}
	if lines > 0 {
		l.stepY += l.text.line/4 + lines*l.text.line
	}
	l.w, l.h = l.x(l.columns), l.y(l.rows)
	return l, nil
}

// extent is what a picture has on the sheet.
func (s Sheet) extent(p *Picture) (w, h int) {
	if s.Size < 1 || max(p.W, p.H) <= s.Size {
		return p.W, p.H
	}
	return Fit(p.W, p.H, s.Size, 1)
}

func (s Sheet) fitted(p *Picture) *Picture {
	if p == nil {
		return nil
	}
	w, h := s.extent(p)
	return p.Resize(w, h, Bicubic)
}

// lay puts a picture on another, which is opaque.
func (p *Picture) lay(q *Picture, left, top int) {
	for y := range q.H {
		to, from := p.RGB[3*((top+y)*p.W+left):][:3*q.W], q.RGB[3*y*q.W:][:3*q.W]
		if q.Alpha == nil {
			copy(to, from)
			continue
		}
		for x := range q.W {
			a := q.Alpha[y*q.W+x]
			for c := 3 * x; c < 3*x+3; c++ {
				to[c] = a*from[c] + (1-a)*to[c]
			}
		}
	}
}

func (p *Picture) shade(left, top, w, h int) {
	for y := top; y < top+h; y++ {
		row := p.RGB[3*(y*p.W+left):][:3*w]
		for i := range row {
			row[i] = blank
		}
	}
}

// lettering is a font of a size.
type lettering struct {
	face   font.Face
	line   int // height of one, in pixels
	ascent int
}

func letters(size float64) (*lettering, error) {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("the font of contact sheets: %w", err)
	}
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		return nil, fmt.Errorf("the font of contact sheets: %w", err)
	}
	m := face.Metrics()
	return &lettering{face, (m.Ascent + m.Descent).Ceil(), m.Ascent.Ceil()}, nil
}

// width is that of a text, in pixels.
func (l *lettering) width(text string) int { return font.MeasureString(l.face, text).Ceil() }

// short is a text as far as it fits into so many pixels, then with an ellipsis.
func (l *lettering) short(text string, room int) string {
	if l.width(text) <= room {
		return text
	}
	runes := []rune(text)
	for n := min(len(runes)-1, room); n > 0; n-- {
		if cut := string(runes[:n]) + "…"; l.width(cut) <= room {
			return cut
		}
	}
	if l.width("…") <= room {
		return "…"
	}
	return ""
}

// Where a text stands in its place.
type align int

const (
	left align = iota
	centre
)

// write writes a line of text into the place of a width whose corner is (x,y).
func (l *lettering) write(p *Picture, text string, x, y, room int, at align) {
	text = l.short(text, room)
	if at == centre {
		x += (room - l.width(text)) / 2
	}
	// Letters may reach a little beyond their advance.
	mask := image.NewAlpha(image.Rect(x-l.line/2, y, x+l.width(text)+l.line/2, y+l.line).Intersect(image.Rect(0, 0, p.W, p.H)))
	d := font.Drawer{Dst: mask, Src: image.Opaque, Face: l.face, Dot: fixed.P(x, y+l.ascent)}
	d.DrawString(text)
	for v := mask.Rect.Min.Y; v < mask.Rect.Max.Y; v++ {
		for u := mask.Rect.Min.X; u < mask.Rect.Max.X; u++ {
			a := float32(mask.AlphaAt(u, v).A) / 255
			for c := range 3 {
				i := 3*(v*p.W+u) + c
				p.RGB[i] = a*ink + (1-a)*p.RGB[i]
			}
		}
	}
}
