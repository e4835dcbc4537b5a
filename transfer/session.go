package transfer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
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

// State is all that the next iteration of a session depends on, besides its job.
type State struct {
	Done    int                  // iterations that are complete
	Buffers map[string][]float32 // of role State, by name; what is left out is as at the beginning
	Kept    []float32            // by the device beside them, see [gpu.Keeper]; nil where it keeps nothing
}

// Extent returns the working extents of a content and a style picture.
func (o Options) Extent(content, style *picture.Source) (w, h, styleW, styleH int) {
	if o.Square {
		return o.Size, o.Size, o.Size, o.Size
	}
	w, h = picture.Fit(content.W, content.H, o.Size, vgg.MinSide)
	styleW, styleH = picture.Fit(style.W, style.H, o.Size, vgg.MinSide)
	return w, h, styleW, styleH
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

// Session is one optimisation in progress, at one extent. A [Painting] takes one
// after the other.
type Session struct {
	job     Job
	program *gpu.Program
	runner  gpu.Runner
	n, w, h int
	done    int       // iterations complete
	counted int       // what the device's count of steps is ahead of done
	chunk   int       // iterations that take about a tenth of a second
	times   []float64 // milliseconds of each, those of a chunk shared equally
	ring    []float32
	named   map[string]*gpu.Buffer
	raw     RawWeights
}

// NewSession computes the targets on dev, compiles the loop and sets the
// initial picture. The pictures of the job are not needed afterwards.
func NewSession(ctx context.Context, dev gpu.Device, job Job) (*Session, error) {
	if err := job.Options.Validate(); err != nil {
		return nil, err
	}
	if len(job.Contents) == 0 || job.Style == nil || job.Weights == nil {
		return nil, errors.New("session: needs contents, a style and weights")
	}
	c := job.Contents[0]
	s := &Session{job: job, n: len(job.Contents), w: c.W, h: c.H}
	for _, p := range append(append([]*picture.Picture{}, job.Contents...), job.Style) {
		if p != job.Style && (p.W != s.w || p.H != s.h) {
			return nil, fmt.Errorf("session: contents of %dx%d and %dx%d; one extent a session", s.w, s.h, p.W, p.H)
		}
		if p.W < vgg.MinSide || p.H < vgg.MinSide {
			return nil, fmt.Errorf("session: %dx%d pixels; the network needs %dx%d", p.W, p.H, vgg.MinSide, vgg.MinSide)
		}
	}
	targets, err := s.targets(ctx, dev)
	if err != nil {
		return nil, err
	}
	debug.FreeOSMemory() // the targets' arenas, before the large one

	s.raw = job.Options.raw(targets)
	if s.program, err = loopProgram(job.Options, s.raw, job.Weights, s.n, s.h, s.w); err != nil {
		return nil, err
	}
	if s.runner, err = dev.Compile(s.program); err != nil {
		return nil, err
	}
	s.named = map[string]*gpu.Buffer{}
	for _, b := range s.program.Buffers {
		s.named[b.Name] = b
	}
	s.ring = make([]float32, s.named[BufRing].Shape.Elems())
	targets[BufImage], targets[BufStep] = s.initial(), []float32{0}
	if from := job.From; from != nil {
		maps.Copy(targets, from.Buffers)
		s.done = from.Done
		if k, ok := s.runner.(gpu.Keeper); ok && from.Kept != nil {
			if err := k.Restore(from.Kept); err != nil {
				return nil, errors.Join(err, s.runner.Close())
			}
		}
	}
	if r := s.result(); job.From == nil || job.From.Buffers[r] == nil {
		targets[r] = targets[BufImage]
	}
	s.counted = int(targets[BufStep][0]) - s.done
	var zeros []float32 // what state begins with: the pairs of L-BFGS alone are twenty pictures
	for _, b := range s.program.Buffers {
		data, ok := targets[b.Name]
		switch {
		case ok:
		case b.Role == gpu.State:
			if n := b.Shape.Elems(); n > len(zeros) {
				zeros = make([]float32, n)
			}
			data = zeros[:b.Shape.Elems()]
		default:
			continue
		}
		if err := s.runner.Write(b, data); err != nil {
			return nil, errors.Join(err, s.runner.Close())
		}
	}
	return s, nil
}

// targets runs the style and content programs.
func (s *Session) targets(ctx context.Context, dev gpu.Device) (map[string][]float32, error) {
	o, out := s.job.Options, map[string][]float32{}
	if o.StyleWeight > 0 || o.TVOfStyle {
		st := s.job.Style
		p, err := StyleProgram(o, s.job.Weights, st.H, st.W)
		if err != nil {
			return nil, err
		}
		err = runOnce(ctx, dev, p, st.RGB, func(name string, data []float32) {
			if name == "tv_style" {
				out[BufTV] = make([]float32, s.n)
				for i := range out[BufTV] {
					out[BufTV][i] = data[0]
				}
				return
			}
			for _, l := range StyleLayers {
				if name == "gram_"+vgg.Layers[l].Name {
					out[GramTarget(l)] = data
				}
			}
		})
		if err != nil {
			return nil, fmt.Errorf("style: %w", err)
		}
	}
	if o.ContentWeight > 0 {
		p, err := ContentProgram(s.job.Options, s.job.Weights, s.n, s.h, s.w)
		if err != nil {
			return nil, err
		}
		if err := runOnce(ctx, dev, p, s.contents(), func(_ string, data []float32) { out[BufContent] = data }); err != nil {
			return nil, fmt.Errorf("content: %w", err)
		}
	}
	return out, nil
}

// runOnce runs a program on one input and hands over each output.
func runOnce(ctx context.Context, dev gpu.Device, p *gpu.Program, image []float32, each func(name string, data []float32)) (err error) {
	r, err := dev.Compile(p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.Write(p.Named(BufImage), image); err != nil {
		return err
	}
	if _, err := r.Run(ctx, 1); err != nil {
		return err
	}
	for _, b := range p.Buffers {
		if b.Role != gpu.Output {
			continue
		}
		data := make([]float32, b.Shape.Elems())
		if err := r.Read(b, data); err != nil {
			return err
		}
		each(b.Name, data)
	}
	return nil
}

func (s *Session) contents() []float32 {
	all := make([]float32, 0, s.n*s.w*s.h*3)
	for _, c := range s.job.Contents {
		all = append(all, c.RGB...)
	}
	return all
}

// initial is the picture that the optimisation starts from. Noise is uniform in
// [0,1], one stream for all pictures of the batch.
func (s *Session) initial() []float32 {
	switch s.job.Options.Init {
	case "content":
		return s.contents()
	case "noise":
		r := rand.New(rand.NewPCG(s.job.Options.Seed, 0x7374796c697a65))
		v := make([]float32, s.n*s.w*s.h*3)
		for i := range v {
			v[i] = r.Float32()
		}
		return v
	}
	var all []float32
	for range s.n {
		all = append(all, s.job.Init.RGB...)
	}
	return all
}

// Run iterates until Options.Iterations are done. report, if not nil, gets the
// rows of every iteration in order (one per picture of the batch); it may return an
// error to stop. every, if positive, makes Run stop and call save at each
// multiple of every iterations but the last.
//
// When ctx is done Run returns ctx.Err() within one iteration; the picture is
// that of the last complete one.
func (s *Session) Run(ctx context.Context, report func([]Row) error, every int, save func(iteration int) error) error {
	for total := s.job.Options.Iterations; s.done < total; {
		n := total - s.done
		if every > 0 {
			n = min(n, every-s.done%every)
		}
		iterations, runErr := s.Advance(ctx, n)
		for _, rows := range iterations {
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
		if every > 0 && s.done%every == 0 && s.done < total {
			if err := save(s.done); err != nil {
				return err
			}
		}
	}
	return nil
}

// Advance runs at most n iterations, and no more than take about a tenth of a
// second. It returns the rows of those that are complete, also beside an error.
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
	rows, err := s.rows(s.done, s.done+ran)
	s.done += ran
	return rows, errors.Join(runErr, err)
}

// rows reads the ring for iterations from+1 to to.
func (s *Session) rows(from, to int) ([][]Row, error) {
	if to == from {
		return nil, nil
	}
	if err := s.runner.Read(s.named[BufRing], s.ring); err != nil {
		return nil, err
	}
	var all [][]Row
	for it := from; it < to; it++ {
		rows := make([]Row, s.n)
		for i := range rows {
			columns := s.named[BufRing].Shape.C
			r := s.ring[(((it+s.counted)%RingRows)*s.n+i)*columns:][:columns]
			f := func(c int) float64 { return float64(r[c]) }
			rows[i] = Row{
				Iteration: it + 1, Content: f(gpu.RecContent), Style: f(gpu.RecStyle), TV: f(gpu.RecTV), Total: f(gpu.RecTotal),
				Mean: f(gpu.RecMean), Std: f(gpu.RecStd), Finite: r[gpu.RecFinite] == 1, Step: f(gpu.RecStep), Refused: r[gpu.RecRefused] == 1,
			}
			for _, v := range r[gpu.RecTerms:] {
				rows[i].Terms = append(rows[i].Terms, float64(v))
			}
		}
		all = append(all, rows)
	}
	return all, nil
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

// Done is how many iterations are complete.
func (s *Session) Done() int { return s.done }

// Raw are the weights of the terms: those of the options, or what their strength
// has become for the targets.
func (s *Session) Raw() RawWeights { return s.raw }

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

// result names the buffer that has the picture.
func (s *Session) result() string { return s.job.Options.result() }

// result names the buffer that has the picture: L-BFGS goes on trying with the
// other.
func (o Options) result() string {
	if o.lbfgs() {
		return "accepted"
	}
	return BufImage
}

// State copies all that the next iteration depends on: a session of the same job
// that begins with it goes on with the same bits.
func (s *Session) State() (*State, error) {
	st := &State{Done: s.done, Buffers: map[string][]float32{}}
	for _, b := range s.program.Buffers {
		if b.Role != gpu.State || b.Name == BufRing { // which is only written
			continue
		}
		v, err := s.Read(b.Name)
		if err != nil {
			return nil, err
		}
		st.Buffers[b.Name] = v
	}
	if k, ok := s.runner.(gpu.Keeper); ok {
		var err error
		if st.Kept, err = k.Keep(); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// Picture returns picture i as it is now, at the working extent, clamped.
func (s *Session) Picture(i int) (*picture.Picture, error) {
	all, err := s.Read(s.result())
	if err != nil {
		return nil, err
	}
	e := 3 * s.w * s.h
	return clamped(all[i*e:(i+1)*e], s.w, s.h), nil
}

// clamped is a picture of values, each put into [0,1]. It takes the values.
func clamped(values []float32, w, h int) *picture.Picture {
	for j, v := range values {
		values[j] = min(max(v, 0), 1)
	}
	return &picture.Picture{W: w, H: h, RGB: values}
}

// Finish brings a result to its output extent and gives it the content's alpha.
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
	if content.HasAlpha {
		p.Alpha = content.Resize(w, h, picture.Bicubic).Alpha
	}
	return p, nil
}

// Close releases the device's memory.
func (s *Session) Close() error { return s.runner.Close() }
