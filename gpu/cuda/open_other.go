//go:build !cuda

package cuda

import (
	"context"
	"fmt"

	"github.com/stylize-gpu/stylize/gpu"
)

// Open says that this build has no CUDA.
func Open(Options) (gpu.Device, error) {
	return nil, fmt.Errorf("this build has no CUDA (make build, with a C compiler on Linux, makes one that has): %w", gpu.ErrNoDevice)
}

// Built says that this build has no CUDA.
const Built = false

// Count is 0 in this build.
func Count() (int, error) { return 0, nil }

// Measure says that this build has no CUDA.
func Measure(context.Context, gpu.Device, gpu.Runner, MeasureOptions) (*Measured, error) {
	return nil, fmt.Errorf("this build has no CUDA: %w", gpu.ErrUnsupported)
}
