package simulated

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stylize-gpu/stylize/gpu/sim"
)

// Version is the driver API that is simulated, as cuDriverGetVersion gives it.
const Version = 12090

// Handle names a context, module, function, stream, event, graph or graph
// node. Zero is the null handle.
type Handle uint64

// Thread is an OS thread: a context is current to one.
type Thread int

// Driver is a simulated driver with one or more devices. All methods may be
// called from any goroutine.
type Driver struct {
	mu      sync.Mutex
	configs []sim.Config
	primary map[int]*cuContext
	objects map[Handle]any
	next    Handle
	current map[Thread][]*cuContext // a stack for each thread
	report  error
	profile *sim.Profile
	delayed bool
	age     Age
	loads   map[Thread]int // of modules
}

type cuContext struct {
	handle  Handle
	ordinal int
	flags   uint32
	dev     *sim.Device
	sticky  Result
	dead    bool
	refs    int // primary
	mods    map[Handle]bool
	null    cuStream // the default stream
}

type cuModule struct {
	ctx   *cuContext
	mod   *sim.Module
	funcs map[string]Handle
}

type cuFunction struct {
	ctx     *cuContext
	kernel  *sim.Kernel
	dynamic int // MAX_DYNAMIC_SHARED_SIZE_BYTES
}

type cuStream struct {
	ctx      *cuContext
	flags    uint32
	priority int
	capture  *cuGraph
	invalid  bool
	queue    []action // of a delayed driver: what nobody has waited for
}

type cuEvent struct {
	ctx      *cuContext
	flags    uint32
	recorded bool
	at       time.Time
	pending  int       // records that have not happened yet
	stream   *cuStream // of the last record
}

// New makes a driver with a device for each configuration, one when none is
// given.
func New(configs ...sim.Config) *Driver {
	if len(configs) == 0 {
		configs = []sim.Config{{}}
	}
	return &Driver{
		configs: configs, primary: map[int]*cuContext{}, objects: map[Handle]any{},
		next: 0x5100_0000, current: map[Thread][]*cuContext{}, loads: map[Thread]int{},
	}
}

// Delay makes the work of streams, copies included, happen only when something
// waits for it, as late as the API allows: a missing wait, or two streams that
// nobody has ordered, then show in the results. Host memory is read and written
// when a copy happens, but for copies that promise otherwise.
func (d *Driver) Delay() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delayed = true
}

// Report returns what the simulator said of the last kernel that failed: a
// *sim.Report, or nil.
func (d *Driver) Report() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.report
}

// Profile returns the profile of the last launch.
func (d *Driver) Profile() *sim.Profile {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.profile
}

func (d *Driver) add(o any) Handle {
	d.next += 16
	d.objects[d.next] = o
	return d.next
}

// get finds an object of a kind.
func get[T any](d *Driver, h Handle) (T, bool) {
	o, ok := d.objects[h].(T)
	return o, ok
}

// ctx returns the thread's context, or why there is none to work in.
func (d *Driver) ctx(t Thread) (*cuContext, Result) {
	s := d.current[t]
	if len(s) == 0 || s[len(s)-1] == nil {
		return nil, InvalidContext
	}
	c := s[len(s)-1]
	switch {
	case c.dead:
		return nil, InvalidContext
	case c.sticky != Success:
		return nil, c.sticky
	}
	return c, Success
}

// Devices.

// DeviceGetCount is cuDeviceGetCount.
func (d *Driver) DeviceGetCount() int { return len(d.configs) }

// DeviceGet is cuDeviceGet.
func (d *Driver) DeviceGet(ordinal int) Result {
	if ordinal < 0 || ordinal >= len(d.configs) {
		return InvalidDevice
	}
	return Success
}

// DeviceName is cuDeviceGetName.
func (d *Driver) DeviceName(ordinal int) (string, Result) {
	if r := d.DeviceGet(ordinal); r != Success {
		return "", r
	}
	return "Simulated " + sim.New(d.configs[ordinal]).Config().Arch, Success
}

// DeviceTotalMem is cuDeviceTotalMem.
func (d *Driver) DeviceTotalMem(ordinal int) (int64, Result) {
	if r := d.DeviceGet(ordinal); r != Success {
		return 0, r
	}
	return sim.New(d.configs[ordinal]).Config().Memory, Success
}

// The device attributes, CU_DEVICE_ATTRIBUTE_….
const (
	deviceMaxThreadsPerBlock            = 1
	deviceMaxBlockX                     = 2
	deviceMaxBlockY                     = 3
	deviceMaxBlockZ                     = 4
	deviceMaxGridX                      = 5
	deviceMaxGridY                      = 6
	deviceMaxGridZ                      = 7
	deviceMaxSharedPerBlock             = 8
	deviceTotalConstant                 = 9
	deviceWarpSize                      = 10
	deviceMaxRegistersPerBlock          = 12
	deviceClockRate                     = 13 // kHz
	deviceMultiprocessors               = 16
	deviceConcurrentKernels             = 31
	deviceMemoryClockRate               = 36 // kHz
	deviceMemoryBusWidth                = 37 // bits
	deviceL2CacheSize                   = 38
	deviceMaxThreadsPerMultiprocessor   = 39
	deviceUnifiedAddressing             = 41
	deviceCapabilityMajor               = 75
	deviceCapabilityMinor               = 76
	deviceMaxSharedPerMultiprocessor    = 81
	deviceMaxRegistersPerMultiprocessor = 82
	deviceMaxSharedPerBlockOptin        = 97
	deviceMaxBlocksPerMultiprocessor    = 106
	deviceReservedSharedPerBlock        = 111
	deviceMemoryPools                   = 115
	deviceClusterLaunch                 = 120
	deviceAttributesEnd                 = 151
)

// DeviceAttribute is cuDeviceGetAttribute. Attributes that say nothing of a
// simulated device are 0.
func (d *Driver) DeviceAttribute(ordinal, attribute int) (int, Result) {
	if r := d.DeviceGet(ordinal); r != Success {
		return 0, r
	}
	dev := sim.New(d.configs[ordinal])
	cc := dev.Capability()
	optin := map[int]int{80: 163 << 10, 90: 227 << 10}[cc]
	if optin == 0 {
		optin = 99 << 10
	}
	threads := 2048
	if cc > 80 && cc < 90 {
		threads = 1536
	}
	const reserved = 1 << 10 // of shared memory, by the driver for each block
	attributes := map[int]int{
		deviceMaxThreadsPerBlock:            1024,
		deviceMaxBlockX:                     1024,
		deviceMaxBlockY:                     1024,
		deviceMaxBlockZ:                     64,
		deviceMaxGridX:                      1<<31 - 1,
		deviceMaxGridY:                      65535,
		deviceMaxGridZ:                      65535,
		deviceMaxSharedPerBlock:             48 << 10,
		deviceTotalConstant:                 64 << 10,
		deviceWarpSize:                      32,
		deviceMaxRegistersPerBlock:          65536,
		deviceClockRate:                     1_000_000,
		deviceMultiprocessors:               dev.Config().SMs,
		deviceConcurrentKernels:             1,
		deviceMemoryClockRate:               1_000_000,
		deviceMemoryBusWidth:                4096,
		deviceL2CacheSize:                   50 << 20,
		deviceMaxThreadsPerMultiprocessor:   threads,
		deviceUnifiedAddressing:             1,
		deviceCapabilityMajor:               cc / 10,
		deviceCapabilityMinor:               cc % 10,
		deviceMaxSharedPerMultiprocessor:    optin + reserved,
		deviceMaxRegistersPerMultiprocessor: 65536,
		deviceMaxSharedPerBlockOptin:        optin,
		deviceMaxBlocksPerMultiprocessor:    32,
		deviceReservedSharedPerBlock:        reserved,
		deviceMemoryPools:                   1,
		deviceClusterLaunch:                 b2i(cc >= 90),
	}
	if attribute < 1 || attribute >= deviceAttributesEnd {
		return 0, InvalidValue
	}
	return attributes[attribute], Success
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Contexts.

// CtxCreate is cuCtxCreate: the new context becomes current to the thread.
func (d *Driver) CtxCreate(t Thread, flags uint32, ordinal int) (Handle, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.DeviceGet(ordinal); r != Success {
		return 0, r
	}
	c := d.newContext(ordinal, flags)
	d.current[t] = append(d.current[t], c)
	return c.handle, Success
}

func (d *Driver) newContext(ordinal int, flags uint32) *cuContext {
	c := &cuContext{ordinal: ordinal, flags: flags, dev: sim.New(d.configs[ordinal]), mods: map[Handle]bool{}}
	c.handle = d.add(c)
	return c
}

// CtxDestroy is cuCtxDestroy: all that the context holds is gone.
func (d *Driver) CtxDestroy(h Handle) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := get[*cuContext](d, h)
	if !ok {
		return InvalidContext
	}
	d.destroy(c)
	return Success
}

func (d *Driver) destroy(c *cuContext) {
	c.dead = true
	delete(d.objects, c.handle)
	for h, o := range d.objects {
		switch x := o.(type) {
		case *cuModule:
			if x.ctx == c {
				delete(d.objects, h)
			}
		case *cuFunction:
			if x.ctx == c {
				delete(d.objects, h)
			}
		case *cuStream:
			if x.ctx == c {
				delete(d.objects, h)
			}
		case *cuEvent:
			if x.ctx == c {
				delete(d.objects, h)
			}
		}
	}
	for t, s := range d.current {
		d.current[t] = slices.DeleteFunc(s, func(x *cuContext) bool { return x == c })
	}
	c.dev = nil // its memory, whoever still has the driver
}

// CtxSetCurrent moves a context to a thread, as CtxPushCurrent and
// CtxPopCurrent do.
func (d *Driver) CtxSetCurrent(t Thread, h Handle) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.current[t]
	if h == 0 {
		if len(s) > 0 {
			d.current[t] = s[:len(s)-1]
		}
		return Success
	}
	c, ok := get[*cuContext](d, h)
	if !ok {
		return InvalidContext
	}
	if len(s) == 0 {
		d.current[t] = []*cuContext{c}
	} else {
		s[len(s)-1] = c
	}
	return Success
}

// CtxPushCurrent is described with CtxSetCurrent.
func (d *Driver) CtxPushCurrent(t Thread, h Handle) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := get[*cuContext](d, h)
	if !ok {
		return InvalidContext
	}
	d.current[t] = append(d.current[t], c)
	return Success
}

// CtxPopCurrent is described with CtxSetCurrent.
func (d *Driver) CtxPopCurrent(t Thread) (Handle, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.current[t]
	if len(s) == 0 {
		return 0, InvalidContext
	}
	c := s[len(s)-1]
	d.current[t] = s[:len(s)-1]
	return c.handle, Success
}

// CtxGetCurrent is described with CtxSetCurrent.
func (d *Driver) CtxGetCurrent(t Thread) Handle {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.current[t]; len(s) > 0 {
		return s[len(s)-1].handle
	}
	return 0
}

// CtxGetDevice is cuCtxGetDevice.
func (d *Driver) CtxGetDevice(t Thread) (int, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return 0, r
	}
	return c.ordinal, Success
}

// CtxGetFlags is cuCtxGetFlags.
func (d *Driver) CtxGetFlags(t Thread) (uint32, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return 0, r
	}
	return c.flags, Success
}

// CtxSynchronize is cuCtxSynchronize: where an error of a kernel shows.
func (d *Driver) CtxSynchronize(t Thread) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return r
	}
	d.finishAll(c)
	_, r = d.ctx(t)
	return r
}

// PrimaryRetain is cuDevicePrimaryCtxRetain.
func (d *Driver) PrimaryRetain(ordinal int) (Handle, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.DeviceGet(ordinal); r != Success {
		return 0, r
	}
	c := d.primary[ordinal]
	if c == nil {
		c = d.newContext(ordinal, 0)
		d.primary[ordinal] = c
	}
	c.refs++
	return c.handle, Success
}

// PrimaryRelease is cuDevicePrimaryCtxRelease.
func (d *Driver) PrimaryRelease(ordinal int) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.primary[ordinal]
	if c == nil {
		return InvalidContext
	}
	if c.refs--; c.refs == 0 {
		d.destroy(c)
		delete(d.primary, ordinal)
	}
	return Success
}

// Memory.

// MemAlloc is cuMemAlloc.
func (d *Driver) MemAlloc(t Thread, bytes uint64) (sim.Ptr, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return 0, r
	}
	if bytes == 0 || bytes > 1<<62 {
		return 0, InvalidValue
	}
	p, err := c.dev.Alloc(fmt.Sprintf("allocation of %d bytes", bytes), int64(bytes))
	return p, memResult(err)
}

func memResult(err error) Result {
	switch {
	case err == nil:
		return Success
	case errors.Is(err, sim.ErrOutOfMemory):
		return OutOfMemory
	}
	return InvalidValue
}

// MemFree is cuMemFree.
func (d *Driver) MemFree(t Thread, p sim.Ptr) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return r
	}
	if p == 0 {
		return Success
	}
	d.finishAll(c)
	return memResult(c.dev.Free(p))
}

// MemGetInfo is cuMemGetInfo.
func (d *Driver) MemGetInfo(t Thread) (free, total int64, r Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return 0, 0, r
	}
	free, total = c.dev.MemInfo()
	return free, total, Success
}

// MemGetAddressRange is cuMemGetAddressRange.
func (d *Driver) MemGetAddressRange(t Thread, p sim.Ptr) (base sim.Ptr, size int64, r Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return 0, 0, r
	}
	base, size, err := c.dev.Range(p)
	return base, size, memResult(err)
}

// Name gives an allocation a name for reports.
func (d *Driver) Name(t Thread, p sim.Ptr, name string) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return r
	}
	return memResult(c.dev.SetName(p, name))
}

// action is a piece of work of a stream.
type action func(c *cuContext) Result

// enqueue runs work in a stream, or adds it to the graph being captured.
func (d *Driver) enqueue(t Thread, stream Handle, what action) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return r
	}
	s, r := d.stream(c, stream)
	if r != Success {
		return r
	}
	if s.capture != nil {
		if s.invalid {
			return StreamCaptureInvalid
		}
		s.capture.nodes = append(s.capture.nodes, &cuNode{run: what})
		return Success
	}
	if !d.delayed {
		return what(c)
	}
	d.order(c, s)
	s.queue = append(s.queue, what)
	return Success
}

// order does what work that a stream is given now comes behind: the default
// stream and the blocking ones wait for each other.
func (d *Driver) order(c *cuContext, s *cuStream) {
	if s != &c.null {
		if s.flags&1 == 0 {
			d.finish(c, &c.null)
		}
		return
	}
	for _, o := range d.objects {
		if x, ok := o.(*cuStream); ok && x.ctx == c && x.flags&1 == 0 {
			d.finish(c, x)
		}
	}
}

// finish does all that a stream was given. An error stays with the context.
func (d *Driver) finish(c *cuContext, s *cuStream) {
	for len(s.queue) > 0 {
		d.step(c, s)
	}
}

func (d *Driver) step(c *cuContext, s *cuStream) {
	what := s.queue[0]
	s.queue = s.queue[1:]
	if r := what(c); r != Success && c.sticky == Success {
		c.sticky = r
	}
}

// finishAll does all work of a context.
func (d *Driver) finishAll(c *cuContext) {
	d.finish(c, &c.null)
	for _, o := range d.objects {
		if x, ok := o.(*cuStream); ok && x.ctx == c {
			d.finish(c, x)
		}
	}
}

// stream finds a stream.
func (d *Driver) stream(c *cuContext, h Handle) (*cuStream, Result) {
	if h == 0 || h == 1 || h == 2 { // null, legacy, per thread
		return &c.null, Success
	}
	s, ok := get[*cuStream](d, h)
	switch {
	case !ok:
		return nil, InvalidHandle
	case s.ctx != c:
		return nil, InvalidContext
	}
	return s, Success
}

// UploadNow and DownloadNow are cuMemcpyHtoD and cuMemcpyDtoH: the first has read
// host memory when it returns, the second has written it.
func (d *Driver) UploadNow(t Thread, dst sim.Ptr, src []byte) Result {
	return d.Upload(t, 0, dst, bytes.Clone(src))
}

// DownloadNow is described with UploadNow.
func (d *Driver) DownloadNow(t Thread, dst []byte, src sim.Ptr) Result {
	if r := d.Download(t, 0, dst, src); r != Success {
		return r
	}
	return d.StreamSynchronize(t, 0)
}

// Upload copies from the host, Download to it; Copy and Set stay on the device.
// Host memory is read and written when the copy happens; in a graph, each time it
// is launched.
func (d *Driver) Upload(t Thread, stream Handle, dst sim.Ptr, src []byte) Result {
	return d.enqueue(t, stream, func(c *cuContext) Result { return memResult(c.dev.Write(dst, src)) })
}

// Download is described with Upload.
func (d *Driver) Download(t Thread, stream Handle, dst []byte, src sim.Ptr) Result {
	return d.enqueue(t, stream, func(c *cuContext) Result { return memResult(c.dev.Read(src, dst)) })
}

// Copy is described with Upload.
func (d *Driver) Copy(t Thread, stream Handle, dst, src sim.Ptr, n int) Result {
	return d.enqueue(t, stream, func(c *cuContext) Result { return memResult(c.dev.Copy(dst, src, n)) })
}

// Set is described with Upload.
func (d *Driver) Set(t Thread, stream Handle, dst sim.Ptr, value uint32, size, n int) Result {
	return d.enqueue(t, stream, func(c *cuContext) Result { return memResult(c.dev.Set(dst, value, size, n)) })
}

// Streams and events.

// StreamCreate is cuStreamCreateWithPriority.
func (d *Driver) StreamCreate(t Thread, flags uint32, priority int) (Handle, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return 0, r
	}
	if flags > 1 {
		return 0, InvalidValue
	}
	return d.add(&cuStream{ctx: c, flags: flags, priority: priority}), Success
}

// StreamDestroy is cuStreamDestroy.
func (d *Driver) StreamDestroy(h Handle) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := get[*cuStream](d, h)
	if !ok {
		return InvalidHandle
	}
	d.finish(s.ctx, s)
	delete(d.objects, h)
	return Success
}

// StreamSynchronize is cuStreamSynchronize, and cuStreamQuery: work is done.
func (d *Driver) StreamSynchronize(t Thread, h Handle) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return r
	}
	s, r := d.stream(c, h)
	if r != Success {
		return r
	}
	if s.capture != nil {
		s.invalid = true
		return StreamCaptureInvalid
	}
	d.order(c, s)
	d.finish(c, s)
	_, r = d.ctx(t) // with an error of what was done
	return r
}

// StreamFlags is cuStreamGetFlags and cuStreamGetPriority.
func (d *Driver) StreamFlags(h Handle) (flags uint32, priority int, r Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := get[*cuStream](d, h)
	if !ok {
		return 0, 0, InvalidHandle
	}
	return s.flags, s.priority, Success
}

// StreamWaitEvent is cuStreamWaitEvent: in a capture it joins the event's
// stream; else all work is done already.
func (d *Driver) StreamWaitEvent(t Thread, stream, event Handle) Result {
	e, r := d.event(event)
	if r != Success {
		return r
	}
	return d.enqueue(t, stream, func(c *cuContext) Result {
		d.reach(c, e)
		return Success
	})
}

// reach does the work ahead of an event's last record.
func (d *Driver) reach(c *cuContext, e *cuEvent) {
	for e.pending > 0 && e.stream != nil && len(e.stream.queue) > 0 {
		d.step(c, e.stream)
	}
}

func (d *Driver) event(h Handle) (*cuEvent, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := get[*cuEvent](d, h)
	if !ok {
		return nil, InvalidHandle
	}
	return e, Success
}

// EventCreate is cuEventCreate.
func (d *Driver) EventCreate(t Thread, flags uint32) (Handle, Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return 0, r
	}
	return d.add(&cuEvent{ctx: c, flags: flags}), Success
}

// EventDestroy is cuEventDestroy.
func (d *Driver) EventDestroy(h Handle) Result {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := get[*cuEvent](d, h); !ok {
		return InvalidHandle
	}
	delete(d.objects, h)
	return Success
}

// EventRecord is cuEventRecord.
func (d *Driver) EventRecord(t Thread, event, stream Handle) Result {
	e, r := d.event(event)
	if r != Success {
		return r
	}
	d.mu.Lock()
	if c, r := d.ctx(t); r == Success && d.delayed {
		if s, r := d.stream(c, stream); r == Success && s.capture == nil {
			e.pending, e.stream = e.pending+1, s
		}
	}
	d.mu.Unlock()
	return d.enqueue(t, stream, func(*cuContext) Result {
		e.recorded, e.at = true, time.Now()
		e.pending = max(0, e.pending-1)
		return Success
	})
}

// EventSynchronize is cuEventSynchronize and cuEventQuery.
func (d *Driver) EventSynchronize(t Thread, h Handle) Result {
	e, r := d.event(h)
	if r != Success {
		return r
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c, r := d.ctx(t)
	if r != Success {
		return r
	}
	d.reach(c, e)
	_, r = d.ctx(t)
	return r
}

// EventElapsed is cuEventElapsedTime: the simulator's own milliseconds, which
// say nothing of a GPU's.
func (d *Driver) EventElapsed(start, end Handle) (float32, Result) {
	a, r := d.event(start)
	if r != Success {
		return 0, r
	}
	b, r := d.event(end)
	if r != Success {
		return 0, r
	}
	if !a.recorded || !b.recorded || a.flags&2 != 0 || b.flags&2 != 0 { // DISABLE_TIMING
		return 0, InvalidHandle
	}
	return float32(b.at.Sub(a.at).Seconds() * 1e3), Success
}

// background is what launches run under; the driver API knows no cancelling.
func background() context.Context { return context.Background() }
