package batch

import (
	"context"
	"errors"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// Task is an item that is ready to be painted: it is not done yet, its pictures are
// decoded, and resized ahead to the extents of its levels.
type Task struct {
	Item  *Item
	Key   Key
	Group transfer.Kind // of its last level
	Work  transfer.Work
	FLOPs float64

	output string         // complete
	crop   *transfer.Crop // that the content is; nil for all
	save   picture.SaveOptions
	losses int // of devices that had it in hand
}

// Result is what became of a task.
type Result struct {
	Picture *picture.Picture // at its output extent; nil with an error
	Record  transfer.Record
	Err     error // of this task alone: the painter goes on

	Seconds  float64 // in hand
	Idle     float64 // of the device, since the last result
	Fleeting bool    // Err is none of the item's own: it may be well next time
}

// painter paints on one device, in one goroutine: as many tasks side by side as its
// studio has slots for.
type painter struct {
	device Device
	clock  *clock
	feed   *Feed
	idle   float64 // of the clock, up to the last result
}

// hand is a task in work.
type hand struct {
	task *Task
	from float64
}

// paint returns nil when the feed has no more. When ctx is done it returns ctx.Err()
// soon. Any other error says that the device is lost: the tasks that it took and did not
// end go to other devices. progress is told the share of a task that is done, 0 to 1.
func (p *painter) paint(ctx context.Context, b *Batch, dev gpu.Device, progress func(t *Task, share float64)) (err error) {
	s := transfer.NewStudio(dev, b.Weights, p.device.slots, p.device.memory())
	defer func() {
		if e := s.Close(); err == nil {
			err = e // that of a lost device says nothing new
		}
	}()
	var last transfer.Kind
	inHand := func(t *Task) int { return transfer.InHand(t.Work.Stages(), p.device.slots) }
	next := func(wait bool) *transfer.Commission {
		var t *Task
		if wait {
			t = p.feed.Next(last, inHand)
		} else {
			t = p.feed.Try(last)
		}
		if t == nil {
			return nil
		}
		last = t.Group
		return &transfer.Commission{Work: t.Work, Tag: &hand{t, p.clock.now()}, Hooks: transfer.Hooks{Report: func(pt transfer.Point) error {
			progress(t, pt.Share)
			return nil
		}}}
	}
	return s.Run(ctx, next, func(c *transfer.Commission, painting *transfer.Painting, err error) {
		if ctx.Err() == nil && !errors.As(err, new(*transfer.LostError)) {
			h := c.Tag.(*hand)
			p.feed.Done(h.task, p.result(h, painting, err))
		}
	})
}

// result is what became of a task. An error is the task's own.
func (p *painter) result(h *hand, painting *transfer.Painting, err error) Result {
	r := Result{Err: err, Seconds: p.clock.now() - h.from}
	_, idle := p.clock.times()
	r.Idle, p.idle = idle-p.idle, idle
	if err != nil {
		r.Fleeting = errors.Is(err, gpu.ErrOutOfMemory)
		return r
	}
	r.Record = painting.Record()
	r.Picture, r.Err = painting.Picture()
	return r
}
