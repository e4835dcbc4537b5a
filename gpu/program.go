package gpu

import (
	"errors"
	"fmt"
)

// Shape is the extent of a tensor, NHWC, innermost last. Other uses:
// convolution weights are (K,3,3,C), a bias (1,1,1,K), a Gram matrix (N,1,C,C),
// a loss per picture (N,1,1,1).
type Shape struct{ N, H, W, C int }

// Elems is the number of values, N*H*W*C.
func (s Shape) Elems() int { return s.N * s.H * s.W * s.C }

// Pixels is H*W, the number of positions of one picture.
func (s Shape) Pixels() int { return s.H * s.W }

func (s Shape) String() string { return fmt.Sprintf("n=%d h=%d w=%d c=%d", s.N, s.H, s.W, s.C) }

// Role says who writes a buffer, and how long its value lasts.
type Role uint8

// The roles.
const (
	Temp   Role = iota // written once by an operation, dead after its last use in the iteration
	Input              // written by the host before the run, only read by operations
	Const              // as Input, but its value comes with the program (weights)
	State              // read and written by operations, keeps its value from one iteration to the next
	Output             // written by operations, read by the host
)

// Buffer is one tensor of a program. Buffers are compared by pointer.
type Buffer struct {
	ID    int // index in Program.Buffers
	Name  string
	Role  Role
	Shape Shape
	Data  []float32 // Const only: the values, never modified
}

// Bytes is the size of the tensor in fp32.
func (b *Buffer) Bytes() int64 { return 4 * int64(b.Shape.Elems()) }

// Program is a straight-line list of operations: one iteration of something.
// Build it with the methods named after the operations; the first mistake is
// kept and returned by Err, so that a builder reads as straight as its program.
type Program struct {
	Buffers []*Buffer
	Ops     []*Op
	err     error
}

// Err returns the first mistake made while building, or nil.
func (p *Program) Err() error { return p.err }

// Named returns the buffer with the given name, or nil.
func (p *Program) Named(name string) *Buffer {
	for _, b := range p.Buffers {
		if b.Name == name {
			return b
		}
	}
	return nil
}

// NewBuffer adds a buffer that operations do not create: Input, State or Output.
func (p *Program) NewBuffer(name string, role Role, s Shape) *Buffer {
	if s.N < 1 || s.H < 1 || s.W < 1 || s.C < 1 {
		p.fail("buffer %s: extents must be at least 1, got %v", name, s)
	}
	b := &Buffer{ID: len(p.Buffers), Name: name, Role: role, Shape: s}
	p.Buffers = append(p.Buffers, b)
	return b
}

// NewConst adds a buffer whose values come with the program.
func (p *Program) NewConst(name string, s Shape, data []float32) *Buffer {
	b := p.NewBuffer(name, Const, s)
	if len(data) != s.Elems() {
		p.fail("constant %s: %v wants %d values, got %d", name, s, s.Elems(), len(data))
	}
	b.Data = data
	return b
}

// Pictures is how many pictures a run of the program is about: the most that a
// buffer holds which is no constant.
func (p *Program) Pictures() int {
	n := 1
	for _, b := range p.Buffers {
		if b.Role != Const {
			n = max(n, b.Shape.N)
		}
	}
	return n
}

// Output makes the result of an operation readable by the host: it keeps its
// value until the program runs again.
func (p *Program) Output(b *Buffer) *Buffer {
	if b.Role != Temp {
		p.fail("output %s: only a temporary can become an output", b.Name)
	}
	b.Role = Output
	return b
}

// FLOPs sums the operations: multiplies and adds counted separately.
func (p *Program) FLOPs() int64 {
	var n int64
	for _, op := range p.Ops {
		n += op.FLOPs()
	}
	return n
}

func (p *Program) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("program: "+format, args...)
	}
}

// add appends an operation and returns its first output. A shape rule that is
// broken is kept as the program's error.
func (p *Program) add(op *Op) *Buffer {
	if p.err == nil {
		if err := op.check(); err != nil {
			p.fail("%s: %w", op, err)
		}
	}
	p.Ops = append(p.Ops, op)
	return op.Out[0]
}

// temp makes the output of an operation.
func (p *Program) temp(name string, s Shape) *Buffer {
	b := &Buffer{ID: len(p.Buffers), Name: name, Role: Temp, Shape: s}
	p.Buffers = append(p.Buffers, b)
	return b
}

// Validate checks what no single operation can see: every temporary is written
// exactly once and before it is read, inputs and constants are never written.
func (p *Program) Validate() error {
	if p.err != nil {
		return p.err
	}
	if len(p.Ops) == 0 {
		return errors.New("program: no operations")
	}
	written := make([]bool, len(p.Buffers))
	for _, op := range p.Ops {
		for _, b := range op.In {
			if (b.Role == Temp || b.Role == Output) && !written[b.ID] {
				return fmt.Errorf("program: %s reads %s before anything wrote it", op, b.Name)
			}
		}
		for _, b := range op.Out {
			switch {
			case b.Role == Input || b.Role == Const:
				return fmt.Errorf("program: %s writes %s, which only the host may write", op, b.Name)
			case b.Role == Temp && written[b.ID]:
				return fmt.Errorf("program: %s writes %s a second time", op, b.Name)
			}
			written[b.ID] = true
		}
	}
	return nil
}
