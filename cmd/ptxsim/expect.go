package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

func parseExpect(word string, within, relative float64) (*expectStep, error) {
	name, rest, err := assignment(word, "NAME=VALUE, as y=y.npy or y=fill:f32:1000:1.5")
	if err != nil {
		return nil, err
	}
	e := &expectStep{within: within, relative: relative}
	if within < 0 || relative < 0 || within != within || relative != relative {
		return nil, errors.New("--within and --relative want 0 or more")
	}
	if e.of, err = parseTarget(name); err != nil {
		return nil, err
	}
	if e.spec, err = parseSpec(rest); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if a, ok := e.spec.(*array); ok && a.kind == "empty" {
		return nil, fmt.Errorf("%s: empty is nothing to expect; take zeros", name)
	}
	return e, nil
}

func (e *expectStep) do(_ context.Context, s *session) error {
	p, err := e.of.place(s)
	if err != nil {
		return err
	}
	want, err := e.spec.value(s, p.typ)
	if err != nil {
		return fmt.Errorf("%s: %w", p.label, err)
	}
	n := elems(p.shape)
	wt, wn := want.typ, elems(want.shape)
	switch num, isNumber := e.spec.(*number); {
	case isNumber && num.typ == ptx.NoType: // of every element
		want.data, wn = []byte(strings.Repeat(string(want.data), n)), n
	case wt == ptx.U8 && p.typ != ptx.U8 && want.size() == p.size(): // bytes of a file or a struct
		wt, wn = p.typ, n
	case wt == ptx.U16 && p.typ == ptx.BF16: // NumPy has no bf16, so its bits stand in .npy
		wt = p.typ
	}
	switch {
	case wn != n:
		return fmt.Errorf("%s has %d elements, %d are expected", p.label, n, wn)
	case wt.Float() != p.typ.Float():
		return fmt.Errorf("%s is %v, what is expected is %v; NAME:TYPE sees it as another type", p.label, p.typ, wt)
	case s.dry:
		return nil
	}
	got, err := s.bytes(p)
	if err != nil {
		return err
	}
	unwritten, err := s.dev.Unwritten(p.ptr, len(got))
	if err != nil {
		return err
	}
	diff := compare(got, p.typ, want.data, wt, n, e.within, e.relative)
	if unwritten >= 0 { // a GPU has anything there
		diff = fmt.Sprintf("element %d was never written", unwritten*8/p.typ.Bits())
	}
	if diff == "" {
		s.say("%s is as expected%s", p.label, e.tolerance())
		return nil
	}
	say := fmt.Sprintf("%s: %s", p.label, diff)
	s.say("expected otherwise: %s", say)
	s.res.Failed = append(s.res.Failed, s.where+say)
	return nil
}

func (e *expectStep) tolerance() string {
	switch {
	case e.within > 0 && e.relative > 0:
		return fmt.Sprintf(", within %g and %g of the value", e.within, e.relative)
	case e.within > 0:
		return fmt.Sprintf(", within %g", e.within)
	case e.relative > 0:
		return fmt.Sprintf(", within %g of the value", e.relative)
	}
	return ""
}

// compare holds n elements against what is wanted: |got-want| <= within + relative·|want|.
// NaN equals NaN, 0 equals -0. It says how many differ, or nothing.
func compare(got []byte, gt ptx.Type, want []byte, wt ptx.Type, n int, within, relative float64) string {
	differ, first, worst, most := 0, 0, 0, -1.0
	gs, ws := gt.Bits()/8, wt.Bits()/8
	for i := range n {
		g, w := got[i*gs:][:gs], want[i*ws:][:ws]
		d, ok := distance(g, gt, w, wt, within, relative)
		if ok {
			continue
		}
		if differ++; differ == 1 {
			first = i
		}
		if d > most {
			worst, most = i, d
		}
	}
	if differ == 0 {
		return ""
	}
	at := func(i int) string {
		return fmt.Sprintf("element %d is %s, want %s", i, format(got[i*gs:], gt), format(want[i*ws:], wt))
	}
	say := fmt.Sprintf("%d of %d elements differ; %s", differ, n, at(first))
	if worst != first {
		say += "; the farthest, " + at(worst)
	}
	return say
}

// distance is how far two elements are apart, and whether that is near enough.
func distance(g []byte, gt ptx.Type, w []byte, wt ptx.Type, within, relative float64) (float64, bool) {
	if gt.Float() {
		a, b := decode(g, gt), decode(w, wt)
		switch {
		case a == b, math.IsNaN(a) && math.IsNaN(b):
			return 0, true
		case math.IsNaN(a) || math.IsNaN(b) || math.IsInf(a, 0) || math.IsInf(b, 0):
			return math.Inf(1), false
		}
		d := math.Abs(a - b)
		return d, d <= within+relative*math.Abs(b)
	}
	a, b := format(g, decimal(gt)), format(w, decimal(wt))
	if a == b {
		return 0, true
	}
	x, y := whole(g, gt), whole(w, wt)
	d := math.Abs(x - y)
	return d, within+relative > 0 && d <= within+relative*math.Abs(y)
}

// decimal is an integer type for untyped bits.
func decimal(t ptx.Type) ptx.Type {
	if t >= ptx.B8 && t <= ptx.B64 {
		return t - ptx.B8 + ptx.U8
	}
	return t
}

// whole is an integer, exact up to 2^53.
func whole(b []byte, t ptx.Type) float64 {
	n := t.Bits()
	if v := bits(b, n/8); t.Signed() {
		return float64(int64(v<<(64-n)) >> (64 - n))
	} else {
		return float64(v)
	}
}
