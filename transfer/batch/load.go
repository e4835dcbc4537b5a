package batch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/openfile"
)

// Verdict is what an item needs.
type Verdict string

// Verdicts.
const (
	ToPaint      Verdict = "paint"
	ToRepaint    Verdict = "repaint" // there is a result of another key
	IsDone       Verdict = "done"
	FailedBefore Verdict = "failed before"
)

// Errors that a caller may want to say more about.
var (
	ErrForeign = errors.New("is there, and is no result of a batch")
	ErrProfile = errors.New("its colour profile leads one way only, so that no result can be written in it")
)

// look is what is known of an item once its files are read, and nothing decoded.
type look struct {
	key     Key
	output  string
	verdict Verdict
	content []byte
	err     error
	what    string // why it failed before
	missing bool   // err is that of a file that cannot be read: perhaps it can next time
}

// look reads an item's content, finds its key, and compares it with the result that is
// there. The files of styles are read once.
func (b *Batch) look(it *Item) (l look) {
	l.verdict = ToPaint
	h := hashes{weights: b.Weights.SHA256}
	if l.content, l.err = picture.ReadFile(it.Content); l.err == nil {
		sum := sha256.Sum256(l.content)
		h.content = hex.EncodeToString(sum[:])
		l.err = b.sources.hashes(it, &h)
	}
	if l.err == nil && it.Options.InitPicture() {
		h.init, l.err = b.sources.hash(it.Options.Init)
	}
	if l.err != nil {
		l.missing = true
		return l
	}
	var format picture.Format
	if format, l.err = picture.FormatOf(it.Output); l.err != nil {
		return l
	}
	l.key = keyOf(*it.Options, h, format, b.Output, b.Numerics, it.snap(b.Snap))
	l.output = withKey(it.Output, l.key)
	st, err := os.Stat(l.output)
	if err == nil && st.Mode().IsRegular() && !b.Overwrite {
		has, err := picture.ReadKey(l.output)
		switch {
		case err != nil:
			l.err = err
		case has == string(l.key):
			l.verdict = IsDone
			return l
		case has == "":
			l.err = fmt.Errorf("%s: %w; move it", l.output, ErrForeign)
			l.missing = true
		default:
			l.verdict = ToRepaint
		}
	}
	if why, failed := b.Report.FailedBefore(l.key); failed && l.err == nil && !b.RetryFailed && !b.Overwrite {
		l.verdict, l.what = FailedBefore, why
	}
	return l
}

// limits are what a picture may take now.
func (b *Batch) limits() picture.Limits {
	if b.Limits == nil {
		return picture.Limits{}
	}
	return b.Limits()
}

// load decodes what an item needs, and resizes it to all extents at which it is painted.
func (b *Batch) load(it *Item, l look) (*Task, error) {
	o := *it.Options
	content, err := picture.DecodeNamed(context.Background(), l.content, it.Content, b.limits())
	if err != nil {
		return nil, err
	}
	styles, err := b.sources.styles(it, b.limits())
	if err != nil {
		return nil, err
	}
	t := &Task{Item: it, Key: l.key, FLOPs: it.flops, output: l.output}
	t.save = picture.SaveOptions{Bits: o.Bits, Quality: b.Output.Quality, Subsampling: b.Output.Subsampling, Bare: b.Output.Bare, Key: string(l.key)}
	if p := content.Profile(); b.Output.KeepProfile && p != nil {
		if !p.Reversible() {
			return nil, fmt.Errorf("%s: %w", it.Content, ErrProfile)
		}
		t.save.Profile = p
	}
	content, t.crop = snap(content, o.Size, it.snap(b.Snap))
	content.Keep()
	t.Work = transfer.Work{Options: o, Content: content, Styles: styles, Weights: b.Weights}
	if t.Work.ContentMask, err = b.sources.mask(it.ContentMask, b.limits()); err != nil {
		return nil, err
	}
	if o.InitPicture() {
		if t.Work.Init, err = b.sources.open(o.Init, b.limits(), false); err != nil {
			return nil, err
		}
	}
	if o.Budget != "" { // it chooses the levels when it begins
		t.Group = it.group
		return t, nil
	}
	stages := t.Work.Stages()
	for _, st := range stages {
		st.Options.Load(content, st.W, st.H)
		for i, s := range styles {
			if s.Picture != nil {
				st.Options.Load(s.Picture, st.Styles[i].W, st.Styles[i].H)
			}
		}
	}
	end := stages[len(stages)-1]
	t.Group = end.Kind()
	return t, nil
}

// sources are the pictures that many items share: styles, masks and initial ones. Their
// hashes are kept, and the pictures that were used last.
type sources struct {
	mu     sync.Mutex
	known  map[string]*hashed
	recent []*shared // the last used one last
	most   int       // files of one item
}

// keepSources is how many decoded pictures are kept at least: else as many as two items have.
const keepSources = 8

type hashed struct {
	once sync.Once
	sum  string
	err  error
}

type shared struct {
	path  string
	style bool
	once  sync.Once
	src   *picture.Source
	err   error
}

// hash is the SHA-256 of a file.
func (s *sources) hash(path string) (string, error) {
	s.mu.Lock()
	h := s.known[path]
	if h == nil {
		if s.known == nil {
			s.known = map[string]*hashed{}
		}
		h = &hashed{}
		s.known[path] = h
	}
	s.mu.Unlock()
	h.once.Do(func() { h.sum, h.err = openfile.SHA256(path) })
	return h.sum, h.err
}

// hashes finds those of the item's styles and masks.
func (s *sources) hashes(it *Item, h *hashes) error {
	of := func(path string) (sum string, err error) {
		if path != "" {
			sum, err = s.hash(path)
		}
		return sum, err
	}
	var err error
	for _, style := range it.Styles {
		var sums styleHashes
		for _, f := range []struct {
			path string
			to   *string
		}{{style.Path, &sums.Style}, {style.Mask, &sums.Mask}, {style.Look, &sums.Look}} {
			if *f.to, err = of(f.path); err != nil {
				return err
			}
		}
		h.styles = append(h.styles, sums)
	}
	h.contentMask, err = of(it.ContentMask)
	return err
}

// styles are those of an item, with their masks.
func (s *sources) styles(it *Item, limits picture.Limits) (all []transfer.Style, err error) {
	s.mu.Lock()
	s.most = max(s.most, 3*len(it.Styles))
	s.mu.Unlock()
	for i, from := range it.Styles {
		var style transfer.Style
		if file := it.draft.Styles[i].File; file != nil {
			if sum, err := s.hash(from.Path); err != nil || sum != file.SHA256 {
				return nil, fmt.Errorf("%s: has changed since the batch began", from.Path)
			}
			style.File, style.Path = file, from.Path
		} else if style.Picture, err = s.open(from.Path, limits, true); err != nil {
			return nil, err
		}
		if style.Mask, err = s.mask(from.Mask, limits); err != nil {
			return nil, err
		}
		if style.Look, err = s.mask(from.Look, limits); err != nil {
			return nil, err
		}
		all = append(all, style)
	}
	return all, nil
}

// mask decodes one; nil where there is none.
func (s *sources) mask(path string, limits picture.Limits) (*picture.Source, error) {
	if path == "" {
		return nil, nil
	}
	return s.open(path, limits, false)
}

// open decodes a file, or gives what is kept of it. A style is filled where it is
// transparent, and remembers its few extents.
func (s *sources) open(path string, limits picture.Limits, style bool) (*picture.Source, error) {
	s.mu.Lock()
	i := slices.IndexFunc(s.recent, func(e *shared) bool { return e.path == path && e.style == style })
	var e *shared
	if i >= 0 {
		e = s.recent[i]
		s.recent = slices.Delete(s.recent, i, i+1)
	} else {
		e = &shared{path: path, style: style}
		if len(s.recent) >= max(keepSources, 2*s.most) {
			s.recent = slices.Delete(s.recent, 0, 1)
		}
	}
	s.recent = append(s.recent, e)
	s.mu.Unlock()
	e.once.Do(func() {
		src, err := picture.OpenContext(context.Background(), path, limits)
		if err != nil {
			e.err = err
			return
		}
		if sum, err := s.hash(path); err != nil || sum != src.SHA256 {
			e.err = fmt.Errorf("%s: has changed since the batch began", path)
			return
		}
		if style {
			if err := src.FillTransparent(); err != nil {
				e.err = fmt.Errorf("%s: %w", path, err)
				return
			}
			src.Keep()
		}
		e.src = src
	})
	return e.src, e.err
}
