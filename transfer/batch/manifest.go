package batch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/stylize-gpu/stylize/transfer"
)

// entry is a line of a manifest.
type entry struct {
	Content string          `json:"content"`
	Style   string          `json:"style"`
	Options json.RawMessage `json:"options"`
	Output  string          `json:"output"`
}

// maxLine bounds a line of a manifest or a report, in bytes.
const maxLine = 1 << 20

// manifest adds the items of a file. Names in it are relative to its folder. Every line
// that is wrong is in the error, ten of them at most.
func (l *List) manifest(in Inputs, styles []file) error {
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

func (l *List) read(r io.Reader, dir string, in Inputs, styles []file) error {
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
		with := styles
		if e.Style != "" {
			with = []file{{path: inDir(dir, e.Style)}}
		}
		output := in.Output
		if e.Output != "" {
			output = inDir(dir, e.Output)
		}
		switch err := checkTemplate(output); {
		case err != nil:
			wrong(n, err)
			continue
		case len(with) == 0:
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
		for _, s := range with {
			it := &Item{Content: inDir(dir, e.Content), Style: s.path, Options: o, Dir: below, Line: n}
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
		return fmt.Errorf("there is no field %s; use content, style, options and output", text[strings.LastIndex(text, " ")+1:])
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("is no JSON (it is cut off)")
	}
	return fmt.Errorf("is no JSON (%s)", strings.TrimPrefix(text, "json: "))
}

func kindName(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"), strings.HasPrefix(kind, "float"):
		return "number"
	}
	return kind
}
