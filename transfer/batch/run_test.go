package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// flaky is a device that is lost after so many runs of programs, and then fails with
// everything, as a GPU does.
type flaky struct {
	gpu.Device
	runs   atomic.Int64
	after  int64
	behind *flaky // runs nothing before this one is lost; may be nil
}

var errBroken = errors.New("the device fell off the bus")

func (d *flaky) broken() error {
	if d.runs.Load() > d.after {
		return errBroken
	}
	return nil
}

func (d *flaky) Compile(p *gpu.Program) (gpu.Runner, error) {
	if err := d.broken(); err != nil {
		return nil, err
	}
	r, err := d.Device.Compile(p)
	return &flakyRunner{r, d}, err
}

type flakyRunner struct {
	gpu.Runner
	dev *flaky
}

func (r *flakyRunner) Run(ctx context.Context, n int) (int, error) {
	r.dev.runs.Add(1)
	if err := r.dev.broken(); err != nil {
		return 0, err
	}
	for d := r.dev.behind; d != nil && d.broken() == nil && ctx.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
	return r.Runner.Run(ctx, n)
}

func (r *flakyRunner) Read(b *gpu.Buffer, dst []float32) error {
	if err := r.dev.broken(); err != nil {
		return err
	}
	return r.Runner.Read(b, dst)
}

func (r *flakyRunner) Write(b *gpu.Buffer, v []float32) error {
	if err := r.dev.broken(); err != nil {
		return err
	}
	return r.Runner.Write(b, v)
}

// watched is a batch with what it said.
type watched struct {
	*Batch
	mu    sync.Mutex
	lines map[string][]Line // by content
	said  []string
}

// ready checks the contents in/0.png and so on, and makes a batch of them.
func ready(t *testing.T, in Inputs, devices ...gpu.Device) *watched {
	t.Helper()
	l, err := check(t, in, Checks{})
	if err != nil {
		t.Fatal(err)
	}
	b := &watched{Batch: &Batch{List: l, Weights: weights.Random(1), Numerics: Numerics{Precision: "fp32"}}, lines: map[string][]Line{}}
	for i, d := range devices {
		b.Devices = append(b.Devices, Device{Device: d, Name: fmt.Sprintf("dev:%d", i), Slots: 2})
	}
	b.Each = func(l Line) { b.lines[l.Content] = append(b.lines[l.Content], l) }
	b.Say = func(s string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.said = append(b.said, s)
	}
	return b
}

func (b *watched) wantLines(t *testing.T, n int, status string) {
	t.Helper()
	if len(b.lines) != n {
		t.Errorf("%d items ended, want %d", len(b.lines), n)
	}
	for c, l := range b.lines {
		if len(l) != 1 || l[0].Status != status {
			t.Errorf("%s ended as %+v", c, l)
		}
	}
}

func many(t *testing.T, n int) {
	t.Helper()
	files(t, "s.png")
	for i := range n {
		paint(t, fmt.Sprintf("in/%02d.png", i), 40, 28+i%3, i)
	}
}

func outs(t *testing.T, pattern string) (names []string) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A picture of a batch has the bits that it has alone, and what is done stays.
func TestRunAndAgain(t *testing.T) {
	many(t, 7)
	dev := device(t)
	in := inputs("out/{content}.png", "in")
	b := ready(t, in, dev)
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantLines(t, 7, Painted)
	s := b.Status()
	if s.Painted != 7 || s.Skipped+s.Failed != 0 || s.Items != 7 || s.FLOPs != s.Of || s.Of <= 0 || s.Devices[0].Painted != 7 {
		t.Errorf("%+v", s)
	}
	for name, l := range b.lines {
		if k, err := picture.ReadKey(l[0].Output); err != nil || Key(k) != l[0].Key {
			t.Errorf("%s: key %s, %v", name, k, err)
		}
		if l[0].Seconds <= 0 || l[0].Losses == nil || l[0].Iterations != 2 || l[0].Device != "dev:0" {
			t.Errorf("%+v", l[0])
		}
	}
	before, err := os.ReadFile("out/03.png")
	if err != nil {
		t.Fatal(err)
	}
	alone := ready(t, inputs("alone.png", "in/03.png"), dev)
	if err := alone.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("alone.png"); err != nil || !bytes.Equal(got, before) {
		t.Errorf("painted alone the picture differs (%v)", err)
	}
	// Again: nothing to do. Then one result is gone, one content is another, one result is
	// of another key.
	b = ready(t, in, dev)
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantLines(t, 7, Skipped)
	if s := b.Status(); s.Of != 0 || s.FLOPs != 0 {
		t.Errorf("%+v", s)
	}
	os.Remove("out/00.png")
	paint(t, "in/01.png", 40, 28, 99)
	if err := os.Rename("out/03.png", "out/02.png"); err != nil {
		t.Fatal(err)
	}
	b = ready(t, in, dev)
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := b.Status(); s.Painted != 4 || s.Skipped != 3 || s.FLOPs != s.Of {
		t.Errorf("%+v", s)
	}
	if got, err := os.ReadFile("out/03.png"); err != nil || !bytes.Equal(got, before) {
		t.Errorf("painted again the picture differs (%v)", err)
	}
	b = ready(t, in, dev)
	b.Overwrite = true
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.wantLines(t, 7, Painted)
}

// A file that is no result of a batch is not replaced unless that is asked for.
func TestForeignFileStays(t *testing.T) {
	many(t, 2)
	paint(t, "out/01.png", 9, 9, 5)
	mine, _ := os.ReadFile("out/01.png")
	dev := device(t)
	b := ready(t, inputs("out/{content}.png", "in"), dev)
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := b.lines["in/01.png"][0]
	if got, _ := os.ReadFile("out/01.png"); !bytes.Equal(mine, got) || l.Status != Failed || !strings.Contains(l.Error, "out/01.png: is there, and is no result of a batch") {
		t.Errorf("%+v", l)
	}
	b = ready(t, inputs("out/{content}.png", "in"), dev)
	b.Overwrite = true
	if err := b.Run(t.Context()); err != nil || b.Status().Painted != 2 {
		t.Errorf("%v, %+v", err, b.Status())
	}
}

// Of two devices one is lost in the middle: every item is done, once. The other has two pictures in
// hand meanwhile, so ten are left for the first, in five runs at least.
func TestOneOfTwoIsLost(t *testing.T) {
	for _, after := range []int64{0, 1, 2, 3, 4} {
		many(t, 12)
		dev := device(t)
		first := &flaky{Device: dev, after: after}
		b := ready(t, inputs("out/{content}.png", "in"), first, &flaky{Device: dev, after: 1 << 40, behind: first})
		if err := b.Run(t.Context()); err != nil {
			t.Fatalf("after %d: %v", after, err)
		}
		b.wantLines(t, 12, Painted)
		if n := len(outs(t, "out/*")); n != 12 {
			t.Errorf("%d files", n)
		}
		s := b.Status()
		if s.Devices[0].Lost == "" || s.Devices[1].Lost != "" || s.Devices[0].Painted+s.Devices[1].Painted != 12 || len(b.said) != 1 || !strings.Contains(b.said[0], "dev:0 is lost: the device fell off the bus") {
			t.Errorf("after %d: %+v, %v", after, s, b.said)
		}
	}
}

// Without any device the batch ends, and the next one goes on.
func TestAllLost(t *testing.T) {
	many(t, 9)
	dev := device(t)
	in := inputs("out/{content}.png", "in")
	b := ready(t, in, &flaky{Device: dev, after: 3}, &flaky{Device: dev, after: 4})
	err := b.Run(t.Context())
	if !errors.Is(err, ErrAllLost) || !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	n := len(outs(t, "out/*.png"))
	if s := b.Status(); s.Painted != n || s.Failed != 0 || n == 0 || n == 9 {
		t.Errorf("%d files, %+v", n, s)
	}
	b = ready(t, in, dev)
	if err := b.Run(t.Context()); err != nil || b.Status().Painted != 9-n || b.Status().Skipped != n {
		t.Errorf("%v, %+v", err, b.Status())
	}
}

// poison is a device that is lost with every picture of one extent.
type poison struct {
	flaky
	h int
}

func (d *poison) Compile(p *gpu.Program) (gpu.Runner, error) {
	for _, b := range p.Buffers {
		if b.Shape.H == d.h {
			d.runs.Store(1 << 50)
		}
	}
	return d.flaky.Compile(p)
}

// A picture that takes devices along waits for the end, and takes no third one.
func TestGuiltyPicture(t *testing.T) {
	files(t, "s.png")
	paint(t, "in/00.png", 40, 40, 1)
	for i := 1; i < 8; i++ {
		paint(t, fmt.Sprintf("in/%02d.png", i), 40, 20, i)
	}
	dev := device(t)
	devices := make([]gpu.Device, 3)
	for i := range devices {
		devices[i] = &poison{flaky{Device: dev, after: 1 << 40}, 32}
	}
	b := ready(t, inputs("out/{content}.png", "in"), devices...)
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := b.Status()
	if s.Painted != 7 || s.Failed != 1 || !strings.Contains(b.lines["in/00.png"][0].Error, "2 devices were lost") || !b.lines["in/00.png"][0].Fleeting {
		t.Errorf("%+v %+v", s, b.lines["in/00.png"])
	}
}

// An interrupted batch keeps what is complete.
func TestCancel(t *testing.T) {
	many(t, 12)
	dev := device(t)
	in := inputs("out/{content}.png", "in")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := ready(t, in, dev)
	each := b.Each
	b.Each = func(l Line) {
		each(l)
		if len(b.lines) == 4 {
			cancel()
		}
	}
	if err := b.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	n := len(outs(t, "out/*"))
	if n < 4 || n > 9 || b.Status().Painted != n || b.Status().Failed != 0 {
		t.Errorf("%d files, %+v", n, b.Status())
	}
	b = ready(t, in, dev)
	if err := b.Run(t.Context()); err != nil || b.Status().Skipped != n || b.Status().Painted != 12-n {
		t.Errorf("%v, %+v", err, b.Status())
	}
}

// One bad file in the middle is one failure; with FailFast it is the end.
func TestBadFile(t *testing.T) {
	many(t, 6)
	b, err := os.ReadFile("in/03.png")
	if err != nil {
		t.Fatal(err)
	}
	write(t, "in/03.png", string(b[:len(b)/2])) // its head is whole
	dev := device(t)
	in := inputs("out/{content}.png", "in")
	r, err := OpenReport("r.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	w := ready(t, in, dev)
	w.Report = r
	if err := w.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := w.lines["in/03.png"][0]
	if s := w.Status(); s.Painted != 5 || s.Failed != 1 || l.Key == "" || l.Fleeting || !strings.Contains(l.Error, "in/03.png: the PNG picture is damaged") || s.FLOPs != s.Of {
		t.Errorf("%+v, %+v", s, l)
	}
	r.Close()
	// It is its own fault: only on request it is tried again, or when the file is another.
	again := func(f func(b *Batch)) Status {
		t.Helper()
		r, err := OpenReport("r.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		w := ready(t, in, dev)
		w.Report = r
		f(w.Batch)
		if err := w.Run(t.Context()); err != nil && !errors.Is(err, ErrFailFast) {
			t.Fatal(err)
		}
		return w.Status()
	}
	tried := 0
	look := func(b *Batch) {
		each := b.Each
		b.Each = func(l Line) {
			if l.Status == Failed && !l.Before {
				tried++
			}
			each(l)
		}
	}
	if s := again(look); s.Failed != 1 || s.Skipped != 5 || tried != 0 {
		t.Errorf("again: %+v, tried %d", s, tried)
	}
	if s := again(func(b *Batch) { look(b); b.RetryFailed = true }); s.Failed != 1 || tried != 1 {
		t.Errorf("on request: %+v, tried %d", s, tried)
	}
	paint(t, "in/03.png", 40, 28, 77)
	if s := again(look); s.Painted != 1 || s.Skipped != 5 {
		t.Errorf("another file: %+v", s)
	}
	write(t, "in/03.png", string(b[:len(b)/3]))
	os.RemoveAll("out")
	if s := again(func(b *Batch) { b.FailFast = true }); s.Failed != 1 || s.Painted > 5 {
		t.Errorf("fail fast: %+v", s)
	}
}

// A picture for which there is no memory now is refused before it is decoded, costs
// nobody else, and is tried again without being asked.
func TestNoMemoryToDecode(t *testing.T) {
	many(t, 3)
	paint(t, "in/large.png", 600, 500, 9)
	free := int64(1 << 20)
	run := func() (Status, Line) {
		t.Helper()
		r, err := OpenReport("r.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		w := ready(t, inputs("out/{content}.png", "in"), device(t))
		w.Report, w.Limits = r, func() picture.Limits { return picture.Limits{Bytes: free} }
		if err := w.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		return w.Status(), w.lines["in/large.png"][0]
	}
	if s, l := run(); s.Painted != 3 || s.Failed != 1 || !l.Fleeting || !strings.Contains(l.Error, "in/large.png: decoding its 600x500 pixels takes up to") {
		t.Errorf("%+v, %+v", s, l)
	}
	free = 1 << 40
	if s, l := run(); s.Painted != 1 || s.Skipped != 3 || l.Status != Painted {
		t.Errorf("with memory: %+v, %+v", s, l)
	}
}

// A full disk costs the picture; the next run paints it without being asked.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	many(t, 8)
	if err := os.Mkdir("out", 0o777); err != nil {
		t.Fatal(err)
	}
	full := func(names ...string) {
		for _, n := range names {
			if err := os.Symlink("/dev/full", "out/"+n+".png"); err != nil {
				t.Fatal(err)
			}
		}
	}
	full("02", "05")
	dev := device(t)
	in := inputs("out/{content}.png", "in")
	run := func() (*watched, error) {
		r, err := OpenReport("r.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		b := ready(t, in, dev)
		b.Report = r
		return b, b.Run(t.Context())
	}
	b, err := run()
	if l := b.lines["in/02.png"]; err != nil || b.Status().Painted != 6 || b.Status().Failed != 2 || !strings.Contains(l[0].Error, "out/02.png: the disk is full; free some space") || !l[0].Fleeting {
		t.Errorf("%v, %+v, %+v", err, b.Status(), l)
	}
	os.Remove("out/02.png")
	os.Remove("out/05.png")
	if b, err := run(); err != nil || b.Status().Painted != 2 || b.Status().Skipped != 6 {
		t.Errorf("%v, %+v", err, b.Status())
	}
	// Nowhere is any room: it does not paint on and on.
	os.RemoveAll("out")
	if err := os.Mkdir("out", 0o777); err != nil {
		t.Fatal(err)
	}
	full("00", "01", "02", "03", "04", "05", "06", "07")
	b, err = run()
	if s := b.Status(); !errors.Is(err, ErrFull) || s.Painted != 0 || s.Failed < maxFull || s.Failed == 8 {
		t.Errorf("%v, %+v", err, s)
	}
	// A report without room does not stop the pictures.
	os.RemoveAll("out")
	r, err := OpenReport("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	b = ready(t, in, dev)
	b.Report = r
	if err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the report has gaps: /dev/full: the disk is full") || b.Status().Painted != 8 || len(b.said) != 1 {
		t.Errorf("%v, %+v, %v", err, b.Status(), b.said)
	}
}

// Items of one key have one result.
func TestSameKeyTwice(t *testing.T) {
	many(t, 2)
	b, _ := os.ReadFile("in/00.png")
	write(t, "in/copy.png", string(b))
	w := ready(t, inputs("out/{key}.png", "in"), device(t))
	if err := w.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.Status()
	if s.Painted != 2 || s.Skipped != 1 || len(outs(t, "out/*")) != 2 || s.FLOPs != s.Of {
		t.Errorf("%+v, %v", s, outs(t, "out/*"))
	}
	for _, l := range w.lines {
		if l[0].Output != filepath.Join("out", l[0].Key.Short()+".png") {
			t.Errorf("%+v", l[0])
		}
	}
}

// What a killed run left half-written goes, and nothing else.
func TestSweepsOwn(t *testing.T) {
	many(t, 2)
	if err := os.Mkdir("out", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"out/.stylize-0123456789abcdef.tmp", "out/.stylize-notes.tmp", "out/other.tmp"} {
		write(t, f, "half")
	}
	if err := ready(t, inputs("out/{content}.png", "in"), device(t)).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(outs(t, "out/*"), " "); got != "out/.stylize-notes.tmp out/00.png out/01.png out/other.tmp" { // Go's * takes hidden files too
		t.Error(got)
	}
}

// Snapped pictures share an extent, and say in their record what they were painted at.
func TestSnapRuns(t *testing.T) {
	files(t, "s.png")
	for i, h := range []int{600, 603, 610, 622} {
		paint(t, fmt.Sprintf("in/%d.png", i), 1000, h, i)
	}
	in := inputs("out/{content}.png", "in")
	in.Options.Size = 128
	l, err := check(t, in, Checks{Snap: 16})
	if err != nil {
		t.Fatal(err)
	}
	groups := map[transfer.Kind]bool{}
	for _, it := range l.Items {
		groups[it.group] = true
	}
	b := ready(t, in, device(t))
	b.List, b.Snap = l, 16
	if err := b.Run(t.Context()); err != nil || len(groups) != 1 {
		t.Fatalf("%v, %v", err, groups)
	}
	for i, name := range outs(t, "out/*") {
		text, err := picture.ReadText(name)
		if crop := strings.Contains(text, `"crop":{"left":`); err != nil || crop != (i < 3) { // 622 lines are 80 at 128 anyway
			t.Errorf("%s: %v, %s", name, err, text)
		}
		if w, h, err := picture.Extent(name); err != nil || w != 128 || h != 80 {
			t.Errorf("%s: %dx%d, %v", name, w, h, err)
		}
	}
}

func TestDryPlans(t *testing.T) {
	many(t, 3)
	dev := device(t)
	if err := ready(t, inputs("out/{content}.png", "in/00.png", "in/01.png"), dev).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	paint(t, "in/01.png", 40, 28, 55)
	b := ready(t, inputs("out/{content}.png", "in", "none.png"), dev)
	var got []string
	b.Plans(func(p Plan) bool {
		got = append(got, fmt.Sprintf("%s %s %v", p.Item.Content, p.Verdict, p.Err != nil))
		if p.Err == nil && (p.W != 32 || p.FLOPs <= 0 || len(p.Key) != 64) {
			t.Errorf("%+v", p)
		}
		return true
	})
	if s := strings.Join(got, ", "); s != "none.png paint true, in/00.png done false, in/01.png repaint false, in/02.png paint false" {
		t.Error(s)
	}
}

func TestReport(t *testing.T) {
	t.Chdir(t.TempDir())
	r, err := OpenReport("r.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 27, 1, 2, 3, 0, time.UTC)
	for _, l := range []Line{
		{Time: at, Status: Failed, Key: "a", Error: "diverged"},
		{Time: at, Status: Failed, Key: "b", Error: "full", Fleeting: true},
		{Time: at, Status: Failed, Key: "c", Error: "once"},
		{Time: at, Status: Painted, Key: "c", Losses: &Losses{Total: 1}},
	} {
		if err := r.Add(l); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	// Torn, as a kill leaves it, and once more in the middle.
	for _, torn := range []string{`{"time":"2026-11-27T01:02:03Z","status":"fail`, `{"ti`, `{`} {
		f, err := os.OpenFile("r.jsonl", os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(torn)
		f.Close()
		r, err := OpenReport("r.jsonl")
		if err != nil {
			t.Fatalf("%s: %v", torn, err)
		}
		if err := r.Add(Line{Time: at, Status: Skipped, Key: Key("s" + torn)}); err != nil {
			t.Fatal(err)
		}
		for k, want := range map[Key]string{"a": "diverged", "b": "", "c": "", "d": ""} {
			if why, failed := r.FailedBefore(k); why != want || failed != (want != "") {
				t.Errorf("%s: %q %v", k, why, failed)
			}
		}
		r.Close()
	}
	n := 0
	f, err := os.Open("r.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if torn, err := readLines(f, func(Line) { n++ }); err != nil || torn || n != 7 {
		t.Errorf("%d lines, torn %v, %v", n, torn, err)
	}
	// What is no report is not written to.
	for _, text := range []string{"notes\n", "{}\n", `{"time":3,"a":1}` + "\n", "[]"} {
		write(t, "notes.txt", text)
		if _, err := OpenReport("notes.txt"); err == nil || !strings.Contains(err.Error(), "notes.txt: line 1 is none of a report") {
			t.Errorf("%q: %v", text, err)
		}
		if b, _ := os.ReadFile("notes.txt"); string(b) != text {
			t.Errorf("%q was changed", text)
		}
	}
	if _, err := OpenReport("."); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Error(err)
	}
	if _, err := OpenReport("notes.txt/r.jsonl"); err == nil {
		t.Error("a report in a file")
	}
	var none *Report
	if err := none.Add(Line{}); err != nil || none.Close() != nil {
		t.Error("no report is no mistake")
	}
}

func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"time":"2026-11-27T01:02:03Z","status":"failed","key":"a"}` + "\n" + `{"time":"20`))
	f.Add([]byte("\n\n{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = readLines(bytes.NewReader(b), func(l Line) {
			if l.Status == "" {
				t.Error("a line without a status")
			}
		})
	})
}
