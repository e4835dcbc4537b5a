package gpu

import (
	"context"
	"errors"
	"fmt"
)

// Errors that a caller can tell apart with errors.Is.
var (
	ErrNoDevice    = errors.New("no such device")
	ErrOutOfMemory = errors.New("out of memory")
	ErrUnsupported = errors.New("unsupported")
)

// Info describes a device to a person.
type Info struct {
	Kind    string `json:"kind"`             // "cpu", "cuda", "sim"
	Name    string `json:"name"`             // "AMD EPYC 9354, AVX-512"
	Detail  string `json:"detail,omitempty"` // "2 threads", "sm_90, driver 580.65"
	Bits    string `json:"bits,omitempty"`   // what the bits of its results depend on: "avx512, C 12.2.0 amd64"; with Kind the same, the same bits
	Memory  int64  `json:"memory_bytes"`     // total bytes, 0 when unknown
	Free    int64  `json:"free_bytes"`       // of them free when the device was opened, 0 when unknown
	Threads int    `json:"threads,omitempty"`
}

// Device turns programs into runners. Three implementations justify the
// interface: the CPU, CUDA, and CUDA simulated.
type Device interface {
	Info() Info
	// Plan says what Compile would take, without allocating it.
	Plan(p *Program) (*Plan, error)
	// Compile places, packs weights and returns something that runs. The
	// constants of p must not change while the runner lives.
	Compile(p *Program) (Runner, error)
	// Rate estimates FLOP/s on programs of this kind, from a measurement that
	// takes a fraction of a second.
	Rate(ctx context.Context) (float64, error)
	Close() error
}

// Runner is a compiled program with its memory. It is used by one goroutine.
type Runner interface {
	// Write sets an Input or State buffer; data has exactly its length.
	Write(b *Buffer, data []float32) error
	// Read copies an Input, State or Output buffer to dst, of exactly its length.
	Read(b *Buffer, dst []float32) error
	// WriteAt and ReadAt are the same for picture n of a buffer, of N.
	WriteAt(b *Buffer, n int, data []float32) error
	ReadAt(b *Buffer, n int, dst []float32) error
	// Reset sets picture n of every State buffer to 0, and what the device keeps for
	// it (see [Keeper]) to what it was after Compile.
	Reset(n int) error
	// Run executes the program n times. It stops between two iterations, or
	// earlier, when ctx is done, and then returns how many are complete and
	// ctx.Err(). State is that of the last complete iteration.
	Run(ctx context.Context, n int) (done int, err error)
	// Plan is what Compile took.
	Plan() *Plan
	Close() error
}

// Keeper is a [Runner] whose device keeps something from one iteration to the next
// that is no buffer of the program, as the loss scale of fp16: as many values for each
// picture. With the State buffers it is all that the next iteration depends on.
type Keeper interface {
	Keep(n int) ([]float32, error)       // what is kept of picture n now
	Restore(n int, kept []float32) error // sets it to what Keep of such a runner returned, for any picture
}

// Plan is the cost of a program on a device, known before anything runs.
type Plan struct {
	Arena    int64 // bytes for activations, gradients, state, inputs, outputs and workspace
	Weights  int64 // bytes for constants as the device packs them
	FLOPs    int64 // of the program, for one run
	Steps    []PlanStep
	PeakStep int // index into Steps where the arena is fullest
}

// Total is all the memory of the device that the program takes.
func (p *Plan) Total() int64 { return p.Arena + p.Weights }

// PlanStep is one thing that the device executes.
type PlanStep struct {
	Name  string
	How   string // the kernel variant or loop, as the device calls it
	FLOPs int64
}

// CheckIO verifies the arguments of Runner.Write (write true) and Runner.Read.
// It is for devices.
func CheckIO(b *Buffer, n int, write bool) error {
	ok := b.Role == State || b.Role == Input || (!write && b.Role == Output)
	switch {
	case !ok && write:
		return fmt.Errorf("write %s: the host may write inputs and state only", b.Name)
	case !ok:
		return fmt.Errorf("read %s: only inputs, state and outputs can be read", b.Name)
	case n != b.Shape.Elems():
		return fmt.Errorf("buffer %s holds %d values, got %d", b.Name, b.Shape.Elems(), n)
	}
	return nil
}

// CheckPart verifies the arguments of Runner.WriteAt and ReadAt, beside what CheckIO
// does. It is for devices.
func CheckPart(b *Buffer, n, values int) error {
	switch size := b.Shape.Elems() / b.Shape.N; {
	case n < 0 || n >= b.Shape.N:
		return fmt.Errorf("buffer %s has %d pictures, and not a picture %d", b.Name, b.Shape.N, n)
	case values != size:
		return fmt.Errorf("buffer %s holds %d values a picture, got %d", b.Name, size, values)
	}
	return nil
}

// BytesText is a number of bytes as a message has it; 0 is "unknown".
func BytesText(n int64) string {
	switch {
	case n == 0:
		return "unknown"
	case n < 10e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n < 10e9:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
