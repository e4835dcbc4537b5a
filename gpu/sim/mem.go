package sim

import (
	"errors"
	"fmt"
	"sync"
)

// Ptr is an address in the device's global memory.
type Ptr uint64

// The address space. Every allocation begins at a multiple of 4 GiB, so that
// address>>32 finds it and an index that runs out of one never lands in the
// next. The windows are where cvta puts the other state spaces.
//
// No process has memory of its own from farBase on: an address that a driver call
// passes as a pointer must not look like one into Go's heap, or cgo and the garbage
// collector stop the program. Only with [Config.Mappable] it begins lower.
const (
	globalBase  = 1 << 40 // nothing else is here or above
	farBase     = 1 << 48
	sharedBase  = 1 << 36 // + shared::cluster address
	localBase   = 2 << 36 // + offset in the thread's local memory
	paramBase   = 3 << 36 // + offset among the parameters
	windowBytes = 1 << 36
	sharedLow   = 1024 // shared variables begin here: address 0 is never valid
	rankShift   = 24   // shared::cluster address = (rank+1)<<24 | shared::cta address
)

// Errors of the memory functions, for errors.Is.
var (
	ErrOutOfMemory  = errors.New("out of memory")
	ErrInvalidValue = errors.New("invalid value")
)

// alloc is one allocation.
type alloc struct {
	name  string
	base  uint64
	data  []byte
	init  []byte // one byte each, 1 where written; nil when all of it is
	freed bool
	konst bool // .const variables: stores are refused
}

// memory is the global memory of a device.
type memory struct {
	mu    sync.Mutex
	base  uint64   // of the first allocation
	slots []*alloc // by (address-base)>>32
	used  int64
	limit int64
}

func (m *memory) alloc(name string, bytes int64) (*alloc, error) {
	if bytes <= 0 {
		return nil, fmt.Errorf("allocate %s: %d bytes: %w", name, bytes, ErrInvalidValue)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if bytes > m.limit-m.used {
		return nil, fmt.Errorf("allocate %s: %d bytes asked for, %d of %d free: %w", name, bytes, m.limit-m.used, m.limit, ErrOutOfMemory)
	}
	m.used += bytes
	a := &alloc{
		name: name, base: m.base + uint64(len(m.slots))<<32,
		data: make([]byte, bytes), init: make([]byte, bytes),
	}
	for n := int64(0); n <= bytes>>32; n++ {
		m.slots = append(m.slots, a)
	}
	return a, nil
}

// find returns the allocation that an address lies in or just missed, or nil.
func (m *memory) find(addr uint64) *alloc {
	i := (addr - m.base) >> 32
	if addr < m.base || i >= uint64(len(m.slots)) {
		return nil
	}
	return m.slots[i]
}

// span returns bytes [addr, addr+n) for the host.
func (m *memory) span(addr Ptr, n int) (*alloc, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.find(uint64(addr))
	if a == nil || a.freed {
		return nil, 0, fmt.Errorf("%#x is not an address of this device: %w", uint64(addr), ErrInvalidValue)
	}
	off := uint64(addr) - a.base
	if n < 0 || off+uint64(n) > uint64(len(a.data)) {
		return nil, 0, fmt.Errorf("%d bytes at offset %d of %s, which has %d: %w", n, off, a.name, len(a.data), ErrInvalidValue)
	}
	return a, off, nil
}

func (a *alloc) markInit(off uint64, n int) {
	if a.init == nil {
		return
	}
	if off == 0 && n == len(a.data) {
		a.init = nil
		return
	}
	fill(a.init[off:off+uint64(n)], 1)
}

func fill(b []byte, v byte) {
	if len(b) <= 32 {
		for ; len(b) >= 4; b = b[4:] {
			le.PutUint32(b, uint32(v)*0x01010101)
		}
		for i := range b {
			b[i] = v
		}
		return
	}
	b[0] = v
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// where names an address for a report.
func (m *memory) where(addr uint64) string {
	a := m.find(addr)
	if a == nil {
		return fmt.Sprintf("%#x, which no allocation holds", addr)
	}
	off := int64(addr - a.base)
	s := fmt.Sprintf("%s%+d (%d bytes at %#x)", a.name, off, len(a.data), a.base)
	if a.freed {
		s += ", freed"
	}
	return s
}
