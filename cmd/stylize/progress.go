package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// progress shows how a run goes: a bar on a terminal, a line now and then
// elsewhere, nothing when quiet.
type progress struct {
	w     io.Writer
	bar   *progressbar.ProgressBar
	total int
	quiet bool
	start time.Time
	shown time.Time
	next  int
}

func newProgress(w io.Writer, total int, quiet bool) *progress {
	p := &progress{w: w, total: total, quiet: quiet, start: time.Now(), next: 1}
	if f, ok := w.(*os.File); ok && !quiet && term.IsTerminal(int(f.Fd())) {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("it"),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(20),
			progressbar.OptionFullWidth(),
			progressbar.OptionUseANSICodes(true),
			progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
	}
	return p
}

// row is called once an iteration. On a terminal the bar repaints itself at
// most ten times a second; elsewhere a line appears at the first iteration,
// then after each twentieth of the work or ten seconds, whichever is later.
func (p *progress) row(r transfer.Row) {
	losses := fmt.Sprintf("content %.4g style %.4g tv %.4g", r.Content, r.Style, r.TV)
	switch {
	case p.quiet:
	case p.bar != nil:
		if now := time.Now(); now.Sub(p.shown) > 100*time.Millisecond {
			p.bar.Describe(losses)
			p.shown = now
		}
		_ = p.bar.Set(r.Iteration)
	case r.Iteration == 1 || r.Iteration == p.total || (r.Iteration >= p.next && time.Since(p.shown) >= 10*time.Second):
		rate := float64(r.Iteration) / time.Since(p.start).Seconds()
		fmt.Fprintf(p.w, "iteration %d/%d  %s  %.2f it/s  %s left\n", r.Iteration, p.total, losses, rate, duration(float64(p.total-r.Iteration)/rate))
		p.shown, p.next = time.Now(), r.Iteration+p.total/20
	}
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

// traceFile is the CSV of --trace. Its zero value ignores everything.
type traceFile struct {
	path string
	f    *os.File
	w    *bufio.Writer
}

func openTrace(path string) (*traceFile, error) {
	t := &traceFile{path: path}
	if path == "" {
		return t, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("--trace: %w", atomicfile.Explain(path, err))
	}
	t.f, t.w = f, bufio.NewWriter(f)
	_, err = t.w.WriteString("iteration,content,style,tv,total,mean,std\n")
	return t, t.flush(err)
}

// row appends one iteration; a watcher sees it at once.
func (t *traceFile) row(r transfer.Row) error {
	if t.f == nil {
		return nil
	}
	b := strconv.AppendInt(nil, int64(r.Iteration), 10)
	for _, v := range []float64{r.Content, r.Style, r.TV, r.Total, r.Mean, r.Std} {
		b = strconv.AppendFloat(append(b, ','), v, 'g', -1, 32)
	}
	_, err := t.w.Write(append(b, '\n'))
	return t.flush(err)
}

func (t *traceFile) flush(err error) error {
	if err = errors.Join(err, t.w.Flush()); err != nil {
		return fmt.Errorf("--trace: %w", atomicfile.Explain(t.path, err))
	}
	return nil
}

// Close may be called twice.
func (t *traceFile) Close() error {
	if t.f == nil {
		return nil
	}
	f := t.f
	t.f = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("--trace: %w", atomicfile.Explain(t.path, err))
	}
	return nil
}
