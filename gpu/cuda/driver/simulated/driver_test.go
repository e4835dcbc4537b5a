package simulated

import (
	"encoding/binary"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"weak"

	"github.com/stylize-gpu/stylize/gpu/sim"
)

const me = Thread(1)

// start makes a driver with a context on this thread.
func start(t *testing.T, cfg sim.Config) (*Driver, Handle) {
	t.Helper()
	d := New(cfg)
	ctx, r := d.CtxCreate(me, 0, 0)
	ok(t, r)
	return d, ctx
}

func ok(t *testing.T, r Result) {
	t.Helper()
	if r != Success {
		t.Fatal(r)
	}
}

func want(t *testing.T, got, want Result) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func function(t *testing.T, d *Driver, file, name string) Handle {
	t.Helper()
	src, err := os.ReadFile("../../../sim/testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	mod, log, r := d.ModuleLoadData(me, src)
	if r != Success {
		t.Fatal(r, log)
	}
	f, r := d.ModuleGetFunction(mod, name)
	ok(t, r)
	return f
}

// saxpy returns a launch of y += 2*x over n elements and where y is.
func saxpy(t *testing.T, d *Driver, n int) (LaunchConfig, []byte, sim.Ptr) {
	t.Helper()
	f := function(t, d, "elementwise.sm80.ptx", "saxpy")
	x, r := d.MemAlloc(me, uint64(4*n))
	ok(t, r)
	y, r := d.MemAlloc(me, uint64(4*n))
	ok(t, r)
	ok(t, d.Set(me, 0, x, math.Float32bits(1), 4, n))
	ok(t, d.Set(me, 0, y, 0, 4, n))
	params := binary.LittleEndian.AppendUint64(nil, uint64(y))
	params = binary.LittleEndian.AppendUint64(params, uint64(x))
	params = binary.LittleEndian.AppendUint32(params, math.Float32bits(2))
	params = binary.LittleEndian.AppendUint32(params, uint32(n))
	return LaunchConfig{Function: f, Grid: sim.Dim{X: (n + 127) / 128, Y: 1, Z: 1}, Block: sim.Dim{X: 128, Y: 1, Z: 1}}, params, y
}

func value(t *testing.T, d *Driver, p sim.Ptr) float32 {
	t.Helper()
	b := make([]byte, 4)
	ok(t, d.Download(me, 0, b, p))
	return math.Float32frombits(binary.LittleEndian.Uint32(b))
}

// The memory of a context that is destroyed goes, though the driver stays.
func TestDestroyedContextGoes(t *testing.T) {
	d, ctx := start(t, sim.Config{})
	cfg, params, _ := saxpy(t, d, 300)
	ok(t, d.Launch(me, cfg, params))
	dev := weak.Make(d.objects[ctx].(*cuContext).dev)
	ok(t, d.CtxDestroy(ctx))
	runtime.GC()
	if dev.Value() != nil {
		t.Error("the device is still there")
	}
	runtime.KeepAlive(d)
}

// A graph captured from a stream, and one built node by node, do what the calls
// did, as often as they are launched.
func TestGraphs(t *testing.T) {
	d, _ := start(t, sim.Config{})
	cfg, params, y := saxpy(t, d, 300)
	stream, r := d.StreamCreate(me, 1, 0)
	ok(t, r)
	ok(t, d.BeginCapture(me, stream))
	cfg.Stream = stream
	ok(t, d.Launch(me, cfg, params))
	ok(t, d.Launch(me, cfg, params))
	if v := value(t, d, y); v != 0 {
		t.Errorf("a captured launch ran: %g", v)
	}
	g, r := d.EndCapture(me, stream)
	ok(t, r)
	x, r := d.GraphInstantiate(g)
	ok(t, r)
	for range 3 {
		ok(t, d.GraphLaunch(me, x, stream))
	}
	if v := value(t, d, y); v != 12 {
		t.Errorf("3 launches of a graph of two: %g, want 12", v)
	}
	// Node by node: zero, then add, ordered by a dependency added later.
	cfg.Stream = 0
	g = d.GraphCreate()
	add, r := d.GraphAddKernel(me, g, nil, cfg, params)
	ok(t, r)
	zero, r := d.GraphAddSet(g, nil, y, 0, 4, 300)
	ok(t, r)
	if _, r := d.GraphAddEmpty(g, []Handle{add, 77}); r != InvalidHandle {
		t.Errorf("a dependency that does not exist: %v", r)
	}
	ok(t, d.GraphAddDependencies(g, []Handle{zero}, []Handle{add}))
	if n, r := d.GraphNodes(g); n != 2 || r != Success {
		t.Errorf("%d nodes, %v", n, r)
	}
	x, r = d.GraphInstantiate(g)
	ok(t, r)
	ok(t, d.GraphLaunch(me, x, 0))
	if v := value(t, d, y); v != 2 {
		t.Errorf("zero, then add: %g, want 2", v)
	}
	ok(t, d.GraphAddDependencies(g, []Handle{add}, []Handle{zero}))
	_, r = d.GraphInstantiate(g)
	want(t, r, InvalidValue) // a cycle
	ok(t, d.Destroy(x))
	want(t, d.GraphLaunch(me, x, 0), InvalidHandle)
}

// Capture has rules of its own.
func TestCaptureErrors(t *testing.T) {
	d, _ := start(t, sim.Config{})
	want(t, d.BeginCapture(me, 0), StreamCaptureImplied)
	s, r := d.StreamCreate(me, 0, 0)
	ok(t, r)
	_, r = d.EndCapture(me, s)
	want(t, r, IllegalState)
	ok(t, d.BeginCapture(me, s))
	want(t, d.BeginCapture(me, s), IllegalState)
	if !d.Capturing(s) {
		t.Error("not capturing")
	}
	want(t, d.StreamSynchronize(me, s), StreamCaptureInvalid)
	_, r = d.EndCapture(me, s)
	want(t, r, StreamCaptureInvalid)
}

// A kernel's error stays with its context, and with no other.
func TestStickyErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(params []byte)
		code   Result
		says   string
	}{
		{"null pointer", func(p []byte) { clear(p[:8]) }, IllegalAddress, "out of bounds"},
		{"misaligned", func(p []byte) { p[0]++ }, MisalignedAddress, "misaligned"},
		{"too many elements", func(p []byte) { p[21]++ }, IllegalAddress, "out of bounds"},
	} {
		d, ctx := start(t, sim.Config{})
		cfg, params, _ := saxpy(t, d, 250)
		cfg.Grid.X = 4
		c.change(params)
		want(t, d.Launch(me, cfg, params), Success)
		want(t, d.CtxSynchronize(me), c.code)
		_, r := d.MemAlloc(me, 16)
		want(t, r, c.code)
		if err := d.Report(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: report %v", c.name, err)
		}
		other, r := d.CtxCreate(me, 0, 0)
		ok(t, r)
		ok(t, d.CtxSynchronize(me))
		ok(t, d.CtxDestroy(other))
		want(t, d.CtxSynchronize(me), c.code)
		ok(t, d.CtxDestroy(ctx))
		want(t, d.CtxSynchronize(me), InvalidContext)
	}
}

// Launches that a driver refuses at once.
func TestLaunchErrors(t *testing.T) {
	d, _ := start(t, sim.Config{})
	cfg, params, _ := saxpy(t, d, 10)
	try := func(change func(*LaunchConfig)) Result {
		c := cfg
		change(&c)
		return d.Launch(me, c, params)
	}
	want(t, try(func(c *LaunchConfig) { c.Grid.X = 0 }), InvalidValue)
	want(t, try(func(c *LaunchConfig) { c.Block.X = 2000 }), InvalidValue)
	want(t, try(func(c *LaunchConfig) { c.Shared = 60 << 10 }), InvalidValue)
	want(t, try(func(c *LaunchConfig) { c.Function = 5 }), InvalidHandle)
	want(t, try(func(c *LaunchConfig) { c.Stream = 5 << 20 }), InvalidHandle)
	// More than 48 KiB of shared memory must be asked for.
	big := function(t, d, "conv_wgmma.sm90a.ptx", "conv3x3_wgmma")
	if n, r := d.FuncAttribute(big, funcMaxDynamic); n != 48<<10 || r != Success {
		t.Errorf("%d, %v", n, r)
	}
	want(t, d.FuncSetAttribute(big, funcMaxDynamic, 300<<10), InvalidValue)
	ok(t, d.FuncSetAttribute(big, funcMaxDynamic, 160<<10))
	if n, _ := d.FuncAttribute(big, funcMaxDynamic); n != 160<<10 {
		t.Errorf("%d", n)
	}
	if n, r := d.Occupancy(big, 384, 160<<10); n != 1 || r != Success {
		t.Errorf("%d blocks fit, %v", n, r)
	}
	_, r := d.Occupancy(big, 1024, 0)
	want(t, r, InvalidValue)
}

// Contexts belong to threads.
func TestContexts(t *testing.T) {
	d := New(sim.Config{}, sim.Config{Arch: "sm_80", Memory: 1 << 20})
	_, r := d.MemAlloc(me, 16)
	want(t, r, InvalidContext)
	_, r = d.CtxCreate(me, 0, 2)
	want(t, r, InvalidDevice)
	a, r := d.CtxCreate(me, 8, 1)
	ok(t, r)
	_, r = d.MemAlloc(2, 16)
	want(t, r, InvalidContext) // another thread
	ok(t, d.CtxSetCurrent(2, a))
	_, r = d.MemAlloc(2, 16)
	ok(t, r)
	_, r = d.MemAlloc(2, 1<<20)
	want(t, r, OutOfMemory)
	if n, r := d.CtxGetDevice(me); n != 1 || r != Success {
		t.Errorf("device %d, %v", n, r)
	}
	if f, _ := d.CtxGetFlags(me); f != 8 {
		t.Errorf("flags %d", f)
	}
	b, r := d.PrimaryRetain(0)
	ok(t, r)
	c, r := d.PrimaryRetain(0)
	ok(t, r)
	if b != c {
		t.Error("two primary contexts")
	}
	ok(t, d.CtxPushCurrent(me, b))
	if h, r := d.CtxPopCurrent(me); h != b || r != Success || d.CtxGetCurrent(me) != a {
		t.Errorf("popped %v, %v", h, r)
	}
	ok(t, d.PrimaryRelease(0))
	ok(t, d.PrimaryRelease(0))
	want(t, d.PrimaryRelease(0), InvalidContext)
	want(t, d.CtxPushCurrent(me, b), InvalidContext)
	for _, c := range []struct{ dev, attr, want int }{
		{0, deviceCapabilityMajor, 9},
		{1, deviceCapabilityMajor, 8},
		{1, deviceCapabilityMinor, 0},
		{0, deviceWarpSize, 32},
		{0, deviceMaxSharedPerBlockOptin, 227 << 10},
		{1, deviceMaxSharedPerBlockOptin, 163 << 10},
		{0, deviceMultiprocessors, 132},
	} {
		if v, r := d.DeviceAttribute(c.dev, c.attr); v != c.want || r != Success {
			t.Errorf("attribute %d of device %d: %d, %v", c.attr, c.dev, v, r)
		}
	}
	_, r = d.DeviceAttribute(0, 1000)
	want(t, r, InvalidValue)
}

// Modules, variables, events.
func TestModules(t *testing.T) {
	d, _ := start(t, sim.Config{})
	mod, _, r := d.ModuleLoadData(me, []byte(".version 7.0\n.target sm_80\n.address_size 64\n.const .align 4 .u32 k[2] = {7, 9};\n.entry e() { ret; }"))
	ok(t, r)
	p, n, r := d.ModuleGetGlobal(mod, "k")
	ok(t, r)
	b := make([]byte, 8)
	ok(t, d.Download(me, 0, b, p))
	if n != 8 || b[0] != 7 || b[4] != 9 {
		t.Errorf("%d bytes: %v", n, b)
	}
	_, _, r = d.ModuleGetGlobal(mod, "nope")
	want(t, r, NotFound)
	_, log, r := d.ModuleLoadData(me, []byte("no PTX"))
	want(t, r, InvalidPTX)
	if !strings.Contains(log, "expected a directive") {
		t.Errorf("log %q", log)
	}
	f, r := d.ModuleGetFunction(mod, "e")
	ok(t, r)
	ok(t, d.ModuleUnload(me, mod))
	want(t, d.Launch(me, LaunchConfig{Function: f, Grid: sim.Dim{X: 1, Y: 1, Z: 1}, Block: sim.Dim{X: 1, Y: 1, Z: 1}}, nil), InvalidHandle)
	a, r := d.EventCreate(me, 0)
	ok(t, r)
	e, r := d.EventCreate(me, 0)
	ok(t, r)
	_, r = d.EventElapsed(a, e)
	want(t, r, InvalidHandle)
	ok(t, d.EventRecord(me, a, 0))
	ok(t, d.EventRecord(me, e, 0))
	if ms, r := d.EventElapsed(a, e); ms < 0 || r != Success {
		t.Errorf("%g ms, %v", ms, r)
	}
	ok(t, d.EventDestroy(a))
	want(t, d.EventRecord(me, a, 0), InvalidHandle)
	for r := range results {
		if n, ok := r.Name(); !ok || !strings.HasPrefix(n, "CUDA_") {
			t.Errorf("%d is %q", r, n)
		}
	}
}
