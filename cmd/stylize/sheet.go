package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/gpu/cuda"
	"github.com/stylize-gpu/stylize/transfer/batch"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// sheetFlags are those of stylize sheet.
type sheetFlags struct {
	picture pictureFlags
	machine machineFlags
	vary    []string
	columns int
	path    string
	quiet   bool
}

func (f *sheetFlags) flags() []cli.Flag {
	vary := func(_ *cli.Context, v []string) error {
		f.vary = v
		return nil
	}
	return slices.Concat([]cli.Flag{
		&cli.StringSliceFlag{Name: "vary", Action: vary, Category: catPicture, Usage: "`FLAG=V1,V2,...` a flag from here and the values that it takes, as strength=0.3,1,3, seed=1..4, or style-layers=relu1_1,relu2_1|relu4_1 where values have commas; given twice, the first are the columns and the second the rows"},
		&cli.IntFlag{Name: "columns", Destination: &f.columns, Category: catOutput, DefaultText: "as the values ask for", Usage: "`N` cells in a row, 1 or more, as 4"},
		&cli.StringFlag{Name: "output", Destination: &f.path, Aliases: []string{"o"}, Category: catOutput, Usage: "`FILE` the sheet, " + picture.Written + "; its cells stand beside it as PNGs, each with its settings"},
		&cli.BoolFlag{Name: "quiet", Destination: &f.quiet, Aliases: []string{"q"}, Category: catOutput, Usage: "print errors only"},
	}, f.picture.flags(), f.machine.flags())
}

// maxCells bounds a sheet.
const maxCells = 400

// axis is a flag that varies.
type axis struct {
	flag   string
	values []string
}

// sheet paints one content in one style with several settings, and draws what comes of
// them side by side.
func sheet(ctx context.Context, args []string, f sheetFlags, stdout, stderr io.Writer) error {
	started := time.Now()
	if len(args) != 2 {
		return usage(fmt.Errorf("give two pictures, the content and the style; got %d", len(args)))
	}
	if f.path == "" || f.path == standard {
		return usage(errors.New("say where the sheet goes: -o SHEET.png"))
	}
	format, err := picture.FormatOf(f.path)
	if err != nil {
		return usage(fmt.Errorf("-o: %w", err))
	}
	if f.columns < 0 {
		return usage(fmt.Errorf("--columns %d: give 1 or more", f.columns))
	}
	axes, err := f.axes()
	if err != nil {
		return usage(err)
	}
	many, err := f.batch(axes, args[0], args[1])
	if err != nil {
		return usage(err)
	}
	var files claims
	files.read("the content", args[0])
	files.read("the style", args[1])
	f.machine.claim(&files)
	files.write("", "the sheet", f.path)
	for _, it := range many.list.Items {
		files.write("", "a cell", it.Output)
	}
	if err := files.check(); err != nil {
		return usage(err)
	}
	show := newBatchProgress(stderr, f.quiet)
	defer show.finish()
	outputs, labels := many.outputs(), many.labels // the batch may drop items
	b := many.flags
	runErr := b.paint(ctx, many.list, batch.Shard{}, show, started, stdout, stderr)
	show.finish()
	var coded codedError
	if runErr != nil && (!errors.As(runErr, &coded) || coded.code != exitSome) {
		return runErr
	}
	p, err := drawSheet(ctx, axes, outputs, labels, f.columns, filepath.Base(args[0])+" in the style of "+filepath.Base(args[1]), f.machine.maxPixels)
	if err != nil {
		return err
	}
	encoded, err := p.Encode(format, picture.SaveOptions{Bits: 8})
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	if err := writeFile(ctx, f.path, encoded); err != nil {
		return err
	}
	if !f.quiet {
		fmt.Fprintln(stderr, plain(fmt.Sprintf("%s: %s, %dx%d", f.path, count(len(outputs), "cell"), p.W, p.H)))
	}
	return runErr
}

// axes reads --vary.
func (f *sheetFlags) axes() ([]axis, error) {
	if len(f.vary) == 0 {
		return nil, errors.New("say what varies: --vary strength=0.3,1,3")
	}
	var all []axis
	cells := 1
	for _, text := range f.vary {
		flag, values, ok := strings.Cut(text, "=")
		flag = strings.TrimLeft(strings.TrimSpace(flag), "-")
		if flag == "layers" {
			flag = "style-layers"
		}
		a := axis{flag: flag}
		if !ok || values == "" {
			return nil, fmt.Errorf("--vary %s: give a flag and its values, as in strength=0.3,1,3", text)
		}
		if slices.ContainsFunc(all, func(b axis) bool { return b.flag == flag }) {
			return nil, fmt.Errorf("--vary %s: %s varies already; give all its values at once", text, flag)
		}
		between := ","
		if strings.Contains(values, "|") {
			between = "|"
		}
		for v := range strings.SplitSeq(values, between) {
			a.values = append(a.values, ranged(strings.TrimSpace(v))...)
		}
		for i, v := range a.values {
			if v == "" || slices.Contains(a.values[:i], v) {
				return nil, fmt.Errorf("--vary %s: the value %q is empty, or there twice", text, v)
			}
		}
		if cells *= len(a.values); cells > maxCells {
			return nil, fmt.Errorf("--vary %s: makes more than %d cells; vary less at a time", text, maxCells)
		}
		all = append(all, a)
	}
	return all, nil
}

// ranged is A..B as all whole numbers between, and any other value as it is.
func ranged(v string) []string {
	from, to, ok := strings.Cut(v, "..")
	a, err1 := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	if !ok || err1 != nil || err2 != nil || b < a || b-a > 100*maxCells {
		return []string{v}
	}
	var all []string
	for n := a; n <= b; n++ {
		all = append(all, strconv.Itoa(n))
	}
	return all
}

// cells are a batch of one content and one style.
type cells struct {
	flags  *batchFlags
	list   *batch.List
	labels [][]string
}

func (c cells) outputs() (all []string) {
	for _, it := range c.list.Items {
		all = append(all, it.Output)
	}
	return all
}

// batch makes an item of every combination of values, the first axis fastest.
func (f *sheetFlags) batch(axes []axis, content, style string) (c cells, err error) {
	c.flags = &batchFlags{machine: f.machine, devices: f.machine.device, slots: "auto", output: outputFlags{quiet: f.quiet}}
	if c.flags.devices == "auto" {
		c.flags.devices = "cpu"
		if n, err := cuda.Count(); err == nil && n > 0 {
			c.flags.devices = "cuda:0"
		}
	}
	c.list = &batch.List{}
	n := 1
	for _, a := range axes {
		n *= len(a.values)
	}
	ext := filepath.Ext(f.path)
	for i := range n {
		p, name, at := f.picture, "", i
		var label []string
		for _, a := range axes {
			v := a.values[at%len(a.values)]
			at /= len(a.values)
			if err := p.set(a.flag, v); err != nil {
				return c, err
			}
			label = append(label, a.flag+" "+v)
			name += "-" + safeName(a.flag+"-"+v)
		}
		o, err := c.flags.optionsOf(p)
		if err != nil {
			return c, fmt.Errorf("with %s: %w", strings.Join(label, ", "), err)
		}
		output := fmt.Sprintf("%s-%0*d%.80s.png", strings.TrimSuffix(f.path, ext), len(strconv.Itoa(n)), i+1, name)
		c.list.Items = append(c.list.Items, &batch.Item{Content: content, Styles: []batch.Style{{Path: style}}, Options: o, Output: output})
		c.labels = append(c.labels, label)
	}
	return c, nil
}

// safeName has nothing in it that a file system or a shell stumbles over.
func safeName(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, text)
}

// set gives a flag a value, as if it stood on the command line.
func (f *pictureFlags) set(name, value string) error {
	preset := f.preset
	app := &cli.App{Flags: f.flags(), Writer: io.Discard, ErrWriter: io.Discard, HideHelp: true, HideVersion: true, Action: func(*cli.Context) error { return nil }}
	if !slices.ContainsFunc(app.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) }) {
		var names []string
		for _, f := range app.Flags {
			names = append(names, f.Names()[0])
		}
		return fmt.Errorf("--vary %s=%s: there is no such flag to vary; there are %s", name, value, strings.Join(names, ", "))
	}
	if err := app.Run([]string{"stylize", "--" + name + "=" + value}); err != nil {
		return fmt.Errorf("--vary %s: %q is no value for it", name, value)
	}
	if name != "preset" {
		f.preset = preset
	}
	return nil
}

// drawSheet puts the cells side by side. One that failed leaves its place empty.
func drawSheet(ctx context.Context, axes []axis, outputs []string, labels [][]string, columns int, title string, maxPixels int) (*picture.Picture, error) {
	s := picture.Sheet{Title: title, Columns: columns}
	for i, path := range outputs {
		c := picture.Cell{Label: labels[i]}
		if src, err := openPicture(ctx, path, maxPixels); err == nil {
			c.Picture = src.Resize(src.W, src.H, picture.Bicubic)
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.Cells = append(s.Cells, c)
	}
	if len(axes) == 2 && columns == 0 {
		for _, v := range axes[0].values {
			s.Cols = append(s.Cols, axes[0].flag+" "+v)
		}
		for _, v := range axes[1].values {
			s.Rows = append(s.Rows, axes[1].flag+" "+v)
		}
		for i := range s.Cells {
			s.Cells[i].Label = nil
		}
	}
	return s.Draw()
}
