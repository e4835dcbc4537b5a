package sim

import (
	"fmt"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// printf formats as CUDA's printf does: the arguments stand one after the other at an
// address, each at a multiple of its size, floats as doubles. It returns the number of
// arguments.
func (w *warp) printf(o *op, format string, args uint64, lane int) (string, int) {
	var b strings.Builder
	n, at := 0, args
	next := func(size uint64) []byte {
		at = (at + size - 1) &^ (size - 1)
		v := w.touch(o, ptx.NoSpace, at, int(size), lane, false, false, false)
		at += size
		n++
		return v
	}
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		start := i
		spec := "%"
		size := uint64(4)
	flags:
		for i++; i < len(format); i++ {
			switch c := format[i]; {
			case strings.IndexByte("-+ #0123456789.", c) >= 0:
				spec += string(c)
			case c == '*':
				spec += fmt.Sprint(int32(le.Uint32(next(4))))
			case c == 'l' || c == 'z' || c == 'j' || c == 't':
				size = 8
			case c == 'h':
			default:
				break flags
			}
		}
		if i == len(format) {
			b.WriteString(format[start:])
			break
		}
		whole := func() uint64 {
			if size == 8 {
				return le.Uint64(next(8))
			}
			return uint64(le.Uint32(next(4)))
		}
		switch c := format[i]; c {
		case '%':
			b.WriteByte('%')
		case 'd', 'i':
			v := whole()
			if size == 4 {
				v = uint64(int64(int32(v)))
			}
			fmt.Fprintf(&b, spec+"d", int64(v))
		case 'u':
			fmt.Fprintf(&b, spec+"d", whole())
		case 'x', 'X', 'o':
			fmt.Fprintf(&b, spec+string(c), whole())
		case 'c':
			fmt.Fprintf(&b, spec+"s", string([]byte{byte(le.Uint32(next(4)))}))
		case 'f', 'F', 'e', 'E', 'g', 'G', 'a', 'A':
			b.WriteString(float(spec, c, f64(le.Uint64(next(8)))))
		case 's':
			fmt.Fprintf(&b, spec+"s", w.text(o, le.Uint64(next(8)), lane))
		case 'p':
			fmt.Fprintf(&b, "%#x", le.Uint64(next(8)))
		default: // as it is
			b.WriteString(format[start : i+1])
		}
	}
	return b.String(), n
}

// float formats a double as C does.
func float(spec string, c byte, v float64) string {
	switch {
	case v != v:
		return "nan"
	case v > 1.7976931348623157e308:
		return "inf"
	case v < -1.7976931348623157e308:
		return "-inf"
	}
	switch c {
	case 'a':
		c = 'x'
	case 'A':
		c = 'X'
	case 'g', 'G':
		if !strings.Contains(spec, ".") { // Go's %g is the shortest that reads back
			spec += ".6"
		}
	}
	return fmt.Sprintf(spec+string(c), v)
}
