package batch

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Style is a picture, or a style file, that an item takes its style from, or a part of it.
type Style struct {
	Path string
	Mask string // where it paints; empty is wherever no other style does
	Look string // what of the picture counts; empty is all of it
}

// Regions say which styles paint one picture together, and where. They stand on the command
// line or in a line of a manifest.
type Regions struct {
	Blend       []float64 // what each style counts for; nil where each content is painted in each style by itself
	Masks       []string  // STYLE=FILE, where that style paints; alpha: transparent pixels stay as they are
	Looks       []string  // STYLE=FILE, what of that style counts
	ContentMask string    // where the content holds on
}

// maskAlpha is what stands in Masks for the content's own transparency.
const maskAlpha = "alpha"

// Alpha reports whether transparent pixels stay as they are.
func (r Regions) Alpha() bool { return slices.Contains(r.Masks, maskAlpha) }

// Sets are the styles of one item each, with their masks: all of them, or each by itself.
// name spells what the user wrote, as a flag or as a field of a manifest.
func (r Regions) Sets(styles []Style, together bool, name func(string) string) ([][]Style, error) {
	styles = slices.Clone(styles)
	if r.Blend != nil {
		if len(r.Blend) != len(styles) {
			return nil, fmt.Errorf("%s: give one weight for each style; got %d for %d", name("blend"), len(r.Blend), len(styles))
		}
		together = true
	}
	for _, text := range r.Masks {
		if text == maskAlpha {
			continue
		}
		if len(styles) > 1 && !together {
			return nil, fmt.Errorf("%s %s: each content is painted in each of the styles by itself; add %s with a weight for each, and they paint one picture together", name("mask"), text, name("blend"))
		}
		if err := assign(styles, name("mask"), text, func(s *Style) *string { return &s.Mask }); err != nil {
			return nil, err
		}
	}
	for _, text := range r.Looks {
		if err := assign(styles, name("style-mask"), text, func(s *Style) *string { return &s.Look }); err != nil {
			return nil, err
		}
	}
	if together && len(styles) > 0 {
		return [][]Style{styles}, nil
	}
	var all [][]Style
	for i := range styles {
		all = append(all, styles[i:i+1:i+1])
	}
	return all, nil
}

// assign gives a style what STYLE=FILE says. A style is named by its path, its file's name
// with or without the extension, or its number; a single one need not be. Errors begin with
// flag.
func assign(styles []Style, flag, text string, field func(*Style) *string) error {
	found, file := -1, ""
	for at := range len(text) {
		if text[at] != '=' {
			continue
		}
		if i := find(styles, text[:at]); i >= 0 {
			found, file = i, text[at+1:]
			break
		}
	}
	name, rest, named := strings.Cut(text, "=")
	switch {
	case found >= 0:
	case len(styles) == 0:
		return fmt.Errorf("%s %s: there is no style", flag, text)
	case !named && len(styles) == 1:
		found, file = 0, text
	case !named:
		return fmt.Errorf("%s %s: say of which style, as in %s %s=%s", flag, text, flag, filepath.Base(styles[0].Path), text)
	default:
		return fmt.Errorf("%s %s=%s: %s is none of the styles, which are %s", flag, name, rest, name, paths(styles))
	}
	if file == "" {
		return fmt.Errorf("%s %s: names no file; give STYLE=MASK", flag, text)
	}
	to := field(&styles[found])
	if *to != "" {
		return fmt.Errorf("%s %s: %s has one already, %s", flag, text, styles[found].Path, *to)
	}
	*to = file
	return nil
}

// find is the style that a name means, -1 for none or several.
func find(styles []Style, name string) int {
	for _, called := range []func(i int) string{
		func(i int) string { return styles[i].Path },
		func(i int) string { return filepath.Base(styles[i].Path) },
		func(i int) string { return stem(styles[i].Path) },
		func(i int) string { return strconv.Itoa(i + 1) },
	} {
		found, count := -1, 0
		for i := range styles {
			if called(i) == name {
				found, count = i, count+1
			}
		}
		if count == 1 {
			return found
		}
	}
	return -1
}

// paths are the names of styles, for a person.
func paths(styles []Style) string {
	var all []string
	for _, s := range styles {
		all = append(all, s.Path)
	}
	return strings.Join(all, ", ")
}

// StyleNames are the names of the item's styles, for a person.
func (it *Item) StyleNames() string { return paths(it.Styles) }

// maxStems bounds how many styles stand in a name.
const maxStems = 4

// styleStem is what {style} stands for.
func (it *Item) styleStem() string {
	var all []string
	for _, s := range it.Styles {
		all = append(all, stem(s.Path))
	}
	if n := len(all); n > maxStems {
		all = append(all[:maxStems-1], fmt.Sprintf("%d-more", n-maxStems+1))
	}
	return strings.Join(all, "+")
}

// plain reports whether the item has one style, which paints everywhere, as all items had
// in the first lists.
func (it *Item) plain() bool {
	return len(it.Styles) == 1 && it.Styles[0] == Style{Path: it.Styles[0].Path} && it.ContentMask == ""
}

// masked reports whether it has masks, which are of the shape of the whole content.
func (it *Item) masked() bool {
	return it.ContentMask != "" || slices.ContainsFunc(it.Styles, func(s Style) bool { return s.Mask != "" })
}

// Each calls do for the style's files. what says what the first is.
func (s Style) Each(what string, do func(what, path string)) {
	do(what, s.Path)
	for _, m := range []string{s.Mask, s.Look} {
		if m != "" {
			do("a mask", m)
		}
	}
}

// inputs are its files, but for the content and the initial picture, each with what it is.
func (it *Item) inputs(do func(what, path string)) {
	for _, s := range it.Styles {
		s.Each("a style", do)
	}
	if it.ContentMask != "" {
		do("a mask", it.ContentMask)
	}
}
