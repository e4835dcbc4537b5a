//go:build linux && (amd64 || arm64) && cgo

package driver

/*
#cgo LDFLAGS: -L${SRCDIR}/stub -ldl -lpthread
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/cgo"

	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// ErrNoDriver means that no NVIDIA driver is installed.
var ErrNoDriver = errors.New("no NVIDIA driver: libcuda.so.1 was not found")

// Init initialises NVIDIA's driver, once for the process. The error says that
// there is none, or what its cuInit answered.
func Init() error {
	if C.driver_loaded() == 0 {
		return ErrNoDriver
	}
	if r := simulated.Result(C.driver_init()); r != simulated.Success {
		return fmt.Errorf("initialise the NVIDIA driver: %w", r)
	}
	return nil
}

// Simulate locks the calling goroutine to its thread and leads the thread's
// driver calls to d. What it returns undoes both, on the same goroutine. Other
// threads are not concerned.
func Simulate(d *simulated.Driver) (restore func()) {
	runtime.LockOSThread()
	before, h := C.driver_used(), cgo.NewHandle(d)
	C.driver_use(C.uintptr_t(h))
	return func() {
		C.driver_use(before)
		h.Delete()
		runtime.UnlockOSThread()
	}
}

// current is the simulated driver of this thread, nil for NVIDIA's.
func current() *simulated.Driver {
	h := C.driver_used()
	if h == 0 {
		return nil
	}
	return cgo.Handle(h).Value().(*simulated.Driver)
}

// Name gives memory at p the name that it has in reports of this thread's
// driver. NVIDIA's makes none.
func Name(p uint64, name string) error {
	d := current()
	if d == nil {
		return nil
	}
	if r := d.Name(thread(), sim.Ptr(p), name); r != simulated.Success {
		return fmt.Errorf("name %s: %w", name, r)
	}
	return nil
}
