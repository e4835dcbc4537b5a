//go:build !(linux && (amd64 || arm64) && cgo)

package driver

import (
	"errors"

	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
)

// ErrNoDriver means that no NVIDIA driver can be used in this build.
var ErrNoDriver = errors.New("this build has no CUDA: it needs cgo on Linux, amd64 or arm64")

// Init is described in the builds that have CUDA.
func Init() error { return ErrNoDriver }

// Simulate has no effect in this build.
func Simulate(*simulated.Driver) (restore func()) { return func() {} }

// Name has no effect in this build.
func Name(uint64, string) error { return nil }
