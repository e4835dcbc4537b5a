//go:build cudart && cgo && linux

// Command cudart is no program but libptxsim.so: the simulated device inside the process
// of a CUDA program that ptxsim exec runs. The libraries in api stand where NVIDIA's
// libcuda and libcudart would, and call the functions of sim.h; those of them that need
// the device are exported here. build.sh makes all of them.
//
//	main.go     settings, records, errors, the device's attributes
//	module.go   fat binaries, PTX, kernels, variables
//	launch.go   launches
//	memory.go   memory, copies, tensor maps
//	host.c      threads, streams, events, names of errors
//
// A call takes one lock, and a panic in it becomes an error of the program's call. All
// work is done at once, in the order of the calls. What a check finds is written down as
// it is found; the program learns it as an error of the next call, as on a GPU.
package main

// #include "sim.h"
// #include <stdlib.h>
// #include <stdio.h>
import "C"

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"unsafe"

	"github.com/stylize-gpu/stylize/cmd/internal/execlog"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

func main() {} // never called: c-shared wants it

const (
	unknown     = 999 // CUDA_ERROR_UNKNOWN
	maxComplain = 20  // lines about one call
)

// state is the device and what the program has of it.
var state struct {
	sync.Mutex
	settings  execlog.Settings
	log       *os.File
	dev       *sim.Device
	facts     *simulated.Driver // the attributes of such a device
	deferred  int               // the error of a kernel that no call has delivered yet
	complains map[string]int
	said      map[string]bool

	memory
	modules
}

// start makes the device, at the first call.
func start() error {
	if state.dev != nil {
		return nil
	}
	s := &state.settings
	if v := os.Getenv(execlog.Variable); v != "" {
		if err := json.Unmarshal([]byte(v), s); err != nil {
			return fmt.Errorf("%s: %w", execlog.Variable, err)
		}
	}
	cfg := sim.Config{Arch: s.Arch, SMs: s.SMs, Memory: s.Memory, NoChecks: s.NoChecks, MaxSteps: s.MaxSteps, Printf: stdout{}}
	if s.Mode != "" {
		mode, err := sim.ParseMode(s.Mode)
		if err != nil {
			return err
		}
		cfg.Mode = mode
	}
	if s.Log != "" {
		f, err := os.OpenFile(s.Log, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		state.log = f
	}
	state.complains, state.said = map[string]int{}, map[string]bool{}
	state.memory.init()
	state.modules.init()
	cfg.Mappable = true // for cudaHostAlloc and cudaMallocManaged
	state.dev, state.facts = sim.New(cfg), simulated.New(cfg)
	return nil
}

// stdout is the program's own, so that what kernels and host print keeps its order.
type stdout struct{}

func (stdout) Write(b []byte) (int, error) {
	if len(b) > 0 {
		C.fwrite(unsafe.Pointer(&b[0]), 1, C.size_t(len(b)), C.stdout)
	}
	return len(b), nil
}

// say prints one line for the user.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "ptxsim: "+format+"\n", args...) }

// complain says why a call of the program fails; of many failures the first ones.
func complain(call string, err error) {
	n := state.complains[call]
	state.complains[call]++
	switch {
	case n < maxComplain:
		say("%s: %v", call, err)
	case n == maxComplain:
		say("%s: more errors, not printed", call)
	}
}

// record writes one down. Without a log the user reads it at once.
func record(r execlog.Record) {
	if state.log == nil {
		switch {
		case r.Report != nil:
			say("%v", r.Report)
		case len(r.Warnings) > 0:
			say("warning: %v", r.Warnings[0])
		}
		return
	}
	b, err := execlog.Append(r)
	if err == nil {
		_, err = state.log.Write(b)
	}
	if err != nil {
		say("the log of ptxsim exec: %v", err)
	}
}

// in runs the work of a call of the program under the lock. A panic, that of a host
// address that cannot be read included, becomes an error.
func in(call string, work func() C.int) (code C.int) {
	state.Lock()
	defer state.Unlock()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // a fault, of memory that the program named
			complain(call, fmt.Errorf("the program's own memory at %#x cannot be used: %v", r.Addr(), r))
			code = C.SIM_INVALID_VALUE
		default:
			say("%s: internal error: %v (please report this)", call, r)
			code = unknown
		}
	}()
	if err := start(); err != nil {
		complain(call, err)
		return unknown
	}
	return work()
}

//export simDeferred
func simDeferred() C.int {
	state.Lock()
	defer state.Unlock()
	e := state.deferred
	state.deferred = 0
	return C.int(e)
}

//export simUnsupported
func simUnsupported(call *C.char) C.int {
	name := C.GoString(call)
	return in(name, func() C.int {
		if !state.said[name] {
			state.said[name] = true
			say("%s is not supported: the call fails with \"operation not supported\" (801)", name)
			record(execlog.Record{Call: name})
		}
		return C.SIM_NOT_SUPPORTED
	})
}

//export simSay
func simSay(text *C.char) { say("%s", C.GoString(text)) }

// attributes are those that simulated.Driver leaves at 0, since it has nothing for them:
// CU_DEVICE_ATTRIBUTE_….
var attributes = map[C.int]C.int{
	11:  1<<31 - 1, // MAX_PITCH
	14:  512,       // TEXTURE_ALIGNMENT
	15:  1,         // GPU_OVERLAP
	19:  1,         // CAN_MAP_HOST_MEMORY
	40:  2,         // ASYNC_ENGINE_COUNT
	51:  32,        // TEXTURE_PITCH_ALIGNMENT
	78:  1,         // STREAM_PRIORITIES_SUPPORTED
	79:  1,         // GLOBAL_L1_CACHE_SUPPORTED
	80:  1,         // LOCAL_L1_CACHE_SUPPORTED
	83:  1,         // MANAGED_MEMORY
	87:  2,         // SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO
	89:  1,         // CONCURRENT_MANAGED_ACCESS
	95:  1,         // COOPERATIVE_LAUNCH
	99:  1,         // HOST_REGISTER_SUPPORTED
	128: 1,         // TENSOR_MAP_ACCESS_SUPPORTED, on Hopper
}

//export simAttribute
func simAttribute(attribute C.int, value *C.int) C.int {
	return in("cuDeviceGetAttribute", func() C.int {
		n, r := state.facts.DeviceAttribute(0, int(attribute))
		*value = C.int(n)
		if v, ok := attributes[attribute]; ok && (attribute != 128 || state.dev.Capability() >= 90) {
			*value = v
		}
		return C.int(r)
	})
}

//export simDeviceName
func simDeviceName() *C.char {
	var name *C.char
	in("cuDeviceGetName", func() C.int {
		s, _ := state.facts.DeviceName(0)
		name = kept(s)
		return 0
	})
	return name
}

// names are C strings that live as long as the program.
var names = map[string]*C.char{}

func kept(s string) *C.char {
	if names[s] == nil {
		names[s] = C.CString(s)
	}
	return names[s]
}

//export simMemInfo
func simMemInfo(free, total *C.size_t) {
	in("cuMemGetInfo", func() C.int {
		f, t := state.dev.MemInfo()
		*free, *total = C.size_t(f), C.size_t(t)
		return 0
	})
}
