package batch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/transfer"
)

// entry is a line of a manifest.
type entry struct {
	Content     string          `json:"content"`
	Style       names           `json:"style"`
	Blend       []float64       `json:"blend"`
	Mask        names           `json:"mask"`
	StyleMask   names           `json:"style_mask"`
	ContentMask string          `json:"content_mask"`
	Options     json.RawMessage `json:"options"`
	Output      string          `json:"output"`
}

// names are a string or a list of strings.
type names []string

func (n *names) UnmarshalJSON(text []byte) error {
	var one string
	if err := json.Unmarshal(text, &one); err == nil {
		if *n = nil; one != "" { // as a field that is left out
			*n = names{one}
		}
		return nil
	}
	var all []string
	if err := json.Unmarshal(text, &all); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return &json.UnmarshalTypeError{Value: wrong.Value, Type: reflect.TypeFor[names]()}
		}
		return err
	}
	*n = all
	return nil
}

// regions are the line's own, and where they say nothing those of all; its styles, and
// whether it names them itself. Files that it names are relative to dir.
func (e entry) regions(in Inputs, styles []Style, dir string) (sets [][]Style, r Regions, err error) {
	spelt := func(name string) string { return strings.ReplaceAll(name, "-", "_") }
	r = in.Regions
	if len(e.Style) > 0 { // what flags say of styles they say of others
		r.Blend, r.Masks, r.Looks = nil, nil, nil
		if in.Alpha() {
			r.Masks = []string{maskAlpha}
		}
		styles = nil
		for _, path := range e.Style {
			if path == "" {
				return nil, r, errors.New(`"style" has an empty name in it`)
			}
			styles = append(styles, Style{Path: path})
		}
	}
	own := Regions{Blend: e.Blend, Masks: e.Mask, Looks: e.StyleMask}
	if e.Blend != nil {
		if len(e.Blend) == 0 || slices.ContainsFunc(e.Blend, func(w float64) bool { return !(w > 0) || w > math.MaxFloat32 }) {
			return nil, r, fmt.Errorf("blend %v: give numbers above 0, as in [2, 1]", e.Blend)
		}
		r.Blend = e.Blend
	}
	if e.Mask != nil {
		r.Masks = e.Mask
	}
	if e.StyleMask != nil {
		r.Looks = e.StyleMask
	}
	if e.ContentMask != "" {
		r.ContentMask = inDir(dir, e.ContentMask)
	}
	if sets, err = r.Sets(styles, len(e.Style) > 0, spelt); err != nil {
		return nil, r, err
	}
	for _, set := range sets {
		for i := range set {
			s := &set[i]
			if len(e.Style) > 0 {
				s.Path = inDir(dir, s.Path)
			}
			if own.Masks != nil && s.Mask != "" {
				s.Mask = inDir(dir, s.Mask)
			}
			if own.Looks != nil && s.Look != "" {
				s.Look = inDir(dir, s.Look)
			}
		}
	}
	return sets, r, nil
}

// apply are the options with what the regions put into them.
func (r Regions) apply(o *transfer.Options) *transfer.Options {
	if r.Blend == nil && !r.Alpha() || o == nil {
		return o
	}
	with := *o
	with.Blend, with.MaskAlpha = r.Blend, r.Alpha()
	return &with
}

// maxLine bounds a line of a manifest or a report, in bytes.
const maxLine = 1 << 20

// manifest adds the items of a file. Names in it are relative to its folder. Every line
// that is wrong is in the error, ten of them at most.
func (l *List) manifest(in Inputs, styles []Style) error {
	r, dir := io.Reader(os.Stdin), ""
	if in.Manifest != "-" {
		f, err := os.Open(in.Manifest)
		if err != nil {
			return fmt.Errorf("%s: cannot be read: %w", in.Manifest, errors.Unwrap(err))
		}
		defer f.Close()
		r, dir = f, filepath.Dir(in.Manifest)
	}
	return l.read(r, dir, in, styles)
}

func (l *List) read(r io.Reader, dir string, in Inputs, styles []Style) error {
	parsed := map[string]*transfer.Options{} // many lines say the same
	var errs []error
	wrong := func(line int, err error) {
		errs = append(errs, fmt.Errorf("%s line %d: %w", in.Manifest, line, err))
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() && len(errs) < 10 {
		n++
		text := bytes.TrimSpace(lines.Bytes())
		if n == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		if len(text) == 0 {
			continue
		}
		e, err := parseEntry(text)
		if err != nil {
			wrong(n, err)
			continue
		}
		o := parsed[string(e.Options)]
		if o == nil {
			if o, err = in.Parse(e.Options, dir); err != nil {
				wrong(n, err)
				continue
			}
			parsed[string(e.Options)] = o
		}
		sets, regions, err := e.regions(in, styles, dir)
		if err != nil {
			wrong(n, err)
			continue
		}
		output := in.Output
		if e.Output != "" {
			output = inDir(dir, e.Output)
		}
		switch err := checkTemplate(output); {
		case err != nil:
			wrong(n, err)
			continue
		case len(sets) == 0:
			wrong(n, errors.New(`names no "style", and there is none for all`))
			continue
		case output == "":
			wrong(n, errors.New(`names no "output", and there is no name for all`))
			continue
		}
		below := "."
		if d := filepath.Dir(e.Content); filepath.IsLocal(d) {
			below = d
		}
		o = regions.apply(o)
		for _, set := range sets {
			it := &Item{Content: inDir(dir, e.Content), Styles: set, ContentMask: regions.ContentMask, Options: o, Dir: below, Line: n}
			it.Output = fill(output, it)
			l.Items = append(l.Items, it)
		}
	}
	if err := lines.Err(); err != nil {
		wrong(n+1, fmt.Errorf("cannot be read: %w", err))
	}
	return errors.Join(errs...)
}

// inDir is a name in a file of that folder.
func inDir(dir, path string) string {
	if dir == "" || dir == "." || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// parseEntry reads a line. A field that is unknown, or there twice, is a mistake.
func parseEntry(text []byte) (e entry, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		return e, explainJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return e, errors.New("has more than one object; give each its own line")
	}
	switch {
	case text[0] != '{':
		return e, errors.New(`is no object; write {"content": "a.jpg", ...}`)
	case e.Content == "":
		return e, errors.New(`names no "content"`)
	}
	return e, nil
}

// explainJSON says what is wrong in words that fit behind a line number.
func explainJSON(err error) error {
	var wrongType *json.UnmarshalTypeError
	text := err.Error()
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return fmt.Errorf("%q is a %s; it must be a %s", wrongType.Field, wrongType.Value, kindName(wrongType.Type.Kind().String()))
	case strings.Contains(text, "unknown field"):
		return fmt.Errorf("there is no field %s; use content, style, blend, mask, style_mask, content_mask, options and output", text[strings.LastIndex(text, " ")+1:])
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("is no JSON (it is cut off)")
	}
	return fmt.Errorf("is no JSON (%s)", strings.TrimPrefix(text, "json: "))
}

func kindName(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"), strings.HasPrefix(kind, "float"):
		return "number"
	case kind == "slice":
		return "string, or a list of them"
	}
	return kind
}
