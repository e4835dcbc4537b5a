package batch

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/stylize-gpu/stylize/transfer"
)

// Item is one picture to paint.
type Item struct {
	Content     string // a file
	Styles      []Style
	ContentMask string // where the content holds on; empty is everywhere
	Options     *transfer.Options
	Output      string // the result's name; it may still have {key} in it
	Dir         string // of the content, below the folder or pattern that it was found in
	Line        int    // of the manifest; 0 without
	Found       bool   // the content is not named, but was found in a folder or by a pattern

	draft   transfer.Work // of what its files say of themselves: extents, and no pixels
	group   transfer.Kind
	flops   float64
	present bool // there is a result, of this key or another
	counted bool // in the FLOPs of the batch
	problem error
}

// Problem is something that cannot be painted, and why. The rest can.
type Problem struct {
	What string // the content, or the folder or pattern
	Err  error
	Item *Item // nil where there is none
}

// Inputs are what a list is made from.
type Inputs struct {
	Contents []string // files, folders, patterns
	Styles   []string
	Regions
	Pair     bool   // the first content with the first style, and so on; else each with each
	Manifest string // a JSONL file, "-" for standard input, instead of contents
	Output   string // template
	Prefix   string // of the names of arguments, in errors
	Options  *transfer.Options

	// Parse gives the options of a manifest's line: those above, changed by raw, which may
	// be empty. Names in it are relative to dir.
	Parse func(raw json.RawMessage, dir string) (*transfer.Options, error)
}

// List is what is to be painted.
type List struct {
	Items    []*Item
	Problems []Problem
	Notes    []string // what a user would like to hear of, as a pattern that matches nothing
}

// List makes the list. An error says that there is none: a mistake in the template, the
// manifest, or the number of styles.
func (in Inputs) List() (*List, error) {
	l := &List{}
	if err := checkTemplate(in.Output); err != nil {
		return nil, err
	}
	found, err := l.expand(in.Styles, "style")
	if err != nil {
		return nil, err
	}
	var styles []Style
	for _, f := range found {
		styles = append(styles, Style{Path: f.path})
	}
	if in.Manifest != "" {
		return l, l.manifest(in, styles)
	}
	contents, err := l.expand(in.Contents, "content")
	switch {
	case err != nil:
		return nil, err
	case len(styles) == 0:
		return l, nil
	case in.Pair && len(styles) != len(contents):
		return nil, fmt.Errorf("%d contents and %d styles do not make pairs; give as many of one as of the other", len(contents), len(styles))
	}
	sets, err := in.Sets(styles, false, func(name string) string { return in.Prefix + name })
	if err != nil {
		return nil, err
	}
	options := in.apply(in.Options)
	for i, c := range contents {
		with := sets
		if in.Pair {
			with = sets[i : i+1]
		}
		for _, set := range with {
			it := &Item{Content: c.path, Styles: set, ContentMask: in.ContentMask, Options: options, Dir: c.dir, Found: c.found}
			it.Output = fill(in.Output, it)
			l.Items = append(l.Items, it)
		}
	}
	return l, nil
}

// file is one that an argument stands for.
type file struct {
	path, dir string
	found     bool
}

// expand makes files of arguments. A pattern without a match is noted, a folder that
// cannot be read is a problem: neither stops the rest.
func (l *List) expand(args []string, what string) ([]file, error) {
	var all []file
	for _, arg := range args {
		st, err := os.Stat(arg)
		switch {
		case arg == "":
			return nil, fmt.Errorf("a %s without a name; give a file, a folder or a pattern", what)
		case err == nil && !st.IsDir():
			all = append(all, file{path: arg, dir: "."})
			continue
		case err != nil && !isPattern(arg): // named, and not there: its item says so
			all = append(all, file{path: arg, dir: "."})
			continue
		}
		pattern := arg
		if err == nil {
			pattern = filepath.Join(escape(arg), "*")
		}
		extensions := pictures
		if what == "style" {
			extensions = append(slices.Clone(pictures), ".style")
		}
		found, errs, bad := glob(pattern, extensions)
		if bad != nil {
			return nil, fmt.Errorf("%s: is no pattern (%w); quote [ as [[]", arg, bad)
		}
		for _, e := range errs {
			l.Problems = append(l.Problems, Problem{What: e.path, Err: e.err})
		}
		if len(found) == 0 && len(errs) == 0 {
			why := "matches no file"
			if err == nil {
				why = "has no pictures in it; 'FOLDER/**' looks below it too"
			}
			l.Notes = append(l.Notes, fmt.Sprintf("%s %s", arg, why))
		}
		all = append(all, found...)
	}
	return all, nil
}

// pictures are the extensions that count where a pattern leaves it open.
var pictures = []string{".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic", ".heif"}
