package sim

import (
	"bytes"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// Variable is a .global or .const variable of a module.
type Variable struct {
	Name  string   `json:"name"`
	Space string   `json:"space"` // "global", "const"
	Type  ptx.Type `json:"-"`     // of an element
	Bytes int64    `json:"bytes"`
	Ptr   Ptr      `json:"-"`
}

// Variables lists the module's variables, in the order of the source.
func (m *Module) Variables() (vs []Variable) {
	for _, v := range m.ptx.Globals {
		if p, ok := m.globals[v]; ok {
			vs = append(vs, Variable{v.Name, v.Space.String(), v.Type, int64(v.Size), p})
		}
	}
	return vs
}

// Unwritten returns the first of n bytes that nothing has written, or -1. Without the
// check Uninitialised nobody keeps account of what kernels write.
func (d *Device) Unwritten(p Ptr, n int) (int, error) {
	a, off, err := d.mem.span(p, n)
	if err != nil || a.init == nil || d.cfg.NoChecks || d.ignores(Uninitialised) {
		return -1, err
	}
	return bytes.IndexByte(a.init[off:off+uint64(n)], 0), nil
}
