package transfer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

// untilPlateau is the value of Options.Until that ends a level at a plateau.
const untilPlateau = "plateau"

// A level is at a plateau when the mean loss of its last plateauWindow iterations
// is above that of the plateauWindow before, less plateauRate of it. This is looked
// at where a window ends, so that the iteration at which it is found does not
// depend on how many run at a time. Evaluations that the optimiser refused do not
// count.
const (
	plateauWindow = 16
	plateauRate   = 0.03
)

// note remembers a loss.
func (p *Painting) note(r Row) {
	if p.work.Options.Until != untilPlateau || r.Refused {
		return
	}
	p.at.Recent = append(p.at.Recent, r.Total)
	if n := len(p.at.Recent) - 2*plateauWindow; n > 0 {
		p.at.Recent = p.at.Recent[n:]
	}
}

// plateau reports whether the level has come to one.
func (p *Painting) plateau() bool {
	r := p.at.Recent
	if len(r) < 2*plateauWindow || p.at.Done[p.at.Level]%plateauWindow != 0 {
		return false
	}
	var was, is float64
	for i := range plateauWindow {
		was += r[i]
		is += r[i+plateauWindow]
	}
	return is >= was*(1-plateauRate)
}

// ParseTime reads a span of time: a number of seconds, as "90" or "1e3", or a duration
// as Go writes it, as "1m30s". It is 0 or more; anything else is an error, without the
// text in it.
func ParseTime(s string) (time.Duration, error) {
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		s = strconv.FormatFloat(v, 'f', -1, 64) + "s"
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("give a time, as in 90s or 5m")
	}
	return d, nil
}

// seconds of a clock; 0 where there is none.
func seconds(s string) float64 {
	d, _ := ParseTime(s) // an error is 0, and no clock
	return d.Seconds()
}

// validateClocks checks Until and Budget.
func (o Options) validateClocks() error {
	switch {
	case o.Until != "" && o.Until != untilPlateau && seconds(o.Until) == 0:
		return &OptionError{"Until", o.Until, "give plateau or a time, as in 90s or 5m"}
	case o.Budget != "" && seconds(o.Budget) == 0:
		return &OptionError{"Budget", o.Budget, "give a time, as in 30s or 5m"}
	case o.Budget != "" && o.Until != "":
		return &OptionError{"Until", o.Until, "a budget ends the painting already; give one of the two"}
	}
	return nil
}

// end is when the whole painting has to end, on its clock.
func (p *Painting) end() float64 {
	for _, s := range []string{p.work.Options.Until, p.work.Options.Budget} {
		if v := seconds(s); v > 0 {
			return v
		}
	}
	return math.Inf(1)
}

// deadline is when the level has to end, on the painting's clock. Under a budget each
// level gets such a part of what is left as makes for the same number of iterations
// in all.
func (p *Painting) deadline() float64 {
	end := p.end()
	if p.work.Options.Budget == "" {
		return end
	}
	all := 0.0
	for _, c := range p.costs[p.at.Level:] {
		all += c.iteration
	}
	now := p.clock()
	return now + (end-now)*p.costs[p.at.Level].iteration/all
}

// late reports whether there is no time to begin the next level: its targets and
// one iteration, at the speed of this one.
func (p *Painting) late() bool {
	end := p.end()
	if p.at.Level == len(p.stages)-1 || math.IsInf(end, 1) {
		return false
	}
	next, perFLOP := p.costs[p.at.Level+1], p.pace/p.costs[p.at.Level].iteration
	return p.clock()+(next.targets+next.iteration)*perFLOP > end
}

// choose sets the ladder that a budget pays for: the automatic one, without as many
// of its first levels as it takes to have time for the targets and one iteration of
// each. The speed is measured, for a fraction of a second.
func (p *Painting) choose(ctx context.Context) error {
	o := &p.work.Options
	rate, err := p.dev.Rate(ctx)
	if err != nil {
		return fmt.Errorf("budget: the speed of the device: %w", err)
	}
	o.Ladder = AutoLadder(o.Size, 1)
	left := seconds(o.Budget) - p.clock()
	for {
		need := 0.0
		for _, st := range p.work.Stages() {
			c, err := st.cost()
			if err != nil {
				return err
			}
			need += (c.targets + c.iteration) / rate
		}
		if need <= left {
			return nil
		}
		if len(o.Ladder) == 0 {
			return &OptionError{"Budget", o.Budget, fmt.Sprintf("one iteration at %d takes about %s here, with all that comes before it; give more, or a smaller size", o.Size, about(need+p.clock()))}
		}
		o.Ladder = o.Ladder[1:]
	}
}

// about is a time with two digits: 0.25s, 12s, 1300s.
func about(seconds float64) string {
	v, _ := strconv.ParseFloat(fmt.Sprintf("%.2g", seconds), 64)
	return strconv.FormatFloat(v, 'f', -1, 64) + "s"
}
