package cuda

import (
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
)

// ParseDevice reads how a command line names a device: a kind, and behind a
// colon, of cuda alone, which one. ok is false for a number that is none.
func ParseDevice(name string) (kind string, ordinal int, ok bool) {
	kind, number, numbered := strings.Cut(name, ":")
	if !numbered {
		return kind, 0, true
	}
	ordinal, err := strconv.Atoi(number)
	return kind, ordinal, err == nil && ordinal >= 0 && kind == "cuda"
}

// Options configures the device; its zero value is the first GPU.
type Options struct {
	Ordinal   int               // which of several devices
	Precision plan.Precision    // FP16 when zero
	Simulate  *simulated.Driver // the device's driver; nil is NVIDIA's, of GPUs
	Kernels   string            // "sm80", "sm90a", or "" for the newest that the device and its driver run
	Choices   *plan.Choices     // if not nil: time the kernels of each layer that it does not know, and add to it
	Unfused   bool              // one kernel for each operation: what fusions are checked against
	// Check gives every buffer an allocation of its own, named, so that the
	// simulated device sees an access that leaves one for its neighbour.
	Check bool
}
