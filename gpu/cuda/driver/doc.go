// Package driver stands in for libcuda. A program that links it holds every
// driver symbol that gorgonia.org/cu wants, and starts with and without an
// NVIDIA driver: each symbol jumps through a slot, and the slots lead to
// NVIDIA's library where one is installed.
//
//	if err := driver.Native(); err != nil {
//		driver.Simulate(simulated.New(sim.Config{}))
//	}
//
// After Simulate the same calls reach the simulated driver of
// gpu/cuda/driver/simulated: gorgonia.org/cu, contexts, modules, launches,
// graphs and tensor maps then run unchanged without a GPU. symbols.h lists the
// calls; one that only a GPU answers returns CUDA_ERROR_NOT_SUPPORTED.
//
// It needs cgo on Linux, amd64 or arm64, and no CUDA headers. STYLIZE_LIBCUDA
// names another library than libcuda.so.1.
//
// Imports gpu/sim, gpu/cuda/driver/simulated.
package driver
