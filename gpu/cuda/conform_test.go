//go:build cuda

package cuda

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"gorgonia.org/cu"

	"github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/gpu/sim/conform"
)

var recordTo = flag.String("record", "", "write what the GPU gives for the conformance cases to this file")

// onDevice runs conformance cases through the driver in use.
type onDevice struct{ d *Device }

// Run implements conform.Device.
func (o onDevice) Run(_ context.Context, c *conform.Case, src []byte) (out []byte, err error) {
	err = o.d.do(func() error {
		mod, err := loadModule(c.Name, string(src))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, mod.unload()) }()
		f, err := mod.function("t")
		if err != nil {
			return err
		}
		var ptrs []cu.DevicePtr
		var params [][]byte
		for _, b := range append([][]byte{c.Out}, c.Inputs...) {
			p, err := cu.MemAlloc(int64(len(b)))
			if err != nil {
				return wrap("allocate", err)
			}
			defer func() { _ = cu.MemFree(p) }()
			if err := o.d.staging.upload(p, b); err != nil {
				return err
			}
			ptrs = append(ptrs, p)
			params = append(params, binary.LittleEndian.AppendUint64(nil, uint64(p)))
		}
		for _, m := range c.Maps {
			base := uint64(ptrs[m.Input+1])
			if m.Tiled != nil {
				t := *m.Tiled
				t.Base = base
				m.Tiled = &t
			} else {
				t := *m.Im2col
				t.Base = base
				m.Im2col = &t
			}
			b, err := encodeMap(m.Tiled, m.Im2col)
			if err != nil {
				return err
			}
			params = append(params, b)
		}
		if err := allowShared(f, c.Shared); err != nil {
			return err
		}
		la := kernelLaunch{f: f, grid: [3]int{c.Grid.X, 1, 1}, block: [3]int{c.Block.X, 1, 1}, shared: c.Shared, params: params}
		if err := la.enqueue(o.d.stream); err != nil {
			return err
		}
		if err := wrap("run", o.d.stream.Synchronize()); err != nil {
			o.d.lost = true
			return err
		}
		out = make([]byte, len(c.Out))
		return o.d.staging.download(out, ptrs[0])
	})
	return out, o.d.report(err)
}

// The conformance cases give through gorgonia.org/cu and the simulated driver
// what they give on the simulator itself: the recorder works before a GPU is
// there to be recorded.
func TestConformanceSimulated(t *testing.T) {
	t.Parallel()
	d := onSim(t, plan.FP32, sim.Config{})
	for i, c := range conform.Cases() {
		if testing.Short() && i%5 != 0 && len(c.Maps) == 0 {
			continue
		}
		out, err := conform.Run(t.Context(), onDevice{d}, c)
		if err == nil {
			err = c.Check(out)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// What a GPU gives for every case its architecture has, compared with the
// expectation, and recorded with -record: also what went wrong.
func TestConformanceGPU(t *testing.T) {
	d := onGPU(t, plan.FP32)
	rec := &conform.Recording{
		Device: d.info.Name, Driver: d.info.Detail, Date: time.Now().UTC().Format(time.DateOnly), Results: map[string]conform.Result{},
	}
	var cases []*conform.Case
	for _, c := range conform.Cases() {
		if c.Arch == "sm_80" || d.cc == 90 {
			cases = append(cases, c)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	failed := 0
	children := inChildren(t, "gpu", 20*time.Second, cases, func(c *conform.Case, r conform.Result) {
		rec.Results[c.Name] = r
		err := c.Check(r.Out)
		if r.Err != "" { // what another device gives of it later cannot be held against this
			err = fmt.Errorf("%s: %s", c.Name, r.Err)
		}
		if err != nil {
			failed++
			t.Error(err)
		}
	}, func() {
		if *recordTo == "" {
			return
		}
		var b bytes.Buffer
		if err := rec.Write(&b); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(*recordTo, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%d of %d cases on %s, %d failed; %d processes", len(rec.Results), len(cases), rec.Device, failed, children)
}

// childEnv is set for the processes that run conformance cases: to the device.
const childEnv = "STYLIZE_CONFORMANCE_CHILD"

// mostChildren bounds the processes of one test: more have to do with the device and
// not with single cases.
const mostChildren = 100

// again is the exit status of a process that wants another one to go on.
const again = 75

// inChildren runs cases in processes of their own. An error of a kernel stays with its
// process, which can make no other context: the first case that fails is the last of
// its process, and the next one goes on behind it. A process that dies, or gives
// nothing for as long as limit, fails at the case it had begun. Each result is
// reported as soon as it is known; ended is called after each process.
func inChildren(t *testing.T, device string, limit time.Duration, cases []*conform.Case, report func(*conform.Case, conform.Result), ended func()) (children int) {
	t.Helper()
	for len(cases) > 0 {
		if children == mostChildren {
			t.Errorf("%d processes have failed: %d cases from %s on are not run", children, len(cases), cases[0].Name)
			break
		}
		children++
		n, err := inChild(t, device, limit, cases, report)
		cases = cases[n:]
		if err != nil && len(cases) > 0 {
			src, e := cases[0].Source()
			if e != nil {
				t.Fatal(e)
			}
			r := conform.ResultOf(src)
			r.Err = err.Error()
			report(cases[0], r)
			cases = cases[1:]
		}
		ended()
	}
	return children
}

// inChild runs cases in one process until the first that fails, and returns how many
// gave a result, and why there are no more if that one did not fail by itself.
func inChild(t *testing.T, device string, limit time.Duration, cases []*conform.Case, report func(*conform.Case, conform.Result)) (n int, err error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	results, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer results.Close()
	cmd := exec.CommandContext(t.Context(), exe, "-test.run", "^TestConformanceChild$", "-test.timeout", "0", fmt.Sprintf("-simulate=%t", *simulate))
	cmd.Env = append(os.Environ(), childEnv+"="+device)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &said, &said, []*os.File{theirs}
	questions, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan conform.Result, len(cases))
	go func() {
		defer close(got)
		// Not as JSON, which has no infinite bounds.
		ask, answers := gob.NewEncoder(questions), gob.NewDecoder(results)
		for _, c := range cases {
			var r conform.Result
			err := ask.Encode(c)
			if err == nil {
				err = answers.Decode(&r)
			}
			if err != nil { // it has ended; else it ends without questions
				_ = questions.Close()
				return
			}
			got <- r
		}
	}()
	for n < len(cases) && err == nil {
		select {
		case r, more := <-got:
			if !more {
				if err = cmd.Wait(); cmd.ProcessState.ExitCode() == again {
					return n, nil
				}
				return n, fmt.Errorf("the process ended: %w: %s", err, lastLines(said.String(), 10))
			}
			report(cases[n], r)
			n++
		case <-time.After(limit):
			err = fmt.Errorf("no result in %v", limit)
		}
	}
	_ = cmd.Process.Kill() // if it has not ended: all is known
	_ = cmd.Wait()
	return n, err
}

func lastLines(s string, n int) string {
	l := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(l[max(len(l)-n, 0):], "\n")
}

// TestConformanceChild is what inChildren starts: it runs the cases that come on its
// standard input, for making them all takes seconds, and writes each result to
// descriptor 3.
func TestConformanceChild(t *testing.T) {
	var dev conform.Device
	switch os.Getenv(childEnv) {
	case "":
		t.Skip("other tests run it")
	case "gpu":
		dev = onDevice{onGPU(t, plan.FP32)}
	default:
		dev = mortal{onDevice{onSim(t, plan.FP32, sim.Config{})}}
	}
	questions, answers := gob.NewDecoder(os.Stdin), gob.NewEncoder(os.NewFile(3, "results"))
	for {
		c := &conform.Case{}
		err := questions.Decode(c)
		if errors.Is(err, io.EOF) {
			return
		}
		var r conform.Result
		if err == nil {
			r, err = conform.Record(t.Context(), dev, c)
		}
		if err == nil {
			err = answers.Encode(r)
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Err != "" {
			os.Exit(again) // closing what is ruined may take forever
		}
	}
}

// Every case can be sent to a child: one that cannot would end its process.
func TestConformanceCasesCanBeSent(t *testing.T) {
	t.Parallel()
	ask := gob.NewEncoder(io.Discard)
	for _, c := range conform.Cases() {
		if err := ask.Encode(c); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}

// mortal is a device that some cases kill, by their names.
type mortal struct{ conform.Device }

// fates are what becomes of cases on a mortal device.
var fates = map[string]func() error{
	"add.s32": func() error { return errors.New("misaligned address") },
	"add.u32": func() error { os.Exit(1); return nil },
	"and.b32": func() error { time.Sleep(time.Hour); return nil },
}

// Run implements conform.Device.
func (m mortal) Run(ctx context.Context, c *conform.Case, src []byte) ([]byte, error) {
	if f := fates[c.Name]; f != nil {
		if err := f(); err != nil {
			return nil, err
		}
	}
	return m.Device.Run(ctx, c, src)
}

// Cases that fail, kill their process or never end cost themselves and no other.
func TestConformanceChildren(t *testing.T) {
	t.Parallel()
	want := []struct{ name, err string }{
		{"abs.s32", ""},
		{"add.s32", "misaligned"},
		{"add.u32", "exit status 1"},
		{"or.b32", ""},
		{"and.b32", "no result"},
		{"cp.async.bulk.tensor.4d.shared-cluster.global.im2col.mbarrier-complete_tx-bytes.multicast-cluster", ""}, // a case with all that cases have
	}
	limit := 20 * time.Second // more than a process takes to begin where others are busy
	if testing.Short() {      // nothing hangs
		want, limit = slices.Delete(want, 4, 5), time.Minute
	}
	var cases []*conform.Case
	for _, w := range want {
		i := slices.IndexFunc(conform.Cases(), func(c *conform.Case) bool { return c.Name == w.name })
		cases = append(cases, conform.Cases()[i])
	}
	done, lasting := 0, 0
	children := inChildren(t, "mortal", limit, cases, func(c *conform.Case, r conform.Result) {
		w := want[done]
		if c.Name != w.name || r.PTX == "" || (r.Err != "") != (w.err != "") || !strings.Contains(r.Err, w.err) {
			t.Errorf("case %d: %s %q, want %s %q", done, c.Name, r.Err, w.name, w.err)
		}
		if r.Err == "" {
			if err := c.Check(r.Out); err != nil {
				t.Error(err)
			}
		}
		done++
	}, func() { lasting = done })
	if done != len(want) || lasting != done || children != len(want)-2 {
		t.Errorf("%d results of %d, %d of them kept, from %d processes", done, len(want), lasting, children)
	}
}
