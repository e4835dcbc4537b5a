package transfer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/transfer/stylefile"
	"github.com/stylize-gpu/stylize/vgg"
)

// Style is what a painting takes a style from.
type Style struct {
	Picture *picture.Source // nil with File
	File    *stylefile.File
	Path    string          // of File
	Mask    *picture.Source // where it paints: white; nil is wherever no other style does
	Look    *picture.Source // what of the picture counts: white; nil is all that is visible
}

// Name is that of the file, as the user gave it.
func (s Style) Name() string {
	if s.File != nil {
		return s.Path
	}
	return s.Picture.Path
}

// OneStyle is a painting's only style, which paints everywhere.
func OneStyle(s *picture.Source) []Style { return []Style{{Picture: s}} }

// Check verifies that the options suit the pictures, and that masks cover what they should,
// at the size of the last level. The work need not have its weights yet.
func (w Work) Check() error {
	o := w.Options
	bad := func(field string, v any, format string, args ...any) error {
		return &OptionError{field, v, fmt.Sprintf(format, args...)}
	}
	switch {
	case len(o.Blend) > 0 && len(o.Blend) != len(w.Styles):
		return bad("Blend", textOf(o.Blend), "give a weight for each of the %d styles", len(w.Styles))
	case o.TVOfStyle && (len(w.Styles) > 1 || w.Styles[0].File != nil):
		return bad("Preset", o.Preset, "the article has one style, a picture; take another preset")
	case o.Init == "style" && w.Styles[0].Picture == nil:
		return bad("Init", o.Init, "a style file has no picture to start from; give content, noise or a picture")
	}
	if err := w.CheckStyles(); err != nil {
		return err
	}
	seen := map[string]string{}
	for _, s := range w.Styles {
		key := s.hash() + s.maskKey()
		if other, ok := seen[key]; ok && s.hash() != "" {
			return fmt.Errorf("%s: is the same style as %s; name it once, and let it count for more by its weight in the blend", s.Name(), other)
		}
		seen[key] = s.Name()
		if s.Mask != nil {
			if err := s.Mask.SameAspect(w.Content.W, w.Content.H); err != nil {
				return fmt.Errorf("%s: %w", s.Mask.Path, err)
			}
		}
		if s.Look != nil {
			if s.Picture == nil {
				return fmt.Errorf("%s: a style file has no picture for a mask to choose from; leave the mask out", s.Name())
			}
			if err := s.Look.SameAspect(s.Picture.W, s.Picture.H); err != nil {
				return fmt.Errorf("%s: %w", s.Look.Path, err)
			}
		}
	}
	if m := w.ContentMask; m != nil {
		if err := m.SameAspect(w.Content.W, w.Content.H); err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		if o.ContentWeight == 0 {
			return fmt.Errorf("%s: has no effect where the content has no weight; leave the mask out", m.Path)
		}
	}
	if o.Feather > 0 && w.ContentMask == nil && !slices.ContainsFunc(w.Styles, func(s Style) bool { return s.Mask != nil }) {
		return bad("Feather", o.Feather, "there is no mask whose edges it could soften; leave it out")
	}
	if o.MaskAlpha && !w.Content.HasAlpha {
		return fmt.Errorf("%s: has no transparent pixels that a mask could be made of; leave the mask out", w.Content.Path)
	}
	stages := w.Stages()
	last := stages[len(stages)-1]
	for i, s := range w.Styles {
		if s.Look == nil {
			continue
		}
		if _, err := s.Look.Mask(last.Styles[i].W, last.Styles[i].H); err != nil {
			return fmt.Errorf("%s: %w", s.Look.Path, err)
		}
	}
	_, _, err := w.planes(last)
	return err
}

// SmallerStyles is the largest size, of some, at which styles can be looked at so that the last
// level fits; see [Options.StylesAt]. It is 0 where none is larger than the picture: less
// would not help much.
func (w Work) SmallerStyles(fits func(Stage) (bool, error)) (size int, err error) {
	last := func() Stage {
		all := w.Stages()
		return all[len(all)-1]
	}
	st := last()
	for _, e := range st.Styles {
		if !e.File {
			size = max(size, e.W, e.H)
		}
	}
	for size = size * 3 / 4; size > max(st.W, st.H); size = size * 3 / 4 {
		w.Options = w.Options.StylesAt(size)
		if ok, err := fits(last()); ok || err != nil {
			return size, err
		}
	}
	return 0, nil
}

// StylesAt are the options with styles looked at with so many pixels along their longest side.
func (o Options) StylesAt(size int) Options {
	o.StyleSize, o.StyleScale = strconv.Itoa(size), 0
	return o
}

// CheckStyles verifies that style files were made as they are used: with the same pooling,
// and with the work's weights, if it has them.
func (w Work) CheckStyles() error {
	for _, s := range w.Styles {
		if s.File == nil {
			continue
		}
		if err := s.suits(w.Options, w.Weights); err != nil {
			return err
		}
	}
	return nil
}

func textOf(v []float64) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]")
}

// hash is that of the file.
func (s Style) hash() string {
	if s.File != nil {
		return s.File.SHA256
	}
	return s.Picture.SHA256
}

// suits verifies that a style file was made as it is used.
func (s Style) suits(o Options, w *vgg.Weights) error {
	pooling := "avg"
	if o.pooling() == vgg.MaxPool {
		pooling = "max"
	}
	switch f := s.File; {
	case w != nil && f.Weights != w.SHA256:
		return fmt.Errorf("%s: was made with other weights of the network (%.8s, here they are %.8s); make it again with stylize style make", s.Path, f.Weights, w.SHA256)
	case f.Pooling != pooling:
		return fmt.Errorf("%s: was made with pooling %s, and the picture is painted with %s; make it again, or choose the same", s.Path, f.Pooling, pooling)
	}
	return nil
}

// targets are those of style i at a stage.
func (w Work) targets(ctx context.Context, dev gpu.Device, st Stage, i int, content *picture.Picture) (*StyleTargets, error) {
	s, o, e := w.Styles[i], st.Options, st.Styles[i]
	if s.File != nil {
		size := st.size(s.File)
		t := &StyleTargets{Grams: make([][]float32, len(o.styleTaps()))}
		if o.StyleWeight > 0 {
			for j, at := range o.styleTaps() {
				t.Grams[j] = size.Grams[at.name()]
			}
		}
		return t, nil
	}
	p := o.Load(s.Picture, e.W, e.H)
	if s.Look != nil {
		m, err := s.Look.Mask(e.W, e.H)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Look.Path, err)
		}
		alpha := slices.Clone(m.V)
		for j := range p.Alpha {
			alpha[j] *= p.Alpha[j]
		}
		p = &picture.Picture{W: p.W, H: p.H, RGB: p.RGB, Alpha: alpha}
	}
	if o.Colors == "match" {
		p = p.MatchColors(content)
	}
	return NewStyleTargets(ctx, dev, o, w.Weights, p)
}

// covering is the middle of a picture that has the aspect of w x h.
func covering(s *picture.Source, w, h int) *picture.Source {
	cw, ch := s.W, s.H
	if s.W*h > s.H*w {
		cw = max((s.H*w+h/2)/h, 1)
	} else {
		ch = max((s.W*h+w/2)/w, 1)
	}
	return s.Crop((s.W-cw)/2, (s.H-ch)/2, cw, ch)
}

// region is a part of a picture, and the styles that paint it together.
type region struct {
	styles []int           // indices into Work.Styles
	mask   *picture.Source // nil: everywhere, or where no other region is
}

// regionsOf sorts styles by their masks: those with the same one are blended, and those
// without paint what is left, or everything.
func regionsOf(styles []Style) (all []region) {
	at := map[string]int{}
	for i, s := range styles {
		key := s.maskKey()
		if _, ok := at[key]; !ok {
			at[key] = len(all)
			all = append(all, region{mask: s.Mask})
		}
		r := &all[at[key]]
		r.styles = append(r.styles, i)
	}
	return all
}

// maskKey tells masks apart; it is empty for none.
func (s Style) maskKey() string {
	switch {
	case s.Mask == nil:
		return ""
	case s.Mask.SHA256 == "":
		return fmt.Sprintf("%p", s.Mask)
	}
	return s.Mask.SHA256
}

// layout is what these pictures make of a program.
func (w Work) layout() layout {
	l := layout{held: w.ContentMask != nil}
	regions := regionsOf(w.Styles)
	rest := false
	for _, r := range regions {
		if r.mask != nil {
			l.masked = true
		} else {
			rest = true
		}
	}
	l.regions = len(regions)
	if w.Options.MaskAlpha && w.Content.HasAlpha {
		l.masked, l.unpainted = true, true
	}
	l.unpainted = l.unpainted || l.masked && !rest
	return l
}

// blend is what the style counts for against those that paint the same region.
func (o Options) blend(style int) float64 {
	if style < len(o.Blend) {
		return o.Blend[style]
	}
	return 1
}

// blended is the mean of targets, weighted.
func blended(targets []*StyleTargets, weights []float64) *StyleTargets {
	if len(targets) == 1 {
		return targets[0]
	}
	all := &StyleTargets{}
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	for l := range targets[0].Grams {
		mean := make([]float64, len(targets[0].Grams[l]))
		for i, t := range targets {
			for j, v := range t.Grams[l] {
				mean[j] += weights[i] / sum * float64(v)
			}
		}
		g := make([]float32, len(mean))
		for j, v := range mean {
			g[j] = float32(v)
		}
		all.Grams = append(all.Grams, g)
	}
	return all
}

// masks are those of a level.
type masks struct {
	inputs map[string][]float32 // of the loop, by name
	areas  []float64            // the share of the picture that each region is
	held   map[string][]float32 // those of the content among inputs
	hold   float64              // the share in which the content holds on
}

// leastCover is the largest value of a mask that covers nothing.
const leastCover = 1.0 / 512

// ErrNoRegion says that masks leave nothing for a style.
var ErrNoRegion = errors.New("the other masks leave nothing of the picture for it")

// masks are those of the work at a stage. A region's are, at each layer, with m the
// mask's values there, H x W of them:
//
//	mask = sqrt(m H W / sum(m))
//
// so that the Gram matrix of the masked features is the mean over the region alone, and
// the region's terms count by its share of the picture. The content's is sqrt(m). Beyond
// the border all are 0: what continues the picture is seen by the network, and counts for
// nothing. It would weigh the rim twice, and corners four times.
func (w Work) masks(s Stage) (masks, error) {
	hold, planes, err := w.planes(s)
	if err != nil {
		return masks{}, err
	}
	return s.Options.masks(s.W, s.H, hold, planes), nil
}

// planes are how much the content holds on in each pixel at a stage's extent, and how much
// of it belongs to each region; nil is all of it.
func (w Work) planes(s Stage) (hold []float64, regions [][]float64, err error) {
	if w.ContentMask != nil {
		m, err := w.ContentMask.Mask(s.W, s.H)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", w.ContentMask.Path, err)
		}
		hold = feathered(s.Options, s, m)
	}
	if s.Options.layout.masked {
		regions, err = w.cover(s)
	}
	return hold, regions, err
}

// masks are those of a content mask and of regions, nil for everything.
func (o Options) masks(w, h int, hold []float64, planes [][]float64) masks {
	if !o.masked() && !o.held() {
		return masks{areas: []float64{1}, hold: 1}
	}
	out := masks{inputs: map[string][]float32{}, held: map[string][]float32{}, hold: 1}
	all := slices.Repeat([]float64{1}, w*h)
	if hold != nil {
		out.hold = mean(hold)
	} else {
		hold = all
	}
	if o.held() {
		out.held = o.pyramid(hold, w, h, o.contentTaps(), ContentMask, false)
		maps.Copy(out.inputs, out.held)
	}
	if planes == nil {
		planes = [][]float64{all}
	}
	paint := make([]float32, w*h)
	for r, plane := range planes {
		for i, v := range plane {
			if v > leastCover {
				paint[i] = 1
			}
		}
		out.areas = append(out.areas, mean(plane))
		if o.masked() {
			maps.Copy(out.inputs, o.pyramid(plane, w, h, o.styleTaps(), func(layer int) string { return RegionMask(layer, r) }, true))
		}
	}
	if o.layout.unpainted {
		out.inputs[BufPaint] = paint
	}
	return out
}

// cover is how much of each pixel belongs to each region, at a stage's extent.
func (w Work) cover(s Stage) ([][]float64, error) {
	o := s.Options
	left := make([]float64, s.W*s.H) // for the region without a mask
	for i := range left {
		left[i] = 1
	}
	var visible []float64
	if o.MaskAlpha && w.Content.HasAlpha {
		m, err := w.Content.Alpha(s.W, s.H)
		if err != nil {
			return nil, err
		}
		visible = wide(m.V)
	}
	regions := regionsOf(w.Styles)
	planes := make([][]float64, len(regions))
	for r, reg := range regions {
		if reg.mask == nil {
			continue
		}
		m, err := reg.mask.Mask(s.W, s.H)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", reg.mask.Path, err)
		}
		planes[r] = feathered(o, s, m)
		for i, v := range planes[r] {
			left[i] -= v
		}
	}
	for i, v := range left {
		if v < -2.0/255 {
			return nil, fmt.Errorf("the masks overlap: at %d,%d of %dx%d they add up to %.2f; make them share what is white, or draw one black where the other is white", i%s.W, i/s.W, s.W, s.H, 1-v)
		}
	}
	for r, reg := range regions {
		if reg.mask == nil {
			most := 0.0
			for i, v := range left {
				left[i] = max(v, 0)
				most = max(most, left[i])
			}
			if most <= leastCover {
				return nil, fmt.Errorf("%s: %w", w.Styles[reg.styles[0]].Name(), ErrNoRegion)
			}
			planes[r] = left
		}
		for i := range visible {
			planes[r][i] *= visible[i]
		}
	}
	return planes, nil
}

// feathered is a mask with its edges softened, by Options.Feather pixels of the picture
// at its full size.
func feathered(o Options, s Stage, m *picture.Mask) []float64 {
	if o.Feather > 0 {
		m = m.Feather(o.Feather * s.scale)
	}
	return wide(m.V)
}

func wide(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = min(max(float64(x), 0), 1)
	}
	return out
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// pyramid is a plane as the network's layers see it: 0 beyond the border where the picture
// is continued, and halved by every pooling. Its values become sqrt(m f): with whole f is
// H W / sum(m), else H W over the sum that a plane of ones has, so that a mean over all
// pixels is one over those of the picture.
func (o Options) pyramid(m []float64, w, h int, at []tap, name func(layer int) string, whole bool) map[string][]float32 {
	picture := slices.Repeat([]float64{1}, len(m))
	if o.padded() {
		p := o.padding(h, w).Pixels
		m, picture = beyond(m, w, h, p), beyond(picture, w, h, p)
		w, h = w+2*p, h+2*p
	}
	half := func(m []float64) []float64 {
		out := make([]float64, 0, (w/2)*(h/2))
		for y := range h / 2 {
			for x := range w / 2 {
				q := m[2*y*w+2*x:]
				out = append(out, (q[0]+q[1]+q[w]+q[w+1])/4)
			}
		}
		return out
	}
	out := map[string][]float32{}
	next := 0
	for i, l := range vgg.Layers {
		if l.Kind == vgg.Pool {
			m, picture = half(m), half(picture)
			w, h = w/2, h/2
		}
		if next == len(at) || at[next].layer != i {
			continue
		}
		next++
		f := 1.0
		if sum := mean(m); whole && sum > 0 {
			f = 1 / sum
		} else if sum := mean(picture); !whole && sum > 0 {
			f = 1 / sum
		}
		mask := make([]float32, len(m))
		for j, v := range m {
			mask[j] = float32(math.Sqrt(v * f))
		}
		out[name(i)] = mask
	}
	return out
}

// beyond puts p zeros around a plane.
func beyond(m []float64, w, h, p int) []float64 {
	out := make([]float64, (w+2*p)*(h+2*p))
	for y := range h {
		copy(out[(y+p)*(w+2*p)+p:], m[y*w:][:w])
	}
	return out
}
