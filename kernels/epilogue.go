package kernels

import (
	"errors"
	"fmt"
)

// check says what the epilogue of a convolution with these extents would read or write
// in vain, and whether its steps between lines are ints (Finish in epilogue.cuh).
func (a EpilogueArgs) check(width, k int) error {
	switch {
	case width > 1<<26/max(k, 1):
		return fmt.Errorf("a line of %d pixels with %d channels: %w", width, k, ErrShape)
	case a.UnpoolH > 0 && a.Y.Ref == nil:
		return errors.New("y is null, where a result is spread over windows")
	case a.Target.Ref != nil && (a.Gate.Ref == nil || a.Scale.Ref == nil || a.Weight.Ref == nil):
		return errors.New("target needs gate, scale and weight")
	}
	return nil
}
