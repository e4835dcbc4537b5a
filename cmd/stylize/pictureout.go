package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/given"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// fileFlags decide how a picture stands in its file.
type fileFlags struct {
	format      *string
	subsampling *string
	keepProfile bool
	noMetadata  bool
}

func (f *fileFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "format", Action: given.To(&f.format), Category: catOutput, DefaultText: "as the name says; png for -o -", Usage: "`png|jpg|webp|tif|avif` of the result"},
		&cli.StringFlag{Name: "subsampling", Action: given.To(&f.subsampling), Category: catOutput, DefaultText: "444 from quality 90 on, else 420", Usage: "`444|422|420` how much colour a JPEG or an AVIF keeps: all, half or a quarter"},
		&cli.BoolFlag{Name: "keep-profile", Destination: &f.keepProfile, Category: catOutput, Usage: "write the result in the content's colour profile instead of sRGB"},
		&cli.BoolFlag{Name: "no-metadata", Destination: &f.noMetadata, Category: catOutput, Usage: "do not store in a PNG how it was made; rerun then cannot repeat it"},
	}
}

// formatOf is the format of the result: what its name says, or else the flag.
func (f *fileFlags) formatOf(path string) (picture.Format, error) {
	if f.format == nil {
		if path == standard {
			return picture.PNG, nil
		}
		return picture.FormatOf(path)
	}
	format, err := picture.ParseFormat(*f.format)
	if err != nil {
		return format, fmt.Errorf("--format %s: %w", *f.format, err)
	}
	if byName, err := picture.FormatOf(path); err == nil && byName != format {
		return format, fmt.Errorf("--format %s: %s has the name of another; leave the flag out, or choose another name", *f.format, path)
	}
	return format, nil
}

// check verifies the flags about the file that is written.
func (f *fileFlags) check(format picture.Format, quality bool, save *picture.SaveOptions) error {
	save.Bare = f.noMetadata
	save.Subsampling = given.Or(f.subsampling, "")
	switch {
	case f.subsampling != nil && !format.Lossy():
		return errors.New("--subsampling is of a JPEG or an AVIF; write a .jpg, or leave the flag out")
	case quality && !format.Lossy():
		return fmt.Errorf("--quality has no effect on %s, which loses nothing; write a .jpg, or leave the flag out", aFormat(format))
	case save.Bits == 16 && !format.Deep():
		return fmt.Errorf("--bits 16: %s has 8 bits; write a .png or a .tif, or leave the flag out", aFormat(format))
	case f.subsampling != nil && !slices.Contains(picture.Subsamplings, *f.subsampling):
		return fmt.Errorf("--subsampling %s: give 444, 422 or 420", *f.subsampling)
	case f.noMetadata && format != picture.PNG:
		return errors.New("--no-metadata is of a PNG alone, other files have none; leave the flag out")
	}
	return nil
}

// aFormat is a format with its article.
func aFormat(f picture.Format) string {
	if f == picture.AVIF {
		return "an AVIF"
	}
	return "a " + f.String()
}

// keepProfile has the result written in the content's colours.
func (wk *work) keepProfile() error {
	p := wk.Content.Profile()
	if !wk.output.file.keepProfile || p == nil { // a content of sRGB is in its profile already
		return nil
	}
	if !p.Reversible() {
		return fmt.Errorf("--keep-profile: the profile of %s leads one way only (it is made of tables, or of grey or CMYK); leave the flag out for sRGB", wk.Content.Path)
	}
	wk.save.Profile = p
	return nil
}
