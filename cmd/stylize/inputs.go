package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/given"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/batch"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/transfer/stylefile"
)

// inputFlags say how several pictures become one.
type inputFlags struct {
	blend       *string
	masks       []string
	looks       []string
	contentMask string
	feather     *float64
}

func (f *inputFlags) flags() []cli.Flag {
	list := func(to *[]string) func(*cli.Context, []string) error {
		return func(_ *cli.Context, v []string) error {
			*to = v
			return nil
		}
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "blend", Action: given.To(&f.blend), Category: catPicture, DefaultText: "equally", Usage: "`W1,W2,...` what each of several styles counts for, in their order, each above 0: a larger one has more of that style, as 2,1"},
		&cli.StringSliceFlag{Name: "mask", Action: list(&f.masks), Category: catPicture, Usage: "`alpha|STYLE=MASK` where a style paints: MASK is a picture, white there and black elsewhere; styles without one paint the rest. alpha leaves transparent pixels of the content alone. May be given for each style"},
		&cli.StringSliceFlag{Name: "style-mask", Action: list(&f.looks), Category: catPicture, Usage: "`STYLE=MASK` which part of a style picture counts: the white one"},
		&cli.StringFlag{Name: "content-mask", Destination: &f.contentMask, Category: catPicture, Usage: "`MASK` where the content holds on: white; where it is black only the style counts"},
		&cli.Float64Flag{Name: "feather", Action: given.To(&f.feather), Category: catPicture, DefaultText: "0", Usage: "`N` soften the edges of masks over so many pixels of the result, 0 or more: more lets styles melt into each other, as 20"},
	}
}

// inputs are the files that a picture is made from, by name. Empty is none.
type inputs struct {
	content, contentMask string
	styles               []batch.Style
}

// names sorts out the arguments and flags, and puts into the options what they say there.
func (f *inputFlags) names(args []string, o *transfer.Options) (in inputs, err error) {
	if slices.Contains(args, "") {
		return in, errors.New("the name of a picture is empty; give the content and the style")
	}
	if len(args) < 2 {
		return in, fmt.Errorf("give two pictures, the content and the style; got %d", len(args))
	}
	in.content, in.contentMask = args[0], f.contentMask
	for _, path := range args[1:] {
		all, err := inFolder(path)
		if err != nil {
			return in, err
		}
		for _, p := range all {
			in.styles = append(in.styles, batch.Style{Path: p})
		}
	}
	given.Replace(&o.Feather, f.feather)
	regions, err := f.regions()
	if err != nil {
		return in, err
	}
	if n := len(regions.Blend); n > 0 && n != len(in.styles) {
		return in, fmt.Errorf("--blend %s: give one weight for each style; got %d for %d", *f.blend, n, len(in.styles))
	}
	o.Blend = regions.Blend
	if regions.Alpha() {
		o.MaskAlpha = true
	}
	sets, err := regions.Sets(in.styles, true, func(name string) string { return "--" + name })
	if err != nil {
		return in, err
	}
	if len(sets) > 0 {
		in.styles = sets[0]
	}
	return in, nil
}

// inFolder are the pictures and style files of a folder, by name; any other name is itself.
func inFolder(path string) ([]string, error) {
	st, err := os.Stat(path)
	if err != nil || !st.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot be read: %w", path, errors.Unwrap(err))
	}
	var all []string
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		if st, err := os.Stat(name); err != nil || !st.Mode().IsRegular() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if _, _, err := picture.Extent(name); err == nil || stylefile.IsFile(name) {
			all = append(all, name)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: has no pictures in it", path)
	}
	return all, nil
}

// regions are what the flags say of the styles, and where they paint.
func (f *inputFlags) regions() (r batch.Regions, err error) {
	r = batch.Regions{Masks: f.masks, Looks: f.looks, ContentMask: f.contentMask}
	if f.blend == nil {
		return r, nil
	}
	if r.Blend, err = numbers(*f.blend); err != nil {
		err = fmt.Errorf("--blend %s: give numbers above 0, as in 2,1", *f.blend)
	}
	return r, err
}

func numbers(text string) (all []float64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || !(v > 0) {
			return nil, strconv.ErrRange
		}
		all = append(all, v)
	}
	return all, nil
}

// each calls do for every file.
func (in *inputs) each(o transfer.Options, do func(what, path string)) {
	do("the content", in.content)
	for _, s := range in.styles {
		what := "the style"
		if len(in.styles) > 1 {
			what = "a style"
		}
		s.Each(what, do)
	}
	if in.contentMask != "" {
		do("the mask of the content", in.contentMask)
	}
	if o.InitPicture() {
		do("the initial picture", o.Init)
	}
}

// reads are the names of all files; one that is used twice is there once.
func (in *inputs) reads(o transfer.Options) (all []string) {
	in.each(o, func(_, path string) {
		if path == standard || !slices.Contains(all, path) {
			all = append(all, path)
		}
	})
	return all
}

// claim says that they are read.
func (in *inputs) claim(c *claims, o transfer.Options) {
	in.each(o, c.read)
}

// open reads the pictures.
func (wk *work) open(ctx context.Context, in inputs, maxPixels int) (err error) {
	if maxPixels < 1 {
		return fmt.Errorf("--max-pixels %d: give 1 or more", maxPixels)
	}
	if wk.Content, err = openInput(ctx, in.content, maxPixels); err != nil {
		return err
	}
	masks := map[string]*picture.Source{}
	mask := func(flag, path string) (*picture.Source, error) {
		if path == "" || masks[path] != nil {
			return masks[path], nil
		}
		s, err := openInput(ctx, path, maxPixels)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		masks[path] = s
		return s, nil
	}
	for _, s := range in.styles {
		var style transfer.Style
		if s.Path != standard && stylefile.IsFile(s.Path) {
			style.Path = s.Path
			style.File, err = stylefile.Read(s.Path)
		} else if style.Picture, err = openInput(ctx, s.Path, maxPixels); err == nil {
			if err = style.Picture.FillTransparent(); err != nil {
				err = fmt.Errorf("%s: %w", fileName(s.Path), err)
			}
		}
		if err != nil {
			return err
		}
		if style.Mask, err = mask("--mask", s.Mask); err != nil {
			return err
		}
		if style.Look, err = mask("--style-mask", s.Look); err != nil {
			return err
		}
		wk.Styles = append(wk.Styles, style)
	}
	if wk.ContentMask, err = mask("--content-mask", in.contentMask); err != nil {
		return err
	}
	if wk.Options.InitPicture() {
		if wk.Init, err = openInit(ctx, wk.Options.Init, maxPixels); err != nil {
			return fmt.Errorf("--init: %w (the other choices are content, noise, style and blend:0.3)", err)
		}
	}
	// The last level is the largest.
	wk.w, wk.h = wk.Options.Extent(wk.Content)
	long := max(wk.w, wk.h)
	for _, e := range wk.Stages()[len(wk.Options.Ladder)].Styles {
		long = max(long, e.W, e.H)
	}
	if long > transfer.MaxSize {
		return fmt.Errorf("a picture so thin would be %d pixels long; crop it", long)
	}
	return nil
}

// openInit reads a picture to start from: a picture, or that of a checkpoint.
func openInit(ctx context.Context, path string, maxPixels int) (*picture.Source, error) {
	if path == standard || !transfer.IsCheckpoint(path) {
		return openInput(ctx, path, maxPixels)
	}
	c, err := readCheckpoint(path)
	if err != nil {
		return nil, err
	}
	p, err := c.Picture()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p.Source(path, hashOf(path)), nil
}

// styleNames are the styles, for a person.
func (wk *work) styleNames() string {
	var all []string
	for i, s := range wk.Styles {
		text := "style " + s.Name()
		if s.Picture != nil {
			text = fmt.Sprintf("%s %dx%d", text, s.Picture.W, s.Picture.H)
		}
		if i < len(wk.Options.Blend) && len(wk.Styles) > 1 {
			text = fmt.Sprintf("%s (%g)", text, wk.Options.Blend[i])
		}
		if s.Mask != nil {
			text += " in " + s.Mask.Path
		}
		all = append(all, text)
	}
	if n := len(all); n > 4 {
		all = append(all[:3], fmt.Sprintf("and %d more styles", n-3))
	}
	return strings.Join(all, ", ")
}

// styleExtents are those of a level, for a person.
func styleExtents(st transfer.Stage) string {
	var all []string
	for _, e := range st.Styles {
		text := fmt.Sprintf("%dx%d", e.W, e.H)
		if e.File {
			text += " (of a file)"
		}
		if !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, ", ")
}
