// Package cuda is a CUDA device as a [gpu.Device]. Package plan decides what is
// launched, on any machine; this one runs it:
//
//	device.go    opens a device, loads kernels, packs weights
//	tune.go      times the kernels that suit a layer, once a device and shape
//	runner.go    gives addresses to the names of a plan, captures it in a graph, runs it
//	staging.go   copies through pinned memory
//	measure.go   times launches for kernelbench
//
// The kernels are hand-written (package kernels), loaded as PTX through
// gorgonia.org/cu. The same code runs on the simulated device.
//
// # How it runs
//
// One goroutine, locked to its OS thread, owns the context of a device; every call
// of the driver is made there, and gpu/cuda/driver leads the thread's calls to the
// device's own driver. Close frees everything.
//
// A module is compiled when a program first needs it. Open loads the smallest one of
// each architecture, to learn whether the driver takes them, and the kernels whose
// warpgroups give each other registers: with fewer than planned those would wait for
// ever. Where a driver refuses a module, its compiler allots other registers, or it is
// older than CUDA 12.0, the kernels for sm_80 take over; where it cannot keep launches
// that overlap in a graph, they do not. The device's detail says so.
//
// The launches of an iteration are captured once, as a graph of one iteration, and
// where many are wanted as one of eight; Run launches graphs and waits. On sm_90
// and later every launch may begin before the one ahead has ended, and waits
// itself. Losses stay in a ring on the device until somebody reads them. All copies
// go through pinned memory, in the stream that computes.
//
// In fp16 gradients carry a power of two. The seeds of the way back are multiplied
// by it, and the last kernel before the picture divides by it. The kernel record
// sets it for the next iteration from the largest |gradient| that it sees, and to a
// quarter after an overflow, above which it comes back slowly; all on the device.
// Pixels whose gradient overflowed are left alone.
//
// Where several kernels suit a layer they give the same bits, so timing decides
// nothing but time. fp32 has no tensor cores and takes the SIMT kernels, which fuse
// additions and ReLUs only: it is the oracle of the others.
//
// A kernel that fails takes the context and its memory along. What a caller wants to
// keep it must have read before; a transfer.Session copies its picture every 3 s.
//
// # Build
//
// The device needs the build tag cuda and the CUDA 12 headers (the Makefile
// takes care of both); without the tag Open says so.
package cuda
