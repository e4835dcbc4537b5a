package kernels

import "errors"

// check says what the epilogue would read or write in vain.
func (a EpilogueArgs) check() error {
	switch {
	case a.UnpoolH > 0 && a.Y.Ref == nil:
		return errors.New("y is null, where a result is spread over windows")
	case a.Target.Ref != nil && (a.Gate.Ref == nil || a.Scale.Ref == nil || a.Weight.Ref == nil):
		return errors.New("target needs gate, scale and weight")
	}
	return nil
}
