package plan

import (
	"encoding/binary"
	"math"

	"github.com/stylize-gpu/stylize/gpu/half"
	"github.com/stylize-gpu/stylize/kernels"
)

// Element is the type of products' operands, as entries of kernels are named.
func (p Precision) Element() kernels.Elem { return precisions[p].element }

// size is the bytes of a stored element.
func (p Precision) size() int { return p.Element().Size() }

// Scales reports whether gradients need a loss scale: fp16 alone has too small
// an exponent.
func (p Precision) Scales() bool { return p == FP16 }

// FirstScale is the loss scale before the first iteration has been looked at.
func (p Precision) FirstScale() float32 {
	if p.Scales() {
		return 1 << 10
	}
	return 1
}

// encode rounds a value into its storage; tf32 values are rounded to what the
// tensor core keeps.
func (p Precision) encode(out []byte, v float32) {
	switch p {
	case FP16:
		binary.LittleEndian.PutUint16(out, half.ToF16(v))
	case BF16:
		binary.LittleEndian.PutUint16(out, half.ToBF16(v))
	case TF32:
		binary.LittleEndian.PutUint32(out, half.ToTF32(math.Float32bits(v)))
	case FP32:
		binary.LittleEndian.PutUint32(out, math.Float32bits(v))
	}
}

// Pack stores values, each times by, as the device keeps a feature map.
func (p Precision) Pack(v []float32, by float32) []byte {
	out := make([]byte, len(v)*p.size())
	for i, x := range v {
		if p.size() == 2 {
			p.encode(out[2*i:], x*by)
		} else {
			binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(x*by))
		}
	}
	return out
}

// Unpack reads them back.
func (p Precision) Unpack(dst []float32, b []byte, by float32) {
	for i := range dst {
		switch p {
		case FP16:
			dst[i] = half.FromF16(binary.LittleEndian.Uint16(b[2*i:]))
		case BF16:
			dst[i] = half.FromBF16(binary.LittleEndian.Uint16(b[2*i:]))
		case TF32, FP32:
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
		dst[i] *= by
	}
}
