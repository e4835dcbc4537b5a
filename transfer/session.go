package transfer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
)

// Job is what a session works on: pictures at their working extent. All
// contents have one extent; the style has its own.
type Job struct {
	Options  Options
	Contents []*picture.Picture
	Style    *picture.Picture
	Init     *picture.Picture // where Options.Init names a picture, at the contents' extent
	Weights  *vgg.Weights
	From     *State // nil: begin at the beginning
}

// State is all that the next iteration of a picture depends on, besides its job.
type State struct {
	Done    int                  // iterations that are complete
	Buffers map[string][]float32 // of role State, by name; what is left out is as at the beginning
	Kept    []float32            // by the device beside them, see [gpu.Keeper]; nil where it keeps nothing
}

// Extent returns the working extent of a content, at a level of a ladder.
func (o Options) Extent(content *picture.Source) (w, h int) {
	if o.Square {
		return o.Size, o.Size
	}
	return picture.Fit(content.W, content.H, o.Size, vgg.MinSide)
}

// Load resamples a source to a working extent, as the preset does it: the
// article resizes 8-bit pictures with a triangle, the default keeps all digits
// and uses a cubic.
func (o Options) Load(s *picture.Source, w, h int) *picture.Picture {
	if o.Square {
		return s.Resize(w, h, picture.Bilinear).Quantize()
	}
	return s.Resize(w, h, picture.Bicubic)
}

// Row is one iteration of one picture as the device recorded it. The losses are
// those before the step, weights applied; Mean and Std those of the picture after it.
type Row struct {
	Iteration                 int // 1 for the first
	Content, Style, TV, Total float64
	Mean, Std                 float64
	Finite                    bool
	Step                      float64   // the largest change of a value that L-BFGS asked for; 0 with Adam
	Refused                   bool      // by L-BFGS, which went back to the last point that it had accepted
	Terms                     []float64 // each loss by itself: content, the style layers, TV; those of weight 0 are left out, but TV is not
}

// ErrDiverged says that a loss or a gradient stopped being a number. The
// picture is that of the last good step.
var ErrDiverged = errors.New("the losses are no longer finite")

// Session is the optimisation of pictures of one extent, each in a slot of its own.
// A picture's bits depend on nothing but itself: not on how many slots there are, on
// which it has, nor on its neighbours. A [Painting] takes one session after the other.
type Session struct {
	options Options // of any picture: what they have in common decides the program
	program *gpu.Program
	runner  gpu.Runner
	w, h    int
	slots   []slot
	chunk   int       // iterations that take about a tenth of a second
	times   []float64 // milliseconds of each, those of a chunk shared equally
	ring    []float32
	named   map[string]*gpu.Buffer
}

// slot is a picture's place in a session.
type slot struct {
	taken   bool
	options Options
	raw     RawWeights
	done    int // iterations complete
	counted int // what the device's count of steps is ahead of done
}

// left is how many iterations the picture has to go.
func (s *slot) left() int {
	if !s.taken {
		return 0
	}
	return s.options.Iterations - s.done
}

// NewSession computes the targets on dev, compiles the loop and gives each content a
// slot. The pictures of the job are not needed afterwards.
func NewSession(ctx context.Context, dev gpu.Device, job Job) (*Session, error) {
	if err := job.Options.Validate(); err != nil {
		return nil, err
	}
	if len(job.Contents) == 0 || job.Style == nil || job.Weights == nil {
		return nil, errors.New("session: needs contents, a style and weights")
	}
	c := job.Contents[0]
	for _, p := range append(append([]*picture.Picture{}, job.Contents...), job.Style) {
		if p != job.Style && (p.W != c.W || p.H != c.H) {
			return nil, fmt.Errorf("session: contents of %dx%d and %dx%d; one extent a session", c.W, c.H, p.W, p.H)
		}
		if p.W < vgg.MinSide || p.H < vgg.MinSide {
			return nil, fmt.Errorf("session: %dx%d pixels; the network needs %dx%d", p.W, p.H, vgg.MinSide, vgg.MinSide)
		}
	}
	style, err := NewStyleTargets(ctx, dev, job.Options, job.Weights, job.Style)
	if err != nil {
		return nil, fmt.Errorf("style: %w", err)
	}
	features, err := newFeatures(dev, job.Options, job.Weights, c.H, c.W)
	if err != nil {
		return nil, fmt.Errorf("content: %w", err)
	}
	var entries []entry
	for _, c := range job.Contents {
		e := entry{options: job.Options, style: []*StyleTargets{style}, from: job.From, masks: job.Options.masks(c.W, c.H, nil, nil)}
		if e.content, err = features.of(ctx, c, e.masks.held); err != nil {
			return nil, errors.Join(fmt.Errorf("content: %w", err), features.close())
		}
		e.start = job.Options.start(c, job.Style, job.Init)
		entries = append(entries, e)
	}
	if err := features.close(); err != nil {
		return nil, err
	}
	return seated(dev, job.Options, job.Weights, entries, c.H, c.W)
}

// seated compiles the loop of as many slots as there are pictures, and gives each one.
func seated(dev gpu.Device, o Options, w *vgg.Weights, entries []entry, height, width int) (*Session, error) {
	debug.FreeOSMemory() // the targets' arenas, before the large one
	s, err := newSession(dev, o, w, len(entries), height, width)
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		if err := s.admit(i, e); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// newSession compiles the loop of n slots, all of them empty.
func newSession(dev gpu.Device, o Options, w *vgg.Weights, n, height, width int) (*Session, error) {
	s := &Session{options: o, w: width, h: height, slots: make([]slot, n), named: map[string]*gpu.Buffer{}}
	var err error
	if s.program, err = LoopProgram(o, w, n, height, width); err != nil {
		return nil, err
	}
	if s.runner, err = dev.Compile(s.program); err != nil {
		return nil, err
	}
	for _, b := range s.program.Buffers {
		s.named[b.Name] = b
	}
	s.ring = make([]float32, s.named[BufRing].Shape.Elems()/n)
	for _, b := range s.program.Buffers { // a slot that nobody has taken yet has no steps to take
		if b.Role != gpu.Input && b.Role != gpu.State {
			continue
		}
		if err := s.runner.Write(b, make([]float32, b.Shape.Elems())); err != nil {
			return nil, errors.Join(err, s.runner.Close())
		}
	}
	return s, nil
}

// entry is a picture that gets a slot.
type entry struct {
	options Options
	start   []float32       // what it begins with; not used where from has a picture
	content [][]float32     // its features, at each content layer
	style   []*StyleTargets // of each region
	masks   masks
	from    *State // nil: begin at the beginning
}

// admit gives slot i to a picture. Whatever was there before is forgotten.
func (s *Session) admit(i int, e entry) error {
	if err := s.runner.Reset(i); err != nil {
		return err
	}
	at := slot{taken: true, options: e.options, raw: e.options.raw(e.content, e.style, e.masks)}
	values := map[string][]float32{BufImage: e.start, BufStep: {0}}
	for j, t := range e.options.contentTaps() {
		if e.content != nil {
			values[ContentTarget(t.layer)] = e.content[j]
		}
	}
	for r, style := range e.style {
		values[BufTV] = []float32{style.TV}
		for j, t := range e.options.styleTaps() {
			values[GramTarget(t.layer, r)] = style.Grams[j]
		}
	}
	maps.Copy(values, e.masks.inputs)
	if from := e.from; from != nil {
		maps.Copy(values, from.Buffers)
		at.done = from.Done
		if k, ok := s.runner.(gpu.Keeper); ok && from.Kept != nil {
			if err := k.Restore(i, from.Kept); err != nil {
				return err
			}
		}
	}
	for _, r := range []string{s.options.accepted(), s.options.result()} {
		if e.from == nil || e.from.Buffers[r] == nil {
			values[r] = values[BufImage]
		}
	}
	at.counted = int(values[BufStep][0]) - at.done
	values[BufKnobs] = e.options.knobs(at.raw, at.counted)
	for _, b := range s.program.Buffers {
		if v := values[b.Name]; v != nil && (b.Role == gpu.Input || b.Role == gpu.State) {
			if err := s.runner.WriteAt(b, i, v); err != nil {
				return err
			}
		}
	}
	s.slots[i] = at
	return nil
}

// leave empties slot i: the device leaves it alone from now on.
func (s *Session) leave(i int) error {
	s.slots[i] = slot{}
	return s.runner.WriteAt(s.named[BufKnobs], i, make([]float32, s.named[BufKnobs].Shape.C))
}

// Run iterates until Options.Iterations are done. report, if not nil, gets the
// rows of every iteration in order (one per picture of the batch); it may return an
// error to stop. every, if positive, makes Run stop and call save at each
// multiple of every iterations but the last.
//
// When ctx is done Run returns ctx.Err() within one iteration; the picture is
// that of the last complete one.
func (s *Session) Run(ctx context.Context, report func([]Row) error, every int, save func(iteration int) error) error {
	for done := 0; s.slots[0].left() > 0; {
		n := s.slots[0].left()
		if every > 0 {
			n = min(n, every-s.slots[0].done%every)
		}
		pictures, runErr := s.Advance(ctx, n)
		for it := range pictures[0] {
			var rows []Row
			for _, p := range pictures {
				rows = append(rows, p[it])
			}
			if report != nil {
				if err := report(rows); err != nil {
					return err
				}
			}
			for _, r := range rows {
				if !r.Finite {
					return r.diverged()
				}
			}
		}
		if runErr != nil {
			return runErr
		}
		if done = s.slots[0].done; every > 0 && done%every == 0 && s.slots[0].left() > 0 {
			if err := save(done); err != nil {
				return err
			}
		}
	}
	return nil
}

// Advance runs at most n iterations, and no more than take about a tenth of a
// second; a picture takes part until its own are done. It returns the rows of each
// slot for the iterations that are complete, also beside an error.
func (s *Session) Advance(ctx context.Context, n int) ([][]Row, error) {
	start := time.Now()
	ran, runErr := s.runner.Run(ctx, min(n, max(s.chunk, 1)))
	took := time.Since(start)
	for range ran {
		s.times = append(s.times, took.Seconds()*1e3/float64(ran))
	}
	if took < 50*time.Millisecond {
		s.chunk = min(2*max(s.chunk, 1), RingRows)
	} else if took > 200*time.Millisecond {
		s.chunk = max(s.chunk/2, 1)
	}
	all := make([][]Row, len(s.slots))
	for i := range s.slots {
		rows, err := s.rows(i, min(ran, s.slots[i].left()))
		if err != nil {
			return all, errors.Join(runErr, err)
		}
		all[i] = rows
	}
	return all, runErr
}

// rows reads what the ring has of a picture's next n iterations, and counts them.
func (s *Session) rows(i, n int) ([]Row, error) {
	if n == 0 {
		return nil, nil
	}
	ring, at := s.named[BufRing], &s.slots[i]
	if err := s.runner.ReadAt(ring, i, s.ring); err != nil {
		return nil, err
	}
	var rows []Row
	for range n {
		r := s.ring[(at.done+at.counted)%RingRows*ring.Shape.C:][:ring.Shape.C]
		at.done++
		f := func(c int) float64 { return float64(r[c]) }
		row := Row{
			Iteration: at.done, Content: f(gpu.RecContent), Style: f(gpu.RecStyle), TV: f(gpu.RecTV), Total: f(gpu.RecTotal),
			Mean: f(gpu.RecMean), Std: f(gpu.RecStd), Finite: r[gpu.RecFinite] == 1, Step: f(gpu.RecStep), Refused: r[gpu.RecRefused] == 1,
		}
		for _, v := range r[gpu.RecTerms:] {
			row.Terms = append(row.Terms, float64(v))
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// diverged is the error of a row that is not finite.
func (r Row) diverged() error {
	return fmt.Errorf("iteration %d: %w (%s)", r.Iteration, ErrDiverged, r.worst())
}

// worst names the first loss that is not finite.
func (r Row) worst() string {
	for _, l := range []struct {
		name string
		v    float64
	}{{"content", r.Content}, {"style", r.Style}, {"tv", r.TV}, {"their sum", r.Total}} {
		if math.IsNaN(l.v) || math.IsInf(l.v, 0) {
			return fmt.Sprintf("%s is %v", l.name, l.v)
		}
	}
	return "the gradient is not"
}

// MedianMillis is the median time of an iteration on the device.
func (s *Session) MedianMillis() float64 { return median(s.times) }

func median(times []float64) float64 {
	if len(times) == 0 {
		return 0
	}
	t := slices.Clone(times)
	slices.Sort(t)
	return t[len(t)/2]
}

// Done is how many iterations of picture i are complete.
func (s *Session) Done(i int) int { return s.slots[i].done }

// Raw are the weights of the terms of picture i: those of its options, or what their
// strength has become for its targets.
func (s *Session) Raw(i int) RawWeights { return s.slots[i].raw }

// Plan is what the loop takes on the device.
func (s *Session) Plan() *gpu.Plan { return s.runner.Plan() }

// Read copies a buffer of the loop by name, for tests and tools.
func (s *Session) Read(name string) ([]float32, error) {
	b := s.named[name]
	if b == nil {
		return nil, fmt.Errorf("session: no buffer %s", name)
	}
	data := make([]float32, b.Shape.Elems())
	return data, s.runner.Read(b, data)
}

// accepted names the buffer that has the last picture: L-BFGS goes on trying with the
// other.
func (o Options) accepted() string {
	if o.lbfgs() {
		return "accepted"
	}
	return BufImage
}

// result names the buffer that has the picture: the last one, or the average.
func (o Options) result() string {
	if o.Average > 0 {
		return BufAverage
	}
	return o.accepted()
}

// values copies picture i of a buffer.
func (s *Session) values(name string, i int) ([]float32, error) {
	b := s.named[name]
	v := make([]float32, b.Shape.Elems()/b.Shape.N)
	return v, s.runner.ReadAt(b, i, v)
}

// State copies all that the next iteration of picture i depends on: a slot that
// begins with it goes on with the same bits.
func (s *Session) State(i int) (*State, error) {
	st := &State{Done: s.slots[i].done, Buffers: map[string][]float32{}}
	for _, b := range s.program.Buffers {
		if b.Role != gpu.State || b.Name == BufRing { // which is only written
			continue
		}
		v, err := s.values(b.Name, i)
		if err != nil {
			return nil, err
		}
		st.Buffers[b.Name] = v
	}
	if k, ok := s.runner.(gpu.Keeper); ok {
		var err error
		if st.Kept, err = k.Keep(i); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// Picture returns picture i as it is now, at the working extent, clamped.
func (s *Session) Picture(i int) (*picture.Picture, error) {
	v, err := s.values(s.options.result(), i)
	if err != nil {
		return nil, err
	}
	return clamped(v, s.w, s.h), nil
}

// clamped is a picture of values, each put into [0,1]. It takes the values.
func clamped(values []float32, w, h int) *picture.Picture {
	for j, v := range values {
		values[j] = min(max(v, 0), 1)
	}
	return &picture.Picture{W: w, H: h, RGB: values}
}

// Finish brings a result to its output extent, and gives it the content's alpha and, with
// Options.Colors, its colours.
func (o Options) Finish(p *picture.Picture, content *picture.Source) (*picture.Picture, error) {
	w, h, err := o.outputSize(p.W, p.H, content.W, content.H)
	if err != nil {
		return nil, err
	}
	filter := picture.Bicubic
	if o.Truncate8 {
		p, filter = p.Truncate(), picture.Point
	}
	p = p.Resize(w, h, filter)
	if o.Colors == "content" || content.HasAlpha {
		at := content.Resize(w, h, picture.Bicubic)
		if o.Colors == "content" {
			p = p.WithChroma(at)
		}
		p.Alpha = at.Alpha
	}
	return p, nil
}

// Close releases the device's memory.
func (s *Session) Close() error { return s.runner.Close() }
