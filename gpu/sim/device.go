package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// Mode says when asynchronous operations complete and in which order warps run.
type Mode struct {
	kind modeKind
	seed uint64
}

type modeKind uint8

const (
	eager modeKind = iota
	lazy
	random
)

// The modes. The zero Mode is Eager.
var (
	Eager = Mode{}           // at once
	Lazy  = Mode{kind: lazy} // as late as waits allow
)

// Random completes and schedules by chance, the same for the same seed.
func Random(seed uint64) Mode { return Mode{random, seed} }

func (m Mode) String() string {
	switch m.kind {
	case lazy:
		return "lazy"
	case random:
		return fmt.Sprintf("random:%d", m.seed)
	default:
		return "eager"
	}
}

// ParseMode reads eager, lazy or random:SEED.
func ParseMode(s string) (Mode, error) {
	switch s {
	case "eager":
		return Eager, nil
	case "lazy":
		return Lazy, nil
	}
	if t, ok := strings.CutPrefix(s, "random:"); ok {
		if n, err := strconv.ParseUint(t, 10, 64); err == nil {
			return Random(n), nil
		}
	}
	return Mode{}, fmt.Errorf("mode %q: want eager, lazy or random:SEED", s)
}

// DefaultMemory is the global memory of a device whose Config does not say, in bytes.
const DefaultMemory = 16 << 30

// Config describes a device. The zero value is a Hopper with every check.
type Config struct {
	Arch     string // "sm_90a" when empty; PTX for a later one is refused
	SMs      int    // multiprocessors that it reports, 132 when 0
	Memory   int64  // bytes, 16 GiB when 0
	Mode     Mode
	NoChecks bool   // only bounds and alignment are checked then
	Ignore   []Kind // of Optional, checks that are left out
	Profile  bool   // count sectors and bank conflicts
	Workers  int    // goroutines, GOMAXPROCS when 0
	MaxSteps int64  // warp instructions of one cluster, 2^32 when 0
	Mappable bool   // a process can map memory at all addresses, for what it and kernels are to share

	Printf io.Writer // what kernels print, nothing when nil
}

// Device is a simulated CUDA device. Its methods may be called by one
// goroutine at a time.
type Device struct {
	cfg  Config
	cc   int  // 80, 90
	arch bool // a suffix: the features of that one architecture
	mem  memory
	maps map[[tensorMapBytes]byte]*tensorMap

	scratch scratch

	// For programmatic dependent launch: the last launch, and what those before it
	// touched on which it depended.
	last   *globalShadow
	before history
}

// New makes a device. A configuration that makes no sense is an error of the
// first Load.
func New(cfg Config) *Device {
	if cfg.Arch == "" {
		cfg.Arch = "sm_90a"
	}
	if cfg.SMs == 0 {
		cfg.SMs = 132
	}
	if cfg.Memory == 0 {
		cfg.Memory = DefaultMemory
	}
	if cfg.Workers == 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.MaxSteps == 0 {
		cfg.MaxSteps = 1 << 32
	}
	d := &Device{cfg: cfg, maps: map[[tensorMapBytes]byte]*tensorMap{}}
	d.mem.limit, d.mem.base = cfg.Memory, farBase
	if cfg.Mappable {
		d.mem.base = globalBase
	}
	d.cc, d.arch = capability(cfg.Arch)
	return d
}

// Config returns the configuration with its defaults filled in.
func (d *Device) Config() Config { return d.cfg }

// Capability is the compute capability, 90 for sm_90 and sm_90a.
func (d *Device) Capability() int { return d.cc }

// SetMode changes when later launches complete what is asynchronous.
func (d *Device) SetMode(m Mode) { d.cfg.Mode = m }

// capability reads sm_90a as 90 and true.
func capability(arch string) (cc int, specific bool) {
	s, ok := strings.CutPrefix(arch, "sm_")
	if !ok {
		return 0, false
	}
	s, specific = strings.CutSuffix(s, "a")
	cc, err := strconv.Atoi(s)
	if err != nil {
		return 0, false
	}
	return cc, specific
}

// Alloc takes memory; its bytes count as uninitialised until something writes
// them. The name appears in reports.
func (d *Device) Alloc(name string, bytes int64) (Ptr, error) {
	a, err := d.mem.alloc(name, bytes)
	if err != nil {
		return 0, err
	}
	return Ptr(a.base), nil
}

// Free gives memory back. Its address is not used again, so that later
// accesses are found.
func (d *Device) Free(p Ptr) error {
	a, off, err := d.mem.span(p, 0)
	if err != nil {
		return err
	}
	if off != 0 {
		return fmt.Errorf("free: %#x is inside %s, not its beginning: %w", uint64(p), a.name, ErrInvalidValue)
	}
	d.mem.mu.Lock()
	d.mem.used -= int64(len(a.data))
	a.freed, a.data, a.init = true, nil, nil
	d.mem.mu.Unlock()
	return nil
}

// MemInfo returns free and total bytes.
func (d *Device) MemInfo() (free, total int64) {
	d.mem.mu.Lock()
	defer d.mem.mu.Unlock()
	return d.mem.limit - d.mem.used, d.mem.limit
}

// Range returns the allocation that holds an address: where it begins and its
// bytes.
func (d *Device) Range(p Ptr) (Ptr, int64, error) {
	a, _, err := d.mem.span(p, 0)
	if err != nil {
		return 0, 0, err
	}
	return Ptr(a.base), int64(len(a.data)), nil
}

// Write copies from the host.
func (d *Device) Write(p Ptr, src []byte) error {
	a, off, err := d.mem.span(p, len(src))
	if err != nil {
		return err
	}
	copy(a.data[off:], src)
	a.markInit(off, len(src))
	return nil
}

// Read copies to the host.
func (d *Device) Read(p Ptr, dst []byte) error {
	a, off, err := d.mem.span(p, len(dst))
	if err != nil {
		return err
	}
	copy(dst, a.data[off:])
	return nil
}

// Copy copies n bytes on the device; what was uninitialised stays so.
func (d *Device) Copy(dst, src Ptr, n int) error {
	s, so, err := d.mem.span(src, n)
	if err != nil {
		return err
	}
	t, to, err := d.mem.span(dst, n)
	if err != nil {
		return err
	}
	copy(t.data[to:to+uint64(n)], s.data[so:])
	switch {
	case s.init == nil:
		t.markInit(to, n)
	case t.init != nil:
		copy(t.init[to:to+uint64(n)], s.init[so:])
	}
	return nil
}

// Set fills n elements of 1, 2 or 4 bytes.
func (d *Device) Set(p Ptr, value uint32, size, n int) error {
	if size != 1 && size != 2 && size != 4 || uint64(p)%uint64(size) != 0 {
		return fmt.Errorf("set: element size %d at %#x: %w", size, uint64(p), ErrInvalidValue)
	}
	a, off, err := d.mem.span(p, n*size)
	if err != nil {
		return err
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], value)
	for i := range n {
		copy(a.data[off+uint64(i*size):], b[:size])
	}
	a.markInit(off, n*size)
	return nil
}

// Module is loaded PTX.
type Module struct {
	File    string
	Version [2]int
	Kernels []*Kernel    // in the order of the source
	Refused []*ptx.Error // kernels that LoadSome could not decode
	globals map[*ptx.Var]Ptr
	ptx     *ptx.Module
	dev     *Device
}

// Load parses and decodes a source. What the simulator does not know is an
// error that names entry and line.
func (d *Device) Load(file string, src []byte) (*Module, error) {
	m, err := d.load(file, src, ptx.Parse)
	if err == nil && len(m.Refused) > 0 {
		return nil, errors.Join(m.Refused[0], m.Unload())
	}
	return m, err
}

// LoadSome leaves out the kernels that the simulator cannot run, and says why in
// Module.Refused; Module.Kernel says it again.
func (d *Device) LoadSome(file string, src []byte) (*Module, error) {
	return d.load(file, src, ptx.ParseSome)
}

func (d *Device) load(file string, src []byte, parse func(string, []byte) (*ptx.Module, error)) (*Module, error) {
	if d.cc == 0 {
		return nil, fmt.Errorf("arch %q: want sm_80, sm_90 or sm_90a", d.cfg.Arch)
	}
	if err := d.cfg.checkIgnore(); err != nil {
		return nil, err
	}
	m, err := parse(file, src)
	if err != nil {
		return nil, err
	}
	for _, t := range m.Target {
		cc, specific := capability(t)
		if cc > d.cc || specific && (cc != d.cc || !d.arch) {
			return nil, fmt.Errorf("%s: compiled for %s, the device is %s", file, t, d.cfg.Arch)
		}
	}
	mod := &Module{File: file, Version: m.Version, Refused: m.Refused, globals: map[*ptx.Var]Ptr{}, ptx: m, dev: d}
	for _, v := range m.Globals {
		if v.Space != ptx.Global && v.Space != ptx.Const {
			continue
		}
		a, err := d.mem.alloc(v.Name, int64(v.Size))
		if err != nil {
			return nil, err
		}
		copy(a.data, v.Init)
		a.init, a.konst = nil, v.Space == ptx.Const // static storage starts as zero
		mod.globals[v] = Ptr(a.base)
	}
	for v := range mod.globals {
		for _, r := range v.Refs {
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], (uint64(mod.globals[r.Var])+uint64(r.Offset))>>r.Shift)
			if err := d.Write(mod.globals[v]+Ptr(r.At), b[:r.Bytes]); err != nil {
				return nil, err
			}
		}
	}
	for _, e := range m.Entries {
		k, err := decodeEntry(mod, e)
		var refused *ptx.Error
		if errors.As(err, &refused) {
			mod.Refused = append(mod.Refused, refused)
			continue
		} else if err != nil {
			return nil, err
		}
		mod.Kernels = append(mod.Kernels, k)
	}
	return mod, nil
}

// Unload frees the module's variables.
func (m *Module) Unload() error {
	for _, p := range m.globals {
		if err := m.dev.Free(p); err != nil {
			return err
		}
	}
	m.globals = map[*ptx.Var]Ptr{}
	return nil
}

// Kernel returns an entry by name.
func (m *Module) Kernel(name string) (*Kernel, error) {
	for _, k := range m.Kernels {
		if k.Name == name {
			return k, nil
		}
	}
	for _, e := range m.Refused {
		if e.Entry == name {
			return nil, e
		}
	}
	return nil, fmt.Errorf("%s: no kernel %s; it has %s", m.File, name, m.names())
}

func (m *Module) names() string {
	var n []string
	for _, k := range m.Kernels {
		n = append(n, k.Name)
	}
	if len(n) == 0 {
		return "none"
	}
	return strings.Join(n, ", ")
}

// Global returns a .global or .const variable: its address and bytes.
func (m *Module) Global(name string) (Ptr, int64, error) {
	for _, v := range m.ptx.Globals {
		if p, ok := m.globals[v]; ok && v.Name == name {
			return p, int64(v.Size), nil
		}
	}
	return 0, 0, fmt.Errorf("%s: no variable %s: %w", m.File, name, ErrInvalidValue)
}

// Param is one parameter of a kernel.
type Param struct {
	Name   string
	Type   string // as PTX has it, "u64", "b8[128]"
	Offset int
	Bytes  int
}

// Params lists the kernel's parameters.
func (k *Kernel) Params() []Param {
	var ps []Param
	for _, v := range k.entry.Params {
		t := v.Type.String()
		if n := v.Type.Bits() / 8; v.Size != n {
			t = fmt.Sprintf("%s[%d]", t, v.Size/n)
		}
		ps = append(ps, Param{v.Name, t, v.Offset, v.Size})
	}
	return ps
}

// Pack lays out arguments as Launch.Params: Ptr, integers, float32, float64 and
// []byte (tensor maps, structs), one for each parameter and exactly its size.
func (k *Kernel) Pack(args ...any) ([]byte, error) {
	if len(args) != len(k.entry.Params) {
		return nil, fmt.Errorf("%s takes %d arguments, got %d", k.Name, len(k.entry.Params), len(args))
	}
	out := make([]byte, k.entry.ParamBytes)
	for i, a := range args {
		v := k.entry.Params[i]
		var b []byte
		switch x := a.(type) {
		case Ptr:
			b = binary.LittleEndian.AppendUint64(b, uint64(x))
		case uint64:
			b = binary.LittleEndian.AppendUint64(b, x)
		case int64:
			b = binary.LittleEndian.AppendUint64(b, uint64(x))
		case uint32:
			b = binary.LittleEndian.AppendUint32(b, x)
		case int32:
			b = binary.LittleEndian.AppendUint32(b, uint32(x))
		case float32:
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
		case float64:
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		case uint16:
			b = binary.LittleEndian.AppendUint16(b, x)
		case uint8:
			b = []byte{x}
		case []byte:
			b = x
		default:
			return nil, fmt.Errorf("%s: argument %d has type %T", k.Name, i, a)
		}
		if len(b) != v.Size {
			return nil, fmt.Errorf("%s: argument %d (%s) takes %d bytes, got %d", k.Name, i, v.Name, v.Size, len(b))
		}
		copy(out[v.Offset:], b)
	}
	return out, nil
}

// SetName changes the name of an allocation in reports.
func (d *Device) SetName(p Ptr, name string) error {
	a, _, err := d.mem.span(p, 0)
	if err != nil {
		return err
	}
	a.name = name
	return nil
}

// Occupancy says how many blocks of a kernel fit a multiprocessor; registers
// is 0 when unknown.
func (d *Device) Occupancy(k *Kernel, threads, shared, registers int) Occupancy {
	l := launch{Launch: Launch{Kernel: k, SharedBytes: shared, Registers: registers}, dev: d, warps: (threads + 31) / 32}
	return l.occupancy()
}
