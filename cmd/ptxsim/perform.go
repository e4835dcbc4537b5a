package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/sim"
)

// options are what holds for a whole run or script.
type options struct {
	arch      string
	modes     []sim.Mode
	ignore    []sim.Kind // checks that are off
	maxSteps  int64
	profile   bool // count instructions and traffic
	strict    bool
	json      bool
	folder    string
	isScript  bool
	readFirst []string // the script
}

// launched is the JSON of one launch of a script.
type launched struct {
	Where   string       `json:"where"`
	Kernel  string       `json:"kernel"`
	Profile *sim.Profile `json:"profile,omitempty"` // with --profile
}

// shown is the JSON of a value that was printed.
type shown struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Shape  []int    `json:"shape"`
	Values []string `json:"values"` // the first of them
}

// result is the JSON of a run or a script in one mode.
type result struct {
	Mode     string        `json:"mode"`
	Report   *sim.Report   `json:"report"`             // what ended it
	Warnings []*sim.Report `json:"warnings,omitempty"` // what is no error, but rests on no rule
	Printf   string        `json:"printf,omitempty"`   // what kernels printed
	Failed   []string      `json:"failed,omitempty"`   // expectations
	Differs  []string      `json:"differs,omitempty"`  // buffers that hold something else than in the first mode
	Values   []shown       `json:"values,omitempty"`
	Profile  *sim.Profile  `json:"profile,omitempty"`  // of run
	Launches []launched    `json:"launches,omitempty"` // of script
}

// line is a step with its place in a script.
type line struct {
	where string // "FILE:7: "; of run the flag, "" of its launch
	step  step
}

// step is a statement of a script, or what a flag of run stands for.
type step interface {
	do(ctx context.Context, s *session) error
}

// steps goes through them until one fails.
func (s *session) steps(ctx context.Context, lines []line) error {
	for i, l := range lines {
		s.where, s.left = l.where, len(lines)-1-i
		if err := l.step.do(ctx, s); err != nil {
			if errors.Is(err, errReport) {
				return err
			}
			return &plainError{err, s.plain(l.where + err.Error())}
		}
	}
	return nil
}

// perform goes through the steps in each mode. Before anything is launched it goes through
// them once without, which finds most mistakes.
func perform(ctx context.Context, lines []line, o *options, stdout io.Writer) error {
	dry := newSession(o, sim.Eager, nil, nil, true)
	dry.reads = slices.Clone(o.readFirst)
	if err := dry.steps(ctx, lines); err != nil {
		return err
	}
	if err := dry.check(); err != nil {
		return err
	}
	var results []*result
	var first *session
	failed := false
	for _, m := range o.modes {
		var kept strings.Builder
		text, printf := stdout, stdout
		if o.json {
			text, printf = nil, &kept
		}
		s := newSession(o, m, text, printf, false)
		err := s.steps(ctx, lines)
		if err != nil && !errors.Is(err, errReport) {
			return err
		}
		s.res.Printf = kept.String()
		switch {
		case err != nil:
		case first == nil:
			first = s
		default:
			if err := s.differs(first); err != nil {
				return err
			}
		}
		failed = failed || err != nil || len(s.res.Failed) > 0 || o.strict && len(s.res.Warnings)+len(s.res.Differs) > 0
		results = append(results, s.res)
		s.end(err == nil)
	}
	if o.json {
		var v any = results
		if len(results) == 1 {
			v = results[0]
		}
		if err := printJSON(stdout, v); err != nil {
			return err
		}
	}
	if failed {
		return errReport
	}
	return nil
}

// differs warns of buffers that hold something else than in another mode. It is no error:
// sums of atomics in floating point depend on their order.
func (s *session) differs(first *session) error {
	s.where = ""
	for _, name := range slices.Sorted(maps.Keys(s.buffers)) {
		p, q := s.buffers[name], first.buffers[name]
		got, err := s.bytes(p)
		if err != nil {
			return err
		}
		want, err := first.bytes(q)
		if err != nil {
			return err
		}
		if diff := compare(got, p.typ, want, p.typ, elems(p.shape), 0, 0); diff != "" {
			say := fmt.Sprintf("%s is not as in mode %s: %s", name, first.res.Mode, diff)
			s.say("warning: %s", say)
			s.res.Differs = append(s.res.Differs, say)
		}
	}
	return nil
}

// end prints the last line of a script.
func (s *session) end(done bool) {
	if s.where = ""; !s.opts.isScript {
		return
	}
	switch n := len(s.res.Failed); {
	case !done && s.left == 0: // it has been said
	case !done:
		s.say("the rest of the script was left out, %s", count(s.left, "statement", "statements"))
	case n == 1:
		s.say("done, but an expectation is not met")
	case n > 1:
		s.say("done, but %d expectations are not met", n)
	default:
		s.say("done, %s%s", count(len(s.res.Launches), "launch", "launches"), warned(len(s.res.Warnings)))
	}
}

func warned(n int) string {
	if n == 0 {
		return ""
	}
	return ", " + count(n, "warning", "warnings")
}

func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}

// clean says of a launch under which checks it was clean.
func (s *session) clean() string {
	switch len(s.opts.ignore) {
	case 0:
		return "clean under every check"
	case len(sim.Optional):
		return "done (bounds and alignment checked)"
	}
	var off []string
	for _, k := range s.opts.ignore {
		off = append(off, checkName(k))
	}
	return "clean, not checked for " + strings.Join(off, ", ")
}
