package batch

import (
	"context"
	"errors"
	"fmt"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// Task is an item that is ready to be painted: it is not done yet, its pictures are
// decoded, and resized ahead to the extents of its levels.
type Task struct {
	Item  *Item
	Key   Key
	Group Group
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
	Idle     float64 // of them, and of those just before, without anything running
	Fleeting bool    // Err is none of the item's own: it may be well next time
}

// Painter paints on one device, in one goroutine. It decides how many tasks it has in
// hand: [Feed.Next] waits for the first, [Feed.Try] fills up with others of its group. It
// ends each with [Feed.Done].
//
// Paint returns nil when Next has no more. When ctx is done it returns ctx.Err() soon. Any
// other error says that the device is lost: the tasks that it took and did not end go to
// other devices. progress is told the share of a task that is done, 0 to 1.
//
// What a painter keeps from task to task, as runners and targets of styles, is its own.
// Tasks come in an order that has those of a group together.
type Painter interface {
	Paint(ctx context.Context, feed *Feed, progress func(t *Task, share float64)) error
}

// newPainter makes the painter of a device. It is the one place that chooses it.
func newPainter(m *metered) Painter {
	return &oneByOne{dev: reuse(m), clock: m.clock}
}

// oneByOne paints one task after the other, each as the main command would, but for
// runners that it keeps.
type oneByOne struct {
	dev   *reusing
	clock *clock
	idle  float64 // of the clock, up to the last result
}

func (p *oneByOne) Paint(ctx context.Context, feed *Feed, progress func(t *Task, share float64)) error {
	defer func() { _ = p.dev.Close() }() // what a lost device says of its runners
	var last Group
	for {
		t := feed.Next(last)
		if t == nil {
			return ctx.Err()
		}
		last = t.Group
		r, err := p.one(ctx, t, progress)
		if err != nil {
			return err
		}
		feed.Done(t, r)
	}
}

// one paints a picture. The error is that of a device that is lost, or of ctx.
func (p *oneByOne) one(ctx context.Context, t *Task, progress func(t *Task, share float64)) (r Result, lost error) {
	from := p.clock.now()
	r.Picture, r.Record, r.Err = p.paint(ctx, t, progress)
	r.Seconds = p.clock.now() - from
	_, idle := p.clock.times()
	r.Idle, p.idle = idle-p.idle, idle
	switch {
	case r.Err == nil:
		return r, nil
	case ctx.Err() != nil:
		return r, ctx.Err()
	case errors.As(r.Err, new(*transfer.LostError)):
		return r, r.Err
	case errors.Is(r.Err, transfer.ErrDiverged):
		return r, nil
	}
	// An error of the item, unless the device fails with everything else, too.
	if err := alive(ctx, p.dev); err != nil {
		return r, errors.Join(r.Err, err)
	}
	r.Fleeting = errors.Is(r.Err, gpu.ErrOutOfMemory)
	return r, nil
}

func (p *oneByOne) paint(ctx context.Context, t *Task, progress func(t *Task, share float64)) (pic *picture.Picture, rec transfer.Record, err error) {
	painting, err := transfer.NewPainting(ctx, p.dev, t.Work, nil)
	if err != nil {
		return nil, rec, err
	}
	defer func() { err = errors.Join(err, painting.Close()) }()
	report := func(pt transfer.Point) error {
		progress(t, pt.Share)
		return nil
	}
	if err := painting.Run(ctx, transfer.Hooks{Report: report}); err != nil {
		return nil, rec, err
	}
	rec = painting.Record()
	rec.Result.Stopped = painting.Stopped()
	pic, err = painting.Picture()
	return pic, rec, err
}

// alive runs one operation, to see whether a device still does anything.
func alive(ctx context.Context, dev gpu.Device) (err error) {
	p := &gpu.Program{}
	x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: 1, H: 4, W: 4, C: 4})
	y := p.ReLUFwd("y", x)
	p.Output(y)
	r, err := dev.Compile(p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	v := make([]float32, 64)
	v[0] = 1
	if err := r.Write(x, v); err != nil {
		return err
	}
	if _, err := r.Run(ctx, 1); err != nil {
		return err
	}
	if err := r.Read(y, v); err != nil {
		return err
	}
	if v[0] != 1 {
		return fmt.Errorf("the device computes max(1, 0) = %v", v[0])
	}
	return nil
}
