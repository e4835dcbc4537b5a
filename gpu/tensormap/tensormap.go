// Package tensormap describes the tensors that TMA instructions copy boxes of: a
// driver makes the opaque map that a kernel takes out of a description.
//
//	t := tensormap.Tiled{Type: ptx.F16, Base: address, Dims: dims, Box: box}
//	t.Strides = tensormap.DenseStrides(t.Type, t.Dims)
//
// Imports gpu/ptx.
package tensormap

import "github.com/stylize-gpu/stylize/gpu/ptx"

// Swizzle is how TMA and wgmma permute 16-byte chunks of shared memory: chunk
// bits 4… are combined with address bits 7…. Its values are CUtensorMapSwizzle's.
type Swizzle uint8

// The swizzles, by bytes of a row.
const (
	SwizzleNone Swizzle = iota
	Swizzle32
	Swizzle64
	Swizzle128
)

// Span is the bytes of a swizzled row, 0 without.
func (s Swizzle) Span() uint32 { return [...]uint32{0, 32, 64, 128}[s] }

// Apply permutes an absolute shared address.
func (s Swizzle) Apply(a uint32) uint32 {
	return a ^ a>>7&[...]uint32{0, 1, 3, 7}[s]<<4
}

// Tiled describes a tensor and a box of it, as cuTensorMapEncodeTiled takes
// them. Dimension 0 is the innermost.
type Tiled struct {
	Type           ptx.Type // F16, BF16, F32, TF32, F64 or an integer
	Base           uint64   // the address in global memory
	Dims           []uint64
	Strides        []uint64 // bytes, of dimensions 1…
	Box            []uint32 // elements
	ElementStrides []uint32 // nil for ones
	Swizzle        Swizzle
	NaNFill        bool // out-of-bounds elements are NaN, not zero
}

// Im2col describes an NHWC tensor (dimension order C, W, H, N; or C, W, N; or
// C, W, H, D, N) read pixel after pixel for convolutions, as
// cuTensorMapEncodeIm2col takes it.
type Im2col struct {
	Type             ptx.Type
	Base             uint64
	Dims             []uint64
	Strides          []uint64
	Lower, Upper     []int32 // corners of the bounding box of base pixels: W, H, D
	ChannelsPerPixel uint32
	PixelsPerColumn  uint32
	ElementStrides   []uint32
	Swizzle          Swizzle
	NaNFill          bool
}

// DenseStrides are the strides of a tensor whose elements lie one behind the other.
func DenseStrides(t ptx.Type, dims []uint64) (strides []uint64) {
	n := uint64(t.Bits() / 8)
	for _, d := range dims[:len(dims)-1] {
		n *= d
		strides = append(strides, n)
	}
	return strides
}
