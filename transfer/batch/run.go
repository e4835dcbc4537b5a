package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// Device is one that paints, and what a user calls it.
type Device struct {
	gpu.Device
	Name   string // "cpu", "cuda:0"
	Slots  int    // pictures of one extent side by side; 0 chooses
	Lane   *Lanes // of which it is one; nil for a device that is whole
	Memory int64  // bytes that programs may take, without weights; 0 is half of what is free
}

// slots is how many pictures of an extent are painted side by side. A GPU is full from
// about a megapixel on: on an H200 an iteration of 256x256 takes 0.36 ms, and one of
// 1024x1024, sixteen times the work, 2.8. A CPU has lanes, and in them few.
func (d Device) slots(w, h int) int {
	switch {
	case d.Slots > 0:
		return d.Slots
	case d.Lane != nil:
		return d.Lane.slots(w, h)
	case d.Info().Kind == "cpu":
		return 1
	}
	return min(max(1<<20/(w*h), 1), 32)
}

// Batch works a checked list off.
type Batch struct {
	List     *List
	Devices  []Device
	Weights  *vgg.Weights
	Numerics Numerics
	Output   Output
	Snap     int // crop contents to multiples of so many pixels; 0 and 1 do not

	Limits  func() picture.Limits // of a picture that is decoded now; nil is none
	Version string                // of the program, for records
	Report  *Report               // nil without

	Overwrite   bool // paint what is done, too, and in the place of foreign files
	RetryFailed bool // paint what failed by its own fault
	FailFast    bool // stop at the first failure

	Each func(Line)   // every item, when it is done with; from one goroutine at a time
	Say  func(string) // what a user would like to hear of: a lost device

	Explain func(error) error // says an error in the words of a user; may be nil

	sources sources

	mu       sync.Mutex
	line     sync.Mutex // of Each and Report
	status   Status
	current  map[*Task]inHand
	claims   map[string]*claim // by output
	lost     int               // devices
	full     int               // results in a row that a full disk did not take
	reportIn error
	abort    error // why the batch ends before its items do
	cancel   context.CancelFunc
}

// Status is where a batch is.
type Status struct {
	Items, Painted, Skipped, Failed int
	FLOPs, Of                       float64 // done, and of how many as far as is known
	Devices                         []DeviceStatus
}

// DeviceStatus is where a device is.
type DeviceStatus struct {
	Name    string  `json:"name"`
	Painted int     `json:"painted"`
	FLOPs   float64 `json:"flops"`
	Seconds float64 `json:"seconds"`      // from its first run to its last
	Idle    float64 `json:"idle_seconds"` // of them, without anything running
	Lost    string  `json:"lost,omitempty"`
}

// IdleShare is the part of its time, 0 to 1, in which a device did nothing.
func (d DeviceStatus) IdleShare() float64 {
	if d.Seconds == 0 {
		return 0
	}
	return d.Idle / d.Seconds
}

// inHand is how far a task is.
type inHand struct {
	device int
	flops  float64
}

// claim is the one task of a name. Others of the same key end as it does.
type claim struct {
	ended bool
	line  Line
	also  []*Item
}

// Errors that Run ends with.
var (
	ErrAllLost  = errors.New("every device is lost")
	ErrFailFast = errors.New("stopped at the first failure")
	ErrFull     = errors.New("the disk is full")
)

// ahead is how many decoded tasks wait for a device: as many as it may take in hand, and
// two more.
func (d Device) ahead() int {
	if d.Lane != nil {
		return 2 + d.Lane.hand
	}
	return 2 + d.slots(256, 256)
}

// memory is what programs may take.
func (d Device) memory() int64 {
	info := d.Info()
	if d.Memory > 0 {
		return d.Memory
	}
	return cmp.Or(info.Free, info.Memory) / 2
}

// maxFull is after how many results in a row that a full disk did not take a batch ends:
// each costs a painting.
const maxFull = 3

// Run paints what is not done yet. When ctx is done it returns ctx.Err(), with the results
// that are complete kept. Pictures that fail are no error: Status counts them, and Each is
// told why.
func (b *Batch) Run(ctx context.Context) error {
	ctx, b.cancel = context.WithCancel(ctx)
	defer b.cancel()
	b.prepare()
	b.sweep()
	for _, p := range b.List.Problems {
		b.problem(p)
	}
	room := 0
	for _, d := range b.Devices {
		room += d.ahead()
	}
	q := newQueue(room)
	defer context.AfterFunc(ctx, q.stop)()

	toSave := make(chan saving, len(b.Devices))
	var savers, painters, loaders sync.WaitGroup
	for range len(b.Devices) + 1 {
		savers.Go(func() {
			for s := range toSave {
				b.end(s.t.Item, s.t.output, b.save(s))
			}
		})
	}
	items := make(chan *Item)
	for range len(b.Devices) + 1 {
		loaders.Go(func() {
			for it := range items {
				b.prepareTask(ctx, it, q)
			}
		})
	}
	for i := range b.Devices {
		painters.Go(func() { b.drive(ctx, i, q, toSave) })
	}
	for _, it := range b.List.Items {
		select {
		case items <- it:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(items)
	loaders.Wait()
	q.loaded()
	painters.Wait()
	close(toSave)
	savers.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.abort != nil:
		return b.abort
	case ctx.Err() != nil && b.status.Painted+b.status.Skipped+b.status.Failed < b.status.Items:
		return ctx.Err()
	}
	return b.reportIn
}

// prepare sets up what Run counts in.
func (b *Batch) prepare() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = Status{Items: len(b.List.Items) + len(b.List.Problems), Of: b.List.FLOPs()}
	b.current, b.claims = map[*Task]inHand{}, map[string]*claim{}
	for _, it := range b.List.Items {
		it.counted = !it.present
	}
	for _, d := range b.Devices {
		b.status.Devices = append(b.status.Devices, DeviceStatus{Name: d.Name})
	}
}

// sweep removes what killed runs left half-written in the folders of the results.
func (b *Batch) sweep() {
	var written []string
	for _, it := range b.List.Items {
		written = append(written, it.Output)
	}
	atomicfile.SweepBeside(written)
}

// stop ends the batch early.
func (b *Batch) stop(why error) {
	b.mu.Lock()
	if b.abort == nil {
		b.abort = why
	}
	b.mu.Unlock()
	b.cancel()
}

func (b *Batch) explain(err error) string {
	if b.Explain != nil {
		err = b.Explain(err)
	}
	return err.Error()
}

func (b *Batch) say(format string, args ...any) {
	if b.Say != nil {
		b.Say(fmt.Sprintf(format, args...))
	}
}

// prepareTask takes an item to where it can be painted, or to its end.
func (b *Batch) prepareTask(ctx context.Context, it *Item, q *queue) {
	if ctx.Err() != nil {
		return
	}
	l := b.look(it)
	line := it.line(l)
	switch {
	case l.err != nil:
		line.Status, line.Error, line.Fleeting = Failed, b.explain(l.err), l.missing
	case l.verdict == IsDone:
		line.Status = Skipped
	case l.verdict == FailedBefore:
		line.Status, line.Error, line.Before = Failed, l.what, true
	}
	if line.Status != "" {
		b.end(it, "", line)
		return
	}
	if !b.claim(it, l.output) {
		return
	}
	b.mu.Lock()
	if !it.counted {
		it.counted = true
		b.status.Of += it.flops
	}
	b.mu.Unlock()
	t, err := b.load(it, l)
	if err != nil {
		line.Status, line.Error = Failed, b.explain(err)
		line.Fleeting = errors.As(err, new(*picture.MemoryError)) // there may be more next time
		b.end(it, l.output, line)
		return
	}
	q.put(t)
}

// claim reports whether an item is the first of its result's name.
func (b *Batch) claim(it *Item, output string) bool {
	b.mu.Lock()
	c := b.claims[output]
	if c == nil {
		b.claims[output] = &claim{}
		b.mu.Unlock()
		return true
	}
	if !c.ended {
		c.also = append(c.also, it)
		b.mu.Unlock()
		return false
	}
	b.mu.Unlock()
	b.end(it, "", it.likewise(c.line))
	return false
}

// likewise is the line of an item that has the same result as another.
func (it *Item) likewise(l Line) Line {
	l.Content, l.Style, l.Row = it.Content, it.StyleNames(), it.Line
	if l.Status == Painted {
		l.Status = Skipped
		l.Device, l.Seconds, l.IdleSeconds, l.Losses, l.Iterations = "", 0, 0, nil, 0
	}
	return l
}

// line begins that of an item.
func (it *Item) line(l look) Line {
	return Line{Key: l.key, Content: it.Content, Style: it.StyleNames(), Output: l.output, Row: it.Line}
}

// problem ends what the check found.
func (b *Batch) problem(p Problem) {
	l := Line{Status: Failed, Content: p.What, Error: b.explain(p.Err), Fleeting: true}
	if p.Item != nil {
		l.Style, l.Output, l.Row = p.Item.StyleNames(), p.Item.Output, p.Item.Line
	}
	b.end(nil, "", l)
}

// drive has one device paint until nothing is left, or until it is lost.
func (b *Batch) drive(ctx context.Context, i int, q *queue, toSave chan<- saving) {
	m := meter(b.Devices[i].Device)
	timed := func() { // with b.mu
		b.status.Devices[i].Seconds, b.status.Devices[i].Idle = m.clock.times()
	}
	feed := &Feed{q: q, hand: map[*Task]bool{}}
	feed.done = func(t *Task, r Result) {
		b.mu.Lock()
		timed()
		b.mu.Unlock()
		toSave <- saving{t, r, i}
	}
	progress := func(t *Task, share float64) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.current[t] = inHand{i, t.FLOPs * max(min(share, 1), 0)}
		timed()
	}
	p := &painter{device: b.Devices[i], clock: m.clock, feed: feed}
	err := p.paint(ctx, b, m, progress)
	if err == nil || ctx.Err() != nil {
		return
	}
	hand := len(feed.hand)
	b.mu.Lock()
	for t := range feed.hand {
		delete(b.current, t)
	}
	b.status.Devices[i].Lost = err.Error()
	b.lost++
	all := b.lost == len(b.Devices)
	b.mu.Unlock()
	if all {
		b.stop(fmt.Errorf("%w, %s with: %w", ErrAllLost, b.Devices[i].Name, err))
		return
	}
	b.say("%s is lost: %v; the others go on, with what it had in hand (%d)", b.Devices[i].Name, err, hand)
	for _, t := range feed.giveBack() {
		l := t.line()
		l.Status, l.Fleeting = Failed, true
		l.Error = fmt.Sprintf("%d devices were lost while they painted it, the last with: %v", maxLosses, err)
		b.end(t.Item, t.output, l)
	}
}

// line begins that of a task.
func (t *Task) line() Line { return t.Item.line(look{key: t.Key, output: t.output}) }

// saving is a result on its way to the disk.
type saving struct {
	t      *Task
	r      Result
	device int
}

// save writes a result and gives its line.
func (b *Batch) save(s saving) Line {
	t, r := s.t, s.r
	l := t.line()
	l.Status, l.Device = Painted, b.Devices[s.device].Name
	l.Seconds, l.IdleSeconds = rounded(r.Seconds), rounded(r.Idle)
	b.mu.Lock()
	delete(b.current, t)
	b.mu.Unlock()
	err, fleeting := r.Err, r.Fleeting
	if err == nil {
		res := r.Record.Result
		l.Iterations, l.Losses = res.Iterations, &Losses{res.Content, res.Style, res.TV, res.Total}
		err = b.write(t, r)
		fleeting = err != nil
		b.fullDisk(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	d := &b.status.Devices[s.device]
	if err != nil {
		l.Status, l.Error, l.Fleeting, l.Losses = Failed, b.explain(err), fleeting, nil
		return l
	}
	b.status.FLOPs += t.FLOPs
	d.FLOPs += t.FLOPs
	d.Painted++
	return l
}

func rounded(seconds float64) float64 { return math.Round(seconds*1e4) / 1e4 }

// write brings a picture to its output extent and writes it, whole or not at all.
func (b *Batch) write(t *Task, r Result) error {
	pic, err := t.Work.Options.Finish(r.Picture, t.Work.Content)
	if err != nil {
		return err
	}
	rec := r.Record
	rec.Version, rec.Content.Crop = b.Version, t.crop
	rec.Result.Width, rec.Result.Height = pic.W, pic.H
	o := t.save
	if o.Metadata, err = rec.Text(); err != nil {
		return err
	}
	err = pic.Save(t.output, o)
	if errors.Is(err, fs.ErrNotExist) { // its folder has the key in it; or another process swept ours away
		if err = os.MkdirAll(filepath.Dir(t.output), 0o777); err == nil {
			err = pic.Save(t.output, o)
		}
	}
	return err
}

// fullDisk ends a batch whose results have no place any more.
func (b *Batch) fullDisk(err error) {
	b.mu.Lock()
	if atomicfile.Full(err) {
		b.full++
	} else if err == nil {
		b.full = 0
	}
	full := b.full
	b.mu.Unlock()
	if full >= maxFull {
		b.stop(fmt.Errorf("%w: it did not take %d results in a row; free some space, the same command goes on", ErrFull, full))
	}
}

// end is the end of an item: its line is reported, and those that wait for the same
// result end, too.
func (b *Batch) end(it *Item, output string, l Line) {
	b.mu.Lock()
	switch l.Status {
	case Painted:
		b.status.Painted++
	case Skipped:
		b.status.Skipped++
	case Failed:
		b.status.Failed++
	}
	if it != nil && it.counted && l.Status != Painted { // it is no work after all
		it.counted = false
		b.status.Of -= it.flops
	}
	var also []*Item
	if c := b.claims[output]; c != nil {
		c.ended, c.line = true, l
		also, c.also = c.also, nil
	}
	b.mu.Unlock()

	l.Time = time.Now().UTC().Truncate(time.Millisecond)
	b.line.Lock()
	if err := b.Report.Add(l); err != nil {
		b.mu.Lock()
		first := b.reportIn == nil
		if first {
			b.reportIn = fmt.Errorf("the report has gaps: %w", err)
		}
		b.mu.Unlock()
		if first {
			b.say("%v; the pictures go on", b.reportIn)
		}
	}
	if b.Each != nil {
		b.Each(l)
	}
	b.line.Unlock()
	for _, other := range also {
		b.end(other, "", other.likewise(l))
	}
	if l.Status == Failed && b.FailFast {
		b.stop(fmt.Errorf("%w: %s", ErrFailFast, l.Error))
	}
}

// Status says where the batch is. It may be called at any time.
func (b *Batch) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.status
	s.Devices = append([]DeviceStatus(nil), s.Devices...)
	for _, h := range b.current {
		s.FLOPs += h.flops
		s.Devices[h.device].FLOPs += h.flops
	}
	s.Devices = together(s.Devices)
	return s
}

// together makes lanes, which are devices of one name, one device: it has been at work as
// long as the one that was the longest, and idle for the share that they were.
func together(devices []DeviceStatus) (all []DeviceStatus) {
	spent := map[string]float64{}
	for _, d := range devices {
		i := slices.IndexFunc(all, func(o DeviceStatus) bool { return o.Name == d.Name })
		spent[d.Name] += d.Seconds
		if i < 0 {
			all = append(all, d)
			continue
		}
		o := &all[i]
		o.Painted, o.FLOPs, o.Idle = o.Painted+d.Painted, o.FLOPs+d.FLOPs, o.Idle+d.Idle
		o.Seconds, o.Lost = max(o.Seconds, d.Seconds), cmp.Or(o.Lost, d.Lost)
	}
	for i, d := range all {
		if spent[d.Name] > 0 {
			all[i].Idle *= d.Seconds / spent[d.Name]
		}
	}
	return all
}
