package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/stylize-gpu/stylize/transfer"
)

// progress shows how a run goes: a line that repaints itself on a terminal, a line
// now and then elsewhere, nothing when quiet. Both count arithmetic, not iterations,
// which cost little on a small level of a ladder and much on a large one.
type progress struct {
	w     io.Writer
	width func() int // of the terminal, in columns; nil where there is none
	quiet bool
	start time.Time
	shown time.Time
	drawn bool    // the line of the terminal is not ended
	next  float64 // share of the work at which the next line is due

	count int // evaluations seen
}

func newProgress(w io.Writer, quiet bool) *progress {
	p := &progress{w: w, quiet: quiet, start: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.width = func() int {
			if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
				return w
			}
			return 80
		}
	}
	return p
}

// row is called once an evaluation. On a terminal the line repaints itself at
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
	left := []string{}
	if r.Left >= 0 {
		left = append(left, duration(r.Left)+" left")
	}
	losses := []string{fmt.Sprintf("content %.4g", r.Content), fmt.Sprintf("style %.4g", r.Style), fmt.Sprintf("tv %.4g", r.TV)}
	last := r.Evaluation == r.Of
	switch {
	case p.width != nil:
		if now.Sub(p.shown) < 100*time.Millisecond && !last {
			return
		}
		p.shown = now
		p.draw(slices.Concat([]string{fmt.Sprintf("%3.0f%%", 100*r.Share)}, left,
			[]string{fmt.Sprintf("%d%s", r.Evaluation, of), fmt.Sprintf("at %dx%d", r.W, r.H), losses[1], losses[0], losses[2]}))
	case p.count == 1 || last || r.Share >= p.next && now.Sub(p.shown) >= 10*time.Second:
		what := slices.Concat([]string{
			fmt.Sprintf("iteration %d%s at %dx%d", r.Evaluation, of, r.W, r.H), strings.Join(losses, " "),
			fmt.Sprintf("%.2f it/s", float64(p.count)/now.Sub(p.start).Seconds()),
		}, left)
		fmt.Fprintln(p.w, strings.Join(what, "  "))
		p.shown, p.next = now, r.Share+0.05
	}
}

// draw repaints the line of the terminal. One column short of it, it wraps nowhere.
func (p *progress) draw(parts []string) {
	fmt.Fprintf(p.w, "\r\x1b[K%s", fit(p.width()-1, parts))
	p.drawn = true
}

// fit joins as many of the parts as a line has room for, the first in any case.
func fit(width int, parts []string) string {
	line := parts[0]
	for _, s := range parts[1:] {
		if len(line)+2+len(s) > width {
			break
		}
		line += "  " + s
	}
	return line[:max(min(len(line), width), 0)]
}

// note prints a line of its own.
func (p *progress) note(text string) {
	if p.quiet {
		return
	}
	p.finish()
	fmt.Fprintln(p.w, text)
}

// finish leaves the terminal on a fresh line.
func (p *progress) finish() {
	if p.drawn {
		fmt.Fprintln(p.w)
		p.drawn = false
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
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
}
