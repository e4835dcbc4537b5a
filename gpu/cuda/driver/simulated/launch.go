package simulated

import (
	"errors"
	"fmt"

	"github.com/stylize-gpu/stylize/gpu/sim"
)

// ModuleLoadData is cuModuleLoadDataEx for PTX. The log is what a JIT compiler
// would have said.
func (d *Driver) ModuleLoadData(t Thread, image []byte) (h Handle, log string, r Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return 0, "", r
	}
	if log, r := d.tooNew(image); r != Success {
		return 0, log, r
	}
	if d.age.Alone && len(d.loads) > 0 && d.loads[t] == 0 {
		return 0, "", NoCompiler
	}
	mod, err := c.dev.Load("ptx", image)
	if err != nil {
		return 0, err.Error(), InvalidPTX
	}
	d.loads[t]++
	h = d.add(&cuModule{ctx: c, mod: mod, funcs: map[string]Handle{}})
	return h, "", Success
}

// ModuleUnload is cuModuleUnload.
func (d *Driver) ModuleUnload(t Thread, h Handle) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return r
	}
	m, ok := get[*cuModule](d, h)
	if !ok || m.ctx != c {
		return InvalidHandle
	}
	d.finishAll(c)
	for _, f := range m.funcs {
		delete(d.objects, f)
	}
	delete(d.objects, h)
	return memResult(m.mod.Unload())
}

// ModuleGetFunction is cuModuleGetFunction.
func (d *Driver) ModuleGetFunction(h Handle, name string) (Handle, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := get[*cuModule](d, h)
	if !ok {
		return 0, InvalidHandle
	}
	if f, ok := m.funcs[name]; ok {
		return f, Success
	}
	k, err := m.mod.Kernel(name)
	if err != nil {
		return 0, NotFound
	}
	f := d.add(&cuFunction{ctx: m.ctx, kernel: k})
	m.funcs[name] = f
	return f, Success
}

// ModuleGetGlobal is cuModuleGetGlobal.
func (d *Driver) ModuleGetGlobal(h Handle, name string) (sim.Ptr, int64, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := get[*cuModule](d, h)
	if !ok {
		return 0, 0, InvalidHandle
	}
	p, n, err := m.mod.Global(name)
	if err != nil {
		return 0, 0, NotFound
	}
	return p, n, Success
}

// The function attributes, CU_FUNC_ATTRIBUTE_….
const (
	funcMaxThreads    = 0
	funcSharedBytes   = 1
	funcConstBytes    = 2
	funcLocalBytes    = 3
	funcRegisters     = 4
	funcPTXVersion    = 5
	funcBinary        = 6
	funcCacheMode     = 7
	funcMaxDynamic    = 8
	funcCarveout      = 9
	funcAttributesEnd = 16
)

// FuncAttribute is cuFuncGetAttribute.
func (d *Driver) FuncAttribute(h Handle, attribute int) (int, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := get[*cuFunction](d, h)
	if !ok {
		return 0, InvalidHandle
	}
	switch attribute {
	case funcMaxThreads:
		return f.kernel.MaxThreads(), Success
	case funcSharedBytes:
		return f.kernel.StaticShared(), Success
	case funcLocalBytes:
		_, n := d.allotted(f)
		return n, Success
	case funcRegisters:
		n, _ := d.allotted(f)
		return n, Success
	case funcPTXVersion, funcBinary:
		return f.ctx.dev.Capability(), Success
	case funcMaxDynamic:
		return max(f.dynamic, 48<<10-f.kernel.StaticShared()), Success
	case funcConstBytes, funcCacheMode, funcCarveout:
		return 0, Success
	}
	if attribute < 0 || attribute >= funcAttributesEnd {
		return 0, InvalidValue
	}
	return 0, Success
}

// FuncSetAttribute is cuFuncSetAttribute: what a kernel may have of dynamic
// shared memory beyond 48 KiB must be asked for here.
func (d *Driver) FuncSetAttribute(h Handle, attribute, value int) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := get[*cuFunction](d, h)
	if !ok {
		return InvalidHandle
	}
	switch attribute {
	case funcMaxDynamic:
		limit, _ := d.DeviceAttribute(f.ctx.ordinal, deviceMaxSharedPerBlockOptin)
		if value < 0 || value+f.kernel.StaticShared() > limit {
			return InvalidValue
		}
		f.dynamic = value
		return Success
	case funcCarveout:
		return Success
	}
	if attribute < 0 || attribute >= funcAttributesEnd {
		return InvalidValue
	}
	return Success
}

// LaunchConfig is what cuLaunchKernelEx takes.
type LaunchConfig struct {
	Function            Handle
	Grid, Block         sim.Dim
	Cluster             sim.Dim
	Shared              int
	Stream              Handle
	ProgrammaticOverlap bool // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
}

// Params lists where each parameter of a function lies in the packed block,
// and its bytes: whoever calls copies them there.
func (d *Driver) Params(h Handle) ([]sim.Param, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := get[*cuFunction](d, h)
	if !ok {
		return nil, InvalidHandle
	}
	return f.kernel.Params(), Success
}

// Launch is cuLaunchKernel and cuLaunchKernelEx.
func (d *Driver) Launch(t Thread, cfg LaunchConfig, params []byte) Result {
	f, r := d.function(t, cfg)
	if r != Success {
		return r
	}
	if d.age.NoOverlap && cfg.ProgrammaticOverlap && d.Capturing(cfg.Stream) {
		return NotSupported
	}
	return d.enqueue(t, cfg.Stream, d.launch(f, cfg, params))
}

// function checks what a driver checks before it queues a launch.
func (d *Driver) function(t Thread, cfg LaunchConfig) (*cuFunction, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return nil, r
	}
	f, ok := get[*cuFunction](d, cfg.Function)
	switch {
	case !ok:
		return nil, InvalidHandle
	case f.ctx != c:
		return nil, InvalidContext
	case min(cfg.Grid.X, cfg.Grid.Y, cfg.Grid.Z, cfg.Block.X, cfg.Block.Y, cfg.Block.Z) < 1:
		return nil, InvalidValue
	case cfg.Shared < 0 || cfg.Shared > max(f.dynamic, 48<<10-f.kernel.StaticShared()):
		return nil, InvalidValue
	}
	return f, Success
}

// launch is the work of a launch. A kernel that fails leaves its error with the
// context; the launch itself has succeeded.
func (d *Driver) launch(f *cuFunction, cfg LaunchConfig, params []byte) action {
	return func(c *cuContext) Result {
		prof, err := c.dev.Launch(background(), sim.Launch{
			Kernel: f.kernel, Grid: cfg.Grid, Block: cfg.Block, Cluster: cfg.Cluster, SharedBytes: cfg.Shared,
			Params: params, Dependent: cfg.ProgrammaticOverlap,
		})
		d.profile = prof
		var le *sim.LaunchError
		var rep *sim.Report
		switch {
		case err == nil:
			return Success
		case errors.As(err, &le):
			d.report = err
			if le.Resources {
				return LaunchOutOfResources
			}
			return InvalidValue
		case errors.As(err, &rep):
			d.report = err
			c.sticky = map[sim.Kind]Result{
				sim.OutOfBounds: IllegalAddress, sim.Misaligned: MisalignedAddress, sim.StepLimit: LaunchTimeout, sim.Deadlock: LaunchTimeout,
			}[rep.Kind]
			if c.sticky == Success {
				c.sticky = LaunchFailed
			}
			return Success
		}
		d.report = fmt.Errorf("launch: %w", err)
		c.sticky = LaunchFailed
		return Success
	}
}

// Occupancy is cuOccupancyMaxActiveBlocksPerMultiprocessor, with registers left
// out of account.
func (d *Driver) Occupancy(h Handle, threads, shared int) (int, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := get[*cuFunction](d, h)
	if !ok {
		return 0, InvalidHandle
	}
	if threads < 1 || threads > f.kernel.MaxThreads() || shared < 0 {
		return 0, InvalidValue
	}
	return f.ctx.dev.Occupancy(f.kernel, threads, shared, 0).Blocks, Success
}

// Graphs.

type cuGraph struct {
	nodes []*cuNode
}

type cuNode struct {
	handle Handle
	deps   []Handle
	run    action
}

type cuGraphExec struct{ order []action }

// GraphCreate is cuGraphCreate.
func (d *Driver) GraphCreate() Handle {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.add(&cuGraph{})
}

// Destroy is cuGraphDestroy and cuGraphExecDestroy.
func (d *Driver) Destroy(h Handle) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.objects[h].(type) {
	case *cuGraph, *cuGraphExec:
		delete(d.objects, h)
		return Success
	}
	return InvalidHandle
}

// addNode appends a node behind others of the same graph.
func (d *Driver) addNode(graph Handle, deps []Handle, run action) (Handle, Result) {
	g, ok := get[*cuGraph](d, graph)
	if !ok {
		return 0, InvalidHandle
	}
	n := &cuNode{deps: append([]Handle{}, deps...), run: run}
	for _, h := range deps {
		if _, ok := g.node(h); !ok {
			return 0, InvalidHandle
		}
	}
	n.handle = d.add(n)
	g.nodes = append(g.nodes, n)
	return n.handle, Success
}

func (g *cuGraph) node(h Handle) (*cuNode, bool) {
	for _, n := range g.nodes {
		if n.handle == h && h != 0 {
			return n, true
		}
	}
	return nil, false
}

// GraphAddKernel is cuGraphAddKernelNode.
func (d *Driver) GraphAddKernel(t Thread, graph Handle, deps []Handle, cfg LaunchConfig, params []byte) (Handle, Result) {
	f, r := d.function(t, cfg)
	if r != Success {
		return 0, r
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addNode(graph, deps, d.launch(f, cfg, params))
}

// GraphAddSet is cuGraphAddMemsetNode for one row.
func (d *Driver) GraphAddSet(graph Handle, deps []Handle, dst sim.Ptr, value uint32, size, n int) (Handle, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addNode(graph, deps, func(c *cuContext) Result { return memResult(c.dev.Set(dst, value, size, n)) })
}

// GraphAddEmpty is cuGraphAddEmptyNode.
func (d *Driver) GraphAddEmpty(graph Handle, deps []Handle) (Handle, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addNode(graph, deps, func(*cuContext) Result { return Success })
}

// GraphAddDependencies is cuGraphAddDependencies.
func (d *Driver) GraphAddDependencies(graph Handle, from, to []Handle) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	g, ok := get[*cuGraph](d, graph)
	if !ok || len(from) != len(to) {
		return InvalidValue
	}
	for i := range from {
		n, ok := g.node(to[i])
		if _, ok2 := g.node(from[i]); !ok || !ok2 {
			return InvalidHandle
		}
		n.deps = append(n.deps, from[i])
	}
	return Success
}

// GraphNodes counts a graph's nodes.
func (d *Driver) GraphNodes(graph Handle) (int, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g, ok := get[*cuGraph](d, graph)
	if !ok {
		return 0, InvalidHandle
	}
	return len(g.nodes), Success
}

// GraphInstantiate is cuGraphInstantiate: it orders the nodes; a cycle is an
// error.
func (d *Driver) GraphInstantiate(graph Handle) (Handle, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g, ok := get[*cuGraph](d, graph)
	if !ok {
		return 0, InvalidHandle
	}
	x := &cuGraphExec{}
	done := map[Handle]bool{}
	placed := make([]bool, len(g.nodes))
	for len(x.order) < len(g.nodes) {
		before := len(x.order)
	nodes:
		for i, n := range g.nodes {
			if placed[i] {
				continue
			}
			for _, h := range n.deps {
				if !done[h] {
					continue nodes
				}
			}
			placed[i] = true
			if n.handle != 0 {
				done[n.handle] = true
			}
			x.order = append(x.order, n.run)
		}
		if len(x.order) == before {
			return 0, InvalidValue
		}
	}
	return d.add(x), Success
}

// GraphLaunch is cuGraphLaunch.
func (d *Driver) GraphLaunch(t Thread, exec, stream Handle) Result {
	d.mu.Lock()
	x, ok := get[*cuGraphExec](d, exec)
	d.mu.Unlock()
	if !ok {
		return InvalidHandle
	}
	return d.enqueue(t, stream, func(c *cuContext) Result {
		for _, run := range x.order {
			if r := run(c); r != Success {
				return r
			}
			if c.sticky != Success {
				return Success
			}
		}
		return Success
	})
}

// BeginCapture is cuStreamBeginCapture: the stream's work goes to a graph.
func (d *Driver) BeginCapture(t Thread, stream Handle) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return r
	}
	s, r := d.stream(c, stream)
	switch {
	case r != Success:
		return r
	case s == &c.null:
		return StreamCaptureImplied
	case s.capture != nil:
		return IllegalState
	}
	s.capture, s.invalid = &cuGraph{}, false
	return Success
}

// EndCapture is cuStreamEndCapture.
func (d *Driver) EndCapture(t Thread, stream Handle) (Handle, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return 0, r
	}
	s, r := d.stream(c, stream)
	switch {
	case r != Success:
		return 0, r
	case s.capture == nil:
		return 0, IllegalState
	}
	g := s.capture
	s.capture = nil
	if s.invalid {
		return 0, StreamCaptureInvalid
	}
	return d.add(g), Success
}

// Capturing is cuStreamIsCapturing.
func (d *Driver) Capturing(stream Handle) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := get[*cuStream](d, stream)
	return ok && s.capture != nil
}
