package sim

import (
	"errors"
	"fmt"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

const tensorMapBytes = 128

// TensorMap is the opaque object that TMA instructions take. On this device it
// holds its fields in plain; a GPU's looks different.
type TensorMap [tensorMapBytes]byte

// tensorMap is a decoded TensorMap.
type tensorMap struct {
	typ      ptx.Type
	elem     int
	base     uint64
	rank     int
	dims     [5]int
	strides  [5]uint64 // bytes, [0] = elem
	box      [5]int
	step     [5]int
	swizzle  tensormap.Swizzle
	nan      bool
	im2col   bool
	lower    [3]int
	upper    [3]int
	channels int
	pixels   int
}

// EncodeTiled checks every rule of cuTensorMapEncodeTiled and makes the map.
func EncodeTiled(t tensormap.Tiled) (TensorMap, error) {
	rank := len(t.Dims)
	if rank < 1 || rank > 5 {
		return TensorMap{}, fmt.Errorf("tensor map: rank %d, want 1 to 5", rank)
	}
	m := &tensorMap{typ: t.Type, rank: rank, base: t.Base, swizzle: t.Swizzle, nan: t.NaNFill}
	if err := m.common(t.Dims, t.Strides, t.ElementStrides); err != nil {
		return TensorMap{}, err
	}
	if len(t.Box) != rank {
		return TensorMap{}, fmt.Errorf("tensor map: %d box extents for rank %d", len(t.Box), rank)
	}
	for i, b := range t.Box {
		if b < 1 || b > 256 {
			return TensorMap{}, fmt.Errorf("tensor map: boxDim[%d] is %d, want 1 to 256", i, b)
		}
		m.box[i] = (int(b) + m.step[i] - 1) / m.step[i]
	}
	if err := m.inner(m.box[0]); err != nil {
		return TensorMap{}, err
	}
	return m.pack(), nil
}

// EncodeIm2col checks every rule of cuTensorMapEncodeIm2col and makes the map.
func EncodeIm2col(t tensormap.Im2col) (TensorMap, error) {
	rank := len(t.Dims)
	if rank < 3 || rank > 5 {
		return TensorMap{}, fmt.Errorf("im2col map: rank %d, want 3, 4 or 5", rank)
	}
	m := &tensorMap{
		typ: t.Type, rank: rank, base: t.Base, swizzle: t.Swizzle, nan: t.NaNFill,
		im2col: true, channels: int(t.ChannelsPerPixel), pixels: int(t.PixelsPerColumn),
	}
	if err := m.common(t.Dims, t.Strides, t.ElementStrides); err != nil {
		return TensorMap{}, err
	}
	if len(t.Lower) != rank-2 || len(t.Upper) != rank-2 {
		return TensorMap{}, fmt.Errorf("im2col map: %d and %d corner offsets for rank %d, want %d", len(t.Lower), len(t.Upper), rank, rank-2)
	}
	limit := int32([...]int{1 << 15, 1 << 7, 1 << 4}[rank-3])
	for i := range t.Lower {
		for k, v := range []int32{t.Lower[i], t.Upper[i]} {
			if v < -limit || v >= limit {
				return TensorMap{}, fmt.Errorf("im2col map: pixelBox%sCorner[%d] is %d, want %d to %d at rank %d", [...]string{"Lower", "Upper"}[k], i, v, -limit, limit-1, rank)
			}
		}
		m.lower[i], m.upper[i] = int(t.Lower[i]), int(t.Upper[i])
		if m.lower[i] > m.dims[i+1]-1+m.upper[i] {
			return TensorMap{}, fmt.Errorf("im2col map: the bounding box is empty along dimension %d: pixels %d to %d", i+1, m.lower[i], m.dims[i+1]-1+m.upper[i])
		}
	}
	if m.channels < 1 || m.channels > 256 {
		return TensorMap{}, fmt.Errorf("im2col map: channelsPerPixel is %d, want 1 to 256", m.channels)
	}
	if m.pixels < 1 || m.pixels > 1024 {
		return TensorMap{}, fmt.Errorf("im2col map: pixelsPerColumn is %d, want 1 to 1024", m.pixels)
	}
	if err := m.inner(m.channels); err != nil {
		return TensorMap{}, err
	}
	return m.pack(), nil
}

// common checks what both kinds share.
func (m *tensorMap) common(dims, strides []uint64, steps []uint32) error {
	switch m.typ {
	case ptx.U8, ptx.U16, ptx.U32, ptx.S32, ptx.U64, ptx.S64, ptx.F16, ptx.BF16, ptx.F32, ptx.TF32, ptx.F64:
		m.elem = m.typ.Bits() / 8
	default:
		return fmt.Errorf("tensor map: type %v", m.typ)
	}
	if m.base%16 != 0 {
		return fmt.Errorf("tensor map: the global address %#x is not a multiple of 16", m.base)
	}
	if len(strides) != m.rank-1 {
		return fmt.Errorf("tensor map: %d strides for rank %d, want %d", len(strides), m.rank, m.rank-1)
	}
	if steps != nil && len(steps) != m.rank {
		return fmt.Errorf("tensor map: %d element strides for rank %d", len(steps), m.rank)
	}
	if m.nan && !m.typ.Float() {
		return errors.New("tensor map: NaN fill needs a floating-point type")
	}
	if m.swizzle > tensormap.Swizzle128 {
		return fmt.Errorf("tensor map: swizzle %d", m.swizzle)
	}
	m.strides[0] = uint64(m.elem)
	for i, n := range dims {
		if n < 1 || n > 1<<32 {
			return fmt.Errorf("tensor map: globalDim[%d] is %d, want 1 to 2^32", i, n)
		}
		m.dims[i] = int(n)
		m.step[i] = 1
		if steps != nil && i > 0 { // the first is ignored without interleave
			if steps[i] < 1 || steps[i] > 8 {
				return fmt.Errorf("tensor map: elementStrides[%d] is %d, want 1 to 8", i, steps[i])
			}
			m.step[i] = int(steps[i])
		}
		if i == 0 {
			continue
		}
		s := strides[i-1]
		if s%16 != 0 || s >= 1<<40 || s == 0 && n > 1 { // of a dimension of 1 nobody uses it
			return fmt.Errorf("tensor map: globalStrides[%d] is %d, want a multiple of 16 below 2^40", i-1, s)
		}
		if inner := uint64(m.dims[i-1]) * m.strides[i-1]; s < inner && i == 1 && n > 1 {
			return fmt.Errorf("tensor map: globalStrides[0] is %d bytes, the inner dimension has %d", s, inner)
		}
		m.strides[i] = s
	}
	return nil
}

// inner checks the innermost extent of the box against 16 bytes and the
// swizzle. A row shorter than the swizzle span is legal for the driver; how a
// GPU lays it out is not documented, so it is refused here.
func (m *tensorMap) inner(elems int) error {
	bytes := elems * m.elem
	span := int(m.swizzle.Span())
	switch {
	case bytes%16 != 0:
		return fmt.Errorf("tensor map: the box is %d bytes wide, want a multiple of 16", bytes)
	case span > 0 && bytes > span:
		return fmt.Errorf("tensor map: the box is %d bytes wide, more than its swizzle of %d", bytes, span)
	case span > 0 && bytes < span:
		return fmt.Errorf("tensor map: the box is %d bytes wide, less than its swizzle of %d: not simulated", bytes, span)
	}
	return nil
}

const mapMagic = 0x50414d54 // "TMAP"

// pack writes the fields in order; unpack reads them.
func (m *tensorMap) pack() TensorMap {
	var t TensorMap
	b := t[:0]
	b = le.AppendUint32(b, mapMagic)
	b = append(b, byte(m.typ), byte(m.rank), byte(m.swizzle), byte(one(m.nan)|one(m.im2col)<<1))
	b = le.AppendUint64(b, m.base)
	for i := range m.dims {
		b = le.AppendUint32(b, uint32(m.dims[i]-1))
		b = le.AppendUint64(b, m.strides[i])
		b = append(b, byte(m.box[i]-1), byte(m.step[i]))
	}
	for i := range m.lower {
		b = le.AppendUint16(b, uint16(m.lower[i]))
		b = le.AppendUint16(b, uint16(m.upper[i]))
	}
	b = le.AppendUint16(b, uint16(m.channels))
	_ = le.AppendUint16(b, uint16(m.pixels))
	return t
}

func unpackMap(t []byte) *tensorMap {
	if len(t) < tensorMapBytes || le.Uint32(t) != mapMagic {
		return nil
	}
	m := &tensorMap{typ: ptx.Type(t[4]), rank: int(t[5]), swizzle: tensormap.Swizzle(t[6]), nan: t[7]&1 != 0, im2col: t[7]&2 != 0}
	if m.rank < 1 || m.rank > 5 || m.swizzle > tensormap.Swizzle128 || m.typ > ptx.F64 {
		return nil
	}
	m.elem = m.typ.Bits() / 8
	m.base = le.Uint64(t[8:])
	b := t[16:]
	for i := range m.dims {
		m.dims[i] = int(le.Uint32(b)) + 1
		m.strides[i] = le.Uint64(b[4:])
		m.box[i], m.step[i] = int(b[12])+1, int(b[13])
		b = b[14:]
	}
	for i := range m.lower {
		m.lower[i], m.upper[i] = int(int16(le.Uint16(b))), int(int16(le.Uint16(b[2:])))
		b = b[4:]
	}
	m.channels, m.pixels = int(le.Uint16(b)), int(le.Uint16(b[2:]))
	return m
}

// row is a run of elements along dimension 0 that a copy moves between global
// and shared memory.
type row struct {
	addr   uint64 // of element c0; meaningless when out
	out    bool   // no element of it is in the tensor
	c0     int    // first element along dimension 0
	length int    // elements
}

// bytes is what one copy of the box moves, out-of-bounds elements included.
func (m *tensorMap) bytes() int {
	if m.im2col {
		return m.channels * m.pixels * m.elem
	}
	n := m.elem
	for _, b := range m.box[:m.rank] {
		n *= b
	}
	return n
}

// rows lists the rows of a copy at coordinates x, with im2col offsets off, in
// the order in which shared memory holds them.
func (m *tensorMap) rows(x [5]int, off [3]int, f func(row)) {
	if !m.im2col {
		n := 1
		for _, b := range m.box[1:m.rank] {
			n *= b
		}
		for r := range n {
			rw := row{addr: m.base, c0: x[0], length: m.box[0]}
			q := r
			for j := 1; j < m.rank; j++ {
				y := x[j] + q%m.box[j]*m.step[j]
				q /= m.box[j]
				rw.out = rw.out || y < 0 || y >= m.dims[j]
				rw.addr += uint64(y) * m.strides[j]
			}
			rw.addr += uint64(x[0]) * uint64(m.elem)
			f(rw)
		}
		return
	}
	// im2col: base pixels walk the bounding box; every pixel is read at an offset.
	spatial := m.rank - 2
	for range m.pixels {
		rw := row{addr: m.base + uint64(x[0])*uint64(m.elem), c0: x[0], length: m.channels}
		for j := 1; j < m.rank; j++ {
			y := x[j]
			if j <= spatial {
				y += off[j-1]
			}
			rw.out = rw.out || y < 0 || y >= m.dims[j]
			rw.addr += uint64(y) * m.strides[j]
		}
		f(rw)
		for j := 1; j < m.rank; j++ {
			if j > spatial {
				x[j]++
				break
			}
			x[j] += m.step[j]
			if x[j] <= m.dims[j]-1+m.upper[j-1] {
				break
			}
			x[j] = m.lower[j-1]
		}
	}
}

// fillValue is what an out-of-bounds element reads as. The NaN of fp16 is what an
// H200 wrote, that of bf16 is taken to be the same; the wider ones are not known and
// have only to be NaNs.
func (m *tensorMap) fillValue() []byte {
	if !m.nan {
		return make([]byte, m.elem)
	}
	switch m.typ {
	case ptx.F16, ptx.BF16:
		return []byte{0xf7, 0x7f}
	case ptx.F64:
		return le.AppendUint64(nil, nan64)
	default:
		return le.AppendUint32(nil, nan32)
	}
}
