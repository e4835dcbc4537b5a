// Package sim is a CUDA device in Go: it executes PTX on any machine, the very
// text that a GPU would get, and reports what a GPU hides.
//
//	dev := sim.New(sim.Config{})
//	mod, err := dev.Load("saxpy.ptx", src)
//	x, err := dev.Alloc("x", 4*n)
//	err = dev.Write(x, bytes)
//	k, err := mod.Kernel("saxpy")
//	params, err := k.Pack(y, x, float32(2), uint32(n))
//	prof, err := dev.Launch(ctx, sim.Launch{Kernel: k, Grid: sim.Dim{X: 4}, Block: sim.Dim{X: 256}, Params: params})
//
// An error of Launch is a *Report when the kernel itself is wrong: an access
// out of bounds, misaligned or uninitialised, a race, a result used before it
// was waited for, a barrier that some lanes miss, a deadlock, a run without
// end. It names kernel, PTX line, block, thread and allocation.
//
// # How it executes
//
// ptx.Parse resolves every name. An instruction is decoded once into an op
// (decode.go), or the module is refused with entry and line; a warp executes an op
// for all its lanes in one Go call, over register files laid out lane by lane
// (ops_gen.go holds the simple ones). Lanes that part run as splits, lowest PC
// first, with a turn for the others after 64 backward branches; at an
// instruction that wants its lanes together a split parks until the others
// arrive (warp.go). The blocks of a cluster run in one goroutine, warp by warp
// until each blocks (sched.go); clusters run side by side, except in kernels
// with global atomics, whose order of arrival would show: there they take turns. One
// that only polls memory lets the others run, as many as the device holds at once, so
// that locks and barriers of the whole grid go on; where all poll in vain it is a
// deadlock.
//
// What is asynchronous (cp.async, TMA, wgmma) completes at once (Eager), as
// late as its waits allow (Lazy), or at random by seed: a kernel that gives
// different bits in two modes has a missing wait. Random also mixes the order
// of warps and blocks.
//
// # How it checks
//
// Each word of shared memory, and of the global memory that a cluster touches,
// has a cell with the last writer and readers: lane, PTX line and logical
// time. Vector clocks order them (shadow.go): barriers, mbarriers, waits,
// fences with atomics carry time from one warp to another, and an access that
// time does not order behind an earlier one to the same byte is a race. Copies
// in flight are agents of their own, so a missing wait is a race too. Generic
// writes must pass a proxy fence before TMA or wgmma reads them. Between
// clusters only fences with atomics order anything (global.go). An atomic without a
// fence orders nothing, which today's GPUs forgive in the usual "last block" idiom
// and the memory model does not promise; a fence costs nothing there, and the report
// names the one that is missing. What rests on no rule either way is a warning
// (Profile.Warnings): a block that ends before its bulk stores have read. Config.Ignore
// leaves out checks that a launch can go on behind (Optional).
//
// Launches run one after the other. One that may begin early (Launch.Dependent) is
// held against every launch that may then still run: until it is behind a
// griddepcontrol.wait it must not touch what they wrote nor write what they read,
// and what they wrote it must never read through the non-coherent cache.
//
// 29 mistakes put into sample kernels are caught in all five modes that the tests
// run, and the samples as they should be are clean in all.
//
// # Rounding
//
// Every .rn operation rounds once, as IEEE 754 says; tests compare them bit
// for bit. Tensor cores sum exactly enough to count as one rounding (fp64),
// where a GPU truncates, of fp8 after 14 bits or so: compare those with a tolerance.
// Products of integers are exact, those of fp64 one fma after the other along k. The .approx functions
// are the true value rounded, a GPU's are an ulp or two away; of sin and cos, the
// value at the angle that NVIDIA's assembler makes.
//
// What PTX leaves open, the bits of NaNs and division by zero among it, is as on
// sm_90. An NVIDIA H200 (driver 580.159.04, CUDA 13.0) was recorded on 2026-11-26. Of
// the 892 cases that gpu/sim/conform then had it gave 867 the bits of the simulator, 4 in another
// order of lanes, and 10, all .approx, within the bounds of the PTX ISA. Others are
// newer than the recording and rest on documents, and on what NVIDIA's assembler makes of
// constants (integers, conversions, comparisons): most forms of integers, halves and
// conversions, matrices of integers, fp8, fp64 and with fp16 sums, wmma, im2col beyond
// stride 1, the NaN fill of bf16 and fp32.
//
// # Speed
//
// Common instructions do a whole warp at once in AVX2 (vectors_amd64.s), what whole warps
// do to a line of global memory is noted once, and of shared memory only what was written
// is made new between blocks. BenchmarkSimulator says how fast that is (make bench-sim).
//
// # What it does not do
//
// Time, caches, textures, video instructions, calls through registers, alloca, local memory
// of functions that call themselves, 128-bit registers, sparse mma, mma.m8n8k4 of fp16,
// tensormap.replace, im2col stores, boxes narrower than their swizzle, tcgen05. A kernel that
// holds one of these is refused with the line; gpu/sim/conform/testdata/forms.txt lists what
// loads.
//
// Imports gpu/ptx and gpu/tensormap.
package sim

//go:generate go run ./gen
