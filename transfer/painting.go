package transfer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
)

// Work is what a painting is made of: pictures as they were decoded.
type Work struct {
	Options     Options
	Content     *picture.Source
	Styles      []Style
	ContentMask *picture.Source // where the content holds on: white; nil is everywhere
	Init        *picture.Source // where Options.Init names a picture
	Weights     *vgg.Weights
	Started     time.Time // what clocks begin with; the zero time is that of NewPainting
}

// Point is a row within the whole of a painting.
type Point struct {
	Row
	Evaluation int     // 1 for the first; Row.Iteration is that of its level
	Of         int     // how many there will be, as far as is known; 0 where a clock decides
	W, H       int     // extent of its level
	Seconds    float64 // since the start, without the time that the painting was stopped
	GFLOP      float64 // of arithmetic since the start, that of the targets included
	Share      float64 // of the work that is done, 0 to 1
	Left       float64 // seconds that the rest will take, at the speed so far; -1 while that is not known
}

// Painting takes one picture through the levels of its ladder, a [Session] each.
// The memory of a level is released before the next begins.
type Painting struct {
	dev    gpu.Device
	work   Work
	stages []Stage
	costs  []cost
	before float64 // seconds of earlier processes

	at      position
	session *Session // of the level; nil before it is opened and after it is closed
	slot    int      // that the picture has there
	guest   bool     // the session is a Studio's, where others are painted too
	memory  int64    // that the largest level took on the device
	times   []float64
	raw     *RawWeights // that the strength has become at the level; nil without
	stopped string      // why it ended before its last iteration: "plateau" or "time"

	// The picture at the last multiple of rollbackEvery. It becomes at.Good when its
	// loss turns out to be finite.
	fresh   []float32
	freshAt int

	above *loaded // what raise has loaded for the level that entry is to begin

	kept   *position // a copy in case the device is lost
	keptAt time.Time
	whole  bool // it has all that a checkpoint needs, and not the picture alone
	lost   bool
	pace   float64 // seconds of an iteration, at this level and lately

	// Of this process: seconds in iterations, and their FLOPs. Those of a level's first
	// chunk, which finds all caches cold, count only until there are others.
	busy, busyFLOPs float64
	warm, warmed    bool // this level had its first chunk; some level had another
}

// position is where a painting is: with the work, everything that it goes on from.
type position struct {
	Level       int     `json:"level"`
	Done        []int   `json:"done"` // iterations complete, of each level
	Evaluations int     `json:"evaluations"`
	FLOPs       float64 `json:"flops"`
	Opened      bool    `json:"opened"` // FLOPs has the level's targets
	Halved      int     `json:"halved"` // how many times the step was halved
	GoodAt      int     `json:"good_at"`
	Last        Point   `json:"last"`
	Losses      Row     `json:"losses"` // the last row whose point was not refused

	Recent []float64 `json:"recent,omitempty"` // losses of the level, for the plateau
	Good   []float32 `json:"-"`                // the picture at GoodAt, whose loss is known to be finite
	State  *State    `json:"-"`                // of the level; nil at the very beginning, and while a session has it
}

// LostError says that the device failed and took its memory along. The painting is
// where its last copy was made, at most a few seconds before.
type LostError struct {
	At  Point // of the copy; Evaluation is 0 when there is none
	Err error
}

func (e *LostError) Error() string { return e.Err.Error() }

// Unwrap returns what the device said.
func (e *LostError) Unwrap() error { return e.Err }

// keepEvery is how often Run makes that copy: less than a thousandth of the time.
var keepEvery = 3 * time.Second

const (
	// rollbackEvery is after how many iterations of a level its picture is copied,
	// to go back to when the losses are no longer finite.
	rollbackEvery = 32
	// maxHalvings is how often a painting goes back, with half the step each time,
	// before it gives up.
	maxHalvings = 3
)

// Hooks are what Run calls. Those that are nil are left out.
type Hooks struct {
	Report func(Point) error // each evaluation, in order; an error ends the run
	Say    func(string)      // what a user would like to hear of: it went back, it reached a plateau

	SaveEvery int          // evaluations between two calls of Save
	Save      func() error // Picture gives what there is; not called after the last

	CheckpointEvery time.Duration // between two calls of Checkpoint; 0 is as often as can be
	Checkpoint      func(*Checkpoint)
}

// NewPainting checks the work, and with Options.Budget chooses the ladder. With a
// checkpoint of the same work the painting goes on from there. Nothing runs, and no
// memory is taken on the device, but for the measurement that a budget needs.
func NewPainting(ctx context.Context, dev gpu.Device, work Work, from *Checkpoint) (*Painting, error) {
	if err := work.Options.Validate(); err != nil {
		return nil, err
	}
	if work.Content == nil || len(work.Styles) == 0 || work.Weights == nil {
		return nil, errors.New("painting: needs a content, a style and weights")
	}
	if err := work.Check(); err != nil {
		return nil, err
	}
	if work.Started.IsZero() {
		work.Started = time.Now()
	}
	p := &Painting{dev: dev, work: work}
	if err := p.plan(ctx, from != nil); err != nil {
		return nil, err
	}
	p.at.Done = make([]int, len(p.stages))
	if from != nil {
		if err := from.suits(p); err != nil {
			return nil, err
		}
		p.at, p.before = from.clone(), from.Seconds
	}
	return p, nil
}

// plan lays out the levels.
func (p *Painting) plan(ctx context.Context, chosen bool) error {
	if p.work.Options.Budget != "" && !chosen {
		if err := p.choose(ctx); err != nil {
			return err
		}
	}
	p.stages = p.work.Stages()
	p.costs = nil
	for i := range p.stages {
		c, err := p.stages[i].cost()
		if err != nil {
			return err
		}
		p.costs = append(p.costs, c)
		if p.work.Options.Budget != "" {
			p.stages[i].Options.Iterations = maxIterations // until its time is up
		}
	}
	return nil
}

// Options are those of the work, with the ladder that a budget chose.
func (p *Painting) Options() Options { return p.work.Options }

// LayerNames name the losses of Row.Terms but the last, which is that of TV.
func (p *Painting) LayerNames() []string { return p.stages[0].LayerNames() }

// Record is what is known of how the picture is made, and how far it came. The
// caller adds the version of the program, times and the extent of the result.
func (p *Painting) Record() Record {
	w, last := p.work, p.at.Losses.finite()
	r := w.record()
	r.Device = p.dev.Info()
	r.Weights.Source, r.Weights.SHA256 = w.Weights.Source, w.Weights.SHA256
	end := p.stages[len(p.stages)-1]
	r.Result = Result{
		WorkWidth: end.W, WorkHeight: end.H, Iterations: p.Done(), Levels: p.Levels(), Stopped: p.stopped,
		Content: last.Content, Style: last.Style, TV: last.TV, Total: last.Total, Raw: p.raw,
	}
	return r
}

// Done is how many iterations are complete, those of all levels together.
func (p *Painting) Done() int { return p.at.Iterations() }

// Levels are those that were begun, with the iterations that are complete.
func (p *Painting) Levels() []Level {
	var l []Level
	for i, n := range p.at.Done {
		if n > 0 {
			l = append(l, Level{p.stages[i].Options.Size, n})
		}
	}
	return l
}

// Last is the last evaluation.
func (p *Painting) Last() Point { return p.at.Last }

// Stopped says why Run ended early without an error: "plateau", "time", or nothing.
func (p *Painting) Stopped() string { return p.stopped }

// Memory is what the level with the most of it took on the device, in bytes.
func (p *Painting) Memory() int64 { return p.memory }

// MedianMillis is the median time of an iteration of the last level on the device.
func (p *Painting) MedianMillis() float64 {
	if p.session != nil {
		return p.session.MedianMillis()
	}
	return median(p.times)
}

// clock is how many seconds the painting has taken.
func (p *Painting) clock() float64 { return p.before + time.Since(p.work.Started).Seconds() }

// Run paints, level after level. It returns nil at the end, and when Options.Until
// or Budget ends it before.
//
// When ctx is done it returns ctx.Err() within one iteration. Losses that are no
// longer finite make it go back to the last good picture with half the step; after
// the third time the error is [ErrDiverged]. A device that fails and cannot be read
// any more is a *LostError. In each case Picture gives the last good picture, and
// Checkpoint where it stands.
func (p *Painting) Run(ctx context.Context, h Hooks) error {
	checkpointed := time.Now()
	for {
		err := p.paint(ctx, h, &checkpointed)
		if err != nil {
			return p.failed(ctx, err)
		}
		if p.late() {
			p.stopped = "time"
		}
		if p.stopped != "" || p.at.Level == len(p.stages)-1 {
			return nil
		}
		if err := p.raise(); err != nil {
			return p.failed(ctx, err)
		}
	}
}

// paint takes the level to its end.
func (p *Painting) paint(ctx context.Context, h Hooks, checkpointed *time.Time) error {
	deadline := p.deadline()
	for !p.levelOver(h, deadline) {
		if p.session == nil {
			if err := p.open(ctx); err != nil {
				return err
			}
		}
		if err := p.advance(ctx, p.next(h, deadline), h); err != nil {
			return err
		}
		if err := p.look(h, checkpointed); err != nil {
			return err
		}
	}
	return nil
}

// levelOver reports whether the level has come to its end, and notes it where the
// painting has too.
func (p *Painting) levelOver(h Hooks, deadline float64) bool {
	st, last := p.stages[p.at.Level], p.at.Level == len(p.stages)-1
	switch done := p.at.Done[p.at.Level]; {
	case done >= st.Options.Iterations:
	case p.plateau():
		p.say(h, "a plateau at %dx%d after %d iterations: the loss falls by less than %g %% in %d", st.W, st.H, done, 100*plateauRate, plateauWindow)
		if last {
			p.stopped = "plateau"
		}
	case p.next(h, deadline) == 0:
		if p.work.Options.Budget == "" || last {
			p.stopped = "time"
		}
	default:
		return false
	}
	return true
}

// next is how many iterations may run before something else is to be done; 0 when
// there is no time for another.
func (p *Painting) next(h Hooks, deadline float64) int {
	done := p.at.Done[p.at.Level]
	n := min(p.stages[p.at.Level].Options.Iterations-done, rollbackEvery-done%rollbackEvery)
	if p.work.Options.Until == untilPlateau {
		n = min(n, plateauWindow-done%plateauWindow)
	}
	if h.SaveEvery > 0 {
		n = min(n, h.SaveEvery-p.at.Evaluations%h.SaveEvery)
	}
	left := deadline - p.clock()
	if p.at.Evaluations > 0 && left <= p.pace {
		return 0
	}
	if p.pace > 0 {
		n = min(n, max(int(min(left/p.pace/2, maxIterations)), 1)) // the next one may be slower
	}
	return n
}

// look saves and copies what is due between two chunks.
func (p *Painting) look(h Hooks, checkpointed *time.Time) error {
	if h.SaveEvery > 0 && p.at.Evaluations%h.SaveEvery == 0 && !p.complete() {
		if err := h.Save(); err != nil {
			return err
		}
	}
	if h.Checkpoint != nil && time.Since(*checkpointed) >= h.CheckpointEvery {
		c, err := p.Checkpoint()
		if err != nil {
			return err
		}
		h.Checkpoint(c)
		*checkpointed = time.Now()
		p.kept, p.whole, p.keptAt = &c.position, true, *checkpointed
	}
	if time.Since(p.keptAt) < keepEvery || p.session == nil {
		return nil
	}
	if h.Checkpoint != nil {
		at, err := p.position()
		if err != nil {
			return err
		}
		p.kept, p.whole = &at, true
	} else {
		v, err := p.current()
		if err != nil {
			return err
		}
		at := p.at.clone()
		at.State = &State{Done: p.done(), Buffers: map[string][]float32{BufImage: v}}
		p.kept, p.whole = &at, false
	}
	p.keptAt = time.Now()
	return nil
}

func (p *Painting) complete() bool {
	last := len(p.stages) - 1
	return p.at.Level == last && p.at.Done[last] >= p.stages[last].Options.Iterations
}

// open begins the level, or goes on with it.
func (p *Painting) open(ctx context.Context) error {
	st, w := p.stages[p.at.Level], p.work
	f, err := newFeatures(p.dev, st.Options, w.Weights, st.H, st.W)
	if err != nil {
		return fmt.Errorf("content: %w", err)
	}
	e, err := p.entry(ctx, f, func(i int, content *picture.Picture) (*StyleTargets, error) {
		return w.targets(ctx, p.dev, st, i, content)
	})
	if err = errors.Join(err, f.close()); err != nil {
		return err
	}
	s, err := seated(p.dev, st.Options.halved(p.at.Halved), w.Weights, []entry{e}, st.H, st.W)
	if err != nil {
		return err
	}
	return p.sit(s, 0, false)
}

// entry is what a session needs of the painting to begin the level, or go on with it.
func (p *Painting) entry(ctx context.Context, f *features, targets func(style int, content *picture.Picture) (*StyleTargets, error)) (e entry, err error) {
	st, w := p.stages[p.at.Level], p.work
	l := p.above
	if p.above = nil; l == nil {
		l = w.load(st)
	}
	content := l.content
	e = entry{options: st.Options.halved(p.at.Halved), from: p.at.State, start: st.Options.start(content, l.style, l.init)}
	if e.masks, err = w.masks(st); err != nil {
		return e, err
	}
	for _, r := range regionsOf(w.Styles) {
		var of []*StyleTargets
		var weights []float64
		for _, i := range r.styles {
			t, err := targets(i, content)
			if err != nil {
				return e, fmt.Errorf("style: %w", err)
			}
			of, weights = append(of, t), append(weights, w.Options.blend(i))
		}
		e.style = append(e.style, blended(of, weights))
	}
	if e.content, err = f.of(ctx, content, e.masks.held); err != nil {
		return e, fmt.Errorf("content: %w", err)
	}
	return e, nil
}

// loaded are the content and, where the start needs it, the first style and the initial
// picture, all at the extent of a stage.
type loaded struct{ content, style, init *picture.Picture }

func (w Work) load(st Stage) *loaded {
	l := &loaded{content: st.Options.Load(w.Content, st.W, st.H)}
	if w.Options.Init == "style" {
		l.style = st.Options.Load(covering(w.Styles[0].Picture, st.W, st.H), st.W, st.H)
	}
	if w.Init != nil {
		l.init = st.Options.Load(w.Init, st.W, st.H)
	}
	return l
}

// sit begins or goes on with the level in a slot of a session that has it.
func (p *Painting) sit(s *Session, slot int, guest bool) error {
	p.session, p.slot, p.guest, p.at.State, p.pace, p.warm = s, slot, guest, nil, 0, false
	p.memory = max(p.memory, s.Plan().Total())
	if p.work.Options.Strength > 0 {
		raw := s.Raw(p.slot)
		p.raw = &raw
	}
	if !p.at.Opened {
		p.at.Opened = true
		p.at.FLOPs += p.costs[p.at.Level].targets
	}
	return p.refresh()
}

// halved are the options of a step that was halved so many times.
func (o Options) halved(times int) Options {
	o.halvings = times
	return o
}

// step is a length that the optimiser's step depends on, halved as often as asked.
func (o Options) step(length float64) float64 { return math.Ldexp(length, -o.halvings) }

// refresh copies the picture where it may be gone back to.
func (p *Painting) refresh() (err error) {
	if p.done()%rollbackEvery != 0 {
		return nil
	}
	p.fresh, err = p.current()
	p.freshAt = p.done()
	return err
}

// current copies the picture from the session.
func (p *Painting) current() ([]float32, error) {
	return p.session.values(p.session.options.result(), p.slot)
}

// done is how many iterations of the level are complete in the session.
func (p *Painting) done() int { return p.session.Done(p.slot) }

// advance runs one chunk and reports its rows.
func (p *Painting) advance(ctx context.Context, n int, h Hooks) error {
	from := p.clock()
	all, runErr := p.session.Advance(ctx, n)
	return p.took(all[p.slot], from, p.clock()-from, runErr, h)
}

// took counts and reports rows of the level that a chunk gave, which began at a time
// of the clock and took so many seconds.
func (p *Painting) took(rows []Row, from, took float64, runErr error, h Hooks) error {
	if len(rows) > 0 {
		p.pace = took / float64(len(rows))
	}
	if p.warm && !p.warmed {
		p.busy, p.busyFLOPs, p.warmed = 0, 0, true
	}
	if p.warm || !p.warmed {
		p.busy += took
		p.busyFLOPs += float64(len(rows)) * p.costs[p.at.Level].iteration
	}
	p.warm = true
	var reportErr error
	for i, row := range rows {
		p.at.Evaluations++
		p.at.FLOPs += p.costs[p.at.Level].iteration
		p.at.Done[p.at.Level] = row.Iteration
		st := p.stages[p.at.Level]
		p.at.Last = Point{
			Row: row, Evaluation: p.at.Evaluations, W: st.W, H: st.H, GFLOP: p.at.FLOPs / 1e9,
			Seconds: from + took*float64(i+1)/float64(len(rows)),
		}
		p.foresee(&p.at.Last)
		if !row.Refused {
			p.at.Losses = row
		}
		// Rows behind an error are counted all the same: they are behind the picture too.
		if h.Report != nil && reportErr == nil {
			reportErr = h.Report(p.at.Last)
		}
		if !row.Finite {
			if err := errors.Join(reportErr, p.rollBack(row, h)); err != nil {
				return err
			}
			return runErr
		}
		if row.Iteration == p.freshAt+1 && p.fresh != nil {
			p.at.Good, p.at.GoodAt, p.fresh = p.fresh, p.freshAt, nil
		}
		p.note(row)
	}
	if err := errors.Join(runErr, reportErr); err != nil {
		return err
	}
	return p.refresh()
}

// rollBack goes back to the last picture whose loss was finite, with half the step
// and an optimiser that begins afresh. The iterations since then are done again.
func (p *Painting) rollBack(bad Row, h Hooks) error {
	back, at, err := p.at.Good, p.at.GoodAt, error(nil)
	if back == nil { // not even the first loss was finite: it would not be again
		back, at, err = p.fresh, p.freshAt, bad.diverged()
	} else if p.at.Halved == maxHalvings {
		err = fmt.Errorf("%w, after going back with half the step %d times", bad.diverged(), maxHalvings)
	} else {
		p.at.Halved++
		p.say(h, "%v: back to iteration %d with half the step", bad.diverged(), at)
	}
	err = errors.Join(err, p.close())
	p.at.State = &State{Done: at, Buffers: map[string][]float32{BufImage: slices.Clone(back)}}
	p.at.Done[p.at.Level], p.at.Recent, p.fresh = at, nil, nil
	return err
}

// raise ends the level and begins the next with its picture.
func (p *Painting) raise() error {
	st, err := p.state()
	if err != nil {
		return err
	}
	if err := p.close(); err != nil {
		return err
	}
	if !p.guest {
		debug.FreeOSMemory() // the level's arena, before the larger one
	}
	from, to := p.stages[p.at.Level], p.stages[p.at.Level+1]
	p.at.Level++
	p.above = p.work.load(to)
	p.at.State = &State{Buffers: raised(st, from, to, p.above.details(to.Options))}
	p.at.Opened, p.at.Good, p.at.GoodAt, p.at.Recent, p.fresh = false, nil, 0, nil, nil
	return nil
}

// state is that of the level, wherever it is.
func (p *Painting) state() (*State, error) {
	if p.session != nil {
		return p.session.State(p.slot)
	}
	if p.at.State == nil {
		return nil, errors.New("painting: nothing has been painted yet")
	}
	return p.at.State, nil
}

// picture is the picture's values in a state.
func (s *State) picture(o Options) []float32 {
	if v := s.Buffers[o.result()]; v != nil {
		return v
	}
	return s.Buffers[BufImage]
}

// position is where the painting is, in memory that nobody else writes.
func (p *Painting) position() (position, error) {
	at := p.at.clone()
	if p.session == nil {
		return at, nil
	}
	var err error
	at.State, err = p.session.State(p.slot)
	return at, err
}

// clone copies what Run changes in place.
func (at position) clone() position {
	at.Done, at.Recent = slices.Clone(at.Done), slices.Clone(at.Recent)
	return at
}

// failed looks whether the device still answers; if not, the painting is where its
// last copy is.
func (p *Painting) failed(ctx context.Context, err error) error {
	if p.session == nil || ctx.Err() != nil {
		return err
	}
	if _, e := p.current(); e == nil {
		return err
	}
	_ = p.close() // what a lost device says about its memory
	p.lost = true
	lost := &LostError{Err: err}
	if p.kept != nil {
		p.at = *p.kept
		lost.At = p.at.Last
	}
	return lost
}

// Picture is the picture as it is now, at the extent of the last level. That of a
// lower level is enlarged.
func (p *Painting) Picture() (*picture.Picture, error) {
	var values []float32
	switch {
	case p.session != nil:
		v, err := p.current()
		if err != nil {
			return nil, err
		}
		values = v
	case p.at.State != nil:
		values = slices.Clone(p.at.State.picture(p.stages[p.at.Level].Options))
	case p.lost:
		return nil, errors.New("painting: the device was lost before a copy of the picture was made")
	default:
		return nil, errors.New("painting: nothing has been painted yet")
	}
	last := p.stages[len(p.stages)-1]
	if p.at.Level < len(p.stages)-1 {
		values = enlarged(values, p.stages[p.at.Level], last, p.work.load(last).details(last.Options))
	}
	return clamped(values, last.W, last.H), nil
}

// foresee fills in how much is done, and what is to come.
func (p *Painting) foresee(pt *Point) {
	o := p.work.Options
	if b := seconds(o.Budget); b > 0 {
		pt.Share, pt.Left = min(pt.Seconds/b, 1), max(b-pt.Seconds, 0)
		return
	}
	pt.Of = p.at.Evaluations
	rest := 0.0 // FLOPs
	for i := p.at.Level; i < len(p.stages); i++ {
		n := p.stages[i].Options.Iterations - p.at.Done[i]
		pt.Of += n
		rest += float64(n) * p.costs[i].iteration
		if i > p.at.Level {
			rest += p.costs[i].targets
		}
	}
	pt.Share = p.at.FLOPs / (p.at.FLOPs + rest)
	pt.Left = -1
	if rest == 0 || p.measured() {
		pt.Left = rest * p.busy / p.busyFLOPs
	}
	if u := seconds(o.Until); u > 0 {
		left := max(u-pt.Seconds, 0)
		if pt.Left >= 0 {
			left = min(pt.Left, left)
		}
		pt.Share, pt.Left = max(pt.Share, min(pt.Seconds/u, 1)), left
	}
}

// measured reports whether the speed so far says something of what is to come: warm
// iterations, for a second or for a fiftieth of all the work. Before that a guess is
// off by as much as ten times, mostly to the long side: the first chunk finds all caches
// cold, and the next are so short that a busy machine may sleep through them.
func (p *Painting) measured() bool {
	all := 0.0
	for i, c := range p.costs {
		all += c.targets + c.iteration*float64(p.stages[i].Options.Iterations)
	}
	return p.warmed && (p.busy >= 1 || p.busyFLOPs >= all/50)
}

func (p *Painting) say(h Hooks, format string, args ...any) {
	if h.Say != nil {
		h.Say(fmt.Sprintf(format, args...))
	}
}

// close releases the level's memory.
func (p *Painting) close() error {
	if p.session == nil {
		return nil
	}
	s := p.session
	p.session = nil
	if p.guest {
		return s.leave(p.slot)
	}
	p.times = s.times
	return s.Close()
}

// Close releases the device's memory; the picture is read before.
func (p *Painting) Close() error { return p.close() }
