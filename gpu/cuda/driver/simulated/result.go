package simulated

import "fmt"

// Result is a CUresult.
type Result int32

// The results that the simulated driver gives.
const (
	Success              Result = 0
	InvalidValue         Result = 1
	OutOfMemory          Result = 2
	NoDevice             Result = 100
	InvalidDevice        Result = 101
	InvalidContext       Result = 201
	NoBinaryForGPU       Result = 209
	InvalidPTX           Result = 218
	NoCompiler           Result = 221
	UnsupportedPTX       Result = 222
	InvalidHandle        Result = 400
	IllegalState         Result = 401
	NotFound             Result = 500
	NotReady             Result = 600
	IllegalAddress       Result = 700
	LaunchOutOfResources Result = 701
	LaunchTimeout        Result = 702
	MisalignedAddress    Result = 716
	LaunchFailed         Result = 719
	NotSupported         Result = 801
	StreamCaptureInvalid Result = 901
	StreamCaptureImplied Result = 906
)

var results = map[Result][2]string{
	Success:              {"CUDA_SUCCESS", "no error"},
	InvalidValue:         {"CUDA_ERROR_INVALID_VALUE", "invalid argument"},
	OutOfMemory:          {"CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
	NoDevice:             {"CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
	InvalidDevice:        {"CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
	InvalidContext:       {"CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
	NoBinaryForGPU:       {"CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
	InvalidPTX:           {"CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
	NoCompiler:           {"CUDA_ERROR_JIT_COMPILER_NOT_FOUND", "PTX JIT compiler library not found"},
	UnsupportedPTX:       {"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", "the provided PTX was compiled with an unsupported toolchain."},
	InvalidHandle:        {"CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
	IllegalState:         {"CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
	NotFound:             {"CUDA_ERROR_NOT_FOUND", "named symbol not found"},
	NotReady:             {"CUDA_ERROR_NOT_READY", "device not ready"},
	IllegalAddress:       {"CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
	LaunchOutOfResources: {"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
	LaunchTimeout:        {"CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
	MisalignedAddress:    {"CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
	LaunchFailed:         {"CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
	NotSupported:         {"CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
	StreamCaptureInvalid: {"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
	StreamCaptureImplied: {"CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "operation would make the legacy stream depend on a capturing blocking stream"},
}

// Name and Text are cuGetErrorName and cuGetErrorString; ok is false for
// results that the simulated driver never gives.
func (r Result) Name() (s string, ok bool) { n, ok := results[r]; return n[0], ok }

// Text is described with Name.
func (r Result) Text() (s string, ok bool) { n, ok := results[r]; return n[1], ok }

func (r Result) Error() string {
	if n, ok := results[r]; ok {
		return n[0] + ": " + n[1]
	}
	return fmt.Sprintf("CUDA error %d", int32(r))
}
