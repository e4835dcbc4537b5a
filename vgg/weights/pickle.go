package weights

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
)

// A pickle is a program for a stack machine that may ask to call anything. This
// machine knows the operations that torch.save uses for a state_dict, builds
// dictionaries, tuples and references to tensors, and refuses every other
// callable by name. Protocol: Python's pickletools.py; tensors:
// torch/serialization.py and torch/_utils.py.

type (
	global struct{ module, name string }
	dict   struct {
		keys, values []any
		depth        int
	}
	list struct {
		items []any
		depth int
	}
	tuple struct {
		items []any
		depth int
	}
	mark    struct{}
	storage struct {
		dtype string
		key   string
		numel int64
	}
	tensorRef struct {
		storage storage
		offset  int64
		shape   []int
		stride  []int
	}
)

// A byte of a pickle makes an object of a hundred, and zip packs a thousand such bytes
// in one. A state_dict of VGG19 takes 3 kB and 1300 objects; that of a checkpoint with
// ten thousand tensors and its optimizer about 3 MB and 600,000.
const (
	maxPickle  = 8 << 20 // bytes
	maxObjects = 1 << 20
	maxDepth   = 64 // of tuples in tuples
	maxString  = 1 << 12
)

// unpickler reads one pickle after another from a stream.
type unpickler struct {
	r     *bufio.Reader
	pos   int64 // bytes consumed
	limit int64
	stack []any
	memo  map[uint32]any
	made  int // objects, and places of the memo
}

func newUnpickler(r io.Reader) *unpickler {
	return &unpickler{r: bufio.NewReader(r)}
}

// next interprets one pickle up to its STOP and returns its value.
func (u *unpickler) next() (any, error) {
	u.stack, u.memo, u.made, u.limit = nil, map[uint32]any{}, 0, u.pos+maxPickle
	for {
		op, err := u.byte()
		if err != nil {
			return nil, err
		}
		if op == '.' {
			return u.pop()
		}
		if err := u.exec(op); err != nil {
			return nil, err
		}
		if u.made > maxObjects {
			return nil, formatErr("a pickle of more than %d objects", maxObjects)
		}
	}
}

func (u *unpickler) exec(op byte) error {
	switch op {
	case 0x80: // PROTO
		v, err := u.byte()
		if err == nil && (v < 2 || v > 5) {
			err = formatErr("pickle protocol %d", v)
		}
		return err
	case 0x95: // FRAME
		_, err := u.bytes(8)
		return err
	case '(':
		u.push(mark{})
	case 'N':
		u.push(nil)
	case 0x88:
		u.push(true)
	case 0x89:
		u.push(false)
	case '}':
		u.push(&dict{})
	case ']':
		u.push(&list{})
	case ')':
		u.push(tuple{})
	case 'K', 'M', 'J':
		b, err := u.bytes(map[byte]int{'K': 1, 'M': 2, 'J': 4}[op])
		if err != nil {
			return err
		}
		switch op {
		case 'K':
			u.push(int64(b[0]))
		case 'M':
			u.push(int64(binary.LittleEndian.Uint16(b)))
		default:
			u.push(int64(int32(binary.LittleEndian.Uint32(b))))
		}
	case 0x8a: // LONG1
		n, err := u.byte()
		if err != nil {
			return err
		}
		b, err := u.bytes(int(n))
		if err != nil {
			return err
		}
		if n > 8 {
			u.push(string(b)) // torch's magic number has 10 bytes; kept as they are
			return nil
		}
		var v uint64
		for i := range b {
			v |= uint64(b[i]) << (8 * i)
		}
		if n > 0 && n < 8 && b[n-1] >= 0x80 { // sign
			v |= ^uint64(0) << (8 * n)
		}
		u.push(int64(v))
	case 'G':
		b, err := u.bytes(8)
		if err != nil {
			return err
		}
		u.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case 'X', 'T', 0x8c, 'U':
		var n uint64
		if op == 'X' || op == 'T' {
			b, err := u.bytes(4)
			if err != nil {
				return err
			}
			n = uint64(binary.LittleEndian.Uint32(b))
		} else {
			b, err := u.byte()
			if err != nil {
				return err
			}
			n = uint64(b)
		}
		if n > maxString {
			return formatErr("a string of %d bytes in the pickle", n)
		}
		b, err := u.bytes(int(n))
		if err != nil {
			return err
		}
		u.push(string(b))
	case 'c': // GLOBAL
		m, err := u.line()
		if err != nil {
			return err
		}
		n, err := u.line()
		if err != nil {
			return err
		}
		u.push(global{m, n})
	case 0x93: // STACK_GLOBAL
		n, err := u.popString()
		if err != nil {
			return err
		}
		m, err := u.popString()
		if err != nil {
			return err
		}
		u.push(global{m, n})
	case 'q', 'r', 0x94: // BINPUT, LONG_BINPUT, MEMOIZE
		at, err := u.index(op, 'q', 'r')
		if err != nil {
			return err
		}
		if len(u.stack) == 0 {
			return formatErr("the pickle stores from an empty stack")
		}
		u.memo[at] = u.top()
		u.made++
	case 'h', 'j': // BINGET, LONG_BINGET
		at, err := u.index(op, 'h', 'j')
		if err != nil {
			return err
		}
		v, ok := u.memo[at]
		if !ok {
			return formatErr("the pickle reads memo %d, which is empty", at)
		}
		u.push(v)
	case 0x85, 0x86, 0x87, 't': // TUPLE1..3, TUPLE
		if op == 't' {
			items, err := u.toMark()
			if err != nil {
				return err
			}
			return u.pushTuple(items)
		}
		n := int(op - 0x84)
		if len(u.stack) < n {
			return formatErr("the pickle's stack ran out")
		}
		items := append([]any(nil), u.stack[len(u.stack)-n:]...)
		u.stack = u.stack[:len(u.stack)-n]
		return u.pushTuple(items)
	case 'a', 'e': // APPEND, APPENDS
		items, err := u.items(op == 'e', 1)
		if err != nil {
			return err
		}
		l, ok := u.top().(*list)
		if !ok {
			return formatErr("the pickle appends to something that is no list")
		}
		l.items = append(l.items, items...)
		return deeper(&l.depth, items)
	case 's', 'u': // SETITEM, SETITEMS
		items, err := u.items(op == 'u', 2)
		if err != nil {
			return err
		}
		d, ok := u.top().(*dict)
		if !ok || len(items)%2 != 0 {
			return formatErr("the pickle sets items of something that is no dictionary")
		}
		for i := 0; i < len(items); i += 2 {
			d.keys, d.values = append(d.keys, items[i]), append(d.values, items[i+1])
		}
		return deeper(&d.depth, items)
	case 'Q': // BINPERSID
		id, err := u.pop()
		if err != nil {
			return err
		}
		s, err := persistent(id)
		if err != nil {
			return err
		}
		u.push(s)
	case 'R', 0x81: // REDUCE, NEWOBJ
		args, err := u.pop()
		if err != nil {
			return err
		}
		fn, err := u.pop()
		if err != nil {
			return err
		}
		v, err := call(fn, args)
		if err != nil {
			return err
		}
		u.push(v)
	case 'b': // BUILD: an OrderedDict's attributes (_metadata), which nothing needs
		if _, err := u.pop(); err != nil {
			return err
		}
		if _, ok := u.top().(*dict); !ok {
			return formatErr("the pickle sets attributes of something that is no dictionary")
		}
	default:
		return formatErr("pickle operation 0x%02x at byte %d", op, u.pos-1)
	}
	return nil
}

// call stands in for the callables of a state_dict; it runs nothing.
func call(fn, args any) (any, error) {
	g, ok := fn.(global)
	of, isTuple := args.(tuple)
	t := of.items
	if !ok || !isTuple {
		return nil, formatErr("the pickle calls something that is no function")
	}
	switch g.String() {
	case "collections.OrderedDict":
		if len(t) == 0 {
			return &dict{}, nil
		}
	case "torch._utils._rebuild_tensor_v2":
		if len(t) < 4 {
			break
		}
		s, ok1 := t[0].(storage)
		off, ok2 := t[1].(int64)
		shape, ok3 := ints(t[2])
		stride, ok4 := ints(t[3])
		if ok1 && ok2 && ok3 && ok4 && len(shape) == len(stride) && off >= 0 {
			return tensorRef{s, off, shape, stride}, nil
		}
	case "torch._utils._rebuild_parameter":
		if len(t) > 0 {
			if r, ok := t[0].(tensorRef); ok {
				return r, nil
			}
		}
	default:
		if strings.HasPrefix(g.module, "torch.nn") || strings.HasPrefix(g.module, "torchvision.") {
			return nil, formatErr("it holds a whole model (%s); save model.state_dict() instead", plain(g.String()))
		}
		return nil, formatErr("it asks to call %s, which a file of weights has no reason to; do not load it elsewhere either", plain(g.String()))
	}
	return nil, formatErr("malformed arguments of %v", g)
}

// persistent reads ('storage', torch.FloatStorage, key, location, numel, ...).
func persistent(id any) (storage, error) {
	of, ok := id.(tuple)
	t := of.items
	if !ok || len(t) < 5 || t[0] != "storage" {
		return storage{}, formatErr("a reference that is no tensor storage")
	}
	class, ok1 := t[1].(global)
	key, ok2 := t[2].(string)
	numel, ok3 := t[4].(int64)
	if !ok1 || !ok2 || !ok3 || numel < 0 || class.module != "torch" {
		return storage{}, formatErr("a malformed tensor storage")
	}
	dtype, ok := map[string]string{
		"FloatStorage": "F32", "DoubleStorage": "F64", "HalfStorage": "F16", "BFloat16Storage": "BF16",
		"LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL",
	}[class.name]
	if !ok {
		return storage{}, formatErr("tensors of type %s", plain(class.name))
	}
	return storage{dtype, key, numel}, nil
}

// storageBytes is the size of one element of a storage, integers included:
// files hold them beside the tensors that are read.
var storageBytes = map[string]int64{"F32": 4, "F64": 8, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

func ints(v any) ([]int, bool) {
	of, ok := v.(tuple)
	t := of.items
	if !ok || len(t) > 8 {
		return nil, false
	}
	out := make([]int, len(t))
	for i, x := range t {
		n, ok := x.(int64)
		if !ok || n < 0 || n > math.MaxInt32 {
			return nil, false
		}
		out[i] = int(n)
	}
	return out, true
}

// contiguous reports whether a tensor is row-major and returns its length.
func (t tensorRef) contiguous() (n int64, ok bool) {
	n = 1
	for i := len(t.shape) - 1; i >= 0; i-- {
		if t.shape[i] != 1 && int64(t.stride[i]) != n {
			return 0, false
		}
		if n *= int64(t.shape[i]); n > math.MaxInt32 {
			return 0, false
		}
	}
	return n, true
}

// stateDict finds the tensors in an unpickled object: a state_dict itself, or
// one under the usual keys of a training checkpoint.
func stateDict(v any) (map[string]tensorRef, error) {
	d, ok := v.(*dict)
	if !ok {
		return nil, formatErr("it holds no dictionary of tensors")
	}
	tensors := map[string]tensorRef{}
	for i, k := range d.keys {
		name, ok := k.(string)
		if !ok {
			continue
		}
		switch v := d.values[i].(type) {
		case tensorRef:
			tensors[strings.TrimPrefix(name, "module.")] = v
		case *dict:
			if name == "state_dict" || name == "model" || name == "model_state_dict" {
				for j, k := range v.keys {
					if t, ok := v.values[j].(tensorRef); ok {
						if s, ok := k.(string); ok {
							tensors[strings.TrimPrefix(s, "module.")] = t
						}
					}
				}
			}
		}
	}
	return tensors, nil
}

func (u *unpickler) push(v any) {
	u.stack = append(u.stack, v)
	u.made++
}

func (u *unpickler) pushTuple(items []any) error {
	t := tuple{items: items}
	err := deeper(&t.depth, items)
	u.push(t)
	return err
}

// deeper sets how deep something lies that holds these items.
func deeper(depth *int, items []any) error {
	for _, v := range items {
		n := 0
		switch v := v.(type) {
		case tuple:
			n = v.depth
		case *list:
			n = v.depth
		case *dict:
			n = v.depth
		}
		*depth = max(*depth, n+1)
	}
	if *depth > maxDepth {
		return formatErr("a pickle that is more than %d deep", maxDepth)
	}
	return nil
}

func (u *unpickler) top() any {
	if len(u.stack) == 0 {
		return nil
	}
	return u.stack[len(u.stack)-1]
}

func (u *unpickler) pop() (any, error) {
	if len(u.stack) == 0 {
		return nil, formatErr("the pickle's stack ran out")
	}
	v := u.top()
	u.stack = u.stack[:len(u.stack)-1]
	return v, nil
}

func (u *unpickler) popString() (string, error) {
	v, err := u.pop()
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", formatErr("the pickle wants a string and has %T", v)
	}
	return s, nil
}

// toMark pops everything above the last mark, and the mark.
func (u *unpickler) toMark() ([]any, error) {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if _, ok := u.stack[i].(mark); ok {
			items := append([]any(nil), u.stack[i+1:]...)
			u.stack = u.stack[:i]
			return items, nil
		}
	}
	return nil, formatErr("the pickle has no mark on its stack")
}

func (u *unpickler) items(toMark bool, n int) ([]any, error) {
	if toMark {
		return u.toMark()
	}
	if len(u.stack) < n {
		return nil, formatErr("the pickle's stack ran out")
	}
	items := append([]any(nil), u.stack[len(u.stack)-n:]...)
	u.stack = u.stack[:len(u.stack)-n]
	return items, nil
}

// index reads a memo index: one byte, four bytes, or the next free one.
func (u *unpickler) index(op, short, long byte) (uint32, error) {
	switch op {
	case short:
		b, err := u.byte()
		return uint32(b), err
	case long:
		b, err := u.bytes(4)
		if err != nil {
			return 0, err
		}
		return binary.LittleEndian.Uint32(b), nil
	}
	return uint32(len(u.memo)), nil
}

func (u *unpickler) byte() (byte, error) {
	if u.pos >= u.limit {
		return 0, errLongPickle
	}
	b, err := u.r.ReadByte()
	if err != nil {
		return 0, u.cut(err)
	}
	u.pos++
	return b, nil
}

func (u *unpickler) bytes(n int) ([]byte, error) {
	if u.pos+int64(n) > u.limit {
		return nil, errLongPickle
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(u.r, b); err != nil {
		return nil, u.cut(err)
	}
	u.pos += int64(n)
	return b, nil
}

var errLongPickle = formatErr("a pickle of more than %d MB", maxPickle>>20)

// cut says where a file ends too early.
func (u *unpickler) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return formatErr("the file is cut off inside its pickle, at byte %d", u.pos)
	}
	return err
}

func (u *unpickler) line() (string, error) {
	var s []byte
	for {
		b, err := u.byte()
		if err != nil {
			return "", err
		}
		if b == '\n' {
			return string(s), nil
		}
		if len(s) > 256 {
			return "", formatErr("a name of more than 256 bytes in the pickle")
		}
		s = append(s, b)
	}
}

func (g global) String() string { return g.module + "." + g.name }
