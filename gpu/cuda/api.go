//go:build cuda

package cuda

/*
#include <cuda.h>
#include <stdlib.h>

static CUresult load_module(CUmodule *mod, const char *ptx, char *log, size_t size) {
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)size};
    return cuModuleLoadDataEx(mod, ptx, 2, options, values);
}
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu"
)

// The calls of the driver that gorgonia.org/cu does not wrap: modules with the
// compiler's log, stream capture, graphs. Its handles are one pointer wide, so
// they convert.

// result makes an error of a CUresult, one that errors.Is can tell apart.
func result(call string, r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	var name, text *C.char
	C.cuGetErrorName(r, &name)
	C.cuGetErrorString(r, &text)
	err := &Error{Call: call, Code: int(r), Name: "CUDA_ERROR"}
	if name != nil {
		err.Name = C.GoString(name)
	}
	if text != nil {
		err.Text = C.GoString(text)
	}
	return err
}

// Error is what a call of the driver answered.
type Error struct {
	Call string
	Code int
	Name string // "CUDA_ERROR_OUT_OF_MEMORY"
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s (%s)", e.Call, e.Text, e.Name) }

// Is makes errors.Is find gpu's sentinels.
func (e *Error) Is(target error) bool {
	switch target {
	case gpu.ErrOutOfMemory:
		return e.Code == C.CUDA_ERROR_OUT_OF_MEMORY
	case gpu.ErrNoDevice:
		return e.Code == C.CUDA_ERROR_NO_DEVICE || e.Code == C.CUDA_ERROR_INVALID_DEVICE
	case gpu.ErrUnsupported:
		return e.Code == C.CUDA_ERROR_NOT_SUPPORTED || e.Code == C.CUDA_ERROR_NO_BINARY_FOR_GPU || e.Code == C.CUDA_ERROR_UNSUPPORTED_PTX_VERSION
	}
	return false
}

// wrap gives an error of gorgonia.org/cu, which is a bare number, its call and
// text.
func wrap(call string, err error) error {
	if err == nil {
		return nil
	}
	code, ok := codes[err]
	if !ok {
		return fmt.Errorf("%s: %w", call, err)
	}
	return result(call, code)
}

// codes are the results that this package meets, by cu's constants.
var codes = map[error]C.CUresult{
	cu.InvalidValue: C.CUDA_ERROR_INVALID_VALUE, cu.OutOfMemory: C.CUDA_ERROR_OUT_OF_MEMORY, cu.NoDevice: C.CUDA_ERROR_NO_DEVICE,
	cu.InvalidDevice: C.CUDA_ERROR_INVALID_DEVICE, cu.InvalidContext: C.CUDA_ERROR_INVALID_CONTEXT, cu.NotFound: C.CUDA_ERROR_NOT_FOUND,
	cu.IllegalAddress: C.CUDA_ERROR_ILLEGAL_ADDRESS, cu.LaunchOutOfResources: C.CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
	cu.LaunchTimeout: C.CUDA_ERROR_LAUNCH_TIMEOUT, cu.MisalignedAddress: C.CUDA_ERROR_MISALIGNED_ADDRESS,
	cu.LaunchFailed: C.CUDA_ERROR_LAUNCH_FAILED, cu.NotSupported: C.CUDA_ERROR_NOT_SUPPORTED, cu.EccUncorrectable: C.CUDA_ERROR_ECC_UNCORRECTABLE,
	cu.InvalidHandle: C.CUDA_ERROR_INVALID_HANDLE, cu.IllegalInstruction: C.CUDA_ERROR_ILLEGAL_INSTRUCTION,
}

// module is a CUmodule.
type module struct{ mod C.CUmodule }

// loadModule compiles PTX; what the driver's compiler says is in the error.
func loadModule(name, ptx string) (*module, error) {
	src := C.CString(ptx)
	defer C.free(unsafe.Pointer(src))
	const size = 16 << 10
	log := (*C.char)(C.calloc(size, 1))
	defer C.free(unsafe.Pointer(log))
	m := &module{}
	if err := result("load "+name+".ptx", C.load_module(&m.mod, src, log, size)); err != nil {
		if text := strings.TrimSpace(C.GoString(log)); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return nil, err
	}
	return m, nil
}

func (m *module) function(name string) (cu.Function, error) {
	cname := C.CString(name)
	defer C.free(unsafe.Pointer(cname))
	var f C.CUfunction
	err := result("find "+name, C.cuModuleGetFunction(&f, m.mod, cname))
	return *(*cu.Function)(unsafe.Pointer(&f)), err
}

func (m *module) unload() error { return result("unload a module", C.cuModuleUnload(m.mod)) }

func stream(s cu.Stream) C.CUstream { return *(*C.CUstream)(unsafe.Pointer(&s)) }

// graph is an executable graph of one iteration, or of several.
type graph struct{ exec C.CUgraphExec }

// capture records what f does in a stream.
func capture(s cu.Stream, f func() error) (*graph, error) {
	if err := result("begin a capture", C.cuStreamBeginCapture(stream(s), C.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)); err != nil {
		return nil, err
	}
	err := f()
	var g C.CUgraph
	if e := result("end a capture", C.cuStreamEndCapture(stream(s), &g)); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	defer C.cuGraphDestroy(g)
	x := &graph{}
	if err := result("instantiate the graph", C.cuGraphInstantiateWithFlags(&x.exec, g, 0)); err != nil {
		return nil, err
	}
	return x, nil
}

func (g *graph) launch(s cu.Stream) error {
	return result("launch the graph", C.cuGraphLaunch(g.exec, stream(s)))
}

func (g *graph) destroy() error { return result("destroy the graph", C.cuGraphExecDestroy(g.exec)) }
