//go:build cuda

package driver_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu/cuda/driver"
	"github.com/stylize-gpu/stylize/gpu/cuda/driver/simulated"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// simulate puts a simulated driver under gorgonia.org/cu on this thread, and a
// context.
func simulate(t *testing.T, configs ...sim.Config) (cu.Device, *simulated.Driver) {
	t.Helper()
	drv := simulated.New(configs...)
	restore := driver.Simulate(drv)
	dev, err := cu.GetDevice(0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := dev.MakeContext(cu.SchedAuto)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ctx.Destroy(); err != nil {
			t.Error(err)
		}
		restore()
	})
	return dev, drv
}

func load(t *testing.T, file string) cu.Module {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("../../sim/testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := cu.LoadData(string(src))
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

func alloc(t *testing.T, n int) cu.DevicePtr {
	t.Helper()
	p, err := cu.MemAlloc(int64(n))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// gorgonia.org/cu, unchanged, finds the device, loads PTX, copies, launches and
// waits.
func TestGorgoniaLaunches(t *testing.T) {
	dev, _ := simulate(t)
	name, err := dev.Name()
	if err != nil || name != "Simulated sm_90a" {
		t.Fatalf("%q, %v", name, err)
	}
	major, err := dev.Attribute(cu.ComputeCapabilityMajor)
	if err != nil || major != 9 || cu.Version() != simulated.Version {
		t.Errorf("capability %d, version %d, %v", major, cu.Version(), err)
	}
	fn, err := load(t, "elementwise.sm80.ptx").Function("saxpy")
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	x, y := make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], y[i] = float32(i), float32(2*i)
	}
	px, py := alloc(t, 4*n), alloc(t, 4*n)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(cu.MemcpyHtoD(px, unsafe.Pointer(&x[0]), 4*n))
	check(cu.MemcpyHtoD(py, unsafe.Pointer(&y[0]), 4*n))
	a, count := uint64(math.Float32bits(3)), uint64(n) // 8-byte cells: cu copies 8 bytes of each
	stream, err := cu.MakeStream(cu.NonBlocking)
	check(err)
	check(fn.Launch(4, 1, 1, 256, 1, 1, 0, stream, []unsafe.Pointer{
		unsafe.Pointer(&py), unsafe.Pointer(&px), unsafe.Pointer(&a), unsafe.Pointer(&count),
	}))
	check(stream.Synchronize())
	check(cu.MemcpyDtoH(unsafe.Pointer(&y[0]), py, 4*n))
	for i, v := range y {
		if v != float32(5*i) {
			t.Fatalf("y[%d] = %g, want %d", i, v, 5*i)
		}
	}
	free, total, err := cu.MemInfo()
	if err != nil || total-free != 8*n {
		t.Errorf("%d of %d free, %v", free, total, err)
	}
}

// Errors reach the caller as CUDA's, and stay with the context.
func TestGorgoniaErrors(t *testing.T) {
	_, drv := simulate(t, sim.Config{Memory: 1 << 20})
	want := func(err, code error) {
		t.Helper()
		if err != code { //nolint:errorlint // cu's results are plain constants
			t.Errorf("got %v, want %v", err, code)
		}
	}
	_, err := cu.MemAlloc(2 << 20)
	want(err, cu.OutOfMemory)
	_, err = cu.LoadData(".version 7.0\n.target sm_80\n.address_size 64\n.entry k() { frob; }")
	want(err, cu.InvalidPtx)
	mod := load(t, "elementwise.sm80.ptx")
	_, err = mod.Function("nope")
	want(err, cu.NotFound)
	fn, err := mod.Function("saxpy")
	if err != nil {
		t.Fatal(err)
	}
	var p, n uint64
	args := []unsafe.Pointer{unsafe.Pointer(&p), unsafe.Pointer(&p), unsafe.Pointer(&p), unsafe.Pointer(&n)}
	want(fn.Launch(0, 1, 1, 256, 1, 1, 0, cu.NoStream, args), cu.InvalidValue)
	want(fn.Launch(1, 1, 1, 4096, 1, 1, 0, cu.NoStream, args), cu.InvalidValue)
	want(fn.Launch(1, 1, 1, 256, 1, 1, 100<<10, cu.NoStream, args), cu.InvalidValue)
	_, err = cu.MemAllocManaged(16, cu.AttachGlobal)
	want(err, cu.NotSupported)
	// A null pointer: the launch succeeds, everything behind it fails.
	n = 10
	if err := fn.Launch(1, 1, 1, 256, 1, 1, 0, cu.NoStream, args); err != nil {
		t.Errorf("the launch itself: %v", err)
	}
	want(cu.Synchronize(), cu.IllegalAddress)
	_, err = cu.MemAlloc(16)
	want(err, cu.IllegalAddress)
	var r *sim.Report
	if !errors.As(drv.Report(), &r) || r.Kernel != "saxpy" || r.Line == 0 {
		t.Errorf("report %v", drv.Report())
	}
}

// Threads have the drivers that they chose, and none has another's: two simulated
// ones with different devices, one inside the other on a thread, and NVIDIA's where
// none was chosen.
func TestThreads(t *testing.T) {
	native, nativeErr := cu.NumDevices() // as many as there are here
	names := func(want ...string) {
		t.Helper()
		n, err := cu.NumDevices()
		if err != nil || n != len(want) {
			t.Errorf("%d devices, want %d, %v", n, len(want), err)
		}
		for i := range n {
			dev, err := cu.GetDevice(i)
			if err != nil {
				t.Fatal(err)
			}
			if name, err := dev.Name(); err != nil || name != want[i] {
				t.Errorf("device %d is %q, want %q, %v", i, name, want[i], err)
			}
		}
	}
	ampere, both := simulated.New(sim.Config{Arch: "sm_80"}), simulated.New(sim.Config{}, sim.Config{Arch: "sm_80"})
	const rounds = 50
	var threads sync.WaitGroup
	turn := make(chan struct{}) // each call is in the midst of others'
	for _, d := range []*simulated.Driver{ampere, both, nil} {
		threads.Go(func() {
			for range rounds {
				turn <- struct{}{}
				switch d {
				case ampere:
					restore := driver.Simulate(ampere)
					names("Simulated sm_80")
					inner := driver.Simulate(both)
					names("Simulated sm_90a", "Simulated sm_80")
					inner()
					names("Simulated sm_80")
					restore()
				case both:
					restore := driver.Simulate(both)
					names("Simulated sm_90a", "Simulated sm_80")
					restore()
				}
				if n, err := cu.NumDevices(); n != native || err != nativeErr { //nolint:errorlint // cu's results are plain constants
					t.Errorf("%d devices, %v on a thread without a simulator, want %d, %v", n, err, native, nativeErr)
				}
			}
		})
	}
	for range 3 * rounds {
		<-turn
	}
	threads.Wait()
}

// Memory has its name in the reports of the driver that it is of; NVIDIA's takes
// one, and has no use for it.
func TestName(t *testing.T) {
	if err := driver.Name(1, "of nobody"); err != nil {
		t.Error(err)
	}
	_, drv := simulate(t)
	p := alloc(t, 4)
	if err := driver.Name(uint64(p), "four bytes"); err != nil {
		t.Fatal(err)
	}
	if err := driver.Name(uint64(p)+1<<30, "nowhere"); !errors.Is(err, simulated.InvalidValue) {
		t.Errorf("a name for what was not allocated: %v", err)
	}
	fn, err := load(t, "elementwise.sm80.ptx").Function("saxpy")
	if err != nil {
		t.Fatal(err)
	}
	a, n := uint64(0), uint64(1) // of what nobody wrote
	if err := fn.Launch(1, 1, 1, 256, 1, 1, 0, cu.NoStream, []unsafe.Pointer{unsafe.Pointer(&p), unsafe.Pointer(&p), unsafe.Pointer(&a), unsafe.Pointer(&n)}); err != nil {
		t.Fatal(err)
	}
	if err := cu.Synchronize(); err != cu.LaunchFailed || !strings.Contains(drv.Report().Error(), "four bytes") { //nolint:errorlint // cu's results are plain constants
		t.Errorf("%v, report %v", err, drv.Report())
	}
}

// Without a driver Init says so; with one the calls reach it.
func TestNative(t *testing.T) {
	err := driver.Init()
	if err != nil {
		if _, e := cu.NumDevices(); e == nil {
			t.Errorf("%v, and yet devices are found", err)
		}
		if !errors.Is(err, driver.ErrNoDriver) && !strings.Contains(err.Error(), "CUDA_ERROR") {
			t.Error(err)
		}
		t.Logf("no GPU here: %v", err)
		return
	}
	n, err := cu.NumDevices()
	t.Logf("%d devices, driver %d, %v", n, cu.Version(), err)
}

// One binary starts with a driver and without: this test starts itself beside a
// library that answers as a driver with three devices, one whose cuInit fails,
// and one that does not exist.
func TestStartsAnywhere(t *testing.T) {
	if os.Getenv("STYLIZE_LIBCUDA") != "" { // the child
		err := driver.Init()
		n, cuErr := cu.NumDevices()
		fmt.Printf("native: %v; devices: %d, %v\n", err, n, cuErr)
		defer driver.Simulate(simulated.New())()
		n, cuErr = cu.NumDevices()
		fmt.Printf("simulated devices: %d, %v\n", n, cuErr)
		return
	}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Fatalf("the package was built with a C compiler, and now there is none: %v", err)
	}
	dir := t.TempDir()
	lib := func(name, src string) string {
		so := filepath.Join(dir, name)
		cmd := exec.Command(gcc, "-shared", "-fPIC", "-x", "c", "-o", so, "-")
		cmd.Stdin = strings.NewReader(src)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return so
	}
	for _, c := range []struct{ lib, want string }{
		{lib("three.so", "int cuInit(unsigned f) { return 0; } int cuDeviceGetCount(int *n) { *n = 3; return 0; }"), "native: <nil>; devices: 3, <nil>"},
		{lib("broken.so", "int cuInit(unsigned f) { return 999; }"), "native: initialise the NVIDIA driver: CUDA error 999; devices: 0, NoDevice"},
		{filepath.Join(dir, "none.so"), "native: no NVIDIA driver: libcuda.so.1 was not found; devices: 0, NoDevice"},
	} {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestStartsAnywhere$", "-test.v")
		cmd.Env = append(os.Environ(), "STYLIZE_LIBCUDA="+c.lib)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) || !strings.Contains(string(out), "simulated devices: 1, <nil>") {
			t.Errorf("%s: %v\n%s\nwant %s", filepath.Base(c.lib), err, out, c.want)
		}
	}
}
