package transfer

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// Record says how a picture was made: enough to make it again. It is stored in
// the PNG.
type Record struct {
	Program string  `json:"program"` // "stylize"
	Version string  `json:"version"`
	Options Options `json:"options"`
	Content Input   `json:"content"`
	Style   Input   `json:"style"` // the first
	Init    *Input  `json:"init_picture,omitempty"`

	MoreStyles  []Input `json:"more_styles,omitempty"`
	ContentMask *Input  `json:"content_mask,omitempty"`

	Weights struct {
		Source string `json:"source"`
		SHA256 string `json:"sha256"`
	} `json:"weights"`
	Device gpu.Info `json:"device"`
	Result Result   `json:"result"`
}

// Input names a file, as the user did, and its content.
type Input struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Crop   *Crop  `json:"crop,omitempty"` // what of it was painted; nil is all
	Mask   *Input `json:"mask,omitempty"` // of a style: where it paints
	Look   *Input `json:"look,omitempty"` // of a style: what of it counts
}

// Inputs are all files that a picture was made from, weights aside, each with what a
// person calls it. They can be changed.
func (r *Record) Inputs() (all []NamedInput) {
	add := func(what string, in *Input) {
		if in != nil {
			all = append(all, NamedInput{what, in})
		}
	}
	add("content", &r.Content)
	add("content mask", r.ContentMask)
	for i := range 1 + len(r.MoreStyles) {
		what, in := "style", &r.Style
		if i > 0 {
			in = &r.MoreStyles[i-1]
		}
		if len(r.MoreStyles) > 0 {
			what = fmt.Sprintf("style %d", i+1)
		}
		add(what, in)
		add("mask of "+what, in.Mask)
		add("style mask of "+what, in.Look)
	}
	add("init", r.Init)
	return all
}

// record names what the work is made of.
func (w Work) record() Record {
	input := func(s *picture.Source) *Input {
		if s == nil {
			return nil
		}
		return &Input{Path: s.Path, SHA256: s.SHA256, Width: s.W, Height: s.H}
	}
	r := Record{Program: "stylize", Options: w.Options, Content: *input(w.Content), Init: input(w.Init), ContentMask: input(w.ContentMask)}
	for i, s := range w.Styles {
		in := Input{}
		if s.File != nil {
			in = Input{Path: s.Path, SHA256: s.File.SHA256}
		} else {
			in = *input(s.Picture)
		}
		in.Mask, in.Look = input(s.Mask), input(s.Look)
		if i == 0 {
			r.Style = in
		} else {
			r.MoreStyles = append(r.MoreStyles, in)
		}
	}
	return r
}

// Other finds an input that is not the one in a record of the same work: what it is,
// and its name; empty if there is none. Weights are not compared.
func (w Work) Other(r Record) (what, path string) {
	is, was := w.record(), r.Inputs()
	for i, in := range is.Inputs() {
		if i >= len(was) || in.Input.SHA256 != was[i].Input.SHA256 {
			return in.What, in.Input.Path
		}
	}
	return "", ""
}

// Rename gives the inputs the names that a record of the same work has.
func (w Work) Rename(r Record) {
	name := func(s *picture.Source, in *Input) {
		if s != nil && in != nil {
			s.Path = in.Path
		}
	}
	name(w.Content, &r.Content)
	name(w.ContentMask, r.ContentMask)
	name(w.Init, r.Init)
	for i, s := range w.Styles {
		in := &r.Style
		if i > 0 {
			in = &r.MoreStyles[i-1]
		}
		name(s.Picture, in)
		name(s.Mask, in.Mask)
		name(s.Look, in.Look)
		if s.File != nil {
			w.Styles[i].Path = in.Path
		}
	}
}

// NamedInput is an input, and what it is: "content", "style 2", "mask of style 2".
type NamedInput struct {
	What  string
	Input *Input
}

// Crop is a part of a picture, in its pixels, upright.
type Crop struct {
	Left   int `json:"left"`
	Top    int `json:"top"`
	Width  int `json:"width"`
	Height int `json:"height"`
}

// Of is that part of a picture. A part that the picture does not have is an error.
func (c *Crop) Of(s *picture.Source) (*picture.Source, error) {
	if c.Left < 0 || c.Top < 0 || c.Width < 1 || c.Height < 1 || c.Left > s.W-c.Width || c.Top > s.H-c.Height {
		return nil, fmt.Errorf("a crop of %dx%d at %d,%d does not lie in a picture of %dx%d", c.Width, c.Height, c.Left, c.Top, s.W, s.H)
	}
	return s.Crop(c.Left, c.Top, c.Width, c.Height), nil
}

// Result is how the run ended. Seconds are not part of what a picture stores:
// the same run writes the same file.
type Result struct {
	Width      int         `json:"width"`
	Height     int         `json:"height"`
	WorkWidth  int         `json:"work_width"`
	WorkHeight int         `json:"work_height"`
	Iterations int         `json:"iterations"`       // complete, of all levels
	Levels     []Level     `json:"levels,omitempty"` // those that were begun, with the iterations that are complete
	Content    float64     `json:"content_loss"`
	Style      float64     `json:"style_loss"`
	TV         float64     `json:"tv_loss"`
	Total      float64     `json:"total_loss"`
	Raw        *RawWeights `json:"raw_weights,omitempty"` // what Options.Strength was at the last level
	Stopped    string      `json:"stopped,omitempty"`     // "interrupted", "diverged", "device lost", "failed", "plateau" or "time"

	SetupSeconds float64 `json:"setup_seconds,omitempty"` // start to the first iteration
	RunSeconds   float64 `json:"run_seconds,omitempty"`
	PerSecond    float64 `json:"iterations_per_second,omitempty"`
	MedianMillis float64 `json:"median_iteration_ms,omitempty"` // on the device
	MemoryBytes  int64   `json:"memory_bytes,omitempty"`        // of the device, as planned
}

// Text is the form stored in a picture. It keeps the names of files, not their
// folders, and the kind of device, not the machine.
func (r Record) Text() (string, error) {
	r = r.public()
	r.Result.SetupSeconds, r.Result.RunSeconds, r.Result.PerSecond, r.Result.MedianMillis = 0, 0, 0, 0
	r.Device.Free = 0 // as it happened to be
	b, err := json.Marshal(r)
	return string(b), err
}

// ParseRecord reads what Text wrote. The options are checked like those of a user.
func ParseRecord(text string) (Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return r, fmt.Errorf("the record of how it was made is damaged (%w)", err)
	}
	if r.Program != "stylize" {
		return r, errors.New("the record of how it was made belongs to another program")
	}
	if err := r.Options.Validate(); err != nil {
		return r, fmt.Errorf("the record of how it was made is damaged (%w)", err)
	}
	return r, nil
}

// Repeat returns the options that make the picture again as it is: with the
// iterations that were done, whatever ended them.
func (r Record) Repeat() Options {
	o := r.Options
	o.Until, o.Budget = "", ""
	if o.LRSchedule == "cosine" && o.LRSpan == 0 {
		o.LRSpan = o.Evaluations()
	}
	switch levels := r.Result.Levels; {
	case len(levels) > 0:
		o.Ladder, o.Iterations = levels, 0
		if last := levels[len(levels)-1]; last.Size == o.Size {
			o.Ladder, o.Iterations = levels[:len(levels)-1], last.Iterations
		}
		if len(o.Ladder) == 0 {
			o.Ladder = nil
		}
	case r.Result.Stopped != "" && r.Result.Iterations > 0: // before there were ladders
		o.Iterations = r.Result.Iterations
	}
	return o
}
