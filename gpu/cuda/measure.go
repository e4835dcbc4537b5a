//go:build cuda

package cuda

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/kernels"
)

// Measure times every launch of a program that has run (for a plan it need not
// have), on its own data: open the device with Check, so that every array keeps
// its values. A kernel that is not the one in use is timed only if it gives the
// same bits.
func Measure(ctx context.Context, dev gpu.Device, run gpu.Runner, opt MeasureOptions) (*Measured, error) {
	d, ok := dev.(*Device)
	r, ok2 := run.(*runner)
	if !ok || !ok2 {
		return nil, fmt.Errorf("measure %s: not a CUDA device: %w", dev.Info().Kind, gpu.ErrUnsupported)
	}
	m := &measurer{r: r, opt: opt, out: &Measured{Device: d.info, Precision: d.opt.Precision.String()}}
	if err := d.do(func() error { return m.measure(ctx) }); err != nil {
		return nil, d.report(err)
	}
	return m.out, nil
}

type measurer struct {
	r          *runner
	opt        MeasureOptions
	out        *Measured
	watch      *stopwatch
	flush      cu.DevicePtr // fills the second-level cache
	flushBytes int64
}

// timed reports whether anything is timed.
func (m *measurer) timed() bool { return m.r.d.opt.Simulate == nil || m.opt.Dry }

// count is how often something is done to time it; in a dry run once.
func (m *measurer) count(n int) int {
	if m.opt.Dry {
		return 1
	}
	return n
}

func (m *measurer) measure(ctx context.Context) (err error) {
	if m.timed() && !m.opt.Plan {
		if m.watch, err = newStopwatch(m.r.d.stream); err != nil {
			return err
		}
		defer m.watch.close()
		l2, err := m.r.d.dev.Attribute(cu.L2CacheSize)
		if err != nil {
			return wrap("ask for the size of the cache", err)
		}
		m.flushBytes = max(2*int64(l2), 64<<20)
		if m.opt.Dry {
			m.flushBytes = 1 << 20
		}
		if m.flush, err = cu.MemAlloc(m.flushBytes); err != nil {
			return wrap("allocate", err)
		}
		defer func() { _ = cu.MemFree(m.flush) }()
		if err := m.probe(); err != nil {
			return err
		}
		if err := m.iteration(ctx); err != nil {
			return err
		}
	}
	for i, s := range m.r.plan.Steps {
		for j, la := range s.Launches {
			if err := ctx.Err(); err != nil {
				return err
			}
			all := []kernels.Launch{la}
			if v := s.Variants; v != nil && v.At == j && m.opt.Every {
				for _, other := range v.Launches {
					if other.Spec != la.Spec {
						all = append(all, other)
					}
				}
			}
			for k := range all {
				if m.opt.Match != nil && !m.opt.Match.MatchString(s.Name) && !m.opt.Match.MatchString(all[k].Spec.Entry) {
					continue
				}
				if err := m.launch(i, j, k == 0, &all[k]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// iteration times iterations as a run has them, two of its larger graphs a round.
func (m *measurer) iteration(ctx context.Context) error {
	n := m.count(2 * m.r.d.perGraph)
	for round := range m.opt.Rounds + 1 {
		if err := ctx.Err(); err != nil {
			return err
		}
		us, err := m.watch.time(func() error {
			for done := 0; done < n; {
				k, err := m.r.next(n - done)
				if err != nil {
					return err
				}
				done += k
			}
			return nil
		})
		if err != nil {
			return err
		}
		if round > 0 {
			m.out.Iteration = append(m.out.Iteration, us/float64(n))
		}
	}
	return nil
}

// launch measures one launch of step i.
func (m *measurer) launch(i, j int, chosen bool, la *kernels.Launch) error {
	s := m.r.plan.Steps[i]
	x := Measurement{
		Layer: s.Name, Kernel: la.Spec.Entry, Arch: m.r.d.arch(la.Spec), Chosen: chosen, Grid: la.Grid, Threads: la.Spec.Threads, Shared: la.Spec.Shared,
		Bytes: m.r.plan.Traffic(s, la),
	}
	if s.Variants == nil && j == 0 || s.Variants != nil && s.Variants.At == j {
		x.FLOPs = s.FLOPs
	}
	if m.opt.Plan {
		m.out.Launches = append(m.out.Launches, x)
		return nil
	}
	product := s.Variants != nil && s.Variants.At == j // the rest counts, or accumulates
	var want []byte
	if product {
		if err := m.r.launch(s, &s.Launches[j]); err != nil {
			return err
		}
		var err error
		if want, err = m.outputs(s); err != nil {
			return err
		}
	}
	again := func() error { return m.r.launch(s, la) }
	if err := again(); err != nil {
		return err
	}
	if err := wrap("run "+la.Spec.Entry, m.r.d.stream.Synchronize()); err != nil {
		return err
	}
	if sd := m.r.d.opt.Simulate; sd != nil {
		x.Profile = sd.Profile()
	}
	if product {
		got, err := m.outputs(s)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s gives other bits than %s for %s, so nothing is timed", la.Spec.Entry, s.Launches[j].Spec.Entry, s.Name)
		}
	}
	if m.timed() {
		if err := m.times(&x, i, j, again); err != nil {
			return err
		}
	}
	m.out.Launches = append(m.out.Launches, x)
	return nil
}

// times fills in the three kinds of times. What goes ahead of a launch, to leave
// caches as in an iteration or full of something else, is timed alone and taken off.
func (m *measurer) times(x *Measurement, i, j int, again func() error) (err error) {
	before := func() error {
		for k := max(i-m.count(2), 0); k < i; k++ {
			s := m.r.plan.Steps[k]
			for l := range s.Launches {
				if err := m.r.launch(s, &s.Launches[l]); err != nil {
					return err
				}
			}
		}
		for l := range j {
			if err := m.r.launch(m.r.plan.Steps[i], &m.r.plan.Steps[i].Launches[l]); err != nil {
				return err
			}
		}
		return nil
	}
	flush := func() error { return wrap("fill the cache", cu.MemsetD8Async(m.flush, 0, m.flushBytes, m.r.d.stream)) }
	var laps []*lap
	defer func() {
		for _, l := range laps {
			err = errors.Join(err, l.close())
		}
	}()
	for _, work := range [][]func() error{{again}, {before}, {before, again}, {flush}, {flush, again}} {
		l, err := m.watch.lap(m.count(10), work...)
		if err != nil {
			return err
		}
		laps = append(laps, l)
	}
	for round := range m.opt.Rounds + 1 {
		var us [5]float64
		for k, l := range laps {
			if us[k], err = l.time(); err != nil {
				return err
			}
		}
		if round > 0 {
			x.Hot, x.InOrder, x.Cold = append(x.Hot, us[0]), append(x.InOrder, us[2]-us[1]), append(x.Cold, us[4]-us[3])
		}
	}
	return nil
}

// outputs are the bytes of what a step with a product writes.
func (m *measurer) outputs(s *plan.Step) ([]byte, error) {
	var all []byte
	for _, b := range s.Results() {
		i, _ := m.r.plan.Span(b)
		v := make([]byte, m.r.plan.Spans[i].Bytes)
		if err := m.r.d.staging.download(v, m.r.span(i)); err != nil {
			return nil, err
		}
		all = append(all, v...)
	}
	return all, nil
}

// probe measures what the device does at most.
func (m *measurer) probe() error {
	d := m.r.d
	half := uint64(m.flushBytes / 2 / 16 * 16)
	at := func(p uint64, e kernels.Elem) kernels.Ptr { return kernels.Ptr{Ref: cu.DevicePtr(p), Elem: e} }
	f32 := func(p uint64) kernels.Ptr { return at(p, kernels.F32) }
	run := func(la kernels.Launch, err error) func() error {
		if err != nil {
			return func() error { return err }
		}
		f, err := d.function(la.Spec)
		if err != nil {
			return func() error { return err }
		}
		k := kernelLaunch{f: f, grid: la.Grid, block: [3]int{la.Spec.Threads, 1, 1}, shared: la.Spec.Shared}
		for i, a := range la.Args {
			bits := a.Bits
			if p, ok := a.Ptr.Ref.(cu.DevicePtr); ok {
				bits = uint64(p)
			}
			k.params = append(k.params, binary.LittleEndian.AppendUint64(nil, bits)[:la.Spec.Params[i].Kind.Bytes()])
		}
		return func() error { return k.enqueue(d.stream) }
	}
	best := func(f func() error) (us float64, err error) {
		l, err := m.watch.lap(m.count(4), f)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, l.close()) }()
		for range m.count(max(m.opt.Rounds, 5)) {
			t, err := l.time()
			if err != nil {
				return 0, err
			}
			if us == 0 || t < us {
				us = t
			}
		}
		return us, nil
	}
	if err := d.fill(m.flush, m.flushBytes); err != nil {
		return err
	}
	x, y := uint64(m.flush), uint64(m.flush)+half
	us, err := best(run(kernels.ProbeCopyArgs{Y: f32(y), X: f32(x), Elems: int(half / 4)}.Launch()))
	if err != nil {
		return err
	}
	m.out.CopyRate = 2 * float64(half) / us * 1e6
	rounds, blocks, hopperBlocks := m.count(1<<14), m.count(8*d.target.SMs), m.count(d.target.SMs)
	clocks := y + half - 64
	if us, err = best(run(kernels.ProbeMMAArgs{Y: f32(y), Operands: at(x, kernels.U32), Clocks: at(clocks, kernels.U64), Rounds: rounds}.Launch(blocks))); err != nil {
		return err
	}
	m.out.MathRate = float64(blocks) * 4 * 32768 * float64(rounds) / us * 1e6
	c := make([]byte, 16)
	if err := d.staging.download(c, cu.DevicePtr(clocks)); err != nil {
		return err
	}
	if ns := binary.LittleEndian.Uint64(c[8:]); ns > 0 {
		m.out.ClockMHz = 1e3 * float64(binary.LittleEndian.Uint64(c)) / float64(ns)
	}
	if d.target.Hopper {
		if us, err = best(run(kernels.ProbeWGMMAArgs{Y: f32(y), Operands: at(x, kernels.U32x4), Rounds: rounds}.Launch(hopperBlocks))); err != nil {
			return err
		}
		m.out.MathRate = float64(hopperBlocks) * 4194304 * float64(rounds) / us * 1e6
	}
	return nil
}
