//go:build cudart && cgo && linux

package main

// #include "sim.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/stylize-gpu/stylize/cmd/internal/execlog"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// Results of kernels and launches.
const (
	illegalAddress  = 700
	outOfResources  = 701
	timeout         = 702
	assertion       = 710
	misaligned      = 716
	launchFailed    = 719
	tooLarge        = 720 // COOPERATIVE_LAUNCH_TOO_LARGE
	attrOptinShared = 97
	staticShared    = 48 << 10 // what a kernel has without asking
)

// found is what a program is told of what a check found.
func found(k sim.Kind) int {
	switch k {
	case sim.OutOfBounds:
		return illegalAddress
	case sim.Misaligned:
		return misaligned
	case sim.Deadlock, sim.StepLimit:
		return timeout
	case sim.Assertion:
		return assertion
	default:
		return launchFailed
	}
}

// limit is how much dynamic shared memory a launch of the kernel may take.
func (f *function) limit() int { return max(f.dynamic, staticShared-f.kernel.StaticShared()) }

// usable finds a kernel and says why it cannot be run.
func usable(call string, h C.uint64_t) (*function, C.int) {
	f, code, err := state.function(uint64(h))
	switch {
	case err != nil:
		complain(call, err)
		return nil, code
	case f.kernel == nil:
		if !state.said[f.name] {
			state.said[f.name] = true
			say("%s: kernel refused: %v", call, f.refused)
		}
		return nil, C.SIM_NOT_SUPPORTED
	}
	return f, 0
}

//export simLaunch
func simLaunch(call *C.char, l *C.sim_launch) C.int {
	name := C.GoString(call)
	return in(name, func() C.int {
		f, code := usable(name, l.function)
		if f == nil {
			if r, ok := refusal(l.function); ok {
				record(r)
			}
			return code
		}
		return f.launch(name, l)
	})
}

// refusal is the record of a launch that cannot be; ok is false when there is no such
// kernel, a mistake of the program that has nothing to do with the simulator.
func refusal(h C.uint64_t) (r execlog.Record, ok bool) {
	f, code, err := state.function(uint64(h))
	if err != nil {
		return execlog.Record{Kernel: state.stubs[uint64(h)].name, Refused: err.Error()}, code != C.SIM_INVALID_FUNCTION
	}
	return execlog.Record{Kernel: f.name, Refused: f.refused.Error()}, true
}

func dim(d [3]C.uint32_t) sim.Dim { return sim.Dim{X: int(d[0]), Y: int(d[1]), Z: int(d[2])} }

func (f *function) launch(call string, l *C.sim_launch) C.int {
	cfg := sim.Launch{Kernel: f.kernel, Grid: dim(l.grid), Block: dim(l.block), Cluster: dim(l.cluster), SharedBytes: int(l.shared), Dependent: l.dependent != 0}
	switch {
	case min(cfg.Grid.X, cfg.Grid.Y, cfg.Grid.Z, cfg.Block.X, cfg.Block.Y, cfg.Block.Z) < 1:
		complain(call, fmt.Errorf("%s: grid %v, block %v", f.name, cfg.Grid, cfg.Block))
		return C.SIM_INVALID_CONFIGURATION
	case cfg.SharedBytes < 0 || cfg.SharedBytes > f.limit():
		complain(call, fmt.Errorf("%s: %d bytes of dynamic shared memory, the limit is %d; cudaFuncSetAttribute raises it", f.name, cfg.SharedBytes, f.limit()))
		return C.SIM_INVALID_VALUE
	}
	if l.cooperative != 0 {
		fit := state.dev.Occupancy(f.kernel, cfg.Block.Count(), cfg.SharedBytes, 0).Blocks * state.dev.Config().SMs
		if cfg.Grid.Count() > fit {
			complain(call, fmt.Errorf("%s: %d blocks of a cooperative launch, %d fit the device at once", f.name, cfg.Grid.Count(), fit))
			return tooLarge
		}
	}
	params, err := f.params(l)
	if err != nil {
		complain(call, err)
		return C.SIM_INVALID_VALUE
	}
	cfg.Params = params
	began := time.Now()
	prof, err := state.dev.Launch(context.Background(), cfg)
	r := execlog.Record{Kernel: f.name, Seconds: time.Since(began).Seconds()}
	if prof != nil {
		r.Warnings = prof.Warnings
	}
	var le *sim.LaunchError
	code := C.int(0)
	switch {
	case err == nil:
	case errors.As(err, &le):
		complain(call, err)
		if code = C.SIM_INVALID_CONFIGURATION; le.Resources {
			code = outOfResources
		}
		return code
	case errors.As(err, &r.Report):
		state.deferred = found(r.Report.Kind)
	default:
		complain(call, err)
		state.deferred, r.Refused = launchFailed, err.Error()
	}
	record(r)
	return 0
}

// params lays out the arguments.
func (f *function) params(l *C.sim_launch) ([]byte, error) {
	ps := f.kernel.Params()
	if len(ps) == 0 {
		return nil, nil
	}
	last := ps[len(ps)-1]
	out := make([]byte, last.Offset+last.Bytes)
	switch {
	case l.packed != nil:
		if int(l.packed_bytes) < len(out) {
			return nil, fmt.Errorf("%s takes %d bytes of arguments, got %d", f.name, len(out), l.packed_bytes)
		}
		copy(out, unsafe.Slice((*byte)(l.packed), len(out)))
	case l.args == nil:
		return nil, fmt.Errorf("%s takes %d arguments, got none", f.name, len(ps))
	default:
		args := unsafe.Slice(l.args, len(ps))
		for i, p := range ps {
			if args[i] == nil {
				return nil, fmt.Errorf("%s: argument %d of %d is NULL", f.name, i+1, len(ps))
			}
			copy(out[p.Offset:], unsafe.Slice((*byte)(args[i]), p.Bytes))
		}
	}
	return out, nil
}

//export simFunctionAttributes
func simFunctionAttributes(h C.uint64_t, a *C.sim_attributes) C.int {
	return in("cudaFuncGetAttributes", func() C.int {
		f, code := usable("cudaFuncGetAttributes", h)
		if f == nil {
			return code
		}
		k := f.kernel
		threads := k.MaxThreads()
		if threads == 0 {
			threads = 1024
		}
		*a = C.sim_attributes{
			max_threads: C.int(threads), registers: C.int(min(65536/threads/8*8, 255)), capability: C.int(state.dev.Capability()), ptx: C.int(f.image.arch),
			max_dynamic: C.int(f.limit()), shared: C.size_t(k.StaticShared()), local: C.size_t(k.LocalBytes()),
		}
		return 0
	})
}

//export simSetDynamic
func simSetDynamic(h C.uint64_t, n C.int) C.int {
	return in("cudaFuncSetAttribute", func() C.int {
		f, code := usable("cudaFuncSetAttribute", h)
		if f == nil {
			return code
		}
		most, _ := state.facts.DeviceAttribute(0, attrOptinShared)
		if n < 0 || int(n)+f.kernel.StaticShared() > most {
			complain("cudaFuncSetAttribute", fmt.Errorf("%s: %d bytes of dynamic shared memory beside %d static ones, a block has %d", f.name, n, f.kernel.StaticShared(), most))
			return C.SIM_INVALID_VALUE
		}
		f.dynamic = int(n)
		return 0
	})
}

//export simOccupancy
func simOccupancy(h C.uint64_t, threads C.int, shared C.size_t, blocks *C.int) C.int {
	return in("cudaOccupancyMaxActiveBlocksPerMultiprocessor", func() C.int {
		f, code := usable("cudaOccupancyMaxActiveBlocksPerMultiprocessor", h)
		if f == nil {
			return code
		}
		if threads < 1 {
			return C.SIM_INVALID_VALUE
		}
		*blocks = C.int(state.dev.Occupancy(f.kernel, int(threads), int(shared), 0).Blocks)
		return 0
	})
}
