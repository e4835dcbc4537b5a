package sim

import "github.com/stylize-gpu/stylize/gpu/ptx"

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
