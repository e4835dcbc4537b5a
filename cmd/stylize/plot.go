package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/openfile"
)

// Where the columns are that plot asks for by name.
const (
	colLevel   = 1
	colTotal   = 5
	colRefused = 7
	colTerms   = 10 // the losses of layers begin
)

// axes are what a loss can be drawn against: column and title.
var axes = map[string]struct {
	column int
	title  string
}{"evaluations": {0, "evaluations"}, "gflop": {9, "GFLOP"}, "seconds": {8, "seconds"}}

// readTrace is a trace as read: numbers by row and column, and the level of each row.
type readTrace struct {
	name    string
	columns []string
	rows    [][]float64
	levels  []string
}

// parseTrace reads what --trace wrote. Losses may be infinite or no numbers, where a
// run diverged.
func parseTrace(r io.Reader) (*readTrace, error) {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	head, err := c.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the trace is empty")
	}
	if err != nil || !strings.HasPrefix(strings.Join(head, ","), traceColumns) {
		return nil, errors.New("is no trace: its first line is not " + traceColumns)
	}
	t := &readTrace{columns: slices.Clone(head)}
	for {
		f, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil { // with the line in it
			return nil, fmt.Errorf("the trace is damaged (%w)", err)
		}
		row := make([]float64, len(f))
		for i, v := range f {
			if i == colLevel {
				t.levels = append(t.levels, v)
				continue
			}
			if v == "" {
				row[i] = math.NaN()
				continue
			}
			if row[i], err = strconv.ParseFloat(v, 64); err != nil && !errors.Is(err, strconv.ErrRange) {
				return nil, fmt.Errorf("the trace is damaged (line %d: %s is %q)", len(t.rows)+2, t.columns[i], v)
			}
		}
		t.rows = append(t.rows, row)
	}
	if len(t.rows) == 0 {
		return nil, errors.New("the trace has no evaluations yet")
	}
	return t, nil
}

// points are a column against another, where a logarithm can show it: a line for each
// level, between which losses do not compare.
func (t *readTrace) points(x, y int) []plotter.XYs {
	var lines []plotter.XYs
	for i, r := range t.rows {
		if i == 0 || t.levels[i] != t.levels[i-1] {
			lines = append(lines, nil)
		}
		if shown(r[x], r[y]) {
			last := &lines[len(lines)-1]
			*last = append(*last, plotter.XY{X: r[x], Y: r[y]})
		}
	}
	return lines
}

// shown reports whether a point lies on a plot.
func shown(x, y float64) bool { return y > 0 && !math.IsInf(y, 0) && x-x == 0 }

// decades are the ticks of a logarithmic axis, with labels such as 100 and 1e-05.
type decades struct{}

func (decades) Ticks(least, most float64) []plot.Tick {
	ticks := plot.LogTicks{Prec: -1}.Ticks(least, most)
	for i := range ticks {
		if ticks[i].Label != "" { // a power of ten, nearly
			ticks[i].Label = strconv.FormatFloat(ticks[i].Value, 'g', 6, 64)
		}
	}
	return ticks
}

// plotTraces draws the losses of traces: of one its terms, of several their sums.
func plotTraces(args []string, f plotFlags) error {
	axis, ok := axes[f.against]
	switch {
	case len(args) == 0:
		return usage(errors.New("give a file that --trace wrote"))
	case f.path == "":
		return usage(errors.New("say where the drawing goes: -o OUT.svg or OUT.png"))
	case !ok:
		return usage(fmt.Errorf("--against %s: give evaluations, gflop or seconds", f.against))
	case f.layers && len(args) > 1:
		return usage(errors.New("--layers: the layers of one trace; give one"))
	}
	format := strings.TrimPrefix(strings.ToLower(filepath.Ext(f.path)), ".")
	if format != "svg" && format != "png" {
		return usage(fmt.Errorf("%s: drawings are written as .svg or .png; choose such a name", f.path))
	}
	var files claims
	for _, path := range args {
		files.read("a trace", path)
	}
	files.write("", "the drawing", f.path)
	if err := files.check(); err != nil {
		return usage(err)
	}
	files.sweep()
	var traces []*readTrace
	for _, path := range args {
		b, err := openfile.Read(path, maxTrace)
		if err != nil {
			return usage(err)
		}
		t, err := parseTrace(bytes.NewReader(b))
		if err != nil {
			return usage(fmt.Errorf("%s: %w", path, err))
		}
		t.name = path
		traces = append(traces, t)
	}
	p, err := drawing(traces, axis.column, axis.title, f.layers)
	if err != nil {
		return usage(err)
	}
	w, err := p.WriterTo(22*vg.Centimeter, 14*vg.Centimeter, format)
	if err != nil {
		return err
	}
	return atomicfile.Write(f.path, func(out io.Writer) error {
		_, err := w.WriteTo(out)
		return err
	})
}

// palette has colours that also the colour-blind tell apart (Okabe and Ito).
var palette = []color.Color{
	color.Black,
	color.RGBA{0, 114, 178, 255},
	color.RGBA{213, 94, 0, 255},
	color.RGBA{0, 158, 115, 255},
	color.RGBA{204, 121, 167, 255},
	color.RGBA{230, 159, 0, 255},
	color.RGBA{86, 180, 233, 255},
	color.RGBA{120, 120, 120, 255},
	color.RGBA{140, 80, 20, 255},
}

// drawing is the plot of traces against a column.
func drawing(traces []*readTrace, x int, title string, layers bool) (*plot.Plot, error) {
	type curve struct {
		name  string
		lines []plotter.XYs
	}
	var curves []curve
	if len(traces) > 1 {
		for _, t := range traces {
			curves = append(curves, curve{t.name, t.points(x, colTotal)})
		}
	} else {
		t, columns := traces[0], []int{colTotal, 2, 3, 4}
		if layers {
			columns = []int{colTotal, 4}
			for i := colTerms; i < len(t.columns); i++ {
				columns = append(columns, i)
			}
		}
		for _, c := range columns {
			curves = append(curves, curve{t.columns[c], t.points(x, c)})
		}
	}
	p := plot.New()
	p.Title.Text = "loss"
	if len(traces) == 1 {
		p.Title.Text = filepath.Base(traces[0].name)
	}
	p.X.Label.Text, p.Y.Label.Text = title, "loss"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	least, most := math.Inf(1), 0.0
	for i, c := range curves {
		var shown *plotter.Line
		for _, points := range c.lines {
			if len(points) == 0 { // a term that is 0 there
				continue
			}
			l, err := plotter.NewLine(points)
			if err != nil {
				return nil, err
			}
			l.Color, l.Width = palette[i%len(palette)], vg.Points(1)
			if i == 0 {
				l.Width = vg.Points(1.8)
			}
			p.Add(l)
			shown = l
			for _, xy := range points {
				least, most = min(least, xy.Y), max(most, xy.Y)
			}
		}
		if shown != nil {
			p.Legend.Add(c.name, shown)
		}
	}
	if most == 0 {
		return nil, fmt.Errorf("%s: no loss in it is a number above 0", traces[0].name)
	}
	// Whole powers of ten, so that the axis has labels.
	p.Y.Min, p.Y.Max = math.Pow(10, math.Floor(math.Log10(least))), math.Pow(10, math.Ceil(math.Log10(most*1.0001)))
	if len(traces) == 1 {
		if err := traces[0].mark(p, x); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// mark adds where levels begin, and what was refused.
func (t *readTrace) mark(p *plot.Plot, x int) error {
	var at plotter.XYs
	var names []string
	for i, level := range t.levels {
		if i > 0 && level == t.levels[i-1] || t.rows[i][x]-t.rows[i][x] != 0 {
			continue
		}
		v := t.rows[i][x]
		if i > 0 {
			l, err := plotter.NewLine(plotter.XYs{{X: v, Y: p.Y.Min}, {X: v, Y: p.Y.Max}})
			if err != nil {
				return err
			}
			l.Color, l.Dashes = color.Gray{120}, []vg.Length{vg.Points(3), vg.Points(3)}
			p.Add(l)
		}
		at, names = append(at, plotter.XY{X: v, Y: p.Y.Min}), append(names, level)
	}
	if len(at) > 0 {
		labels, err := plotter.NewLabels(plotter.XYLabels{XYs: at, Labels: names})
		if err != nil {
			return err
		}
		labels.Offset = vg.Point{X: vg.Points(3), Y: vg.Points(3)}
		p.Add(labels)
	}
	var refused plotter.XYs
	for _, r := range t.rows {
		if r[colRefused] == 1 && shown(r[x], r[colTotal]) {
			refused = append(refused, plotter.XY{X: r[x], Y: r[colTotal]})
		}
	}
	if len(refused) == 0 {
		return nil
	}
	s, err := plotter.NewScatter(refused)
	if err != nil {
		return err
	}
	s.Shape, s.Color, s.Radius = draw.CrossGlyph{}, color.RGBA{200, 0, 0, 255}, vg.Points(3)
	p.Add(s)
	p.Legend.Add("refused", s)
	return nil
}
