package cpu

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
)

// Pinned threads stay on a processor each, lanes beside each other; the caller's is
// free again when the step is done, and the bits are the same.
func TestPin(t *testing.T) {
	if !CanPin() {
		if _, err := New(Options{Pin: true}); !errors.Is(err, gpu.ErrUnsupported) {
			t.Errorf("pinning without C: %v", err)
		}
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	allowed := regexp.MustCompile(`Cpus_allowed_list:\s*(\S+)`)
	of := func(status string) string {
		b, err := os.ReadFile(status)
		if err != nil {
			return "" // a thread that has ended
		}
		return allowed.FindStringSubmatch(string(b))[1]
	}
	all := of("/proc/thread-self/status")
	if !strings.ContainsAny(all, "-,") {
		t.Skip("this process has one processor")
	}
	// pinned are the processors that threads are pinned to, one for each thread.
	pinned := func() (on []string) {
		tasks, err := filepath.Glob("/proc/self/task/*/status")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			if s := of(task); s != "" && !strings.ContainsAny(s, "-,") {
				on = append(on, s)
			}
		}
		slices.Sort(on)
		return on
	}
	paint := func(d *Device) []float32 {
		t.Helper()
		p := loop(t, 1, 16, 16)
		r, err := d.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := r.Run(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		out := make([]float32, p.Named("x").Shape.Elems())
		if err := r.Read(p.Named("x"), out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	open := func(o Options) *Device {
		t.Helper()
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	free := open(Options{Threads: 2})
	defer free.Close()
	want := paint(free)
	if on := pinned(); len(on) > 0 {
		t.Errorf("nobody asked, and threads are on %v", on)
	}
	d := open(Options{Threads: 2, Pin: true})
	defer d.Close()
	if got := paint(d); !slices.Equal(got, want) {
		t.Error("pinned threads compute other bits")
	}
	if on := pinned(); len(on) != 1 { // the second thread; the first is the caller
		t.Errorf("threads are on %v, want one", on)
	}
	if now := of("/proc/thread-self/status"); now != all {
		t.Errorf("the caller may run on %s, before on %s", now, all)
	}
	for range 2 {
		l, err := d.Lane(2)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		paint(l)
	}
	if on := pinned(); len(on) != 3 || len(slices.Compact(on)) > runtime.NumCPU() {
		t.Errorf("with two lanes threads are on %v, want three", on)
	}
}
