package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/stylize-gpu/stylize/transfer/batch"
)

// batchProgress shows how a batch goes: a line that repaints itself on a terminal, a line
// now and then elsewhere. The bar counts arithmetic, as the pictures may be of any size.
type batchProgress struct {
	*progress
	mu       sync.Mutex
	failures []batch.Line // the first of them
	failed   int
	points   []ratePoint
}

// ratePoint is how much was done when.
type ratePoint struct {
	at    time.Time
	flops float64
	each  []float64 // of each device
}

const (
	// rateWindow is how much of the past a rate is of.
	rateWindow = 30 * time.Second
	// lineEvery is the time between two lines where there is no terminal.
	lineEvery = 10 * time.Second
)

func newBatchProgress(w io.Writer, quiet bool) *batchProgress {
	return &batchProgress{progress: newProgress(w, quiet)}
}

// note prints a line of its own.
func (p *batchProgress) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.progress.note(text)
}

func (p *batchProgress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.progress.finish()
}

// checking says how many files have been looked at.
func (p *batchProgress) checking(done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case p.quiet || total == 0:
	case p.width != nil && now.Sub(p.shown) > 100*time.Millisecond:
		p.draw([]string{fmt.Sprintf("checked %d of %d files", done, total)})
		p.shown = now
	case p.width == nil && now.Sub(p.shown) > lineEvery && now.Sub(p.start) > lineEvery:
		fmt.Fprintf(p.w, "checked %d of %d files\n", done, total)
		p.shown = now
	}
}

// each hears of every item.
func (p *batchProgress) each(l batch.Line) {
	if l.Status != batch.Failed {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed++
	if len(p.failures) < listed {
		p.failures = append(p.failures, l)
	}
	if !p.quiet && p.failed <= listed && l.Key != "" { // what the check found was said
		p.progress.note("stylize: failed: " + failure(l))
	}
}

// watch shows where a batch is until stop is called.
func (p *batchProgress) watch(b *batch.Batch) (stop func()) {
	if p.quiet {
		return func() {}
	}
	every := lineEvery
	if p.width != nil {
		every = 100 * time.Millisecond
	}
	end, ended := make(chan struct{}), make(chan struct{})
	p.shown = time.Time{}
	go func() {
		defer close(ended)
		t := time.NewTicker(100 * time.Millisecond)
		defer t.Stop()
		for {
			if s := b.Status(); s.Items > 0 { // it has begun
				p.show(s, time.Now(), every)
			}
			select {
			case <-end:
				return
			case <-t.C:
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		if p.shown.IsZero() { // it was over before anybody looked
			p.show(b.Status(), time.Now(), 0)
		}
		p.finish()
	}
}

// show draws a status, unless the last one is younger than every.
func (p *batchProgress) show(s batch.Status, now time.Time, every time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	point := ratePoint{at: now, flops: s.FLOPs}
	for _, d := range s.Devices {
		point.each = append(point.each, d.FLOPs)
	}
	p.points = append(p.points, point)
	for len(p.points) > 2 && now.Sub(p.points[1].at) > rateWindow {
		p.points = p.points[1:]
	}
	if now.Sub(p.shown) < every {
		return
	}
	p.shown = now
	parts := p.parts(s)
	if p.width != nil {
		p.draw(append([]string{bar(share(s))}, parts...))
		return
	}
	fmt.Fprintln(p.w, strings.Join(parts, "  "))
}

func share(s batch.Status) float64 {
	if s.Of <= 0 {
		if s.Painted+s.Skipped+s.Failed == s.Items {
			return 1
		}
		return 0
	}
	return min(s.FLOPs/s.Of, 1)
}

// parts says it in words, what matters most first.
func (p *batchProgress) parts(s batch.Status) []string {
	done := fmt.Sprintf("%d/%d done", s.Painted+s.Skipped, s.Items)
	if s.Failed > 0 {
		done += fmt.Sprintf(", %d failed", s.Failed)
	}
	parts := []string{fmt.Sprintf("%3.0f%%", 100*share(s)), done}
	from, to := p.points[0], p.points[len(p.points)-1]
	over := to.at.Sub(from.at).Seconds()
	if rate := (to.flops - from.flops) / over; over > 0 && rate > 0 {
		parts = append(parts, duration(max(s.Of-s.FLOPs, 0)/rate)+" left")
	}
	for i, d := range s.Devices {
		switch {
		case d.Lost != "":
			parts = append(parts, d.Name+" lost")
		case over > 0:
			parts = append(parts, d.Name+" "+flopRate(max(to.each[i]-from.each[i], 0)/over))
		}
	}
	return parts
}

// bar is a share of a line.
func bar(share float64) string {
	const width = 20
	n := int(share * width)
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + "]"
}
