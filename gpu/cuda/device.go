//go:build cuda

package cuda

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/kernels"
)

// Built says that this build has CUDA.
const Built = true

// minCapability and minDriver are what the kernels were compiled for.
const (
	minCapability = 80
	minDriver     = 11040 // CUDA 11.0 reads PTX 7.0; 11.4 has cuGraphInstantiateWithFlags
	hopperDriver  = 12000 // reads PTX 8.0
	overlapDriver = 12030 // keeps programmatic dependencies in captured graphs
	quickDriver   = 12080 // compiles a wgmma of 256 columns in half a second; those before take four
)

// Device is one CUDA device with a context of its own.
type Device struct {
	opt  Options
	work chan func()
	quit chan struct{}
	done sync.WaitGroup

	dev       cu.Device
	ctx       cu.CUContext
	stream    cu.Stream // of all work, copies included
	staging   *staging
	sources   map[string]string  // PTX by module and architecture
	modules   map[string]*module // those that were compiled
	functions map[string]cu.Function
	info      gpu.Info
	cc        int
	target    plan.Target
	overlaps  bool // the driver keeps launches that overlap in a graph
	perGraph  int  // iterations of the larger graph

	mu      sync.Mutex
	closed  bool
	lost    bool // a kernel failed: the context answers nothing but its error
	weights map[plan.WeightKey]*uploaded
	key     string // of the device in Choices: what they depend on
}

// uploaded is a packed constant on the device, shared by programs.
type uploaded struct {
	ptr   cu.DevicePtr
	bytes int64
}

// Count returns how many GPUs there are; 0 without a driver.
func Count() (int, error) {
	if errors.Is(driver.Init(), driver.ErrNoDriver) {
		return 0, nil
	}
	n, err := cu.NumDevices()
	return n, wrap("count devices", err)
}

// Open opens a device: a GPU, or with opt.Simulate a simulated one. Any number of
// both may be open at a time, each with its own driver.
func Open(opt Options) (gpu.Device, error) {
	d, err := open(opt)
	if err != nil {
		return nil, err // d would be a nil pointer in an interface that is not nil
	}
	return d, nil
}

func open(opt Options) (*Device, error) {
	if opt.Simulate == nil {
		if err := driver.Init(); err != nil {
			return nil, fmt.Errorf("%w: %w", gpu.ErrNoDevice, err)
		}
	}
	d := &Device{opt: opt, perGraph: perGraph, work: make(chan func()), quit: make(chan struct{}), sources: map[string]string{}, modules: map[string]*module{}, functions: map[string]cu.Function{}, weights: map[plan.WeightKey]*uploaded{}}
	d.done.Go(func() {
		runtime.LockOSThread() // the context is current to this thread alone
		if opt.Simulate != nil {
			defer driver.Simulate(opt.Simulate)()
		}
		for {
			select {
			case f := <-d.work:
				f()
			case <-d.quit:
				return
			}
		}
	})
	if err := d.do(d.start); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// do runs f on the thread that owns the context; after Close it is an error.
func (d *Device) do(f func() error) error {
	var err error
	ran := make(chan struct{})
	select {
	case d.work <- func() {
		defer close(ran)
		err = f()
	}:
		<-ran
		return err
	case <-d.quit:
		return errors.New("the device is closed")
	}
}

// start makes the context and what every program needs, on the device's thread.
func (d *Device) start() error {
	n, err := cu.NumDevices()
	if err != nil || n == 0 {
		return fmt.Errorf("%w: the driver finds no CUDA device", gpu.ErrNoDevice)
	}
	if d.opt.Ordinal >= n {
		return fmt.Errorf("%w %d: there are %d", gpu.ErrNoDevice, d.opt.Ordinal, n)
	}
	if v := cu.Version(); v < minDriver {
		return fmt.Errorf("the NVIDIA driver supports CUDA %d.%d, this program needs %d.%d: install a newer driver: %w",
			v/1000, v%1000/10, minDriver/1000, minDriver%1000/10, gpu.ErrUnsupported)
	}
	if d.dev, err = cu.GetDevice(d.opt.Ordinal); err != nil {
		return wrap("open the device", err)
	}
	name, err := d.dev.Name()
	if err != nil {
		return wrap("ask for the device's name", err)
	}
	major, err := d.dev.Attribute(cu.ComputeCapabilityMajor)
	if err != nil {
		return wrap("ask for the capability", err)
	}
	minor, err := d.dev.Attribute(cu.ComputeCapabilityMinor)
	if err != nil {
		return wrap("ask for the capability", err)
	}
	d.cc = 10*major + minor
	if d.cc < minCapability {
		return fmt.Errorf("%s has compute capability %d.%d, the kernels need %d.%d (Ampere or later): %w",
			name, major, minor, minCapability/10, minCapability%10, gpu.ErrUnsupported)
	}
	if d.ctx, err = d.dev.MakeContext(cu.SchedAuto); err != nil {
		return wrap("make a context", err)
	}
	if d.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return wrap("make a stream", err)
	}
	if d.staging, err = newStaging(d.stream); err != nil {
		return err
	}
	free, total, err := cu.MemInfo()
	if err != nil {
		return wrap("ask for the memory", err)
	}
	kind := "cuda"
	detail := fmt.Sprintf("sm_%d, driver %d.%d, %v", d.cc, cu.Version()/1000, cu.Version()%1000/10, d.opt.Precision)
	if d.opt.Simulate != nil {
		kind, detail = "sim", fmt.Sprintf("sm_%d, %v, every check on", d.cc, d.opt.Precision)
	}
	d.info = gpu.Info{Kind: kind, Name: name, Detail: detail, Memory: total, Free: free}
	return d.load()
}

// load picks the kernels: those that any GPU runs, and newer ones that this one
// and its driver take. What it does without, and why, is in the device's detail: from
// then on it is decided, and with it the bits of all programs.
func (d *Device) load() error {
	var newer []string
	without := func(what string, err error) { d.info.Detail += fmt.Sprintf(", %s: %s", what, firstLine(err)) }
	switch {
	case d.cc >= 90 && cu.Version() < hopperDriver:
		if d.opt.Kernels == "" {
			without("without kernels for sm_90", errors.New("the driver is older than CUDA 12.0"))
		}
	case d.cc >= 90:
		newer = append(newer, "sm90")
		if d.cc == 90 {
			newer = append(newer, "sm90a")
		}
	}
	switch d.opt.Kernels {
	case "":
	case "sm80":
		newer = nil
	case "sm90a":
		if len(newer) < 2 {
			return fmt.Errorf("kernels for sm_90a need a GPU of compute capability 9.0 and a driver for CUDA 12.0: %w", gpu.ErrUnsupported)
		}
	default:
		return fmt.Errorf("kernels for %q: there are sm80 and sm90a: %w", d.opt.Kernels, gpu.ErrUnsupported)
	}
	sms, err := d.dev.Attribute(cu.MultiprocessorCount)
	if err != nil {
		return wrap("ask for the multiprocessors", err)
	}
	d.target = plan.Target{Precision: d.opt.Precision, Unfused: d.opt.Unfused, SMs: sms, Few: cu.Version() < quickDriver}
	d.target.Tuned = func(layer string) string { return d.opt.Choices.Get(d.key, layer) }
	defer func() {
		set := "sm80"
		if d.target.Hopper {
			set = "sm90a"
		}
		d.info.Bits = fmt.Sprintf("sm_%d, %v, kernels %s", d.cc, d.opt.Precision, set)
	}()
	h := sha256.New()
	if err := d.take("sm80", h); err != nil {
		return err
	}
	for _, arch := range newer {
		if err := d.take(arch, h); err == nil {
			d.target.Hopper = d.target.Hopper || arch == "sm90a"
		} else if d.opt.Kernels != "" {
			return err
		} else {
			without("without kernels for "+strings.Replace(arch, "sm", "sm_", 1), err)
		}
	}
	if s := kernels.All[smallest["sm90"]]; d.arch(s) == "sm90" {
		if err := d.tryOverlap(s); err != nil {
			without("launches do not overlap", err)
		} else {
			d.overlaps = true
		}
	}
	d.key = fmt.Sprintf("%s, sm_%d, %d multiprocessors, driver %d, kernels %.6x", d.info.Name, d.cc, sms, cu.Version(), h.Sum(nil))
	return nil
}

// smallest is an entry of a module that every compiler is soon done with: loading it at
// Open tells whether the driver takes our PTX at all.
var smallest = map[string]string{"sm80": "relu_fwd_f16", "sm90": "total_f32", "sm90a": "conv3x3_wgmma_f16_nhwc_128x128_split2"}

// needed are the entries that must load before an architecture's are taken: the
// smallest, and those that hang if the driver's compiler gives them other registers
// than planned.
func (d *Device) needed(arch string) []*kernels.Spec {
	all := []*kernels.Spec{kernels.All[smallest[arch]]}
	for _, entry := range slices.Sorted(maps.Keys(kernels.All)) {
		if s := kernels.All[entry]; s.Arch == arch && s.Registers > 0 && s.Elem == d.opt.Precision.Element() && slices.Contains(d.target.Tiles(), s.Tile) {
			all = append(all, s)
		}
	}
	return all
}

// take makes an architecture's kernels available, and hashes them for Choices,
// which hold for these alone.
func (d *Device) take(arch string, h hash.Hash) error {
	mods, err := kernels.Modules(arch)
	if err != nil {
		return err
	}
	for _, m := range mods {
		d.sources[m.Name+"."+arch] = m.PTX
	}
	needed := d.needed(arch)
	d.ahead(needed)
	for _, s := range needed {
		if _, err := d.function(s); err != nil {
			for _, m := range mods {
				delete(d.sources, m.Name+"."+arch)
			}
			return err
		}
	}
	if d.opt.Choices != nil {
		for _, m := range mods {
			fmt.Fprintf(h, "%d\n%s", len(m.PTX), m.PTX)
		}
	}
	return nil
}

// tryOverlap captures two launches of an entry, of which the second may begin before the
// first has ended, and says why that cannot be. They are not run.
func (d *Device) tryOverlap(s *kernels.Spec) error {
	if cu.Version() < overlapDriver { // takes them, and leaves the dependency out
		return errors.New("the driver is older than CUDA 12.3")
	}
	f, err := d.function(s)
	if err != nil {
		return err
	}
	k := kernelLaunch{f: f, grid: [3]int{1, 1, 1}, block: [3]int{s.Threads, 1, 1}, shared: s.Shared, overlaps: true}
	for _, p := range s.Params {
		k.params = append(k.params, make([]byte, p.Kind.Bytes()))
	}
	g, err := capture(d.stream, func() error { return errors.Join(k.enqueue(d.stream), k.enqueue(d.stream)) })
	if err != nil {
		return err
	}
	return g.destroy()
}

// firstLine is what stands of an error in a line of other things.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// arch is the newest architecture of those that the device takes for which an
// entry is compiled.
func (d *Device) arch(s *kernels.Spec) string {
	if d.sources[s.Module+".sm90"] != "" {
		return "sm90"
	}
	return s.Arch
}

// mayOverlap reports whether an entry, in that version, waits by itself for the
// launches before it.
func (d *Device) mayOverlap(s *kernels.Spec) bool {
	return s.Overlaps && d.overlaps && d.arch(s) != "sm80"
}

// function finds an entry, and compiles its module when it is the first of it
// that is needed: a precision needs few of them.
func (d *Device) function(s *kernels.Spec) (cu.Function, error) {
	if f, ok := d.functions[s.Entry]; ok {
		return f, nil
	}
	name := s.Module + "." + d.arch(s)
	mod := d.modules[name]
	if mod == nil {
		var err error
		if mod, err = loadModule(name, d.sources[name]); err != nil {
			return cu.Function{}, err
		}
		d.modules[name] = mod
	}
	f, err := mod.function(s.Entry)
	if err != nil {
		return cu.Function{}, err
	}
	if err := errors.Join(asPlanned(f, s), allowShared(f, s.Shared)); err != nil {
		return cu.Function{}, err
	}
	d.functions[s.Entry] = f
	return f, nil
}

// ahead compiles the modules of entries that are not there yet side by side, each on a
// thread of its own: a driver before CUDA 12.8 takes four seconds for one of Hopper's
// tiles, and a run wants five. What fails here is left to function, which tries it alone
// and says what is wrong; so nothing depends on which was done first.
func (d *Device) ahead(specs []*kernels.Spec) {
	missing := map[string][]*kernels.Spec{}
	for _, s := range specs {
		if name := s.Module + "." + d.arch(s); d.modules[name] == nil {
			missing[name] = append(missing[name], s)
		}
	}
	if len(missing) < 2 {
		return
	}
	// What takes longest is begun first: with few cores it would end last.
	names := slices.SortedFunc(maps.Keys(missing), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(d.sources[b]), len(d.sources[a])), cmp.Compare(a, b))
	})
	loaded := make([]*module, len(names))
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			loaded[i] = d.loadBeside(name, missing[name])
		})
	}
	wg.Wait()
	for i, mod := range loaded {
		if mod != nil {
			d.modules[names[i]] = mod
		}
	}
}

// loadBeside loads a module on another thread than the device's, to which the context is
// current meanwhile. It asks for what function will: a driver may put off the compiling
// until then. Without success it is nil.
func (d *Device) loadBeside(name string, entries []*kernels.Spec) *module {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if d.opt.Simulate != nil {
		defer driver.Simulate(d.opt.Simulate)()
	}
	if cu.SetCurrentContext(d.ctx) != nil {
		return nil
	}
	defer cu.SetCurrentContext(cu.CUContext{}) //nolint:errcheck // the thread has no other call to make
	mod, err := loadModule(name, d.sources[name])
	if err != nil {
		return nil
	}
	for _, s := range entries {
		if f, err := mod.function(s.Entry); err == nil {
			_, _, _ = allotted(f)
		}
	}
	return mod
}

// asPlanned says how a function differs from what its source counts on.
func asPlanned(f cu.Function, s *kernels.Spec) error {
	if s.Registers == 0 {
		return nil
	}
	registers, local, err := allotted(f)
	if err != nil {
		return err
	}
	if registers != s.Registers || local != 0 {
		return fmt.Errorf("the driver's compiler gives %s %d registers and %d bytes of local memory, and it must have %d and none: %w",
			s.Entry, registers, local, s.Registers, gpu.ErrUnsupported)
	}
	return nil
}

// Info describes the device.
func (d *Device) Info() gpu.Info { return d.info }

// Close frees what the device holds. Runners must be closed before.
func (d *Device) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()
	err := d.do(func() error {
		if d.ctx == (cu.CUContext{}) {
			return nil
		}
		var errs []error
		for _, w := range d.weights {
			errs = append(errs, wrap("free", cu.MemFree(w.ptr)))
		}
		for _, m := range d.modules {
			errs = append(errs, m.unload())
		}
		if d.staging != nil {
			errs = append(errs, d.staging.close()...)
		}
		if d.stream != (cu.Stream{}) {
			errs = append(errs, wrap("destroy the stream", d.stream.Destroy()))
		}
		// After a kernel's error every call answers with it, and the context is all
		// that can and must go.
		if err := wrap("destroy the context", d.ctx.Destroy()); err != nil {
			errs = append(errs, err)
		} else if d.lost {
			return nil
		}
		return errors.Join(errs...)
	})
	close(d.quit)
	d.done.Wait()
	return err
}

// Rate measures a small program for a moment, on values that are no zeros.
func (d *Device) Rate(ctx context.Context) (float64, error) {
	p := &gpu.Program{}
	values := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(i*7919%31-15) / 512 // small enough for two products on end
		}
		return v
	}
	w := p.NewConst("w", gpu.Shape{N: 64, H: 3, W: 3, C: 64}, values(64*9*64))
	b := p.NewConst("b", gpu.Shape{N: 1, H: 1, W: 1, C: 64}, values(64))
	n := 512
	if d.opt.Simulate != nil {
		n = 16
	}
	x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: 1, H: n, W: n, C: 64})
	p.Output(p.Conv3x3Dgrad("back", p.ReLUFwd("relu", p.Conv3x3Fprop("there", x, w, b)), w))
	r, err := d.Compile(p)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	if err := r.Write(x, values(x.Shape.Elems())); err != nil {
		return 0, err
	}
	if _, err := r.Run(ctx, 1); err != nil {
		return 0, err
	}
	start := time.Now()
	const runs = 3
	if _, err := r.Run(ctx, runs); err != nil {
		return 0, err
	}
	return runs * float64(p.FLOPs()) / time.Since(start).Seconds(), nil
}

// report adds what the device's simulator found to an error.
func (d *Device) report(err error) error {
	if s := d.opt.Simulate; err != nil && s != nil && s.Report() != nil {
		return fmt.Errorf("%w\n%w", err, s.Report())
	}
	return err
}
