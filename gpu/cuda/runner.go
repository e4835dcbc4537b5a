//go:build cuda

package cuda

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
	"github.com/stylize-gpu/stylize/kernels"
)

// Plan says what Compile would take.
func (d *Device) Plan(p *gpu.Program) (*gpu.Plan, error) {
	l, err := layOut(p, d.target)
	if err != nil {
		return nil, err
	}
	return l.plan, nil
}

// runner is a compiled program: its memory and the graph of one iteration.
type runner struct {
	d      *Device
	l      *layout
	allocs []cu.DevicePtr // the arena; in Check mode one for each span
	graph  *graph
	many   *graph // of perGraph iterations, captured when first wanted
}

// perGraph is how many iterations the larger graph has: between two graphs a
// device idles for a few microseconds, and no launch overlaps.
const perGraph = 8

// Compile places the program, uploads its constants and captures its graph.
func (d *Device) Compile(p *gpu.Program) (gpu.Runner, error) {
	l, err := layOut(p, d.target)
	if err != nil {
		return nil, err
	}
	r := &runner{d: d, l: l}
	if err := d.do(func() error { return r.build(p) }); err != nil {
		return nil, errors.Join(d.report(err), r.Close())
	}
	return r, nil
}

func (r *runner) build(p *gpu.Program) error {
	if err := r.allocate(); err != nil {
		return err
	}
	for _, b := range p.Buffers {
		i, ok := r.l.span[b]
		if !ok {
			continue
		}
		switch b.Role {
		case gpu.Const:
			if err := r.d.staging.upload(r.span(i), r.encode(b, b.Data, 1)); err != nil {
				return err
			}
		case gpu.Input, gpu.State: // the host may leave them untouched
			if err := wrap("clear "+b.Name, cu.MemsetD8Async(r.span(i), 0, r.l.bytes(b), r.d.stream)); err != nil {
				return err
			}
		case gpu.Temp, gpu.Output:
		}
	}
	for i, s := range r.l.steps {
		if r.l.tables[i] < 0 {
			continue
		}
		for _, a := range s.addresses {
			binary.LittleEndian.PutUint64(s.table[a.at:], uint64(r.span(r.l.span[a.of])))
		}
		if err := r.d.staging.upload(r.span(r.l.tables[i]), s.table); err != nil {
			return err
		}
	}
	if err := r.d.staging.upload(r.span(r.l.scale), floats([]float32{r.l.precision.firstScale()})); err != nil {
		return err
	}
	if err := r.d.keep(r.l.order); err != nil {
		return err
	}
	if r.d.opt.Choices != nil {
		if err := r.tune(); err != nil {
			return err
		}
	}
	for _, s := range r.l.steps { // modules cannot be loaded during a capture
		for _, la := range s.launches {
			if _, err := r.d.function(la.spec); err != nil {
				return err
			}
		}
	}
	var err error
	r.graph, err = capture(r.d.stream, r.enqueue)
	return err
}

// allocate takes the arena; the error of one too large says what is free.
func (r *runner) allocate() error {
	l := r.l
	if !r.d.opt.Check {
		p, err := cu.MemAlloc(max(l.place.Bytes, 1))
		if err != nil {
			return r.d.short(l.plan, wrap("allocate", err))
		}
		r.allocs = []cu.DevicePtr{p}
		return nil
	}
	for _, s := range l.spans {
		p, err := cu.MemAlloc(max(s.Bytes, 1))
		if err != nil {
			return r.d.short(l.plan, wrap("allocate", err))
		}
		r.allocs = append(r.allocs, p)
		if err := driver.Name(uint64(p), s.Name); err != nil {
			return err
		}
	}
	return nil
}

// short explains a lack of memory.
func (d *Device) short(p *gpu.Plan, err error) error {
	if !errors.Is(err, gpu.ErrOutOfMemory) {
		return err
	}
	free, total, e := cu.MemInfo()
	if e != nil {
		return err
	}
	return fmt.Errorf("%s: the program needs %.2f GB and %.2f GB of weights; %.2f of %.2f GB are free: %w",
		d.info.Kind, float64(p.Arena)/1e9, float64(p.Weights)/1e9, float64(free)/1e9, float64(total)/1e9, err)
}

// span is the address of a span.
func (r *runner) span(i int) cu.DevicePtr {
	if r.d.opt.Check {
		return r.allocs[i]
	}
	return r.allocs[0] + cu.DevicePtr(r.l.place.Offsets[i])
}

// keep packs constants and uploads them, once for all programs. A network has 26
// million values to convert: every core takes its part.
func (d *Device) keep(ws []*weight) error {
	ws = slices.DeleteFunc(slices.Clone(ws), func(w *weight) bool { return d.weights[w.key] != nil })
	packed := make([][]byte, len(ws))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(len(ws), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(ws); i = int(next.Add(1)) - 1 {
				packed[i] = ws[i].pack()
			}
		})
	}
	wg.Wait()
	for i, w := range ws {
		p, err := cu.MemAlloc(w.bytes)
		if err != nil {
			return d.short(&gpu.Plan{Weights: w.bytes}, wrap("allocate weights", err))
		}
		d.weights[w.key] = &uploaded{ptr: p, bytes: w.bytes}
		if err := driver.Name(uint64(p), w.name); err != nil {
			return err
		}
		if err := d.staging.upload(p, packed[i]); err != nil {
			return err
		}
	}
	return nil
}

// enqueue launches every kernel of one iteration.
func (r *runner) enqueue() error {
	for i, s := range r.l.steps {
		for j := range s.launches {
			if err := r.launch(i, &s.launches[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *runner) enqueueMany() error {
	for range perGraph {
		if err := r.enqueue(); err != nil {
			return err
		}
	}
	return nil
}

// launch enqueues a launch of step i.
func (r *runner) launch(i int, la *launch) error {
	f, err := r.d.function(la.spec)
	if err != nil {
		return err
	}
	k := kernelLaunch{
		f: f, grid: la.grid, block: [3]int{la.spec.Threads, 1, 1},
		shared: la.spec.Shared, overlaps: r.d.mayOverlap(la.spec),
	}
	for j, a := range la.args {
		bytes := binary.LittleEndian.AppendUint64(nil, r.value(i, a))[:min(8, la.spec.Params[j].Kind.Bytes())]
		if a.where == inMap {
			if bytes, err = r.encodeTensor(a.tensor, r.value(i, a.tensor.of)); err != nil {
				return &LaunchError{la.spec, la.grid, r.l.steps[i].name(), err}
			}
		}
		k.params = append(k.params, bytes)
	}
	if err := k.enqueue(r.d.stream); err != nil {
		return &LaunchError{la.spec, la.grid, r.l.steps[i].name(), err}
	}
	return nil
}

// value is an argument of step i: an address or a scalar.
func (r *runner) value(i int, a argument) uint64 {
	switch a.where {
	case inBuffer:
		return uint64(r.span(r.l.span[a.buf]))
	case inScratch:
		return uint64(r.span(r.l.scratch[i])) + uint64(a.offset)
	case inTable:
		return uint64(r.span(r.l.tables[i])) + uint64(a.offset)
	case inScale:
		return uint64(r.span(r.l.scale))
	case inWeights:
		return uint64(r.d.weights[a.weight.key].ptr)
	case scalar, inMap:
	}
	return a.bits
}

// encodeTensor makes the tensor map of dense elements of the precision's type.
func (r *runner) encodeTensor(t *tensor, base uint64) ([]byte, error) {
	if len(t.dims) == 0 {
		return make([]byte, kernels.TensorMap.Bytes()), nil
	}
	m := tensormap.Tiled{Type: r.l.precision.mapType(), Base: base, Dims: t.dims, Box: t.box, Swizzle: tensormap.Swizzle128}
	m.Strides = tensormap.DenseStrides(m.Type, t.dims)
	return encodeMap(&m, nil)
}

// LaunchError says which launch the driver refused.
type LaunchError struct {
	Spec *kernels.Spec
	Grid [3]int
	Op   string
	Err  error
}

func (e *LaunchError) Error() string {
	return fmt.Sprintf("%s grid %v block %d for %s: %v", e.Spec.Entry, e.Grid, e.Spec.Threads, e.Op, e.Err)
}

// Unwrap returns the driver's answer.
func (e *LaunchError) Unwrap() error { return e.Err }

// encode turns a buffer's values into what the device stores.
func (r *runner) encode(b *gpu.Buffer, v []float32, by float32) []byte {
	if r.l.stored[b] {
		return r.l.precision.pack(v, by)
	}
	return floats(v)
}

// lossScale reads the scale that gradients carry now.
func (r *runner) lossScale(b *gpu.Buffer) (float32, error) {
	if !r.l.scaled[b] {
		return 1, nil
	}
	var s [4]byte
	err := r.d.staging.download(s[:], r.span(r.l.scale))
	return math.Float32frombits(binary.LittleEndian.Uint32(s[:])), err
}

// Write sets an input or state buffer.
func (r *runner) Write(b *gpu.Buffer, data []float32) error {
	if err := gpu.CheckIO(b, len(data), true); err != nil {
		return err
	}
	return r.d.do(func() error {
		s, err := r.lossScale(b)
		if err != nil {
			return err
		}
		bytes := r.encode(b, data, s)
		return r.d.staging.upload(r.span(r.l.span[b]), bytes)
	})
}

// Read copies a buffer to the host.
func (r *runner) Read(b *gpu.Buffer, dst []float32) error {
	if err := gpu.CheckIO(b, len(dst), false); err != nil {
		return err
	}
	return r.d.do(func() error {
		s, err := r.lossScale(b)
		if err != nil {
			return err
		}
		bytes := make([]byte, r.l.bytes(b))
		if err := r.d.staging.download(bytes, r.span(r.l.span[b])); err != nil {
			return err
		}
		if r.l.stored[b] {
			r.l.precision.unpack(dst, bytes, 1/s)
		} else {
			FP32.unpack(dst, bytes, 1)
		}
		return nil
	})
}

// next launches as many iterations as one graph has, at most n; it returns how
// many.
func (r *runner) next(n int) (iterations int, err error) {
	g, iterations := r.graph, 1
	if n >= perGraph {
		if r.many == nil {
			if r.many, err = capture(r.d.stream, r.enqueueMany); err != nil {
				return 0, err
			}
		}
		g, iterations = r.many, perGraph
	}
	if err := g.launch(r.d.stream); err != nil {
		r.d.lost = true
		return 0, err
	}
	return iterations, nil
}

// Run launches n iterations. It looks at ctx between graphs, and waits for what it
// has launched.
func (r *runner) Run(ctx context.Context, n int) (done int, err error) {
	err = r.d.do(func() error {
		for done < n {
			if err := ctx.Err(); err != nil {
				return err
			}
			k, err := r.next(n - done)
			if err != nil {
				return err
			}
			done += k
		}
		return nil
	})
	if e := r.d.do(func() error { return wrap("run", r.d.stream.Synchronize()) }); e != nil {
		r.d.lost = true // what was launched cannot be trusted
		return 0, r.d.report(e)
	}
	return done, r.d.report(err)
}

// Plan is what Compile took.
func (r *runner) Plan() *gpu.Plan { return r.l.plan }

// Close frees the program's memory.
func (r *runner) Close() error {
	return r.d.do(func() error {
		var errs []error
		for _, g := range []*graph{r.graph, r.many} {
			if g != nil {
				errs = append(errs, g.destroy())
			}
		}
		for _, p := range r.allocs {
			errs = append(errs, wrap("free", cu.MemFree(p)))
		}
		r.graph, r.many, r.allocs = nil, nil, nil
		if r.d.lost { // the context answers with the kernel's error
			return nil
		}
		return errors.Join(errs...)
	})
}
