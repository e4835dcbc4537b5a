//go:build cudart && cgo && linux

package main

// #include "sim.h"
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

// memory is what the host can see of the device, and the device of the host. Both use the
// device's address for managed and pinned memory: it is mapped there.
type memory struct {
	shared     map[uint64][]byte // by the device's address
	managed    map[uint64]bool   // of those shared: not pinned memory of the host
	registered map[uint64]uint64 // host address to the device's
	count      int
}

func (m *memory) init() {
	m.shared, m.managed, m.registered = map[uint64][]byte{}, map[uint64]bool{}, map[uint64]uint64{}
}

// result is the code of an error of the device's memory.
func result(call string, err error) C.int {
	if err == nil {
		return 0
	}
	complain(call, err)
	if errors.Is(err, sim.ErrOutOfMemory) {
		return C.SIM_OUT_OF_MEMORY
	}
	return C.SIM_INVALID_VALUE
}

func (m *memory) alloc(call string, n C.size_t) (uint64, error) {
	if n > 1<<48 {
		return 0, fmt.Errorf("%d bytes: %w", n, sim.ErrOutOfMemory)
	}
	m.count++
	p, err := state.dev.Alloc(fmt.Sprintf("%s #%d", call, m.count), int64(n))
	return uint64(p), err
}

// share maps memory of the host at an allocation's address and has both see it.
func (m *memory) share(at uint64, n int64) error {
	page := int64(unix.Getpagesize())
	p, err := unix.MmapPtr(-1, 0, pointer(at), uintptr((n+page-1)/page*page),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE|unix.MAP_NORESERVE)
	if err != nil {
		return fmt.Errorf("memory that host and device share: map %d bytes at %#x: %w", n, at, err)
	}
	host := unsafe.Slice((*byte)(p), int(n))
	if err := state.dev.Read(sim.Ptr(at), host); err != nil {
		return err
	}
	m.shared[at] = host
	return state.dev.Share(sim.Ptr(at), host)
}

//export simMalloc
func simMalloc(call *C.char, n C.size_t, at *C.uint64_t) C.int {
	name := C.GoString(call)
	return in(name, func() C.int {
		p, err := state.alloc(name, n)
		*at = C.uint64_t(p)
		return result(name, err)
	})
}

//export simMallocShared
func simMallocShared(call *C.char, n C.size_t, at *C.uint64_t) C.int {
	name := C.GoString(call)
	return in(name, func() C.int {
		p, err := state.alloc(name, n)
		if err == nil {
			err = state.share(p, int64(n))
			state.managed[p] = strings.HasSuffix(name, "Managed")
		}
		*at = C.uint64_t(p)
		return result(name, err)
	})
}

//export simFree
func simFree(call *C.char, at C.uint64_t) C.int {
	name := C.GoString(call)
	return in(name, func() C.int {
		if at == 0 {
			return 0
		}
		err := state.dev.Free(sim.Ptr(at))
		if host := state.shared[uint64(at)]; err == nil && host != nil {
			delete(state.shared, uint64(at))
			delete(state.managed, uint64(at))
			page := unix.Getpagesize()
			err = unix.MunmapPtr(unsafe.Pointer(&host[0]), uintptr((len(host)+page-1)/page*page))
		}
		return result(name, err)
	})
}

//export simHostRegister
func simHostRegister(host C.uint64_t, n C.size_t) C.int {
	return in("cudaHostRegister", func() C.int {
		if host < lowest {
			return result("cudaHostRegister", fmt.Errorf("%#x is no memory of the program", uint64(host)))
		}
		p, err := state.alloc("cudaHostRegister", n)
		if err != nil {
			return result("cudaHostRegister", err)
		}
		if err := state.dev.Share(sim.Ptr(p), hostBytes(host, n)); err != nil {
			return result("cudaHostRegister", err)
		}
		state.registered[uint64(host)] = p
		return 0
	})
}

//export simHostUnregister
func simHostUnregister(host C.uint64_t) C.int {
	return in("cudaHostUnregister", func() C.int {
		p, ok := state.registered[uint64(host)]
		if !ok {
			return result("cudaHostUnregister", fmt.Errorf("%#x is not registered", uint64(host)))
		}
		delete(state.registered, uint64(host))
		return result("cudaHostUnregister", state.dev.Free(sim.Ptr(p)))
	})
}

//export simDevicePointer
func simDevicePointer(host C.uint64_t) C.uint64_t {
	var at uint64
	in("cudaHostGetDevicePointer", func() C.int {
		if p, ok := state.registered[uint64(host)]; ok {
			at = p
		} else if base, _, err := state.dev.Range(sim.Ptr(host)); err == nil && state.shared[uint64(base)] != nil {
			at = uint64(host)
		}
		return 0
	})
	return C.uint64_t(at)
}

//export simRange
func simRange(at C.uint64_t, base *C.uint64_t, n *C.size_t, shared *C.int) C.int {
	return in("cuMemGetAddressRange", func() C.int {
		b, size, err := state.dev.Range(sim.Ptr(at))
		if err != nil || uint64(at)-uint64(b) >= uint64(size) {
			return C.SIM_NOT_FOUND // it is the host's: nothing to complain of
		}
		*base, *n, *shared = C.uint64_t(b), C.size_t(size), 0
		if state.shared[uint64(b)] != nil {
			if *shared = 2; state.managed[uint64(b)] {
				*shared = 1
			}
		}
		return 0
	})
}

// pointer makes one of an address that the program gave: of no Go memory.
func pointer(at uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&at)) }

// hostBytes is memory of the program.
func hostBytes(at C.uint64_t, n C.size_t) []byte {
	return unsafe.Slice((*byte)(pointer(uint64(at))), int(n))
}

// onDevice says whether an address is one of the device, of an allocation or near it.
func onDevice(at C.uint64_t) bool {
	_, _, err := state.dev.Range(sim.Ptr(at))
	return err == nil
}

// lowest is below what a program can have mapped: Go takes a fault there for its own.
const lowest = 4096

// The kinds of copies, cudaMemcpyKind.
const (
	hostToHost = iota
	hostToDevice
	deviceToHost
	deviceToDevice
	byAddress
)

//export simCopy
func simCopy(call *C.char, dst, src C.uint64_t, n C.size_t, kind C.int) C.int {
	name := C.GoString(call)
	return in(name, func() C.int {
		if n == 0 {
			return 0
		}
		d, s := onDevice(dst), onDevice(src)
		var err error
		switch {
		case kind < hostToHost || kind > byAddress:
			err = fmt.Errorf("kind of copy %d, want 0 to 4", kind)
		case !d && (kind == hostToDevice || kind == deviceToDevice):
			err = fmt.Errorf("the destination %#x is no address of the device", uint64(dst))
		case !s && (kind == deviceToHost || kind == deviceToDevice):
			err = fmt.Errorf("the source %#x is no address of the device", uint64(src))
		case n > 1<<48:
			err = fmt.Errorf("%d bytes", n)
		case !d && dst < lowest || !s && src < lowest: // elsewhere a fault says so (see in)
			err = fmt.Errorf("the program's own memory at %#x cannot be used", uint64(min(dst, src)))
		case d && s:
			err = state.dev.Copy(sim.Ptr(dst), sim.Ptr(src), int(n))
		case d:
			err = state.dev.Write(sim.Ptr(dst), hostBytes(src, n))
		case s:
			err = state.dev.Read(sim.Ptr(src), hostBytes(dst, n))
		default:
			copy(hostBytes(dst, n), hostBytes(src, n))
		}
		return result(name, err)
	})
}

//export simSet
func simSet(call *C.char, at C.uint64_t, value C.uint32_t, size C.int, n C.size_t) C.int {
	name := C.GoString(call)
	return in(name, func() C.int {
		if n > 1<<48 || uint64(at)%uint64(size) != 0 {
			return result(name, fmt.Errorf("%d elements of %d bytes at %#x", n, size, uint64(at)))
		}
		const chunk = 1 << 16
		pattern := []byte{byte(value), byte(value >> 8), byte(value >> 16), byte(value >> 24)}[:size]
		left := int(n) * int(size)
		pattern = bytes.Repeat(pattern, min(left, chunk)/int(size))
		for p := sim.Ptr(at); left > 0; {
			b := pattern[:min(left, len(pattern))]
			if err := state.dev.Write(p, b); err != nil {
				return result(name, err)
			}
			p, left = p+sim.Ptr(len(b)), left-len(b)
		}
		return 0
	})
}

// tensorTypes are CUtensorMapDataType's.
var tensorTypes = []ptx.Type{
	ptx.U8, ptx.U16, ptx.U32, ptx.S32, ptx.U64, ptx.S64, ptx.F16, ptx.F32, ptx.F64, ptx.BF16,
	ptx.F32, // flushes denormals, which the simulator does not
	ptx.TF32, ptx.TF32,
}

//export simTensorMap
func simTensorMap(out unsafe.Pointer, typ C.int, rank C.uint32_t, base C.uint64_t, dims, strides *C.uint64_t, box, steps *C.uint32_t, interleave, swizzle, nan C.int) C.int {
	const call = "cuTensorMapEncodeTiled"
	return in(call, func() C.int {
		switch {
		case rank < 1 || rank > 5 || typ < 0 || int(typ) >= len(tensorTypes) || dims == nil || box == nil || strides == nil && rank > 1:
			return result(call, fmt.Errorf("rank %d, type %d, or no extents", rank, typ))
		case interleave != 0 || swizzle < 0 || swizzle > 3:
			complain(call, fmt.Errorf("interleave %d and swizzle %d are not simulated", interleave, swizzle))
			return C.SIM_NOT_SUPPORTED
		}
		t := tensormap.Tiled{Type: tensorTypes[typ], Base: uint64(base), Swizzle: tensormap.Swizzle(swizzle), NaNFill: nan != 0}
		for i := range int(rank) {
			t.Dims = append(t.Dims, uint64(unsafe.Slice(dims, rank)[i]))
			t.Box = append(t.Box, uint32(unsafe.Slice(box, rank)[i]))
			if i > 0 {
				t.Strides = append(t.Strides, uint64(unsafe.Slice(strides, rank-1)[i-1]))
			}
			if steps != nil {
				t.ElementStrides = append(t.ElementStrides, uint32(unsafe.Slice(steps, rank)[i]))
			}
		}
		m, err := sim.EncodeTiled(t)
		if err == nil {
			copy(unsafe.Slice((*byte)(out), len(m)), m[:])
		}
		return result(call, err)
	})
}
