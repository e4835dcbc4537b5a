package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// drawn is a trace of two levels, with everything that can be in one.
const drawn = traceColumns + `,content_relu4_2,style_relu1_1
1,16x16,0,20,0.1,20.1,0.05,0,0.1,1,0,20
2,16x16,1,10,0.1,11.1,0.05,0,0.2,2,1,10
3,24x17,1,NaN,0.1,+Inf,0.05,1,0.4,4,1,NaN
4,24x17,1,9,0.1,10.1,0.05,1,0.6,6,1,9
5,24x17,1,5,0.1,6.1,0.05,0,0.8,8,,
`

func TestPlot(t *testing.T) {
	samples(t)
	if err := os.WriteFile("t.csv", []byte(drawn), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string // in the drawing
	}{
		{nil, []string{"GFLOP", ">total<", ">content<", ">style<", ">tv<", ">16x16<", ">24x17<", ">refused<", ">1<", ">100<"}},
		{[]string{"--against", "seconds", "--layers"}, []string{">seconds<", ">style_relu1_1<", ">content_relu4_2<"}},
		{[]string{"--against", "evaluations", "t.csv"}, []string{">evaluations<", ">t.csv<"}},
	} {
		mustRun(t, append([]string{"plot", "t.csv", "-o", "p.svg"}, c.args...)...)
		b := read(t, "p.svg")
		for d := xml.NewDecoder(bytes.NewReader(b)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v: %v", c.args, err)
			}
		}
		for _, want := range c.want {
			if !strings.Contains(string(b), want) {
				t.Errorf("%v: no %s", c.args, want)
			}
		}
	}
	mustRun(t, "plot", "t.csv", "-o", "p.png")
	if m, format, err := image.Decode(bytes.NewReader(read(t, "p.png"))); err != nil || format != "png" || m.Bounds().Dx() < 500 {
		t.Errorf("%s: %v", format, err)
	}
	// What --trace writes is what plot reads.
	mustRun(t, "content.png", "style.jpg", "-o", "out.png", small, quick, rnd, "--ladder", "16:2,32", "--trace", "real.csv", "-q")
	mustRun(t, "plot", "real.csv", "-o", "real.svg")
}

func TestPlotMistakes(t *testing.T) {
	samples(t)
	for name, text := range map[string]string{
		"good.csv": drawn, "empty.csv": "", "other.csv": "a,b\n1,2\n", "none.csv": traceColumns + "\n",
		"short.csv": drawn + "6,24x17,1\n", "word.csv": strings.Replace(drawn, "10.1", "much", 1), "zero.csv": traceColumns + "\n1,16x16,0,0,0,0,0,0,0,0\n",
		"binary.csv": "\x89PNG\r\n\x1a\n\x00\"", "cut.csv": drawn[:len(drawn)-9],
	} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	before := ls(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "give a file that --trace wrote"},
		{[]string{"good.csv"}, "-o OUT.svg or OUT.png"},
		{[]string{"good.csv", "-o", "p.pdf"}, "p.pdf: drawings are written as .svg or .png"},
		{[]string{"good.csv", "-o", "p.svg", "--against", "time"}, "--against time: give evaluations, gflop or seconds"},
		{[]string{"good.csv", "good.csv", "-o", "p.svg", "--layers"}, "--layers: the layers of one trace"},
		{[]string{"good.csv", "-o", "no/p.svg"}, "does not exist"},
		{[]string{"nothing.csv", "-o", "p.svg"}, "nothing.csv: there is no such file"},
		{[]string{"empty.csv", "-o", "p.svg"}, "empty.csv: the trace is empty"},
		{[]string{"other.csv", "-o", "p.svg"}, "other.csv: is no trace"},
		{[]string{"binary.csv", "-o", "p.svg"}, "binary.csv: is no trace"},
		{[]string{"none.csv", "-o", "p.svg"}, "none.csv: the trace has no evaluations yet"},
		{[]string{"short.csv", "-o", "p.svg"}, "short.csv: the trace is damaged (record on line 7: wrong number of fields)"},
		{[]string{"cut.csv", "-o", "p.svg"}, "cut.csv: the trace is damaged (record on line 6: wrong number of fields)"},
		{[]string{"word.csv", "-o", "p.svg"}, `word.csv: the trace is damaged (line 5: total is "much")`},
		{[]string{"zero.csv", "-o", "p.svg"}, "no loss in it is a number above 0"},
	} {
		code, _, stderr := stylize(t.Context(), append([]string{"plot"}, c.args...)...)
		if code != exitUsage || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("plot %v: exit %d, %q, want %q", c.args, code, stderr, c.want)
		}
	}
	if after := ls(t); !slices.Equal(before, after) {
		t.Errorf("files before %v\nand after %v", before, after)
	}
}

func FuzzTrace(f *testing.F) {
	f.Add(drawn)
	f.Add(traceColumns + "\n1,16x16,1e-300,5e300,1,1,0,1,0,0\n2,,,,,,,,,\n")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseTrace(strings.NewReader(s))
		if err != nil {
			return
		}
		if len(r.rows) != len(r.levels) {
			t.Errorf("%d rows and %d levels", len(r.rows), len(r.levels))
		}
		for _, x := range axes {
			_, _ = drawing([]*readTrace{r}, x.column, x.title, true)
		}
	})
}
