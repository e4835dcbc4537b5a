//go:build linux && (amd64 || arm64) && cgo

package driver

/*
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"sync"
	"syscall"
	"unsafe"

	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

// The C side of the simulated driver: arguments to Go and back. Handles are
// small numbers in the clothes of pointers. Below the helpers stands one
// function for every SIMULATED line of symbols.h.

// call answers a driver call with the thread's driver. A panic must not cross
// into C.
func call(f func(d *simulated.Driver) simulated.Result) (r C.int) {
	defer func() {
		if p := recover(); p != nil {
			r = C.int(simulated.InvalidValue)
		}
	}()
	return C.int(f(current()))
}

func thread() simulated.Thread { return simulated.Thread(syscall.Gettid()) }

func handle(p unsafe.Pointer) simulated.Handle { return simulated.Handle(uintptr(p)) }

// pointer makes a handle look like the pointer that a driver gives.
func pointer(h simulated.Handle) unsafe.Pointer {
	v := uintptr(h)
	return *(*unsafe.Pointer)(unsafe.Pointer(&v))
}

func handles(p *unsafe.Pointer, n C.size_t) []simulated.Handle {
	var hs []simulated.Handle
	if p != nil {
		for _, x := range unsafe.Slice(p, int(n)) {
			hs = append(hs, handle(x))
		}
	}
	return hs
}

func hostBytes(p unsafe.Pointer, n int) []byte {
	if p == nil {
		return nil
	}
	return unsafe.Slice((*byte)(p), n)
}

func putString(p *C.char, n int, s string) {
	b := hostBytes(unsafe.Pointer(p), n)
	if n > 0 {
		b[min(copy(b, s), n-1)] = 0
	}
}

func u64s(p *C.uint64_t, n C.uint) []uint64 {
	if p == nil || n > 5 {
		return nil
	}
	return append([]uint64{}, unsafe.Slice((*uint64)(unsafe.Pointer(p)), int(n))...)
}

func u32s(p *C.uint, n C.uint) []uint32 {
	if p == nil || n > 5 {
		return nil
	}
	return append([]uint32{}, unsafe.Slice((*uint32)(unsafe.Pointer(p)), int(n))...)
}

func s32s(p *C.int, n int) []int32 {
	if p == nil || n < 0 || n > 5 {
		return nil
	}
	return append([]int32{}, unsafe.Slice((*int32)(unsafe.Pointer(p)), n)...)
}

// launchConfig is CUlaunchConfig, launchAttribute CUlaunchAttribute, kernelNode
// CUDA_KERNEL_NODE_PARAMS_v2 and memsetNode CUDA_MEMSET_NODE_PARAMS.
type launchConfig struct {
	gx, gy, gz, bx, by, bz, shared C.uint
	stream                         unsafe.Pointer
	attributes                     *launchAttribute
	n                              C.uint
}

type launchAttribute struct {
	id    C.int
	_     [4]byte
	value [64]byte
}

type kernelNode struct {
	function                       unsafe.Pointer
	gx, gy, gz, bx, by, bz, shared C.uint
	params, extra                  *unsafe.Pointer
	kernel, ctx                    unsafe.Pointer
}

type memsetNode struct {
	dst    C.uint64_t
	pitch  C.size_t
	value  C.uint
	size   C.uint
	width  C.size_t
	height C.size_t
}

func (c *launchConfig) decode(fn unsafe.Pointer) simulated.LaunchConfig {
	out := simulated.LaunchConfig{
		Function: handle(fn), Shared: int(c.shared), Stream: handle(c.stream),
		Grid:  sim.Dim{X: int(c.gx), Y: int(c.gy), Z: int(c.gz)},
		Block: sim.Dim{X: int(c.bx), Y: int(c.by), Z: int(c.bz)},
	}
	if c.attributes == nil {
		return out
	}
	for _, a := range unsafe.Slice(c.attributes, int(c.n)) {
		v := (*[3]C.uint)(unsafe.Pointer(&a.value))
		switch a.id {
		case 4: // CLUSTER_DIMENSION
			out.Cluster = sim.Dim{X: int(v[0]), Y: int(v[1]), Z: int(v[2])}
		case 6: // PROGRAMMATIC_STREAM_SERIALIZATION
			out.ProgrammaticOverlap = v[0] != 0
		}
	}
	return out
}

// pack copies the values that kernelParams points to.
func pack(d *simulated.Driver, fn simulated.Handle, params, extra *unsafe.Pointer) ([]byte, simulated.Result) {
	ps, r := d.Params(fn)
	if r != simulated.Success {
		return nil, r
	}
	if len(ps) == 0 {
		return nil, simulated.Success
	}
	if params == nil || extra != nil {
		return nil, simulated.InvalidValue
	}
	last := ps[len(ps)-1]
	out := make([]byte, last.Offset+last.Bytes)
	for i, p := range unsafe.Slice(params, len(ps)) {
		if p == nil {
			return nil, simulated.InvalidValue
		}
		copy(out[ps[i].Offset:], hostBytes(p, ps[i].Bytes))
	}
	return out, simulated.Success
}

func launch(d *simulated.Driver, c *launchConfig, fn unsafe.Pointer, params, extra *unsafe.Pointer) simulated.Result {
	cfg := c.decode(fn)
	block, r := pack(d, cfg.Function, params, extra)
	if r != simulated.Success {
		return r
	}
	return d.Launch(thread(), cfg, block)
}

// jitLog fills the log buffers that CUjit_options name: their pointers and
// sizes come as values of options that stand side by side.
func jitLog(n int, options *C.int, values *unsafe.Pointer, log string) {
	if n == 0 || options == nil || values == nil {
		return
	}
	const infoLog, errorLog = 3, 5 // the size has the next number
	buffers, sizes := map[C.int]unsafe.Pointer{}, map[C.int]*unsafe.Pointer{}
	vs := unsafe.Slice(values, n)
	for i, o := range unsafe.Slice(options, n) {
		switch o {
		case infoLog, errorLog:
			buffers[o] = vs[i]
		case infoLog + 1, errorLog + 1:
			sizes[o-1] = &vs[i]
		}
	}
	for o, p := range buffers {
		text := ""
		if o == errorLog {
			text = log
		}
		if s := sizes[o]; s != nil && p != nil {
			n := int(uintptr(*s))
			putString((*C.char)(p), n, text)
			*s = pointer(simulated.Handle(min(len(text), max(n-1, 0))))
		}
	}
}

// tensorType reads a CUtensorMapDataType.
func tensorType(t C.int) ptx.Type {
	types := []ptx.Type{
		ptx.U8, ptx.U16, ptx.U32, ptx.S32, ptx.U64, ptx.S64, ptx.F16, ptx.F32, ptx.F64, ptx.BF16, ptx.F32, ptx.TF32, ptx.TF32,
	}
	if t < 0 || int(t) >= len(types) {
		return ptx.NoType
	}
	return types[t]
}

// encoded stores a tensor map.
func encoded(to unsafe.Pointer) func(sim.TensorMap, error) simulated.Result {
	return func(m sim.TensorMap, err error) simulated.Result {
		if err != nil || uintptr(to)%64 != 0 || to == nil {
			return simulated.InvalidValue
		}
		copy(hostBytes(to, len(m)), m[:])
		return simulated.Success
	}
}

// texts keeps the C strings that cuGetErrorName gives out.
var texts sync.Map

func errorText(code C.int, to **C.char, get func(simulated.Result) (string, bool)) simulated.Result {
	s, ok := get(simulated.Result(code))
	if !ok {
		*to = nil
		return simulated.InvalidValue
	}
	c, loaded := texts.Load(s)
	if !loaded {
		c, _ = texts.LoadOrStore(s, C.CString(s))
	}
	*to = c.(*C.char)
	return simulated.Success
}

//export sim_cuDriverGetVersion
func sim_cuDriverGetVersion(v *C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		*v = C.int(d.DriverVersion())
		return simulated.Success
	})
}

//export sim_cuDeviceGetCount
func sim_cuDeviceGetCount(n *C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		*n = C.int(d.DeviceGetCount())
		return simulated.Success
	})
}

//export sim_cuDeviceGet
func sim_cuDeviceGet(dev *C.int, ordinal C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		*dev = ordinal
		return d.DeviceGet(int(ordinal))
	})
}

//export sim_cuDeviceGetName
func sim_cuDeviceGetName(name *C.char, n C.int, dev C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		s, r := d.DeviceName(int(dev))
		if r == simulated.Success {
			putString(name, int(n), s)
		}
		return r
	})
}

//export sim_cuDeviceTotalMem_v2
func sim_cuDeviceTotalMem_v2(bytes *C.size_t, dev C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		n, r := d.DeviceTotalMem(int(dev))
		*bytes = C.size_t(n)
		return r
	})
}

//export sim_cuDeviceGetAttribute
func sim_cuDeviceGetAttribute(v *C.int, attribute, dev C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		n, r := d.DeviceAttribute(int(dev), int(attribute))
		*v = C.int(n)
		return r
	})
}

//export sim_cuDeviceGetUuid
func sim_cuDeviceGetUuid(uuid unsafe.Pointer, dev C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		copy(hostBytes(uuid, 16), fmt.Sprintf("simulated %06d", dev))
		return d.DeviceGet(int(dev))
	})
}

//export sim_cuCtxCreate_v2
func sim_cuCtxCreate_v2(ctx *unsafe.Pointer, flags C.uint, dev C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, r := d.CtxCreate(thread(), uint32(flags), int(dev))
		*ctx = pointer(h)
		return r
	})
}

//export sim_cuCtxDestroy_v2
func sim_cuCtxDestroy_v2(ctx unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.CtxDestroy(handle(ctx))
	})
}

//export sim_cuCtxSetCurrent
func sim_cuCtxSetCurrent(ctx unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.CtxSetCurrent(thread(), handle(ctx))
	})
}

//export sim_cuCtxPushCurrent_v2
func sim_cuCtxPushCurrent_v2(ctx unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.CtxPushCurrent(thread(), handle(ctx))
	})
}

//export sim_cuCtxPopCurrent_v2
func sim_cuCtxPopCurrent_v2(ctx *unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, r := d.CtxPopCurrent(thread())
		if ctx != nil {
			*ctx = pointer(h)
		}
		return r
	})
}

//export sim_cuCtxGetCurrent
func sim_cuCtxGetCurrent(ctx *unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		*ctx = pointer(d.CtxGetCurrent(thread()))
		return simulated.Success
	})
}

//export sim_cuCtxGetDevice
func sim_cuCtxGetDevice(dev *C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		n, r := d.CtxGetDevice(thread())
		*dev = C.int(n)
		return r
	})
}

//export sim_cuCtxGetFlags
func sim_cuCtxGetFlags(flags *C.uint) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		n, r := d.CtxGetFlags(thread())
		*flags = C.uint(n)
		return r
	})
}

//export sim_cuCtxGetApiVersion
func sim_cuCtxGetApiVersion(_ unsafe.Pointer, v *C.uint) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		*v = 3020
		return simulated.Success
	})
}

//export sim_cuCtxSynchronize
func sim_cuCtxSynchronize() C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.CtxSynchronize(thread())
	})
}

//export sim_cuDevicePrimaryCtxRetain
func sim_cuDevicePrimaryCtxRetain(ctx *unsafe.Pointer, dev C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, r := d.PrimaryRetain(int(dev))
		*ctx = pointer(h)
		return r
	})
}

//export sim_cuDevicePrimaryCtxRelease_v2
func sim_cuDevicePrimaryCtxRelease_v2(dev C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.PrimaryRelease(int(dev))
	})
}

//export sim_cuModuleLoadData
func sim_cuModuleLoadData(mod *unsafe.Pointer, image *C.char) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, _, r := d.ModuleLoadData(thread(), []byte(C.GoString(image)))
		*mod = pointer(h)
		return r
	})
}

//export sim_cuModuleLoadDataEx
func sim_cuModuleLoadDataEx(mod *unsafe.Pointer, image *C.char, n C.uint, options *C.int, values *unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, log, r := d.ModuleLoadData(thread(), []byte(C.GoString(image)))
		*mod = pointer(h)
		jitLog(int(n), options, values, log)
		return r
	})
}

//export sim_cuModuleUnload
func sim_cuModuleUnload(mod unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.ModuleUnload(thread(), handle(mod))
	})
}

//export sim_cuModuleGetFunction
func sim_cuModuleGetFunction(fn *unsafe.Pointer, mod unsafe.Pointer, name *C.char) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, r := d.ModuleGetFunction(handle(mod), C.GoString(name))
		*fn = pointer(h)
		return r
	})
}

//export sim_cuModuleGetGlobal_v2
func sim_cuModuleGetGlobal_v2(p *C.uint64_t, n *C.size_t, mod unsafe.Pointer, name *C.char) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		a, size, r := d.ModuleGetGlobal(handle(mod), C.GoString(name))
		if p != nil {
			*p = C.uint64_t(a)
		}
		if n != nil {
			*n = C.size_t(size)
		}
		return r
	})
}

//export sim_cuMemAlloc_v2
func sim_cuMemAlloc_v2(p *C.uint64_t, n C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		a, r := d.MemAlloc(thread(), uint64(n))
		*p = C.uint64_t(a)
		return r
	})
}

//export sim_cuMemFree_v2
func sim_cuMemFree_v2(p C.uint64_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.MemFree(thread(), sim.Ptr(p))
	})
}

//export sim_cuMemGetInfo_v2
func sim_cuMemGetInfo_v2(free, total *C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		a, b, r := d.MemGetInfo(thread())
		*free, *total = C.size_t(a), C.size_t(b)
		return r
	})
}

//export sim_cuMemGetAddressRange_v2
func sim_cuMemGetAddressRange_v2(base *C.uint64_t, n *C.size_t, p C.uint64_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		a, size, r := d.MemGetAddressRange(thread(), sim.Ptr(p))
		if base != nil {
			*base = C.uint64_t(a)
		}
		if n != nil {
			*n = C.size_t(size)
		}
		return r
	})
}

//export sim_cuMemAllocHost_v2
func sim_cuMemAllocHost_v2(p *unsafe.Pointer, n C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		if *p = C.malloc(n); *p == nil {
			return simulated.OutOfMemory
		}
		return simulated.Success
	})
}

//export sim_cuMemHostAlloc
func sim_cuMemHostAlloc(p *unsafe.Pointer, n C.size_t, _ C.uint) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		if *p = C.malloc(n); *p == nil {
			return simulated.OutOfMemory
		}
		return simulated.Success
	})
}

//export sim_cuMemFreeHost
func sim_cuMemFreeHost(p unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		C.free(p)
		return simulated.Success
	})
}

//export sim_cuMemcpyHtoD_v2
func sim_cuMemcpyHtoD_v2(dst C.uint64_t, src unsafe.Pointer, n C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.UploadNow(thread(), sim.Ptr(dst), hostBytes(src, int(n)))
	})
}

//export sim_cuMemcpyDtoH_v2
func sim_cuMemcpyDtoH_v2(dst unsafe.Pointer, src C.uint64_t, n C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.DownloadNow(thread(), hostBytes(dst, int(n)), sim.Ptr(src))
	})
}

//export sim_cuMemcpyDtoD_v2
func sim_cuMemcpyDtoD_v2(dst, src C.uint64_t, n C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Copy(thread(), 0, sim.Ptr(dst), sim.Ptr(src), int(n))
	})
}

//export sim_cuMemsetD8_v2
func sim_cuMemsetD8_v2(dst C.uint64_t, v C.uchar, n C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Set(thread(), 0, sim.Ptr(dst), uint32(v), 1, int(n))
	})
}

//export sim_cuMemsetD16_v2
func sim_cuMemsetD16_v2(dst C.uint64_t, v C.ushort, n C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Set(thread(), 0, sim.Ptr(dst), uint32(v), 2, int(n))
	})
}

//export sim_cuMemsetD32_v2
func sim_cuMemsetD32_v2(dst C.uint64_t, v C.uint, n C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Set(thread(), 0, sim.Ptr(dst), uint32(v), 4, int(n))
	})
}

//export sim_cuMemcpyHtoDAsync_v2
func sim_cuMemcpyHtoDAsync_v2(dst C.uint64_t, src unsafe.Pointer, n C.size_t, stream unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Upload(thread(), handle(stream), sim.Ptr(dst), hostBytes(src, int(n)))
	})
}

//export sim_cuMemcpyDtoHAsync_v2
func sim_cuMemcpyDtoHAsync_v2(dst unsafe.Pointer, src C.uint64_t, n C.size_t, stream unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Download(thread(), handle(stream), hostBytes(dst, int(n)), sim.Ptr(src))
	})
}

//export sim_cuMemcpyDtoDAsync_v2
func sim_cuMemcpyDtoDAsync_v2(dst, src C.uint64_t, n C.size_t, stream unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Copy(thread(), handle(stream), sim.Ptr(dst), sim.Ptr(src), int(n))
	})
}

//export sim_cuMemsetD8Async
func sim_cuMemsetD8Async(dst C.uint64_t, v C.uchar, n C.size_t, stream unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Set(thread(), handle(stream), sim.Ptr(dst), uint32(v), 1, int(n))
	})
}

//export sim_cuMemsetD16Async
func sim_cuMemsetD16Async(dst C.uint64_t, v C.ushort, n C.size_t, stream unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Set(thread(), handle(stream), sim.Ptr(dst), uint32(v), 2, int(n))
	})
}

//export sim_cuMemsetD32Async
func sim_cuMemsetD32Async(dst C.uint64_t, v C.uint, n C.size_t, stream unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Set(thread(), handle(stream), sim.Ptr(dst), uint32(v), 4, int(n))
	})
}

//export sim_cuStreamCreate
func sim_cuStreamCreate(s *unsafe.Pointer, flags C.uint) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, r := d.StreamCreate(thread(), uint32(flags), 0)
		*s = pointer(h)
		return r
	})
}

//export sim_cuStreamCreateWithPriority
func sim_cuStreamCreateWithPriority(s *unsafe.Pointer, flags C.uint, priority C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, r := d.StreamCreate(thread(), uint32(flags), int(priority))
		*s = pointer(h)
		return r
	})
}

//export sim_cuStreamDestroy_v2
func sim_cuStreamDestroy_v2(s unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.StreamDestroy(handle(s))
	})
}

//export sim_cuStreamSynchronize
func sim_cuStreamSynchronize(s unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.StreamSynchronize(thread(), handle(s))
	})
}

//export sim_cuStreamQuery
func sim_cuStreamQuery(s unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.StreamSynchronize(thread(), handle(s))
	})
}

//export sim_cuStreamWaitEvent
func sim_cuStreamWaitEvent(s, e unsafe.Pointer, _ C.uint) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.StreamWaitEvent(thread(), handle(s), handle(e))
	})
}

//export sim_cuStreamGetFlags
func sim_cuStreamGetFlags(s unsafe.Pointer, flags *C.uint) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		n, _, r := d.StreamFlags(handle(s))
		*flags = C.uint(n)
		return r
	})
}

//export sim_cuStreamGetPriority
func sim_cuStreamGetPriority(s unsafe.Pointer, priority *C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		_, n, r := d.StreamFlags(handle(s))
		*priority = C.int(n)
		return r
	})
}

//export sim_cuStreamBeginCapture_v2
func sim_cuStreamBeginCapture_v2(s unsafe.Pointer, _ C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.BeginCapture(thread(), handle(s))
	})
}

//export sim_cuStreamEndCapture
func sim_cuStreamEndCapture(s unsafe.Pointer, g *unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, r := d.EndCapture(thread(), handle(s))
		*g = pointer(h)
		return r
	})
}

//export sim_cuStreamIsCapturing
func sim_cuStreamIsCapturing(s unsafe.Pointer, status *C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		*status = 0
		if d.Capturing(handle(s)) {
			*status = 1
		}
		return simulated.Success
	})
}

//export sim_cuEventCreate
func sim_cuEventCreate(e *unsafe.Pointer, flags C.uint) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, r := d.EventCreate(thread(), uint32(flags))
		*e = pointer(h)
		return r
	})
}

//export sim_cuEventDestroy_v2
func sim_cuEventDestroy_v2(e unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.EventDestroy(handle(e))
	})
}

//export sim_cuEventRecord
func sim_cuEventRecord(e, s unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.EventRecord(thread(), handle(e), handle(s))
	})
}

//export sim_cuEventSynchronize
func sim_cuEventSynchronize(e unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.EventSynchronize(thread(), handle(e))
	})
}

//export sim_cuEventQuery
func sim_cuEventQuery(e unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.EventSynchronize(thread(), handle(e))
	})
}

//export sim_cuEventElapsedTime
func sim_cuEventElapsedTime(ms *C.float, a, b unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		v, r := d.EventElapsed(handle(a), handle(b))
		*ms = C.float(v)
		return r
	})
}

//export sim_cuFuncGetAttribute
func sim_cuFuncGetAttribute(v *C.int, attribute C.int, fn unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		n, r := d.FuncAttribute(handle(fn), int(attribute))
		*v = C.int(n)
		return r
	})
}

//export sim_cuFuncSetAttribute
func sim_cuFuncSetAttribute(fn unsafe.Pointer, attribute, v C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.FuncSetAttribute(handle(fn), int(attribute), int(v))
	})
}

//export sim_cuFuncSetCacheConfig
func sim_cuFuncSetCacheConfig(fn unsafe.Pointer, _ C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		_, r := d.FuncAttribute(handle(fn), 0)
		return r
	})
}

//export sim_cuLaunchKernel
func sim_cuLaunchKernel(fn unsafe.Pointer, gx, gy, gz, bx, by, bz, shared C.uint, stream unsafe.Pointer, params, extra *unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		cfg := launchConfig{gx, gy, gz, bx, by, bz, shared, stream, nil, 0}
		return launch(d, &cfg, fn, params, extra)
	})
}

//export sim_cuLaunchKernelEx
func sim_cuLaunchKernelEx(cfg unsafe.Pointer, fn unsafe.Pointer, params, extra *unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return launch(d, (*launchConfig)(cfg), fn, params, extra)
	})
}

//export sim_cuOccupancyMaxActiveBlocksPerMultiprocessor
func sim_cuOccupancyMaxActiveBlocksPerMultiprocessor(n *C.int, fn unsafe.Pointer, threads C.int, shared C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		v, r := d.Occupancy(handle(fn), int(threads), int(shared))
		*n = C.int(v)
		return r
	})
}

//export sim_cuGraphCreate
func sim_cuGraphCreate(g *unsafe.Pointer, _ C.uint) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		*g = pointer(d.GraphCreate())
		return simulated.Success
	})
}

//export sim_cuGraphDestroy
func sim_cuGraphDestroy(g unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Destroy(handle(g))
	})
}

//export sim_cuGraphExecDestroy
func sim_cuGraphExecDestroy(g unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.Destroy(handle(g))
	})
}

//export sim_cuGraphAddKernelNode_v2
func sim_cuGraphAddKernelNode_v2(node *unsafe.Pointer, g unsafe.Pointer, deps *unsafe.Pointer, n C.size_t, params unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		p := (*kernelNode)(params)
		cfg := launchConfig{p.gx, p.gy, p.gz, p.bx, p.by, p.bz, p.shared, nil, nil, 0}
		c := cfg.decode(p.function)
		block, r := pack(d, c.Function, p.params, p.extra)
		if r != simulated.Success {
			return r
		}
		h, r := d.GraphAddKernel(thread(), handle(g), handles(deps, n), c, block)
		*node = pointer(h)
		return r
	})
}

//export sim_cuGraphAddMemsetNode
func sim_cuGraphAddMemsetNode(node *unsafe.Pointer, g unsafe.Pointer, deps *unsafe.Pointer, n C.size_t, params, _ unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		p := (*memsetNode)(params)
		if p.height != 1 {
			return simulated.NotSupported
		}
		h, r := d.GraphAddSet(handle(g), handles(deps, n), sim.Ptr(p.dst), uint32(p.value), int(p.size), int(p.width))
		*node = pointer(h)
		return r
	})
}

//export sim_cuGraphAddEmptyNode
func sim_cuGraphAddEmptyNode(node *unsafe.Pointer, g unsafe.Pointer, deps *unsafe.Pointer, n C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, r := d.GraphAddEmpty(handle(g), handles(deps, n))
		*node = pointer(h)
		return r
	})
}

//export sim_cuGraphAddDependencies
func sim_cuGraphAddDependencies(g unsafe.Pointer, from, to *unsafe.Pointer, n C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.GraphAddDependencies(handle(g), handles(from, n), handles(to, n))
	})
}

//export sim_cuGraphGetNodes
func sim_cuGraphGetNodes(g unsafe.Pointer, nodes *unsafe.Pointer, n *C.size_t) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		if nodes != nil {
			return simulated.NotSupported
		}
		v, r := d.GraphNodes(handle(g))
		*n = C.size_t(v)
		return r
	})
}

//export sim_cuGraphInstantiateWithFlags
func sim_cuGraphInstantiateWithFlags(x *unsafe.Pointer, g unsafe.Pointer, _ C.ulonglong) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		h, r := d.GraphInstantiate(handle(g))
		*x = pointer(h)
		return r
	})
}

//export sim_cuGraphLaunch
func sim_cuGraphLaunch(x, s unsafe.Pointer) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return d.GraphLaunch(thread(), handle(x), handle(s))
	})
}

//export sim_cuTensorMapEncodeTiled
func sim_cuTensorMapEncodeTiled(m unsafe.Pointer, typ C.int, rank C.uint, base unsafe.Pointer, dims, strides *C.uint64_t, box, steps *C.uint, interleave, swizzle, _, fill C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		t := tensormap.Tiled{
			Type: tensorType(typ), Base: uint64(uintptr(base)), Dims: u64s(dims, rank), Strides: u64s(strides, rank-1),
			Box: u32s(box, rank), ElementStrides: u32s(steps, rank), Swizzle: tensormap.Swizzle(swizzle), NaNFill: fill == 1,
		}
		if interleave != 0 || swizzle < 0 || swizzle > 3 {
			return simulated.NotSupported
		}
		return encoded(m)(sim.EncodeTiled(t))
	})
}

//export sim_cuTensorMapEncodeIm2col
func sim_cuTensorMapEncodeIm2col(m unsafe.Pointer, typ C.int, rank C.uint, base unsafe.Pointer, dims, strides *C.uint64_t, lower, upper *C.int, channels, pixels C.uint, steps *C.uint, interleave, swizzle, _, fill C.int) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		t := tensormap.Im2col{
			Type: tensorType(typ), Base: uint64(uintptr(base)), Dims: u64s(dims, rank), Strides: u64s(strides, rank-1),
			Lower: s32s(lower, int(rank)-2), Upper: s32s(upper, int(rank)-2), ChannelsPerPixel: uint32(channels), PixelsPerColumn: uint32(pixels),
			ElementStrides: u32s(steps, rank), Swizzle: tensormap.Swizzle(swizzle), NaNFill: fill == 1,
		}
		if interleave != 0 || swizzle < 0 || swizzle > 3 {
			return simulated.NotSupported
		}
		return encoded(m)(sim.EncodeIm2col(t))
	})
}

//export sim_cuGetErrorString
func sim_cuGetErrorString(code C.int, s **C.char) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return errorText(code, s, simulated.Result.Text)
	})
}

//export sim_cuGetErrorName
func sim_cuGetErrorName(code C.int, s **C.char) C.int {
	return call(func(d *simulated.Driver) simulated.Result {
		return errorText(code, s, simulated.Result.Name)
	})
}
