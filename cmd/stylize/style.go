package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/given"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/transfer/stylefile"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/openfile"
)

// ladderSizes are the sizes at which the default preset looks at a style, as "19,57,171,512".
func ladderSizes() string {
	o, _ := transfer.Preset("default") // there is one: TestPresets
	var sizes []string
	for _, l := range o.Levels() {
		sizes = append(sizes, strconv.Itoa(l.Size))
	}
	return strings.Join(sizes, ",")
}

// styleMakeFlags are those of stylize style make.
type styleMakeFlags struct {
	path    string
	sizes   string
	blend   *string
	pooling string
	quiet   bool
	machine machineFlags
}

func (f *styleMakeFlags) flags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "output", Destination: &f.path, Aliases: []string{"o"}, Category: catOutput, Usage: "`FILE` the style file, as wave.style"},
		&cli.StringFlag{Name: "sizes", Destination: &f.sizes, Category: catPicture, Value: ladderSizes(), Usage: "`N1,N2,...` longest sides at which the network looks at the style: those at which pictures will be painted, the levels of the ladder included; each takes 6.5 MB"},
		&cli.StringFlag{Name: "blend", Action: given.To(&f.blend), Category: catPicture, DefaultText: "equally", Usage: "`W1,W2,...` what each of several pictures counts for, as 2,1"},
		&cli.StringFlag{Name: "pooling", Destination: &f.pooling, Category: catPicture, Value: "avg", Usage: "`avg|max` as pictures will be painted with"},
		&cli.BoolFlag{Name: "quiet", Destination: &f.quiet, Aliases: []string{"q"}, Category: catOutput, Usage: "print errors only"},
	}, f.machine.flags()...)
}

// styleMake writes a style file.
func styleMake(ctx context.Context, args []string, f styleMakeFlags, stderr io.Writer) error {
	if len(args) == 0 {
		return usage(errors.New("give the pictures of the style: stylize style make PICTURE... -o NAME.style"))
	}
	if f.path == "" || f.path == standard {
		return usage(errors.New("say where the style file goes: -o NAME.style"))
	}
	if _, err := picture.FormatOf(f.path); err == nil {
		return usage(fmt.Errorf("-o %s: has the name of a picture; call it %s.style", f.path, strings.TrimSuffix(f.path, filepath.Ext(f.path))))
	}
	sizes, err := parseSizes(f.sizes)
	if err != nil {
		return usage(err)
	}
	o := transfer.Options{Pooling: f.pooling}
	if _, err := vgg.ParsePooling(f.pooling); err != nil {
		return usage(fmt.Errorf("--pooling %s: give avg or max", f.pooling))
	}
	in, err := (&inputFlags{blend: f.blend}).names(append([]string{args[0]}, args...), &o)
	if err != nil {
		return usage(err)
	}
	var files claims
	for _, s := range in.styles {
		files.read("a picture of the style", s.Path)
	}
	f.machine.claim(&files)
	files.write("", "the style file", f.path)
	if err := files.check(); err != nil {
		return usage(err)
	}
	files.sweep()
	var styles []transfer.Style
	for _, s := range in.styles {
		if stylefile.IsFile(s.Path) {
			return usage(fmt.Errorf("%s: is a style file already; blend them when painting", s.Path))
		}
		p, err := openInput(ctx, s.Path, f.machine.maxPixels)
		if err != nil {
			return inputError(err)
		}
		if err := p.FillTransparent(); err != nil {
			return usage(fmt.Errorf("%s: %w", fileName(s.Path), err))
		}
		styles = append(styles, transfer.Style{Picture: p})
	}
	w, note, err := resolveWeights(given.Or(f.machine.weights, "auto"))
	if err != nil {
		return usage(err)
	}
	if note != "" && !f.quiet {
		fmt.Fprintf(stderr, "stylize: %s\n", note)
	}
	dev, err := f.machine.open(stderr)
	if err != nil {
		return err
	}
	defer dev.Close()
	file, err := transfer.MakeStyle(ctx, dev, w, o, styles, sizes)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return codedError{exitInterrupted, errors.New("interrupted; nothing was saved")}
		}
		return err
	}
	for i := range file.Sources { // a file tells everybody who gets it names, not folders
		file.Sources[i].Name = baseName(file.Sources[i].Name)
	}
	file.Name = strings.TrimSuffix(filepath.Base(f.path), filepath.Ext(f.path))
	if err := atomicfile.WriteContext(ctx, f.path, file.Write); err != nil {
		return err
	}
	if !f.quiet {
		fmt.Fprintln(stderr, plain(fmt.Sprintf("%s: the style of %s at %s", f.path, count(len(styles), "picture"), f.sizes)))
	}
	return nil
}

// parseSizes reads the sizes of a style file.
func parseSizes(text string) (sizes []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < vgg.MinSide || n > transfer.MaxSize {
			return nil, fmt.Errorf("--sizes %s: give %d to %d pixels, as in 128,256,512", text, vgg.MinSide, transfer.MaxSize)
		}
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	sizes = slices.Compact(sizes)
	if len(sizes) > stylefile.MaxSizes {
		return nil, fmt.Errorf("--sizes: %d are more than the %d that a file may have", len(sizes), stylefile.MaxSizes)
	}
	return sizes, nil
}

// styleShowFlags are those of stylize style show.
type styleShowFlags struct {
	path       string
	size       int
	iterations int
	seed       uint64
	json       bool
	machine    machineFlags
}

func (f *styleShowFlags) flags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "output", Destination: &f.path, Aliases: []string{"o"}, Category: catOutput, Usage: "`FILE` also paint a texture in the style, with its main colours below, " + picture.Written},
		&cli.IntFlag{Name: "size", Destination: &f.size, Category: catPicture, Value: 256, Usage: "`N` sides of that texture, 16 to 32768 pixels: more takes longer, as 128"},
		&cli.IntFlag{Name: "iterations", Destination: &f.iterations, Aliases: []string{"n"}, Category: catPicture, Value: 40, Usage: "`N` steps of its optimisation, 1 to 10000000: more come closer, as 100"},
		&cli.Uint64Flag{Name: "seed", Destination: &f.seed, Category: catPicture, Usage: "`N` which noise it starts from, 0 or more: another number gives another texture, as 7"},
		jsonFlag(&f.json),
	}, f.machine.flags()...)
}

// styleShow says what is in a style file, and paints a texture from it.
func styleShow(ctx context.Context, args []string, f styleShowFlags, stdout, stderr io.Writer) error {
	if len(args) != 1 {
		return usage(fmt.Errorf("give one style file; got %d arguments", len(args)))
	}
	var files claims
	files.read("the style file", args[0])
	f.machine.claim(&files)
	var format picture.Format
	if f.path != "" {
		var err error
		if format, err = picture.FormatOf(f.path); err != nil {
			return usage(fmt.Errorf("-o: %w", err))
		}
		files.write("", "the texture", f.path)
	}
	if err := files.check(); err != nil {
		return usage(err)
	}
	if !stylefile.IsFile(args[0]) {
		f, _, err := openfile.Regular(args[0])
		if err != nil {
			return usage(err)
		}
		f.Close()
		return usage(fmt.Errorf("%s: is no style file; stylize style make %s -o NAME.style makes one of a picture", args[0], filepath.Base(args[0])))
	}
	file, err := stylefile.Read(args[0])
	if err != nil {
		return usage(err)
	}
	if f.json {
		err = printJSON(stdout, struct {
			Name    string             `json:"name"`
			SHA256  string             `json:"sha256"`
			Sources []stylefile.Source `json:"sources"`
			Weights string             `json:"weights_sha256"`
			Pooling string             `json:"pooling"`
			Sizes   []stylefile.Size   `json:"sizes"`
			Palette []string           `json:"palette"`
		}{file.Name, file.SHA256, file.Sources, file.Weights, file.Pooling, file.Sizes, hexes(file.Palette)})
	} else {
		err = describe(stdout, file)
	}
	if err != nil || f.path == "" {
		return err
	}
	return f.texture(ctx, args[0], file, format, stderr)
}

// describe prints a style file for a person.
func describe(stdout io.Writer, f *stylefile.File) error {
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "style\t%s\n", plain(f.Name))
	for _, s := range f.Sources {
		fmt.Fprintf(t, "made of\t%s, %dx%d, weight %g\n", plain(s.Name), s.Width, s.Height, s.Weight)
	}
	var sizes []string
	for _, s := range f.Sizes {
		sizes = append(sizes, fmt.Sprintf("%dx%d", s.W, s.H))
	}
	fmt.Fprintf(t, "seen at\t%s\n", strings.Join(sizes, ", "))
	fmt.Fprintf(t, "network\tweights %.8s, pooling %s\n", f.Weights, f.Pooling)
	fmt.Fprintf(t, "colours\t%s\n", strings.Join(hexes(f.Palette), " "))
	return t.Flush()
}

// hexes are colours as designers write them.
func hexes(palette [][3]float32) (all []string) {
	for _, c := range palette {
		v := func(i int) int { return int(math.Round(float64(c[i]) * 255)) }
		all = append(all, fmt.Sprintf("#%02x%02x%02x", v(0), v(1), v(2)))
	}
	return all
}

// texture paints noise in the style.
func (f *styleShowFlags) texture(ctx context.Context, path string, file *stylefile.File, format picture.Format, stderr io.Writer) error {
	o, err := transfer.Preset("default")
	if err != nil {
		return err
	}
	o.Size, o.Iterations, o.ContentWeight, o.Init, o.Seed, o.Pooling = f.size, f.iterations, 0, "noise", f.seed, file.Pooling
	o.Ladder = transfer.AutoLadder(o.Size, o.Iterations)
	if err := o.Validate(); err != nil {
		return usage(inFlags(err))
	}
	w, _, err := resolveWeights(given.Or(f.machine.weights, "auto"))
	if err != nil {
		return usage(err)
	}
	blank := &picture.Picture{W: f.size, H: f.size, RGB: make([]float32, 3*f.size*f.size)}
	work := transfer.Work{Options: o, Content: blank.Source("", ""), Styles: []transfer.Style{{File: file, Path: path}}, Weights: w}
	if err := work.Check(); err != nil {
		return usage(err)
	}
	dev, err := f.machine.open(stderr)
	if err != nil {
		return err
	}
	defer dev.Close()
	p, err := transfer.NewPainting(ctx, dev, work, nil)
	if err != nil {
		return usage(err)
	}
	defer p.Close()
	show := newProgress(stderr, false)
	err = p.Run(ctx, transfer.Hooks{Report: func(pt transfer.Point) error { show.row(pt); return nil }})
	show.finish()
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return codedError{exitInterrupted, errors.New("interrupted; nothing was saved")}
		}
		return err
	}
	pic, err := p.Picture()
	if err != nil {
		return err
	}
	b, err := withPalette(pic, file.Palette).Encode(format, picture.SaveOptions{Bits: 8})
	if err != nil {
		return err
	}
	return writeFile(ctx, f.path, b)
}

// withPalette puts colours below a picture.
func withPalette(p *picture.Picture, palette [][3]float32) *picture.Picture {
	if len(palette) == 0 {
		return p
	}
	strip := max(p.H/8, 1)
	out := &picture.Picture{W: p.W, H: p.H + strip, RGB: slices.Clone(p.RGB)}
	for range strip {
		for x := range p.W {
			c := palette[x*len(palette)/p.W]
			out.RGB = append(out.RGB, c[:]...)
		}
	}
	return out
}
