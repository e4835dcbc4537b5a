package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/stylize-gpu/stylize/transfer"
)

// progress shows how a run goes: a bar on a terminal, a line now and then
// elsewhere, nothing when quiet. Both count arithmetic, not iterations, which cost
// little on a small level of a ladder and much on a large one.
type progress struct {
	w     io.Writer
	bar   *progressbar.ProgressBar
	quiet bool
	start time.Time
	shown time.Time
	next  float64 // share of the work at which the next line is due

	count int // evaluations seen
}

// parts is what a bar counts to.
const parts = 10000

func newProgress(w io.Writer, quiet bool) *progress {
	p := &progress{w: w, quiet: quiet, start: time.Now()}
	if f, ok := w.(*os.File); ok && !quiet && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions(parts,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetPredictTime(false), // row knows better
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(20),
			progressbar.OptionFullWidth(),
			progressbar.OptionUseANSICodes(true),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
	}
	return p
}

// row is called once an evaluation. On a terminal the bar repaints itself at
// most ten times a second; elsewhere a line appears at the first evaluation,
// then after each twentieth of the work or ten seconds, whichever is later.
func (p *progress) row(r transfer.Point) {
	p.count++
	if p.quiet {
		return
	}
	now := time.Now()
	of := ""
	if r.Of > 0 {
		of = fmt.Sprintf("/%d", r.Of)
	}
	losses := fmt.Sprintf("content %.4g style %.4g tv %.4g", r.Content, r.Style, r.TV)
	switch {
	case p.bar != nil:
		if now.Sub(p.shown) > 100*time.Millisecond {
			p.bar.Describe(fmt.Sprintf("%d%s at %dx%d  %s  %s left", r.Evaluation, of, r.W, r.H, losses, duration(r.Left)))
			p.shown = now
		}
		_ = p.bar.Set(int(r.Share * parts))
	case p.count == 1 || r.Evaluation == r.Of || r.Share >= p.next && now.Sub(p.shown) >= 10*time.Second:
		fmt.Fprintf(p.w, "iteration %d%s at %dx%d  %s  %.2f it/s  %s left\n", r.Evaluation, of, r.W, r.H, losses, float64(p.count)/now.Sub(p.start).Seconds(), duration(r.Left))
		p.shown, p.next = now, r.Share+0.05
	}
}

// note prints a line of its own.
func (p *progress) note(text string) {
	if p.quiet {
		return
	}
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintln(p.w, text)
}

// finish leaves the terminal on a fresh line.
func (p *progress) finish() {
	if p.bar != nil && !p.bar.IsFinished() {
		_ = p.bar.Exit()
		fmt.Fprintln(p.w)
	}
}

// duration is seconds for a person.
func duration(s float64) string {
	switch d := time.Duration(s * float64(time.Second)); {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return d.Round(time.Second).String()
	default:
		return d.Round(time.Minute).String()
	}
}
