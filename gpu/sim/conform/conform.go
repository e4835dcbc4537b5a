package conform

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
)

//go:embed testdata
var files embed.FS

var le = binary.LittleEndian

// Case is one form of an instruction: a kernel "t" whose parameters are an
// output buffer, the inputs, and tensor maps over inputs.
type Case struct {
	Name    string // and file: testdata/NAME.ptx
	Covers  []string
	Arch    string // "sm_80" or "sm_90a"
	Grid    sim.Dim
	Block   sim.Dim
	Shared  int // dynamic shared memory, bytes
	Inputs  [][]byte
	Maps    []Map
	Out     []byte // the output buffer before the launch
	Want    []byte
	Elem    ptx.Type  // of the output, for tolerances
	ULPs    int       // 0: the same bits
	Bounds  []float64 // of .approx functions: |got-want| of each element
	RelTol  float64   // tensor cores with random inputs: |got-want| <= RelTol*max|want|
	Anywhen bool      // the order of lanes shows: only the multiset of output words is fixed
}

// Map is a tensor map over an input.
type Map struct {
	Input  int // index of the input it describes, or -1 for the output
	Tiled  *tensormap.Tiled
	Im2col *tensormap.Im2col
}

// Device is what runs cases: the simulator, or a GPU.
type Device interface {
	// Run loads the source, launches kernel "t" over buffers that hold out and
	// inputs, and returns the output buffer.
	Run(ctx context.Context, c *Case, src []byte) ([]byte, error)
}

// Source returns the PTX of a case.
func (c *Case) Source() ([]byte, error) { return files.ReadFile("testdata/" + c.Name + ".ptx") }

// Check compares an output with what is wanted.
func (c *Case) Check(got []byte) error { return c.compare(got, c.Want) }

func (c *Case) compare(got, want []byte) error {
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d bytes, want %d", c.Name, len(got), len(want))
	}
	n := max(c.Elem.Bits()/8, 1)
	if c.Anywhen {
		words := func(b []byte) []string {
			var w []string
			for ; len(b) >= n; b = b[n:] {
				w = append(w, string(b[:n]))
			}
			slices.Sort(w)
			return w
		}
		if !slices.Equal(words(got), words(want)) {
			return fmt.Errorf("%s: not the same values in any order", c.Name)
		}
		return nil
	}
	if bytes.Equal(got, want) {
		return nil
	}
	scale := 0.0
	if c.RelTol > 0 {
		for i := 0; i < len(want); i += n {
			scale = max(scale, math.Abs(value(c.Elem, want[i:])))
		}
	}
	for i := 0; i < len(want); i += n {
		if bytes.Equal(got[i:i+n], want[i:i+n]) {
			continue
		}
		if c.RelTol > 0 && math.Abs(value(c.Elem, got[i:])-value(c.Elem, want[i:])) <= c.RelTol*scale {
			continue
		}
		if c.Bounds != nil && math.Abs(value(c.Elem, got[i:])-value(c.Elem, want[i:])) <= c.Bounds[i/n] {
			continue
		}
		if c.ULPs > 0 && ulps(c.Elem, got[i:], want[i:]) <= float64(c.ULPs) {
			continue
		}
		return fmt.Errorf("%s: element %d is %x, want %x%s", c.Name, i/n, word(got[i:i+n]), word(want[i:i+n]), c.inputsAt(i/n))
	}
	return nil
}

// inputsAt shows what went into an element of a lane-wise case.
func (c *Case) inputsAt(i int) string {
	var b strings.Builder
	for _, in := range c.Inputs {
		n := len(in) / (c.Grid.X * c.Block.X)
		if n < 1 || n > 8 || (i+1)*n > len(in) {
			return ""
		}
		fmt.Fprintf(&b, " %x", word(in[i*n:(i+1)*n]))
	}
	return " from" + b.String()
}

func word(b []byte) uint64 {
	var w [8]byte
	copy(w[:], b)
	return le.Uint64(w[:])
}

func value(t ptx.Type, b []byte) float64 {
	switch t {
	case ptx.F64:
		return math.Float64frombits(le.Uint64(b))
	case ptx.F32:
		return float64(math.Float32frombits(le.Uint32(b)))
	case ptx.F16, ptx.BF16:
		n := formats[t].decode(uint64(le.Uint16(b)))
		switch {
		case n.nan:
			return math.NaN()
		case n.inf:
			return math.Inf(1 - 2*one(n.neg))
		}
		v, _ := n.v.Float64()
		return v
	default:
		return math.NaN()
	}
}

// ulps is the distance of two fp32 values in units of the wanted one.
func ulps(t ptx.Type, got, want []byte) float64 {
	g, w := value(t, got), value(t, want)
	switch {
	case g == w || math.IsNaN(g) && math.IsNaN(w):
		return 0
	case math.IsNaN(g) || math.IsNaN(w) || math.IsInf(w, 0):
		return math.Inf(1)
	}
	e := max(math.Ilogb(w), -126)
	if w == 0 {
		e = -126
	}
	return math.Abs(g-w) / math.Ldexp(1, e-23)
}

// Run executes one case on a device.
func Run(ctx context.Context, dev Device, c *Case) ([]byte, error) {
	src, err := c.Source()
	if err != nil {
		return nil, err
	}
	out, err := dev.Run(ctx, c, src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return out, nil
}

// Cases returns every case, lane-wise forms first.
var Cases = sync.OnceValue(func() []*Case {
	var cs []*Case
	cs = append(cs, laneCases()...)
	cs = append(cs, warpCases()...)
	cs = append(cs, hopperCases()...)
	return cs
})

// Simulator runs cases on a simulated device.
type Simulator struct{ Config sim.Config }

// Run implements Device.
func (s Simulator) Run(ctx context.Context, c *Case, src []byte) ([]byte, error) {
	cfg := s.Config
	if cfg.Arch == "" {
		cfg.Arch = c.Arch
	}
	dev := sim.New(cfg)
	mod, err := dev.Load(c.Name+".ptx", src)
	if err != nil {
		return nil, err
	}
	k, err := mod.Kernel("t")
	if err != nil {
		return nil, err
	}
	var ptrs []sim.Ptr
	for i, b := range append([][]byte{c.Out}, c.Inputs...) {
		p, err := dev.Alloc(fmt.Sprintf("buffer %d", i), int64(len(b)))
		if err != nil {
			return nil, err
		}
		if err := dev.Write(p, b); err != nil {
			return nil, err
		}
		ptrs = append(ptrs, p)
	}
	var args []any
	for _, p := range ptrs {
		args = append(args, p)
	}
	for _, m := range c.Maps {
		t, err := m.encode(uint64(ptrs[m.Input+1]))
		if err != nil {
			return nil, err
		}
		args = append(args, t[:])
	}
	params, err := k.Pack(args...)
	if err != nil {
		return nil, err
	}
	if _, err := dev.Launch(ctx, sim.Launch{Kernel: k, Grid: c.Grid, Block: c.Block, SharedBytes: c.Shared, Params: params}); err != nil {
		return nil, err
	}
	out := make([]byte, len(c.Out))
	return out, dev.Read(ptrs[0], out)
}

func (m Map) encode(base uint64) (sim.TensorMap, error) {
	if m.Tiled != nil {
		t := *m.Tiled
		t.Base = base
		return sim.EncodeTiled(t)
	}
	t := *m.Im2col
	t.Base = base
	return sim.EncodeIm2col(t)
}

// Recording is what a device gave for the cases of one architecture.
type Recording struct {
	Device  string            `json:"device"`
	Driver  string            `json:"driver"`
	Date    string            `json:"date"`
	Results map[string]Result `json:"results"`
}

// Result is one case of a recording.
type Result struct {
	PTX    string `json:"ptx"`              // sha256 of the source
	Inputs string `json:"inputs,omitempty"` // sha256 of what the launch was given
	Out    []byte `json:"out,omitempty"`
	Err    string `json:"err,omitempty"` // what the device refused, or how it failed
}

// Record runs one case and says what the device gave, or how it failed.
func Record(ctx context.Context, dev Device, c *Case) (Result, error) {
	src, err := c.Source()
	if err != nil {
		return Result{}, err
	}
	r := ResultOf(src)
	r.Inputs = c.given()
	if out, err := dev.Run(ctx, c, src); err != nil {
		r.Err = err.Error()
	} else {
		r.Out = out
	}
	return r, nil
}

// ResultOf is the result of a case with this source before it has any.
func ResultOf(src []byte) Result { return Result{PTX: fmt.Sprintf("%x", sha256.Sum256(src))} }

// given is a hash of what a launch of the case is given besides its source.
func (c *Case) given() string {
	h := sha256.New()
	fmt.Fprintln(h, c.Grid, c.Block, c.Shared)
	for _, b := range append([][]byte{c.Out}, c.Inputs...) {
		fmt.Fprintf(h, "%d\n%s", len(b), b)
	}
	for _, m := range c.Maps {
		fmt.Fprintln(h, m.Input)
		if m.Tiled != nil {
			fmt.Fprintf(h, "%+v\n", *m.Tiled)
		}
		if m.Im2col != nil {
			fmt.Fprintf(h, "%+v\n", *m.Im2col)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// Write stores a recording, as JSON in zstd.
func (r *Recording) Write(w io.Writer) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(z).Encode(r), z.Close())
}

// ReadRecording reads one.
func ReadRecording(rd io.Reader) (*Recording, error) {
	z, err := zstd.NewReader(rd)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	r := &Recording{}
	if err := json.NewDecoder(z).Decode(r); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	return r, nil
}

// Recordings returns those that are committed.
var Recordings = sync.OnceValues(recordings)

func recordings() ([]*Recording, error) {
	var rs []*Recording
	names, err := files.ReadDir("testdata")
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if !strings.HasSuffix(n.Name(), ".json.zst") {
			continue
		}
		b, err := files.ReadFile("testdata/" + n.Name())
		if err != nil {
			return nil, err
		}
		r, err := ReadRecording(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Name(), err)
		}
		rs = append(rs, r)
	}
	return rs, nil
}

// Recorded is what a device gave for the case. A recording of another source or of
// other inputs says nothing: then it is not known.
func (c *Case) Recorded(r *Recording) (rec Result, known bool, err error) {
	src, err := c.Source()
	if err != nil {
		return Result{}, false, err
	}
	rec, ok := r.Results[c.Name]
	return rec, ok && rec.PTX == ResultOf(src).PTX && rec.Inputs == c.given(), nil
}

// CheckRecorded compares an output with what a device gave, where that is known.
func (c *Case) CheckRecorded(r *Recording, got []byte) error {
	rec, known, err := c.Recorded(r)
	if err != nil || !known || rec.Err != "" {
		return err
	}
	if err := c.compare(got, rec.Out); err != nil {
		return fmt.Errorf("not what %s gave: %w", r.Device, err)
	}
	return nil
}
