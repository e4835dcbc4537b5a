//go:build cuda

package cuda

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu"
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

func (m *measurer) measure(ctx context.Context) (err error) {
	if m.r.d.opt.Simulate == nil && !m.opt.Plan {
		if m.watch, err = newStopwatch(m.r.d.stream); err != nil {
			return err
		}
		defer m.watch.close()
		l2, err := m.r.d.dev.Attribute(cu.L2CacheSize)
		if err != nil {
			return wrap("ask for the size of the cache", err)
		}
		m.flushBytes = max(2*int64(l2), 64<<20)
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
	for i, s := range m.r.l.steps {
		for j := range s.launches {
			if err := ctx.Err(); err != nil {
				return err
			}
			entries := []string{s.launches[j].spec.Entry}
			if v := s.variants; v != nil && v.at == j && m.opt.Every {
				for _, e := range v.entries {
					if e != entries[0] {
						entries = append(entries, e)
					}
				}
			}
			for k, e := range entries {
				la := s.launches[j]
				if k > 0 {
					la = s.variants.launch(e)
				}
				if m.opt.Match != nil && !m.opt.Match.MatchString(s.name()) && !m.opt.Match.MatchString(e) {
					continue
				}
				if err := m.launch(i, j, k == 0, &la); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// iteration times iterations as a run has them, two of its larger graphs a round.
func (m *measurer) iteration(ctx context.Context) error {
	const n = 2 * perGraph
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
			m.out.Iteration = append(m.out.Iteration, us/n)
		}
	}
	return nil
}

// launch measures one launch of step i.
func (m *measurer) launch(i, j int, chosen bool, la *launch) error {
	s := m.r.l.steps[i]
	x := Measurement{
		Layer: s.name(), Kernel: la.spec.Entry, Arch: m.r.d.arch(la.spec), Chosen: chosen, Grid: la.grid, Threads: la.spec.Threads, Shared: la.spec.Shared,
		Bytes: m.r.traffic(s, la),
	}
	if s.variants == nil && j == 0 || s.variants != nil && s.variants.at == j {
		x.FLOPs = s.flops()
	}
	if m.opt.Plan {
		m.out.Launches = append(m.out.Launches, x)
		return nil
	}
	product := s.variants != nil && s.variants.at == j // the rest counts, or accumulates
	var want []byte
	if product {
		if err := m.r.launch(i, &s.launches[j]); err != nil {
			return err
		}
		var err error
		if want, err = m.outputs(s); err != nil {
			return err
		}
	}
	again := func() error { return m.r.launch(i, la) }
	if err := again(); err != nil {
		return err
	}
	if err := wrap("run "+la.spec.Entry, m.r.d.stream.Synchronize()); err != nil {
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
			return fmt.Errorf("%s gives other bits than %s for %s, so nothing is timed", la.spec.Entry, s.launches[j].spec.Entry, s.name())
		}
	}
	if m.r.d.opt.Simulate == nil {
		if err := m.times(&x, i, j, again); err != nil {
			return err
		}
	}
	m.out.Launches = append(m.out.Launches, x)
	return nil
}

// times fills in the three kinds of times.
func (m *measurer) times(x *Measurement, i, j int, again func() error) error {
	const n = 10
	for round := range m.opt.Rounds + 1 {
		for k := range m.r.l.steps[:i] { // the steps before leave caches as in an iteration
			if k < i-2 {
				continue
			}
			for l := range m.r.l.steps[k].launches {
				if err := m.r.launch(k, &m.r.l.steps[k].launches[l]); err != nil {
					return err
				}
			}
		}
		for l := range j {
			if err := m.r.launch(i, &m.r.l.steps[i].launches[l]); err != nil {
				return err
			}
		}
		inOrder, err := m.watch.time(again)
		if err != nil {
			return err
		}
		hot, err := m.watch.time(func() error {
			for range n {
				if err := again(); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := wrap("fill the cache", cu.MemsetD8Async(m.flush, 0, m.flushBytes, m.r.d.stream)); err != nil {
			return err
		}
		cold, err := m.watch.time(again)
		if err != nil {
			return err
		}
		if round > 0 {
			x.InOrder, x.Hot, x.Cold = append(x.InOrder, inOrder), append(x.Hot, hot/n), append(x.Cold, cold)
		}
	}
	return nil
}

// outputs are the bytes of what a step with a product writes.
func (m *measurer) outputs(s *step) ([]byte, error) {
	var all []byte
	for _, b := range s.out {
		v := make([]byte, m.r.l.bytes(b))
		if err := m.r.d.staging.download(v, m.r.span(m.r.l.span[b])); err != nil {
			return nil, err
		}
		all = append(all, v...)
	}
	return all, nil
}

// traffic is the bytes of every array of a launch, once; twice for those that
// are read and written.
func (r *runner) traffic(s *step, la *launch) (n int64) {
	written := map[*gpu.Buffer]bool{}
	for _, b := range s.out {
		written[b] = true
	}
	seen := map[argument]bool{}
	args := slices.Clone(la.args)
	for _, b := range la.also {
		args = append(args, buf(b))
	}
	for _, a := range args {
		if a.where == inMap {
			a = a.tensor.of
		}
		if seen[a] {
			continue
		}
		seen[a] = true
		switch a.where {
		case inBuffer:
			n += r.l.bytes(a.buf)
			if written[a.buf] && a.buf.Role == gpu.State {
				n += r.l.bytes(a.buf)
			}
		case inWeights:
			n += a.weight.bytes
		case inScratch:
			n += s.scratch
		case scalar, inTable, inScale, inMap:
		}
	}
	return n
}

// probe measures what the device does at most.
func (m *measurer) probe() error {
	d := m.r.d
	half := uint64(m.flushBytes / 2 / 16 * 16)
	run := func(entry string, blocks int, args ...uint64) func() error {
		spec := kernels.All[entry]
		f, err := d.function(spec)
		if err != nil {
			return func() error { return err }
		}
		k := kernelLaunch{f: f, grid: [3]int{blocks, 1, 1}, block: [3]int{spec.Threads, 1, 1}, shared: spec.Shared}
		for i, a := range args {
			k.params = append(k.params, append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(&a)), spec.Params[i].Kind.Bytes())...))
		}
		return func() error { return k.enqueue(d.stream) }
	}
	best := func(f func() error) (us float64, err error) {
		for range max(m.opt.Rounds, 5) {
			t, err := m.watch.time(f)
			if err != nil {
				return 0, err
			}
			if us == 0 || t < us {
				us = t
			}
		}
		return us, nil
	}
	// Operands that are no zeros: half of the values of an activation are.
	operands := make([]byte, 48<<10)
	for i := range operands {
		if i/2%2 == 0 {
			operands[i] = byte(0x2c + i*i*37%9)
		}
	}
	if err := d.staging.upload(m.flush, operands); err != nil {
		return err
	}
	x, y := uint64(m.flush), uint64(m.flush)+half
	us, err := best(run("probe_copy_f32", int((half/4+4095)/4096), y, x, half/4))
	if err != nil {
		return err
	}
	m.out.CopyRate = 2 * float64(half) / us * 1e6
	const rounds = 1 << 14
	blocks := 8 * d.target.sms
	clocks := y + half - 64
	if us, err = best(run("probe_mma_f16", blocks, y, x, clocks, rounds)); err != nil {
		return err
	}
	m.out.MathRate = float64(blocks) * 4 * 32768 * rounds / us * 1e6
	c := make([]byte, 16)
	if err := d.staging.download(c, cu.DevicePtr(clocks)); err != nil {
		return err
	}
	if ns := binary.LittleEndian.Uint64(c[8:]); ns > 0 {
		m.out.ClockMHz = 1e3 * float64(binary.LittleEndian.Uint64(c)) / float64(ns)
	}
	if d.target.hopper {
		if us, err = best(run("probe_wgmma_f16", d.target.sms, y, x, rounds)); err != nil {
			return err
		}
		m.out.MathRate = float64(d.target.sms) * 4194304 * rounds / us * 1e6
	}
	return nil
}
