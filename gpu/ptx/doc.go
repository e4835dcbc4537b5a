// Package ptx reads PTX, the assembly that nvcc emits and the CUDA driver
// compiles: a lexer, a parser and a typed tree with scopes and positions.
//
//	m, err := ptx.Parse("saxpy.ptx", src)
//	for _, e := range m.Entries {
//		fmt.Println(e.Name, len(e.Params))
//	}
//
// It reads what nvcc 13.0 writes for kernels and device functions without textures,
// calls through registers or debug data, by the PTX ISA 9.0 text. What it does not know (a directive, an
// opcode, a modifier) is an *Error with the entry and the line: never skipped,
// never a panic. Names are resolved while parsing, so a tree holds pointers to
// registers, variables and labels, not their names. Nothing is executed here;
// gpu/sim does that.
//
// Imports nothing of this module.
package ptx
