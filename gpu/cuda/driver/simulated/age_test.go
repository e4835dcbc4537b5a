package simulated

import (
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/sim"
)

// A driver of an age reads PTX up to that of its CUDA, as a GPU's does, and says what
// ptxas says.
func TestAges(t *testing.T) {
	for _, c := range []struct {
		age     Age
		version string
		ok      bool
	}{
		{Age{}, "8.7", true},
		{Age{Version: 11040}, "7.4", true},
		{Age{Version: 11040}, "7.5", false},
		{Age{Version: 11080}, "8.0", false},
		{Age{Version: 12000}, "8.0", true},
		{Age{Version: 12000}, "8.1", false},
		{Age{Version: 12060}, "8.5", true},
		{Age{Version: 12060}, "8.6", false},
		{Age{PTX: 80}, "8.1", false},
	} {
		d := New(sim.Config{})
		d.Pretend(c.age)
		if _, r := d.CtxCreate(me, 0, 0); r != Success {
			t.Fatal(r)
		}
		_, log, r := d.ModuleLoadData(me, []byte(".version "+c.version+"\n.target sm_80\n.address_size 64\n.visible .entry k() .maxntid 384, 1, 1 { ret; }\n"))
		if (r == Success) != c.ok || !c.ok && (r != UnsupportedPTX || !strings.Contains(log, "Unsupported .version "+c.version)) {
			t.Errorf("%+v: PTX %s: %v, %q", c.age, c.version, r, log)
		}
	}
	d := New(sim.Config{})
	if _, r := d.CtxCreate(me, 0, 0); r != Success {
		t.Fatal(r)
	}
	big := function(t, d, "conv_wgmma.sm90a.ptx", "conv3x3_wgmma")
	for attribute, want := range map[int]int{funcRegisters: 168, funcLocalBytes: 0} {
		if n, r := d.FuncAttribute(big, attribute); n != want || r != Success {
			t.Errorf("attribute %d is %d, %v; want %d", attribute, n, r, want)
		}
	}
	d.Pretend(Age{Version: 12040, Allot: func(string) (int, int) { return 40, 16 }})
	if d.DriverVersion() != 12040 {
		t.Errorf("version %d", d.DriverVersion())
	}
	for attribute, want := range map[int]int{funcRegisters: 40, funcLocalBytes: 16} {
		if n, r := d.FuncAttribute(big, attribute); n != want || r != Success {
			t.Errorf("attribute %d is %d, %v; want %d", attribute, n, r, want)
		}
	}
	// A compiler that serves one thread does not serve another, to which the context is
	// current too.
	d = New(sim.Config{})
	d.Pretend(Age{Alone: true})
	c, r := d.CtxCreate(me, 0, 0)
	if r != Success {
		t.Fatal(r)
	}
	if r := d.CtxSetCurrent(me+1, c); r != Success {
		t.Fatal(r)
	}
	for _, c := range []struct {
		on   Thread
		want Result
	}{{me, Success}, {me + 1, NoCompiler}, {me, Success}} {
		if _, _, r := d.ModuleLoadData(c.on, []byte(".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k() { ret; }\n")); r != c.want {
			t.Errorf("thread %d: %v, want %v", c.on, r, c.want)
		}
	}
}
