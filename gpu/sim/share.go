package sim

import "fmt"

// Share puts an allocation into memory of the host, of as many bytes: from then on both
// see the same, without a copy. What the host memory holds is the content, and all of it
// counts as initialised. It must not change while a kernel runs, and stays the host's
// when the allocation is freed.
func (d *Device) Share(p Ptr, host []byte) error {
	a, off, err := d.mem.span(p, 0)
	if err != nil {
		return err
	}
	if off != 0 || len(host) != len(a.data) {
		return fmt.Errorf("share %s: %d bytes of the host for %d at offset %d: %w", a.name, len(host), len(a.data), off, ErrInvalidValue)
	}
	a.data, a.init = host, nil
	return nil
}
