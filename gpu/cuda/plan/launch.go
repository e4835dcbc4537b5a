package plan

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels"
)

// Where says where an argument's memory is.
type Where uint8

// The places.
const (
	Scalar    Where = iota
	InBuffer        // a buffer of the program
	InScratch       // the step's workspace
	InTable         // constants of the step: means, Adam's constants, addresses
	InWeights       // packed weights
	InScale         // the loss scale
	InMap           // none: a tensor map of what another argument says
)

// Arg is one parameter of a launch.
type Arg struct {
	Where  Where
	Buf    *gpu.Buffer
	Weight *Weight
	Bits   uint64 // of a scalar
	Offset int64  // into workspace or table
	Tensor *Tensor
}

type argument = Arg

// Tensor is what a tensor map describes: rows of 128 bytes, swizzled by 128. One
// without extents is never read.
type Tensor struct {
	Of   Arg
	Dims []uint64 // elements, the innermost first; dense
	Box  []uint32
}

// Launch is one kernel launch.
type Launch struct {
	Spec *kernels.Spec
	Grid [3]int
	Args []Arg
}

// Table is constants of a step's launches, and where in it addresses belong.
type Table struct {
	Bytes     []byte
	Addresses []Address
}

// Address is a place in a table for an address.
type Address struct {
	At int
	Of Arg
}

// check holds a launch against its Spec and the limits of a grid.
func (l *Launch) check() error {
	if len(l.Args) != len(l.Spec.Args) {
		return fmt.Errorf("%s takes %d arguments, got %d", l.Spec.Entry, len(l.Spec.Args), len(l.Args))
	}
	for i, a := range l.Args {
		if want := l.Spec.Args[i]; (want == kernels.Map) != (a.Where == InMap) || (want == kernels.Ptr) != (a.Where != Scalar && a.Where != InMap) && a != (Arg{}) {
			return fmt.Errorf("%s: argument %d is not what its Spec says", l.Spec.Entry, i)
		}
	}
	if l.Grid[0] < 1 || l.Grid[1] < 1 || l.Grid[2] < 1 || l.Grid[0] > 1<<31-1 || l.Grid[1] > 65535 || l.Grid[2] > 65535 {
		return fmt.Errorf("%s: a grid of %v blocks: %w", l.Spec.Entry, l.Grid, gpu.ErrUnsupported)
	}
	return nil
}

func buf(b *gpu.Buffer) argument { return argument{Where: InBuffer, Buf: b} }
func scratch(at int64) argument  { return argument{Where: InScratch, Offset: at} }
func table(at int) argument      { return argument{Where: InTable, Offset: int64(at)} }
func wt(w *Weight) argument      { return argument{Where: InWeights, Weight: w} }
func u32(v int) argument         { return argument{Bits: uint64(uint32(v))} }
func u64(v int) argument         { return argument{Bits: uint64(v)} }
func f32(v float64) argument     { return argument{Bits: uint64(math.Float32bits(float32(v)))} }
func null() argument             { return argument{} }
func scale() argument            { return argument{Where: InScale} }
func ceil(a, b int) int          { return (a + b - 1) / b }

func optional(b *gpu.Buffer) argument {
	if b == nil {
		return null()
	}
	return buf(b)
}

func boolean(b bool) argument {
	if b {
		return u32(1)
	}
	return u32(0)
}

func tensorMap(of argument, dims []int, box []uint32) argument {
	t := &Tensor{Of: of, Box: box}
	for _, d := range dims {
		t.Dims = append(t.Dims, uint64(d))
	}
	return argument{Where: InMap, Tensor: t}
}

// workspace takes bytes of the step's workspace.
func workspace(s *Step, bytes int64) argument {
	at := (s.Scratch + gpu.Align - 1) / gpu.Align * gpu.Align
	s.Scratch = at + bytes
	return scratch(at)
}

func (s *Step) run(entry string, grid [3]int, args ...argument) {
	s.Launches = append(s.Launches, Launch{Spec: kernels.All[entry], Grid: grid, Args: args})
}

func (s *Step) ints(vs ...int) {
	for _, v := range vs {
		s.Table.Bytes = binary.LittleEndian.AppendUint32(s.Table.Bytes, uint32(v))
	}
}

func (s *Step) pointers(ps ...argument) {
	for _, p := range ps {
		s.Table.Addresses = append(s.Table.Addresses, Address{len(s.Table.Bytes), p})
		s.Table.Bytes = binary.LittleEndian.AppendUint64(s.Table.Bytes, 0)
	}
}

// linear is a grid of one thread an element.
func linear(elems int) [3]int { return [3]int{ceil(elems, 256), 1, 1} }

func reduceBlocks(elems int) int { return min(max(elems/4096, 1), 512) }
func tvBlocks(x gpu.Shape) int   { return min(x.H, reduceBlocks(x.H*x.W*x.C)) }

const updateElems = 1024
const seenBytes = 20
const tileH, tileW = 8, 16

func tiles(x gpu.Shape, h, w int) int { return ceil(x.H, h) * ceil(x.W, w) }

const sharePixels = 1024

func gramShares(pixels int) int { return ceil(pixels, sharePixels) }

func styleElems(splits int) int {
	switch {
	case splits >= 256:
		return 16
	case splits >= 8:
		return 64
	}
	return 256
}
func firstTiles(x gpu.Shape) int { return min(max(ceil(tiles(x, tileH, tileW), 512), 2), 16) }

func firstBlocks(x gpu.Shape) int { return ceil(tiles(x, tileH, tileW), firstTiles(x)) }
