package batch

import (
	"slices"
	"sync"
	"time"

	"github.com/stylize-gpu/stylize/transfer"
)

// queue is between loaders and painters. It has what loaders made ready, a bounded
// number, and what lost devices had in hand.
type queue struct {
	mu      sync.Mutex
	changed sync.Cond
	ready   []*Task
	back    []*Task // of lost devices, for when nothing else is left: one of them may be the cause
	room    int     // of ready
	held    int     // tasks in the hands of painters
	loading bool    // there may come more
	stopped bool
}

func newQueue(room int) *queue {
	q := &queue{room: room, loading: true}
	q.changed.L = &q.mu
	return q
}

// put adds a task as soon as there is room; false when nobody wants any.
func (q *queue) put(t *Task) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ready) >= q.room && !q.stopped {
		q.changed.Wait()
	}
	if !q.stopped {
		q.ready = append(q.ready, t)
		q.changed.Broadcast()
	}
	return !q.stopped
}

// loaded says that no more tasks come.
func (q *queue) loaded() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.loading = false
	q.changed.Broadcast()
}

// stop ends the batch: nobody gets a task any more.
func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.changed.Broadcast()
}

// find looks for a task of the group, or else another unless only that will do.
func (q *queue) find(group transfer.Kind, only bool) (from *[]*Task, i int, ok bool) {
	from = &q.ready
	if len(q.ready) == 0 && !q.loading {
		from = &q.back
	}
	i = slices.IndexFunc(*from, func(t *Task) bool { return t.Group == group })
	if i < 0 && !only {
		i = 0
	}
	return from, i, !q.stopped && i >= 0 && i < len(*from)
}

// take takes what find finds.
func (q *queue) take(group transfer.Kind, only bool) *Task {
	from, i, ok := q.find(group, only)
	if !ok {
		return nil
	}
	t := (*from)[i]
	*from = slices.Delete(*from, i, i+1)
	q.held++
	q.changed.Broadcast()
	return t
}

// fewer reports whether there may soon be more tasks of the same group as the one that
// take would give, of which a painter would like so many.
func (q *queue) fewer(group transfer.Kind, want func(*Task) int) bool {
	from, i, ok := q.find(group, false)
	if !ok || !q.loading || len(q.ready) >= q.room {
		return false
	}
	n, first := 0, (*from)[i]
	for _, t := range *from {
		if t.Group == first.Group {
			n++
		}
	}
	return n < want(first)
}

// Feed is what a painter gets its tasks from, and where it ends them. It remembers which
// ones the painter has in hand.
type Feed struct {
	q    *queue
	hand map[*Task]bool
	done func(*Task, Result)
}

// patience is how long a painter waits for a group: a picture from a phone is decoded in less,
// and where most of a list is done, the next that is not may be far.
const patience = 500 * time.Millisecond

// Next waits for a task, one of the group if there is one. It is for a painter that has
// none in hand, and would like to begin with as many of a group as want says: so it waits
// for these, too, while pictures are loaded and there is room for them, but no longer than
// patience. It gives nil when none is left with anybody, or the batch stops.
func (f *Feed) Next(prefer transfer.Kind, want func(*Task) int) *Task {
	q := f.q
	q.mu.Lock()
	defer q.mu.Unlock()
	late := false
	for {
		if !late && q.fewer(prefer, want) {
			defer time.AfterFunc(patience, func() {
				q.mu.Lock()
				defer q.mu.Unlock()
				late = true
				q.changed.Broadcast()
			}).Stop()
			for !late && q.fewer(prefer, want) {
				q.changed.Wait()
			}
		}
		if t := q.take(prefer, false); t != nil {
			f.hand[t] = true
			return t
		}
		// What another device has in hand comes back if that is lost.
		if q.stopped || !q.loading && q.held == 0 && len(q.ready) == 0 && len(q.back) == 0 {
			return nil
		}
		q.changed.Wait()
	}
}

// Try is for a painter that has other tasks in hand: it does not wait, and gives nil
// unless a task of the group is ready.
func (f *Feed) Try(group transfer.Kind) *Task {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	t := f.q.take(group, true)
	if t != nil {
		f.hand[t] = true
	}
	return t
}

// Done ends a task with its result, good or bad.
func (f *Feed) Done(t *Task, r Result) {
	f.release(t)
	f.done(t, r)
}

func (f *Feed) release(t *Task) {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	delete(f.hand, t)
	f.q.held--
	f.q.changed.Broadcast()
}

// maxLosses is how many devices a task may be lost with before it counts as the cause.
const maxLosses = 2

// giveBack returns what a lost device had in hand, less what has now been lost too often.
func (f *Feed) giveBack() (guilty []*Task) {
	f.q.mu.Lock()
	defer f.q.mu.Unlock()
	for t := range f.hand {
		if t.losses++; t.losses < maxLosses {
			f.q.back = append(f.q.back, t)
		} else {
			guilty = append(guilty, t)
		}
		f.q.held--
	}
	clear(f.hand)
	f.q.changed.Broadcast()
	return guilty
}
