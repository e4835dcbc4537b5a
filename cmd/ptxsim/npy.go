package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// NumPy's .npy, versions 1 to 3 (NEP 1), little-endian and C order. bfloat16,
// which NumPy does not have, is written as its bits, <u2.

const npyMagic = "\x93NUMPY"

var npyTypes = map[string]ptx.Type{
	"<f2": ptx.F16, "<f4": ptx.F32, "<f8": ptx.F64, "|u1": ptx.U8, "<u2": ptx.U16, "<u4": ptx.U32, "<u8": ptx.U64,
	"|i1": ptx.S8, "<i2": ptx.S16, "<i4": ptx.S32, "<i8": ptx.S64, "|b1": ptx.U8,
}

var (
	npyDescr   = regexp.MustCompile(`'descr':\s*'([^']*)'`)
	npyFortran = regexp.MustCompile(`'fortran_order':\s*(True|False)`)
	npyShape   = regexp.MustCompile(`'shape':\s*\(([0-9, ]*)\)`)
)

// readNPY reads an array; its size is checked before memory is taken.
func readNPY(rd io.Reader) (ptx.Type, []int, []byte, error) {
	r := bufio.NewReader(rd)
	fail := func(format string, args ...any) (ptx.Type, []int, []byte, error) {
		return ptx.NoType, nil, nil, fmt.Errorf(format, args...)
	}
	head := make([]byte, 8)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:6]) != npyMagic {
		return fail("this is no .npy file")
	}
	size := make([]byte, 2)
	if head[6] > 1 {
		size = make([]byte, 4)
	}
	if _, err := io.ReadFull(r, size); err != nil || head[6] < 1 || head[6] > 3 {
		return fail("version %d of .npy is unknown, or the file ends early", head[6])
	}
	n := int(le.Uint32(append(size, 0, 0)[:4]))
	if n > 1<<16 {
		return fail("a header of %d bytes", n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return fail("the header ends early")
	}
	descr, fortran, shape := npyDescr.FindSubmatch(text), npyFortran.FindSubmatch(text), npyShape.FindSubmatch(text)
	if descr == nil || fortran == nil || shape == nil {
		return fail("the header is malformed")
	}
	typ, ok := npyTypes[string(descr[1])]
	if !ok {
		return fail("elements of type %s: want little-endian f2 to f8, u1 to u8, i1 to i8", descr[1])
	}
	if string(fortran[1]) == "True" {
		return fail("Fortran order: save it with np.ascontiguousarray")
	}
	var dims []int
	total := 1
	for _, s := range strings.FieldsFunc(string(shape[1]), func(c rune) bool { return c == ',' || c == ' ' }) {
		v, err := strconv.Atoi(s)
		if err != nil || v < 1 || v > maxBytes/total {
			return fail("shape (%s): every extent must be at least 1, and the whole below 2^31", shape[1])
		}
		total *= v
		dims = append(dims, v)
	}
	want := int64(total) * int64(typ.Bits()/8)
	data, err := io.ReadAll(io.LimitReader(r, want+1))
	switch {
	case err != nil:
		return fail("%w", err)
	case int64(len(data)) != want:
		return fail("shape (%s) of %s wants %d bytes, the file does not have exactly that", shape[1], descr[1], want)
	}
	return typ, dims, data, nil
}

func writeNPY(w io.Writer, typ ptx.Type, shape []int, data []byte) error {
	if typ == ptx.BF16 {
		typ = ptx.U16
	}
	descr := ""
	for d, t := range npyTypes {
		if t == typ && d != "|b1" {
			descr = d
		}
	}
	if descr == "" {
		return errors.New("no .npy type for " + typ.String())
	}
	var dims []string
	for _, s := range shape {
		dims = append(dims, strconv.Itoa(s))
	}
	tuple := strings.Join(dims, ", ")
	if len(dims) == 1 {
		tuple += ","
	}
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, tuple)
	head += strings.Repeat(" ", (64-(10+len(head)+1)%64)%64) + "\n"
	if _, err := fmt.Fprintf(w, "%s\x01\x00%s%s", npyMagic, le.AppendUint16(nil, uint16(len(head))), head); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}
