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
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
	"github.com/stylize-gpu/stylize/kernels"
)

// Plan says what Compile would take.
func (d *Device) Plan(p *gpu.Program) (*gpu.Plan, error) {
	l, err := plan.New(p, d.target)
	if err != nil {
		return nil, err
	}
	return l.Cost, nil
}

// runner is a compiled program: its memory and the graph of one iteration.
type runner struct {
	d        *Device
	plan     *plan.Plan
	pictures int
	allocs   []cu.DevicePtr // the arena; in Check mode one for each span
	state    []*gpu.Buffer
	filled   bool // the memory holds operands to time kernels on
	graph    *graph
	many     *graph // of d.perGraph iterations, captured when first wanted
}

// perGraph is how many iterations the larger graph has: between two graphs a
// device idles for a few microseconds, and no launch overlaps.
const perGraph = 8

// Compile places the program, uploads its constants and captures its graph.
func (d *Device) Compile(p *gpu.Program) (gpu.Runner, error) {
	l, err := plan.New(p, d.target)
	if err != nil {
		return nil, err
	}
	r := &runner{d: d, plan: l, pictures: p.Pictures()}
	if err := d.do(func() error { return r.build(p) }); err != nil {
		return nil, errors.Join(d.report(err), r.Close())
	}
	return r, nil
}

func (r *runner) build(p *gpu.Program) error {
	if err := r.allocate(); err != nil {
		return err
	}
	tunes := r.untuned()
	r.d.ahead(r.entries(tunes))
	if tunes {
		if err := r.fill(); err != nil {
			return err
		}
	}
	for _, b := range p.Buffers {
		if i, ok := r.plan.Span(b); ok && b.Role == gpu.Const {
			if err := r.d.staging.upload(r.span(i), r.plan.Encode(b, b.Data, 1)); err != nil {
				return err
			}
		}
	}
	for _, s := range r.plan.Steps {
		if s.TableSpan < 0 {
			continue
		}
		table := slices.Clone(s.Table.Bytes)
		for _, a := range s.Table.Addresses {
			binary.LittleEndian.PutUint64(table[a.At:], r.address(s, a.Of))
		}
		if err := r.d.staging.upload(r.span(s.TableSpan), table); err != nil {
			return err
		}
	}
	for n := range r.pictures {
		if err := r.setScale(n, r.plan.Target.Precision.FirstScale(), noCeiling); err != nil {
			return err
		}
	}
	if err := r.d.keep(r.plan.Weights); err != nil {
		return err
	}
	if tunes {
		if err := r.tune(); err != nil {
			return err
		}
	}
	for _, b := range p.Buffers { // which the host may leave untouched
		i, ok := r.plan.Span(b)
		if !ok || b.Role != gpu.Input && b.Role != gpu.State {
			continue
		}
		if b.Role == gpu.State {
			r.state = append(r.state, b)
		}
		if err := wrap("clear "+b.Name, cu.MemsetD8Async(r.span(i), 0, r.plan.Bytes(b), r.d.stream)); err != nil {
			return err
		}
	}
	for _, s := range r.plan.Steps { // modules cannot be loaded during a capture
		for _, la := range s.Launches {
			if _, err := r.d.function(la.Spec); err != nil {
				return err
			}
		}
	}
	var err error
	r.graph, err = capture(r.d.stream, r.enqueue)
	return err
}

// entries are those that the plan launches, and if it is tuned those that it may.
func (r *runner) entries(tunes bool) (all []*kernels.Spec) {
	for _, s := range r.plan.Steps {
		for _, la := range s.Launches {
			all = append(all, la.Spec)
		}
		if tunes && s.Variants != nil {
			for _, la := range s.Variants.Launches {
				all = append(all, la.Spec)
			}
		}
	}
	return all
}

// allocate takes the arena; the error of one too large says what is free.
func (r *runner) allocate() error {
	l := r.plan
	if !r.d.opt.Check {
		p, err := cu.MemAlloc(max(l.Placement.Bytes, 1))
		if err != nil {
			return r.d.short(l.Cost, wrap("allocate", err))
		}
		r.allocs = []cu.DevicePtr{p}
		return nil
	}
	for _, s := range l.Spans {
		p, err := cu.MemAlloc(max(s.Bytes, 1))
		if err != nil {
			return r.d.short(l.Cost, wrap("allocate", err))
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
	return fmt.Errorf("%s: the program needs %s and %s of weights; %s of %s are free: %w",
		d.info.Kind, gpu.BytesText(p.Arena), gpu.BytesText(p.Weights), gpu.BytesText(free), gpu.BytesText(total), err)
}

// span is the address of a span.
func (r *runner) span(i int) cu.DevicePtr {
	if r.d.opt.Check {
		return r.allocs[i]
	}
	return r.allocs[0] + cu.DevicePtr(r.plan.Placement.Offsets[i])
}

// keep packs constants and uploads them, once for all programs. A network has 26
// million values to convert: every core takes its part.
func (d *Device) keep(ws []*plan.Weight) error {
	ws = slices.DeleteFunc(slices.Clone(ws), func(w *plan.Weight) bool { return d.weights[w.Key] != nil })
	packed := make([][]byte, len(ws))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(len(ws), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(ws); i = int(next.Add(1)) - 1 {
				packed[i] = ws[i].Pack()
			}
		})
	}
	wg.Wait()
	for i, w := range ws {
		p, err := cu.MemAlloc(w.Bytes)
		if err != nil {
			return d.short(&gpu.Plan{Weights: w.Bytes}, wrap("allocate weights", err))
		}
		d.weights[w.Key] = &uploaded{ptr: p, bytes: w.Bytes}
		if err := driver.Name(uint64(p), w.Name); err != nil {
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
	for _, s := range r.plan.Steps {
		for i := range s.Launches {
			if err := r.launch(s, &s.Launches[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *runner) enqueueMany() error {
	for range r.d.perGraph {
		if err := r.enqueue(); err != nil {
			return err
		}
	}
	return nil
}

// launch enqueues a launch of a step.
func (r *runner) launch(s *plan.Step, la *kernels.Launch) error {
	f, err := r.d.function(la.Spec)
	if err != nil {
		return err
	}
	k := kernelLaunch{
		f: f, grid: la.Grid, block: [3]int{la.Spec.Threads, 1, 1},
		shared: la.Spec.Shared, overlaps: r.d.mayOverlap(la.Spec),
	}
	for i, a := range la.Args {
		bytes, err := r.parameter(s, la.Spec.Params[i].Kind, a)
		if err != nil {
			return &LaunchError{la.Spec, la.Grid, s.Name, err}
		}
		k.params = append(k.params, bytes)
	}
	if err := k.enqueue(r.d.stream); err != nil {
		return &LaunchError{la.Spec, la.Grid, s.Name, err}
	}
	return nil
}

// parameter is an argument of a step's launch as the kernel gets it.
func (r *runner) parameter(s *plan.Step, kind kernels.Kind, a kernels.Arg) ([]byte, error) {
	le := binary.LittleEndian
	switch kind {
	case kernels.Pointer:
		return le.AppendUint64(nil, r.address(s, a.Ptr)), nil
	case kernels.TensorMap:
		if a.Map.Of.Ref == nil {
			return make([]byte, kind.Bytes()), nil
		}
		m := tensormap.Tiled{Type: mapTypesOf[a.Map.Of.Elem], Base: r.address(s, a.Map.Of), Dims: a.Map.Dims, Box: a.Map.Box, Swizzle: tensormap.Swizzle128}
		m.Strides = tensormap.DenseStrides(m.Type, m.Dims)
		return encodeMap(&m, nil)
	default:
		return le.AppendUint64(nil, a.Bits)[:kind.Bytes()], nil
	}
}

// mapTypesOf are the types of tensor maps of stored elements; TF32's are fp32 that
// was rounded.
var mapTypesOf = map[kernels.Elem]ptx.Type{kernels.F16: ptx.F16, kernels.BF16: ptx.BF16, kernels.F32: ptx.F32}

// address is where a pointer of a step's launch points.
func (r *runner) address(s *plan.Step, p kernels.Ptr) uint64 {
	at := func(span int) uint64 { return uint64(r.span(span)) + uint64(p.Offset) }
	switch of := p.Ref.(type) {
	case *gpu.Buffer:
		i, _ := r.plan.Span(of) // every buffer that a launch names has one
		return at(i)
	case *plan.Weight:
		return uint64(r.d.weights[of.Key].ptr)
	case plan.Place:
		return at([...]int{plan.Workspace: s.ScratchSpan, plan.Constants: s.TableSpan, plan.LossScale: r.plan.ScaleSpan}[of])
	}
	return 0 // null
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

// scaleAt is where the loss scale of picture n is, and ceilingAt the ceiling that the
// kernel record keeps it below.
func (r *runner) scaleAt(n int) cu.DevicePtr {
	return r.span(r.plan.ScaleSpan) + cu.DevicePtr(4*n)
}

func (r *runner) ceilingAt(n int) cu.DevicePtr { return r.scaleAt(r.pictures + n) }

// noCeiling is the ceiling of a scale that has not overflowed.
const noCeiling = math.MaxFloat32

func (r *runner) number(at cu.DevicePtr) (float32, error) {
	var s [4]byte
	err := r.d.staging.download(s[:], at)
	return math.Float32frombits(binary.LittleEndian.Uint32(s[:])), err
}

func (r *runner) setNumber(at cu.DevicePtr, v float32) error {
	return r.d.staging.upload(at, binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
}

// scale reads the loss scale of picture n, which the device adjusts by itself.
func (r *runner) scale(n int) (float32, error) { return r.number(r.scaleAt(n)) }

func (r *runner) setScale(n int, scale, ceiling float32) error {
	return errors.Join(r.setNumber(r.scaleAt(n), scale), r.setNumber(r.ceilingAt(n), ceiling))
}

// Keep returns the loss scale of a picture, and its ceiling.
func (r *runner) Keep(n int) ([]float32, error) {
	if err := r.has(n); err != nil {
		return nil, err
	}
	kept := make([]float32, 2)
	err := r.d.do(func() (err error) {
		if kept[0], err = r.scale(n); err == nil {
			kept[1], err = r.number(r.ceilingAt(n))
		}
		return err
	})
	return kept, err
}

// Restore sets them. Checkpoints of before there was a ceiling have the scale alone.
func (r *runner) Restore(n int, kept []float32) error {
	bad := func(v float32) bool { return !(v > 0) || math.IsInf(float64(v), 0) }
	if len(kept) < 1 || len(kept) > 2 || slices.ContainsFunc(kept, bad) {
		return fmt.Errorf("the loss scale and its ceiling are finite numbers above 0, not %v", kept)
	}
	if err := r.has(n); err != nil {
		return err
	}
	ceiling := float32(noCeiling)
	if len(kept) == 2 {
		ceiling = kept[1]
	}
	return r.d.do(func() error { return r.setScale(n, kept[0], ceiling) })
}

func (r *runner) has(n int) error {
	if n < 0 || n >= r.pictures {
		return fmt.Errorf("there are %d pictures, and no picture %d", r.pictures, n)
	}
	return nil
}

// Reset clears the state of picture n, and its loss scale.
func (r *runner) Reset(n int) error {
	if err := r.has(n); err != nil {
		return err
	}
	return r.d.do(func() error {
		for _, b := range r.state {
			i, _ := r.plan.Span(b)
			size := r.plan.Bytes(b) / int64(b.Shape.N)
			if err := wrap("clear "+b.Name, cu.MemsetD8Async(r.span(i)+cu.DevicePtr(int64(n)*size), 0, size, r.d.stream)); err != nil {
				return err
			}
		}
		return r.setScale(n, r.plan.Target.Precision.FirstScale(), noCeiling)
	})
}

// Write sets an input or state buffer.
func (r *runner) Write(b *gpu.Buffer, data []float32) error {
	if err := gpu.CheckIO(b, len(data), true); err != nil {
		return err
	}
	return r.d.do(func() error { return r.write(b, 0, b.Shape.N, data) })
}

// WriteAt sets one picture of it.
func (r *runner) WriteAt(b *gpu.Buffer, n int, data []float32) error {
	if err := errors.Join(gpu.CheckIO(b, b.Shape.Elems(), true), gpu.CheckPart(b, n, len(data))); err != nil {
		return err
	}
	return r.d.do(func() error { return r.write(b, n, 1, data) })
}

// Read copies a buffer to the host.
func (r *runner) Read(b *gpu.Buffer, dst []float32) error {
	if err := gpu.CheckIO(b, len(dst), false); err != nil {
		return err
	}
	return r.d.do(func() error { return r.read(b, 0, b.Shape.N, dst) })
}

// ReadAt copies one picture of it.
func (r *runner) ReadAt(b *gpu.Buffer, n int, dst []float32) error {
	if err := errors.Join(gpu.CheckIO(b, b.Shape.Elems(), false), gpu.CheckPart(b, n, len(dst))); err != nil {
		return err
	}
	return r.d.do(func() error { return r.read(b, n, 1, dst) })
}

// write sets count pictures of a buffer, from the first on. Those that carry a loss
// scale go one by one.
func (r *runner) write(b *gpu.Buffer, first, count int, data []float32) error {
	return r.parts(b, first, count, func(at cu.DevicePtr, from, values int, s float32) error {
		return r.d.staging.upload(at, r.plan.Encode(b, data[from:from+values], s))
	})
}

func (r *runner) read(b *gpu.Buffer, first, count int, dst []float32) error {
	return r.parts(b, first, count, func(at cu.DevicePtr, from, values int, s float32) error {
		bytes := make([]byte, r.plan.Bytes(b)/int64(b.Shape.Elems())*int64(values))
		if err := r.d.staging.download(bytes, at); err != nil {
			return err
		}
		r.plan.Decode(b, dst[from:from+values], bytes, 1/s)
		return nil
	})
}

// parts calls each with the places of some pictures of a buffer: where on the device,
// where among the values, how many, and the loss scale that they carry there.
func (r *runner) parts(b *gpu.Buffer, first, count int, each func(at cu.DevicePtr, from, values int, scale float32) error) error {
	i, _ := r.plan.Span(b) // the host's buffers all have one
	size, elems := r.plan.Bytes(b)/int64(b.Shape.N), b.Shape.Elems()/b.Shape.N
	at := func(n int) cu.DevicePtr { return r.span(i) + cu.DevicePtr(int64(n)*size) }
	if !r.plan.Scaled(b) {
		return each(at(first), 0, count*elems, 1)
	}
	for n := first; n < first+count; n++ {
		s, err := r.scale(n)
		if err != nil {
			return err
		}
		if err := each(at(n), (n-first)*elems, elems, s); err != nil {
			return err
		}
	}
	return nil
}

// next launches as many iterations as one graph has, at most n; it returns how
// many.
func (r *runner) next(n int) (iterations int, err error) {
	g, iterations := r.graph, 1
	if n >= r.d.perGraph {
		if r.many == nil {
			if r.many, err = capture(r.d.stream, r.enqueueMany); err != nil {
				return 0, err
			}
		}
		g, iterations = r.many, r.d.perGraph
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
func (r *runner) Plan() *gpu.Plan { return r.plan.Cost }

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
