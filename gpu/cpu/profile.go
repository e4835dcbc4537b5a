package cpu

import (
	"context"
	"fmt"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
)

// StepTime is one step of a program with the time of each of its executions.
type StepTime struct {
	Name, How string
	FLOPs     int64 // of the operation as it is defined: a direct convolution's
	Executed  int64 // multiply-adds that the algorithm performs, times two; equal to FLOPs where nothing is saved
	Tiles     bool  // in bf16, on the matrix unit or its twin
	Times     []time.Duration
}

// Profile executes a compiled program n times, each step timed on its own. The
// clock is read between steps only, so a step's time includes waiting for its
// last thread.
func Profile(ctx context.Context, run gpu.Runner, n int) ([]StepTime, error) {
	r, ok := run.(*runner)
	if !ok {
		return nil, fmt.Errorf("cpu: profile: the program was compiled for another device: %w", gpu.ErrUnsupported)
	}
	if r.arena == nil {
		return nil, errClosed
	}
	all := make([]StepTime, len(r.steps))
	for i, s := range r.steps {
		all[i] = StepTime{Name: s.op.Name, How: s.how, FLOPs: s.flops, Executed: s.executed(), Tiles: s.tiled != nil, Times: make([]time.Duration, 0, n)}
	}
	for range n {
		for i, call := range r.calls {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			start := time.Now()
			call()
			all[i].Times = append(all[i].Times, time.Since(start))
		}
	}
	return all, nil
}

// executed counts what a Winograd convolution multiplies: tiles * (tile+2)^2 * C * K.
func (s *step) executed() int64 {
	if s.conv == nil || s.conv.algo.tile() == 0 {
		if s.op.Kind == gpu.GramFwd { // one triangle
			return s.flops / 2
		}
		return s.flops
	}
	t := int64(s.conv.algo.tile() + 2)
	in, out := s.conv.extents()
	return 2 * int64(s.conv.block.tiles) * t * t * int64(in.C) * int64(out.C)
}

// Peak measures what the processor can do at most, in FLOP/s: independent fp32
// multiply-adds in registers on every thread at once, the best of several runs.
func (d *Device) Peak() float64 {
	return fastest(func() float64 { return d.pool.Peak(20000) })
}

// TilesPeak is Peak of products of tiles, bf16 with sums in fp32; 0 for a device in fp32.
// Without AMX it is the twin's.
func (d *Device) TilesPeak() float64 {
	if d.tiles == nil {
		return 0
	}
	return fastest(func() float64 { return d.pool.TilesPeak(d.tiles, 2000) })
}

// fastest is the best rate of several runs.
func fastest(run func() (flops float64)) (best float64) {
	for range 5 {
		start := time.Now()
		flops := run()
		best = max(best, flops/time.Since(start).Seconds())
	}
	return best
}
