package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/half"
	"github.com/stylize-gpu/stylize/gpu/ptx"
)

var le = binary.LittleEndian

// encode rounds a number to a floating-point type.
func encode(v float64, t ptx.Type) []byte {
	switch t {
	case ptx.F16:
		return le.AppendUint16(nil, half.ToF16(float32(v)))
	case ptx.BF16:
		return le.AppendUint16(nil, half.ToBF16(float32(v)))
	case ptx.F32:
		return le.AppendUint32(nil, math.Float32bits(float32(v)))
	default:
		return le.AppendUint64(nil, math.Float64bits(v))
	}
}

// decode is the number that an element of a floating-point type is.
func decode(b []byte, t ptx.Type) float64 {
	switch t {
	case ptx.F16:
		return float64(half.FromF16(le.Uint16(b)))
	case ptx.BF16:
		return float64(half.FromBF16(le.Uint16(b)))
	case ptx.F32:
		return float64(math.Float32frombits(le.Uint32(b)))
	default:
		return math.Float64frombits(le.Uint64(b))
	}
}

// bits is an element as an unsigned number.
func bits(b []byte, size int) uint64 {
	var wide [8]byte
	copy(wide[:], b[:size])
	return le.Uint64(wide[:])
}

// format is an element as people read it; untyped bits are hexadecimal.
func format(b []byte, t ptx.Type) string {
	n := t.Bits() / 8
	switch v := bits(b, n); {
	case t.Float():
		size := 64
		if t != ptx.F64 {
			size = 32
		}
		return strconv.FormatFloat(decode(b, t), 'g', -1, size)
	case t.Signed():
		return strconv.FormatInt(int64(v<<(64-8*n))>>(64-8*n), 10)
	case t >= ptx.B8 && t <= ptx.B64:
		return fmt.Sprintf("%#0*x", 2+2*n, v)
	default:
		return strconv.FormatUint(v, 10)
	}
}

// parseScalar reads a number as the bytes of a type. Untyped bits (b32) take
// whole numbers and, written with a point, floats.
func parseScalar(s string, t ptx.Type) ([]byte, error) {
	size := t.Bits() / 8
	untyped := t == ptx.B32 || t == ptx.B64
	if t.Float() || untyped && (strings.Contains(s, ".") || isFloatWord(strings.TrimLeft(s, "+-"))) {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is no number", s)
		}
		if untyped {
			t = map[int]ptx.Type{4: ptx.F32, 8: ptx.F64}[size]
		}
		b := encode(v, t)
		if math.IsInf(decode(b, t), 0) && !math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s does not fit %v; write inf for infinity", s, t)
		}
		return b, nil
	}
	base := 0 // 0x10 is sixteen, but 010 is ten
	if d := strings.TrimLeft(s, "+-"); len(d) > 1 && d[0] == '0' && d[1] >= '0' && d[1] <= '9' {
		base = 10
	}
	if v, err := strconv.ParseInt(s, base, 64); err == nil {
		lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
		if size < 8 {
			lo, hi = -1<<(8*size-1), 1<<(8*size)-1
		}
		if v < lo || v > hi {
			return nil, fmt.Errorf("%s does not fit %v", s, t)
		}
		return le.AppendUint64(nil, uint64(v))[:size], nil
	}
	if v, err := strconv.ParseUint(s, base, 64); err == nil && size == 8 {
		return le.AppendUint64(nil, v), nil
	}
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		if v == math.Trunc(v) && math.Abs(v) <= 1<<53 && !strings.ContainsAny(s, "xX") { // 1e6
			return parseScalar(strconv.FormatFloat(v, 'f', 0, 64), t)
		}
		return nil, fmt.Errorf("%s is no %v, which is a whole number", s, t)
	}
	return nil, fmt.Errorf("%q is no number", s)
}

// parseCount reads how many of something: 1000, 1e3.
func parseCount(s string) (int, error) {
	b, err := parseScalar(s, ptx.S64)
	if err != nil {
		return 0, err
	}
	return int(le.Uint64(b)), nil
}
