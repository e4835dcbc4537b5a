// Package cuda is a CUDA device as a [gpu.Device]: it lowers a program to kernel
// launches (lower.go), places every buffer in one arena, captures the launches
// of one iteration in a CUDA graph and runs it (runner.go). The kernels are
// hand-written (package kernels), loaded as PTX through gorgonia.org/cu.
//
// The same code runs on the simulated device. One goroutine, locked to its OS
// thread, owns the context of a device; every call of the driver is made there,
// and gpu/cuda/driver leads the thread's calls to the device's own driver. Close
// frees everything.
//
// The device needs the build tag cuda and the CUDA 12 headers (the Makefile
// takes care of both); without the tag Open says so.
//
// Imports gpu, kernels, gpu/tensormap, gpu/cuda/driver, gorgonia.org/cu.
package cuda
