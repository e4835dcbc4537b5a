//go:build cuda

package cuda

import (
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
)

// rounds are how often each candidate is timed, in turn with the others, after
// one that warms up; and launches how often it runs each time. The simulated
// device's times mean nothing.
func (d *Device) rounds() (rounds, launches int) {
	if d.opt.Simulate != nil {
		return 1, 1
	}
	return 7, 8
}

// margin is the share of the first candidate's time, which the plan's rule prefers,
// that another must stay below: two timings of one kernel differ by so much.
const margin = 0.98

// untuned reports whether the kernels of some layer are to be timed.
func (r *runner) untuned() bool {
	return r.d.opt.Choices != nil && slices.ContainsFunc(r.plan.Steps, func(s *plan.Step) bool {
		v := s.Variants
		if v == nil || len(v.Launches) < 2 {
			return false
		}
		_, known := v.Named(r.d.target.Tuned(v.Layer))
		return !known
	})
}

// operands are n bytes that are timed on, as fp16: between -1 and 1, and every second
// value a 0, as behind a ReLU. Read as any other type they are finite too. Nothing is
// timed on zeros: with those a multiplier draws less power, and so its clock is higher.
func operands(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := 0; i+4 <= n; i += 4 {
		x = x*1664525 + 1013904223 // Numerical Recipes' generator, whose upper bits are the good ones
		b[i], b[i+1] = byte(x>>16), byte(x>>31<<7|(0x28+x>>24%20))
	}
	return b
}

// fill puts operands wherever nothing has been put yet.
func (r *runner) fill() error {
	for i, p := range r.allocs {
		n := r.plan.Placement.Bytes
		if r.d.opt.Check {
			n = r.plan.Spans[i].Bytes
		}
		if err := r.d.fill(p, n); err != nil {
			return err
		}
	}
	r.filled = true
	return nil
}

// fill puts operands into memory.
func (d *Device) fill(p cu.DevicePtr, bytes int64) error {
	some := operands(1 << 20)
	for at := int64(0); at < bytes; at += int64(len(some)) {
		if err := d.staging.upload(p+cu.DevicePtr(at), some[:min(int64(len(some)), bytes-at)]); err != nil {
			return err
		}
	}
	return nil
}

// tune times the kernels of every layer that nobody has chosen for, on the
// program's own memory, which fill has filled, and takes the fastest. They give the
// same bits, so a measurement decides nothing but time.
func (r *runner) tune() error {
	if !r.filled {
		return errors.New("tune: nothing is timed on memory that may hold zeros")
	}
	watch, err := newStopwatch(r.d.stream)
	if err != nil {
		return err
	}
	defer watch.close()
	for _, s := range r.plan.Steps {
		v := s.Variants
		if v == nil || len(v.Launches) < 2 {
			continue
		}
		if _, ok := v.Named(r.d.target.Tuned(v.Layer)); !ok {
			best, err := r.fastest(watch, s)
			if err != nil {
				return err
			}
			r.d.opt.Choices.Set(r.d.key, v.Layer, v.Launches[best].Spec.Entry)
		}
		s.Launches[v.At], _ = v.Named(r.d.target.Tuned(v.Layer))
	}
	return nil
}

// fastest is the index of the variant of a step whose median time is least, by
// more than margin.
func (r *runner) fastest(watch *stopwatch, s *plan.Step) (best int, err error) {
	rounds, launches := r.d.rounds()
	all := s.Variants.Launches
	laps := make([]*lap, 0, len(all))
	defer func() {
		for _, l := range laps {
			err = errors.Join(err, l.close())
		}
	}()
	for j := range all {
		if err := r.launch(s, &all[j]); err != nil { // loads its module, which a capture cannot
			return 0, fmt.Errorf("tune %s: %w", all[j].Spec.Entry, err)
		}
		l, err := watch.lap(launches, func() error { return r.launch(s, &all[j]) })
		if err != nil {
			return 0, fmt.Errorf("tune %s: %w", all[j].Spec.Entry, err)
		}
		laps = append(laps, l)
	}
	times := make([][]float64, len(all))
	for round := range rounds + 1 {
		for j, l := range laps {
			us, err := l.time()
			if err != nil {
				return 0, fmt.Errorf("tune %s: %w", all[j].Spec.Entry, err)
			}
			if round > 0 {
				times[j] = append(times[j], us)
			}
		}
	}
	medians := make([]float64, len(all))
	for j := range times {
		slices.Sort(times[j])
		medians[j] = times[j][rounds/2]
		if medians[j] < medians[best] {
			best = j
		}
	}
	if medians[best] > margin*medians[0] {
		best = 0
	}
	return best, nil
}

// lap times one piece of work by the difference of two graphs: one does it once,
// the other n times more. Between the events around a single launch lies the time
// that the host needs to make it, which for most kernels is the longer.
type lap struct {
	watch     *stopwatch
	one, many *graph
	n         int
}

// lap captures the graphs; the work is one part behind the other.
func (w *stopwatch) lap(n int, work ...func() error) (_ *lap, err error) {
	l := &lap{watch: w, n: n}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	times := func(n int) func() error {
		return func() error {
			for range n {
				for _, part := range work {
					if err := part(); err != nil {
						return err
					}
				}
			}
			return nil
		}
	}
	if l.one, err = capture(w.stream, times(1)); err != nil {
		return nil, err
	}
	if l.many, err = capture(w.stream, times(1+n)); err != nil {
		return nil, err
	}
	return l, nil
}

// time is how long the device takes for the work once, in microseconds.
func (l *lap) time() (us float64, err error) {
	one, err := l.watch.time(func() error { return l.one.launch(l.watch.stream) })
	if err != nil {
		return 0, err
	}
	many, err := l.watch.time(func() error { return l.many.launch(l.watch.stream) })
	return (many - one) / float64(l.n), err
}

func (l *lap) close() (err error) {
	for _, g := range []*graph{l.one, l.many} {
		if g != nil {
			err = errors.Join(err, g.destroy())
		}
	}
	return err
}

// stopwatch times work of a stream by the device's own events.
type stopwatch struct {
	stream     cu.Stream
	begin, end cu.Event
}

func newStopwatch(s cu.Stream) (*stopwatch, error) {
	w := &stopwatch{stream: s}
	for _, e := range []*cu.Event{&w.begin, &w.end} {
		var err error
		if *e, err = cu.MakeEvent(cu.DefaultEvent); err != nil {
			w.close()
			return nil, wrap("make an event", err)
		}
	}
	return w, nil
}

// time is how long the device takes for what f enqueues, in microseconds.
func (w *stopwatch) time(f func() error) (us float64, err error) {
	if err := wrap("record an event", w.begin.Record(w.stream)); err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	if err := wrap("record an event", w.end.Record(w.stream)); err != nil {
		return 0, err
	}
	if err := wrap("wait", w.end.Synchronize()); err != nil {
		return 0, err
	}
	ms, err := w.begin.Elapsed(w.end)
	return 1e3 * ms, wrap("read an event", err)
}

func (w *stopwatch) close() {
	for _, e := range []*cu.Event{&w.begin, &w.end} {
		if *e != (cu.Event{}) {
			_ = cu.DestroyEvent(e)
		}
	}
}
