//go:build linux && (amd64 || arm64) && cgo

package driver

/*
#cgo LDFLAGS: -L${SRCDIR}/stub -ldl
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
)

// ErrNoDriver means that no NVIDIA driver is installed.
var ErrNoDriver = errors.New("no NVIDIA driver: libcuda.so.1 was not found")

// current is the simulated driver that the slots lead to, or nil.
var current atomic.Pointer[simulated.Driver]

// Native points every call at NVIDIA's library. The error says that there is
// none, or what its cuInit answered.
func Native() error {
	current.Store(nil)
	C.driver_use(0)
	if C.driver_loaded() == 0 {
		return ErrNoDriver
	}
	if r := simulated.Result(C.driver_init()); r != simulated.Success {
		return fmt.Errorf("initialise the NVIDIA driver: %w", r)
	}
	return nil
}

// Simulate points every call at a simulated driver. Contexts of the library
// that was in use before must not be used any more.
func Simulate(d *simulated.Driver) {
	current.Store(d)
	C.driver_use(1)
}

// Simulated returns the simulated driver in use, or nil.
func Simulated() *simulated.Driver { return current.Load() }
