package cuda_test

import (
	"errors"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
)

// In every build, a device that cannot be opened is nil, also to who compares it.
func TestOpenFails(t *testing.T) {
	for _, o := range []cuda.Options{{Ordinal: 1 << 20}, {Simulate: simulated.New(), Ordinal: 1}} {
		if d, err := cuda.Open(o); d != nil || !errors.Is(err, gpu.ErrNoDevice) {
			t.Errorf("%+v: %#v, %v", o, d, err)
		}
	}
}
