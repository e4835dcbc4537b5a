//go:build cuda

package cuda

import (
	"slices"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu/cuda/driver"
)

// rounds are how often each candidate is timed, in turn with the others, after
// one that warms up; and launches how often it runs each time. The simulated
// device's times mean nothing.
func rounds() (rounds, launches int) {
	if driver.Simulated() != nil {
		return 1, 1
	}
	return 5, 4
}

// tune times the kernels of every layer that nobody has chosen for, on the
// program's own memory, and takes the fastest. They give the same bits, so a
// measurement decides nothing but time.
func (r *runner) tune() error {
	var begin, end cu.Event
	var err error
	for _, e := range []*cu.Event{&begin, &end} {
		if *e, err = cu.MakeEvent(cu.DefaultEvent); err != nil {
			return wrap("make an event", err)
		}
		defer func() { _ = cu.DestroyEvent(e) }()
	}
	rounds, launches := rounds()
	for i, s := range r.l.steps {
		v := s.variants
		if v == nil || len(v.entries) < 2 {
			continue
		}
		if !slices.Contains(v.entries, r.d.target.tuned(v.layer)) {
			times := make([][]float64, len(v.entries))
			for round := range rounds + 1 {
				for j, entry := range v.entries {
					la := v.launch(entry)
					ms, err := r.time(begin, end, i, &la, launches)
					if err != nil {
						return err
					}
					if round > 0 {
						times[j] = append(times[j], ms)
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
			r.d.opt.Choices.Set(r.d.key, v.layer, v.entries[best])
		}
		s.launches[v.at] = v.launch(r.d.target.tuned(v.layer))
	}
	return nil
}

// time is how long so many launches of step i take, in milliseconds.
func (r *runner) time(begin, end cu.Event, i int, la *launch, launches int) (float64, error) {
	if err := wrap("record an event", begin.Record(r.d.stream)); err != nil {
		return 0, err
	}
	for range launches {
		if err := r.launch(i, la); err != nil {
			return 0, err
		}
	}
	if err := wrap("record an event", end.Record(r.d.stream)); err != nil {
		return 0, err
	}
	if err := wrap("tune "+la.spec.Entry, end.Synchronize()); err != nil {
		return 0, err
	}
	ms, err := begin.Elapsed(end)
	return ms, wrap("read an event", err)
}
