// Package heif reads AVIF and HEIC, what browsers and phones make, and writes AVIF.
//
// The boxes are read here. The pictures in them are decoded by libavif with libaom
// (BSD) and by libheif with libde265 (LGPL 3), compiled to WebAssembly and run by
// wazero: without cgo, and without a way out of their own memory. The modules
// are those of github.com/gen2brain/avif and heic, which tools/wasm takes out of
// them; anyone may put modules of their own in their place. Using these packages
// as they are would load whatever libavif.so a machine has, so that results would
// depend on it, and would link a static program dynamically.
package heif

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed" // the decoders
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

//go:embed avif.wasm.gz
var avifModule []byte

// Image is a decoded picture: RGBA of 8 or 16 bits, or planes of YCbCr.
type Image struct {
	W, H int

	// Of AVIF: premultiplied. 16 bits stand with the low byte first.
	RGBA []byte
	Bits int

	// Of HEIC, where RGBA is nil: 8 bits; Cb is nil for grey.
	Y, Cb, Cr         []byte
	YStride, CStride  int
	ChromaW, ChromaH  int
	HalfAcross, Down2 bool // chroma is halved across, and down
}

var errDecode = errors.New("its decoder refuses it")

// Decode decodes the first picture of a file that Read has read, until ctx is done.
func Decode(ctx context.Context, b []byte, in Info) (*Image, error) {
	decode, module := (*caller).avif, avifCompiled
	if !in.AV1 {
		decode, module = (*caller).heic, heicCompiled
	}
	m, err := module()
	if err != nil {
		return nil, err
	}
	pixels := int64(in.W) * int64(in.H)
	mod, err := m.instance(ctx, 2*int64(len(b))+pixels*perPixel)
	if err != nil {
		return nil, err
	}
	defer mod.Close(context.WithoutCancel(ctx))
	c := &caller{ctx: ctx, mod: mod, most: pixels}
	img, err := decode(c, b)
	if err := ctx.Err(); err != nil { // which has closed the module
		return nil, err
	}
	if c.err != nil {
		return nil, fmt.Errorf("%w (%w)", errDecode, c.err)
	}
	return img, err
}

// perPixel are the bytes that a decoder may take for a pixel. An AVIF of 4:4:4 with alpha
// takes 35 at 8 bits, and twice that at 10 and 12; a HEIC at most 11.
const perPixel = 96

var avifCompiled = sync.OnceValues(func() (*compiled, error) { return compile(avifModule) })

// compiled is a module as machine code, which takes a third of a second.
type compiled struct {
	runtime wazero.Runtime
	code    wazero.CompiledModule
}

func compile(module []byte) (*compiled, error) {
	ctx := context.Background()
	z, err := gzip.NewReader(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	code, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCloseOnContextDone(true))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return nil, err
	}
	m, err := r.CompileModule(ctx, code)
	return &compiled{r, m}, err
}

// instance starts a module, with memory of its own that grows by so many bytes at most.
// What it computes ends with ctx.
func (m *compiled) instance(ctx context.Context, bytes int64) (api.Module, error) {
	const own = 32 << 20 // the code's data, stack and small change
	limited := experimental.MemoryAllocatorFunc(func(_, most uint64) experimental.LinearMemory {
		return &memory{most: min(uint64(bytes)+own, most)}
	})
	return m.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, limited), m.code, wazero.NewModuleConfig().WithName(""))
}

// memory is that of an instance: it has no more than so many bytes.
type memory struct {
	bytes []byte
	most  uint64
}

// Reallocate returns nil for more, which the module's malloc then does.
func (m *memory) Reallocate(size uint64) []byte {
	if size > m.most {
		return nil
	}
	m.bytes = append(m.bytes, make([]byte, size-uint64(len(m.bytes)))...)
	return m.bytes
}

func (m *memory) Free() { m.bytes = nil }

// caller calls a module and remembers the first error.
type caller struct {
	ctx context.Context
	mod api.Module
	err error

	most int64 // pixels that the file's boxes say it has
}

// allowed reports whether a picture has no more pixels than its file says: nobody has
// looked at others.
func (c *caller) allowed(w, h int) bool {
	return w > 0 && h > 0 && int64(w)*int64(h) <= c.most
}

func (c *caller) call(name string, args ...uint64) uint64 {
	if c.err != nil {
		return 0
	}
	f := c.mod.ExportedFunction(name)
	if f == nil {
		c.err = errors.New("the module has no " + name)
		return 0
	}
	out, err := f.Call(c.ctx, args...)
	if err != nil { // the first line: below it are the functions that it was in
		line, _, _ := strings.Cut(err.Error(), "\n")
		c.err = errors.New(line)
		return 0
	}
	if len(out) == 0 {
		return 0
	}
	return out[0]
}

// room takes memory of the module, with data in it.
func (c *caller) room(n int, data []byte) uint64 {
	if n < 0 || n > 1<<31-1 {
		c.err = errors.New("it is too large")
		return 0
	}
	p := c.call("malloc", uint64(n))
	if c.err == nil && (p == 0 || !c.mod.Memory().Write(uint32(p), data)) {
		c.err = errors.New("it takes too much memory")
	}
	return p
}

func (c *caller) words(p uint64, n int) []int {
	out := make([]int, n)
	if c.err != nil {
		return out
	}
	b, ok := c.mod.Memory().Read(uint32(p), uint32(4*n))
	if !ok {
		c.err = errDecode
		return out
	}
	for i := range out {
		out[i] = int(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

func (c *caller) read(p uint64, n int) []byte {
	if c.err != nil {
		return nil
	}
	b, ok := c.mod.Memory().Read(uint32(p), uint32(n))
	if !ok {
		c.err = errDecode
		return nil
	}
	return bytes.Clone(b)
}

// avif calls decode(file, size, config only, all, width, height, depth, count, delay, out).
func (c *caller) avif(b []byte) (*Image, error) {
	file, out := c.room(len(b), b), c.room(16, nil)
	if ok := c.call("decode", file, uint64(len(b)), 1, 0, out, out+4, out+8, out+12, 0, 0); ok == 0 {
		return nil, errDecode
	}
	v := c.words(out, 3)
	m := &Image{W: v[0], H: v[1], Bits: 8}
	if v[2] > 8 {
		m.Bits = 16
	}
	if !c.allowed(m.W, m.H) {
		return nil, errDecode
	}
	size := m.W * m.H * m.Bits / 2
	pix, delay := c.room(size, nil), c.room(8, nil)
	if ok := c.call("decode", file, uint64(len(b)), 0, 0, out, out+4, out+8, out+12, delay, pix); ok == 0 {
		return nil, errDecode
	}
	m.RGBA = c.read(pix, size)
	return m, nil
}
