// Package driver stands in for libcuda. A program that links it holds every
// driver symbol that gorgonia.org/cu wants, and starts with and without an
// NVIDIA driver: each symbol jumps through a table of the thread that calls it,
// and that is NVIDIA's library where one is installed.
//
//	if err := driver.Init(); err != nil {
//		defer driver.Simulate(simulated.New(sim.Config{}))()
//	}
//
// After Simulate the same calls, from this thread, reach that simulated driver of
// gpu/cuda/driver/simulated: gorgonia.org/cu, contexts, modules, launches, graphs
// and tensor maps then run unchanged without a GPU. Other threads keep theirs, so
// that a GPU and simulated devices work side by side. symbols.h lists the calls;
// one that only a GPU answers returns CUDA_ERROR_NOT_SUPPORTED.
//
// It needs cgo on Linux, amd64 or arm64, and no CUDA headers. STYLIZE_LIBCUDA
// names another library than libcuda.so.1.
//
// Imports gpu/sim, gpu/tensormap, gpu/cuda/driver/simulated.
package driver
