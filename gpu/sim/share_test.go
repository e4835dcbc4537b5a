package sim

import (
	"context"
	"testing"
)

// A device's address is none that this process may have memory at, Go's heap among it, unless
// it asks for that.
func TestAddresses(t *testing.T) {
	for _, c := range []struct{ mappable bool }{{false}, {true}} {
		d := New(Config{Mappable: c.mappable})
		var last Ptr
		for i := range 300 {
			p, err := d.Alloc("x", 8)
			if err != nil {
				t.Fatal(err)
			}
			if p <= last || p < 1<<40 || c.mappable != (p < 1<<47) || p >= 1<<49 {
				t.Fatalf("mappable %v: allocation %d is at %#x", c.mappable, i, uint64(p))
			}
			if err := d.Write(p+4, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			last = p
		}
	}
}

// Shared memory is one for host and kernels, and all of it counts as initialised.
func TestShare(t *testing.T) {
	d := New(Config{})
	p, err := d.Alloc("x", 8)
	if err != nil {
		t.Fatal(err)
	}
	host := []byte{1, 2, 3, 4, 0, 0, 0, 0}
	for _, bad := range []struct {
		p Ptr
		b []byte
	}{{p, host[:4]}, {p + 4, host}, {p + 1<<40, host}} {
		if err := d.Share(bad.p, bad.b); err == nil {
			t.Errorf("shared %d bytes at %#x", len(bad.b), uint64(bad.p))
		}
	}
	if err := d.Share(p, host); err != nil {
		t.Fatal(err)
	}
	m, err := d.Load("copy.ptx", []byte(`.version 7.0
.target sm_80
.address_size 64
.visible .entry copy(.param .u64 p) { .reg .b64 %p; .reg .b32 %v; ld.param.u64 %p, [p]; ld.global.u32 %v, [%p]; st.global.u32 [%p+4], %v; ret; }`))
	if err != nil {
		t.Fatal(err)
	}
	k, err := m.Kernel("copy")
	if err != nil {
		t.Fatal(err)
	}
	host[0] = 9
	params, err := k.Pack(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Launch(context.Background(), Launch{Kernel: k, Params: params}); err != nil {
		t.Fatal(err)
	}
	if string(host[4:]) != "\x09\x02\x03\x04" {
		t.Errorf("the host sees %v", host)
	}
	if err := d.Free(p); err != nil || host[4] != 9 {
		t.Errorf("freed: %v, %v", err, host)
	}
}
