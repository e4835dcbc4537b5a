//go:build cuda

package cuda

import (
	"fmt"
	"slices"

	"gorgonia.org/cu"
)

// rounds are how often each candidate is timed, in turn with the others, after
// one that warms up; and launches how often it runs each time. The simulated
// device's times mean nothing.
func (d *Device) rounds() (rounds, launches int) {
	if d.opt.Simulate != nil {
		return 1, 1
	}
	return 5, 4
}

// tune times the kernels of every layer that nobody has chosen for, on the
// program's own memory, and takes the fastest. They give the same bits, so a
// measurement decides nothing but time.
func (r *runner) tune() error {
	watch, err := newStopwatch(r.d.stream)
	if err != nil {
		return err
	}
	defer watch.close()
	rounds, launches := r.d.rounds()
	for _, s := range r.plan.Steps {
		v := s.Variants
		if v == nil || len(v.Launches) < 2 {
			continue
		}
		if _, ok := v.Named(r.d.target.Tuned(v.Layer)); !ok {
			times := make([][]float64, len(v.Launches))
			for round := range rounds + 1 {
				for j := range v.Launches {
					us, err := watch.time(func() error {
						for range launches {
							if err := r.launch(s, &v.Launches[j]); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						return fmt.Errorf("tune %s: %w", v.Launches[j].Spec.Entry, err)
					}
					if round > 0 {
						times[j] = append(times[j], us)
					}
				}
			}
			best := 0
			for j := range times {
				slices.Sort(times[j])
				if times[j][rounds/2] < times[best][rounds/2] {
					best = j
				}
			}
			r.d.opt.Choices.Set(r.d.key, v.Layer, v.Launches[best].Spec.Entry)
		}
		s.Launches[v.At], _ = v.Named(r.d.target.Tuned(v.Layer))
	}
	return nil
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
