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
		h.style, l.err = b.sources.hash(it.Style)
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
	l.key = keyOf(*it.Options, h, format, b.Output, b.Numerics, b.Snap)
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
	style, err := b.sources.style(it, b.limits())
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
	content, t.crop = snap(content, o.Size, b.Snap)
	content.Keep()
	t.Work = transfer.Work{Options: o, Content: content, Styles: []transfer.Style{style}, Weights: b.Weights}
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
		if style.Picture != nil {
			st.Options.Load(style.Picture, st.Styles[0].W, st.Styles[0].H)
		}
	}
	end := stages[len(stages)-1]
	t.Group = end.Kind()
	return t, nil
}

// sources are the pictures that many items share: styles and initial ones. Their hashes
// are kept, and the pictures that were used last.
type sources struct {
	mu     sync.Mutex
	hashes map[string]*hashed
	recent []*shared // the last used one last
}

// keepSources is how many decoded pictures are kept.
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
	h := s.hashes[path]
	if h == nil {
		if s.hashes == nil {
			s.hashes = map[string]*hashed{}
		}
		h = &hashed{}
		s.hashes[path] = h
	}
	s.mu.Unlock()
	h.once.Do(func() { h.sum, h.err = openfile.SHA256(path) })
	return h.sum, h.err
}

// style is the style of an item.
func (s *sources) style(it *Item, limits picture.Limits) (transfer.Style, error) {
	if it.styleFile == nil {
		src, err := s.open(it.Style, limits, true)
		return transfer.Style{Picture: src}, err
	}
	if sum, err := s.hash(it.Style); err != nil || sum != it.styleFile.SHA256 {
		return transfer.Style{}, fmt.Errorf("%s: has changed since the batch began", it.Style)
	}
	return transfer.Style{File: it.styleFile, Path: it.Style}, nil
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
		if len(s.recent) >= keepSources {
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
