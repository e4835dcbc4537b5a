//go:build cuda

package cuda

/*
#include <cuda.h>
#include <stdlib.h>
#include <string.h>

static CUresult launch_overlapping(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                   unsigned bz, unsigned shared, CUstream stream, void **params) {
    CUlaunchAttribute overlap = {.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION};
    overlap.value.programmaticStreamSerializationAllowed = 1;
    CUlaunchConfig config = {gx, gy, gz, bx, by, bz, shared, stream, &overlap, 1};
    return cuLaunchKernelEx(&config, f, params, NULL);
}
*/
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

// Launches with parameters of any size, in clusters and overlapping, and tensor
// maps: what gorgonia.org/cu's eight bytes a parameter leave out.

// kernelLaunch is one launch; its parameters are given as bytes.
type kernelLaunch struct {
	f           cu.Function
	grid, block [3]int
	shared      int  // dynamic shared memory
	overlaps    bool // may begin before the launch ahead has ended: it waits with griddepcontrol
	params      [][]byte
}

// allowShared lets a function have more dynamic shared memory than every GPU has.
func allowShared(f cu.Function, bytes int) error {
	if bytes <= 48<<10 {
		return nil
	}
	fn := *(*C.CUfunction)(unsafe.Pointer(&f))
	return result("ask for shared memory", C.cuFuncSetAttribute(fn, C.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, C.int(bytes)))
}

// allotted are the registers of a thread, and its bytes of local memory, that the
// driver's compiler has decided on.
func allotted(f cu.Function) (registers, local int, err error) {
	fn := *(*C.CUfunction)(unsafe.Pointer(&f))
	var r, l C.int
	if err := result("ask for registers", C.cuFuncGetAttribute(&r, C.CU_FUNC_ATTRIBUTE_NUM_REGS, fn)); err != nil {
		return 0, 0, err
	}
	return int(r), int(l), result("ask for local memory", C.cuFuncGetAttribute(&l, C.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, fn))
}

func (l *kernelLaunch) enqueue(s cu.Stream) error {
	ptrs := (*[1 << 10]unsafe.Pointer)(C.calloc(C.size_t(len(l.params)+1), C.size_t(unsafe.Sizeof(uintptr(0)))))
	defer C.free(unsafe.Pointer(ptrs))
	for i, p := range l.params {
		cell := C.aligned_alloc(64, C.size_t((len(p)+63)/64*64))
		defer C.free(cell)
		copy(unsafe.Slice((*byte)(cell), len(p)), p)
		ptrs[i] = cell
	}
	fn := *(*C.CUfunction)(unsafe.Pointer(&l.f))
	if l.overlaps {
		return result("launch", C.launch_overlapping(fn, C.uint(l.grid[0]), C.uint(l.grid[1]), C.uint(l.grid[2]),
			C.uint(l.block[0]), C.uint(l.block[1]), C.uint(l.block[2]), C.uint(l.shared), stream(s), &ptrs[0]))
	}
	return result("launch", C.cuLaunchKernel(fn, C.uint(l.grid[0]), C.uint(l.grid[1]), C.uint(l.grid[2]),
		C.uint(l.block[0]), C.uint(l.block[1]), C.uint(l.block[2]), C.uint(l.shared), stream(s), &ptrs[0], nil))
}

// allocPinned takes host memory that the device reads and writes by itself.
func allocPinned(bytes int) ([]byte, error) {
	var p unsafe.Pointer
	if err := result("allocate pinned memory", C.cuMemAllocHost(&p, C.size_t(bytes))); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}

// mapTypes are the element types of tensor maps.
var mapTypes = map[ptx.Type]C.CUtensorMapDataType{
	ptx.U8: C.CU_TENSOR_MAP_DATA_TYPE_UINT8, ptx.U16: C.CU_TENSOR_MAP_DATA_TYPE_UINT16, ptx.U32: C.CU_TENSOR_MAP_DATA_TYPE_UINT32,
	ptx.S32: C.CU_TENSOR_MAP_DATA_TYPE_INT32, ptx.U64: C.CU_TENSOR_MAP_DATA_TYPE_UINT64, ptx.S64: C.CU_TENSOR_MAP_DATA_TYPE_INT64,
	ptx.F16: C.CU_TENSOR_MAP_DATA_TYPE_FLOAT16, ptx.F32: C.CU_TENSOR_MAP_DATA_TYPE_FLOAT32, ptx.F64: C.CU_TENSOR_MAP_DATA_TYPE_FLOAT64,
	ptx.BF16: C.CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, ptx.TF32: C.CU_TENSOR_MAP_DATA_TYPE_TFLOAT32,
}

// mapArrays copies extents to C, each array five long.
type mapArrays struct {
	dims, strides [5]C.cuuint64_t
	box, steps    [5]C.cuuint32_t
	lower, upper  [5]C.int
}

func arrays(dims, strides []uint64, box, steps []uint32) *mapArrays {
	a := &mapArrays{}
	for i := range a.steps {
		a.steps[i] = 1
	}
	for i, v := range dims {
		a.dims[i] = C.cuuint64_t(v)
	}
	for i, v := range strides {
		a.strides[i] = C.cuuint64_t(v)
	}
	for i, v := range box {
		a.box[i] = C.cuuint32_t(v)
	}
	for i, v := range steps {
		a.steps[i] = C.cuuint32_t(v)
	}
	return a
}

func fill(nan bool) C.CUtensorMapFloatOOBfill {
	if nan {
		return C.CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA
	}
	return C.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE
}

// encodeMap makes a tensor map with the driver in use.
func encodeMap(tiled *tensormap.Tiled, im2col *tensormap.Im2col) ([]byte, error) {
	m := (*C.CUtensorMap)(C.aligned_alloc(64, C.sizeof_CUtensorMap))
	defer C.free(unsafe.Pointer(m))
	var r C.CUresult
	switch {
	case tiled != nil:
		t := tiled
		a := arrays(t.Dims, t.Strides, t.Box, t.ElementStrides)
		r = C.cuTensorMapEncodeTiled(m, mapTypes[t.Type], C.cuuint32_t(len(t.Dims)), pointer(t.Base), &a.dims[0], &a.strides[0], &a.box[0], &a.steps[0],
			C.CU_TENSOR_MAP_INTERLEAVE_NONE, C.CUtensorMapSwizzle(t.Swizzle), C.CU_TENSOR_MAP_L2_PROMOTION_L2_256B, fill(t.NaNFill))
	case im2col != nil:
		t := im2col
		a := arrays(t.Dims, t.Strides, nil, t.ElementStrides)
		for i := range t.Lower {
			a.lower[i], a.upper[i] = C.int(t.Lower[i]), C.int(t.Upper[i])
		}
		r = C.cuTensorMapEncodeIm2col(m, mapTypes[t.Type], C.cuuint32_t(len(t.Dims)), pointer(t.Base), &a.dims[0], &a.strides[0], &a.lower[0], &a.upper[0],
			C.cuuint32_t(t.ChannelsPerPixel), C.cuuint32_t(t.PixelsPerColumn), &a.steps[0],
			C.CU_TENSOR_MAP_INTERLEAVE_NONE, C.CUtensorMapSwizzle(t.Swizzle), C.CU_TENSOR_MAP_L2_PROMOTION_L2_256B, fill(t.NaNFill))
	default:
		return nil, fmt.Errorf("no tensor to map: %w", gpu.ErrUnsupported)
	}
	if err := result("encode a tensor map", r); err != nil {
		return nil, err
	}
	return C.GoBytes(unsafe.Pointer(m), C.sizeof_CUtensorMap), nil
}

// pointer makes a device address look like the pointer that cuda.h wants.
func pointer(p uint64) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }
