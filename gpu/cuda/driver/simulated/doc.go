// Package simulated answers the calls of the CUDA driver API with the simulated
// device of gpu/sim: contexts that belong to threads, modules, memory, streams,
// events, graphs, launches, tensor maps, and the errors of each.
//
//	drv := simulated.New(sim.Config{})
//	ctx, res := drv.CtxCreate(thread, 0)
//	mod, _, res := drv.ModuleLoadData(thread, ptx)
//
// Package gpu/cuda/driver puts these functions where libcuda's would be, so
// that code written for a GPU runs here unchanged. Names and semantics are the
// driver's (CUDA Driver API, 12.9); a Result is what a call returns.
//
// Work in a stream is done at once, in the order of the calls. An error of a
// kernel stays with its context, as on a GPU: the launch that fails succeeds,
// and every later call answers with the error until the context is destroyed.
// Report says what it was.
//
// Imports gpu/sim and gpu/ptx.
package simulated
