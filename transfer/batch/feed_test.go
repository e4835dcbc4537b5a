package batch

import (
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/transfer"
)

func alone(*Task) int { return 1 }

// A painter that fills up takes its group alone, and without waiting; one that has nothing
// waits, and takes its group first.
func TestFeed(t *testing.T) {
	kind := func(w int) transfer.Kind { return transfer.Stage{W: w, H: w}.Kind() }
	x, y, z, none := kind(1), kind(2), kind(3), transfer.Kind{}
	q := newQueue(4)
	var done []*Task
	a := &Feed{q: q, hand: map[*Task]bool{}, done: func(t *Task, _ Result) { done = append(done, t) }}
	b := &Feed{q: q, hand: map[*Task]bool{}, done: a.done}
	if a.Try(x) != nil {
		t.Fatal("a task out of nothing")
	}
	tasks := []*Task{{Group: x}, {Group: y}, {Group: x}, {Group: y}}
	for _, task := range tasks {
		q.put(task)
	}
	for _, c := range []struct {
		got, want *Task
	}{{a.Next(y, alone), tasks[1]}, {a.Try(y), tasks[3]}, {a.Try(y), nil}, {a.Next(z, alone), tasks[0]}} {
		if c.got != c.want {
			t.Fatalf("got %+v, want %+v", c.got, c.want)
		}
	}
	q.loaded()
	if got := b.Next(y, alone); got != tasks[2] {
		t.Fatalf("%+v", got)
	}
	b.Done(tasks[2], Result{})
	// Nothing is left, but another device has some in hand: b waits for what becomes of it.
	next := make(chan *Task)
	go func() { next <- b.Next(none, alone) }()
	select {
	case got := <-next:
		t.Fatalf("did not wait: %+v", got)
	case <-time.After(50 * time.Millisecond):
	}
	a.Done(tasks[1], Result{})
	if guilty := a.giveBack(); len(guilty) != 0 { // a is lost, with two
		t.Fatalf("%v", guilty)
	}
	seen := map[*Task]bool{<-next: true, b.Next(none, alone): true}
	if len(seen) != 2 || !seen[tasks[3]] || !seen[tasks[0]] {
		t.Fatalf("%v", seen)
	}
	b.Done(tasks[0], Result{})
	if guilty := b.giveBack(); len(guilty) != 1 || guilty[0] != tasks[3] { // the second device that it takes along
		t.Fatalf("%v", guilty)
	}
	if got := a.Next(none, alone); got != nil || len(done) != 3 {
		t.Fatalf("%+v, %d done", got, len(done))
	}
}

// A painter that has nothing begins with as many tasks of a group as it wants, while they are
// loaded and there is room for them.
func TestFeedWaitsForAGroup(t *testing.T) {
	x, y := transfer.Stage{W: 1}.Kind(), transfer.Stage{W: 2}.Kind()
	four := func(*Task) int { return 4 }
	for _, c := range []struct {
		name  string
		room  int
		put   []transfer.Kind
		waits bool
	}{
		{"two", 8, []transfer.Kind{x, x}, true},
		{"three, and another", 8, []transfer.Kind{x, y, x, x}, true},
		{"four", 8, []transfer.Kind{x, x, y, x, x}, false},
		{"no room for more", 3, []transfer.Kind{x, x, y}, false},
	} {
		q := newQueue(c.room)
		f := &Feed{q: q, hand: map[*Task]bool{}}
		for _, k := range c.put {
			q.put(&Task{Group: k})
		}
		q.mu.Lock()
		if got := q.fewer(transfer.Kind{}, four); got != c.waits {
			t.Errorf("%s: waits %v, want %v", c.name, got, c.waits)
		}
		q.mu.Unlock()
		if c.waits { // but not for ever
			f.Next(x, four)
			q.put(&Task{Group: x})
		}
		q.loaded() // nobody waits for what will not come
		if got := f.Next(x, four); got == nil || got.Group != x {
			t.Errorf("%s: got %+v", c.name, got)
		}
	}
}

// Loaders wait where there is no room, and go when the batch stops.
func TestQueueIsBounded(t *testing.T) {
	q := newQueue(2)
	put := make(chan bool)
	go func() {
		for i := range 4 {
			put <- q.put(&Task{Group: transfer.Stage{W: i}.Kind()})
		}
	}()
	for range 2 {
		if !<-put {
			t.Fatal("no room in an empty queue")
		}
	}
	select {
	case <-put:
		t.Fatal("a third one where two fit")
	case <-time.After(50 * time.Millisecond):
	}
	f := &Feed{q: q, hand: map[*Task]bool{}}
	if f.Next(transfer.Kind{}, alone) == nil || !<-put {
		t.Fatal("room is not given back")
	}
	q.stop()
	if <-put || f.Next(transfer.Kind{}, alone) != nil || f.Try(transfer.Stage{W: 1}.Kind()) != nil {
		t.Fatal("it goes on after stop")
	}
}
