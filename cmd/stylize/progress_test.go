package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/transfer"
)

// The line of a terminal is never wider than it, and says first what matters most.
func TestProgressFits(t *testing.T) {
	r := transfer.Point{
		Row:        transfer.Row{Content: 1.2345e-7, Style: 12345.6, TV: 1.2345e-10},
		Evaluation: 123456, Of: 10000000, W: 12345, H: 12345, Share: 0.4567, Left: 123456,
	}
	for width := 1; width < 200; width++ {
		var b bytes.Buffer
		p := &progress{w: &b, width: func() int { return width }}
		p.row(r)
		line := strings.TrimPrefix(b.String(), "\r\x1b[K")
		if len(line) >= max(width, 1) && width > 1 || strings.Contains(line, "\n") {
			t.Fatalf("%d columns: %q has %d", width, line, len(line))
		}
		if width == 80 && !(strings.Contains(line, " 46%  34h18m left  123456/10000000  at 12345x12345")) {
			t.Errorf("%q", line)
		}
		p.note("a word")
		p.finish()
		if !strings.HasSuffix(b.String(), "\na word\n") {
			t.Fatalf("%q", b.String())
		}
	}
	var b bytes.Buffer
	unknown := r
	unknown.Left = -1
	(&progress{w: &b, width: func() int { return 80 }}).row(unknown)
	(&progress{w: &b}).row(unknown)
	if strings.Contains(b.String(), "left") || !strings.Contains(b.String(), " 46%  123456/10000000") {
		t.Errorf("the time left is not known, and %q", b.String())
	}
	b.Reset()
	p := &progress{w: &b, width: func() int { return 80 }, shown: time.Now()}
	p.row(r)
	if b.Len() > 0 {
		t.Errorf("repainted within a tenth of a second: %q", b.String())
	}
	p.quiet, p.shown = true, time.Time{}
	p.row(r)
	p.note("a word")
	if p.finish(); b.Len() > 0 {
		t.Errorf("not quiet: %q", b.String())
	}
}
