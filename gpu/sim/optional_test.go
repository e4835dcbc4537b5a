package sim

import (
	"errors"
	"slices"
	"testing"
)

// A check that is off says nothing, and the launch goes on: until it is done, or another
// check that is on reports. A mutant that no check is left for is never reported.
func TestIgnore(t *testing.T) {
	hopperSource = string(source(t, "conv_wgmma.sm90a.ptx"))
	some, done := []Mode{Eager, Random(1)}, 0
	if testing.Short() {
		some = some[:1]
	}
	for _, m := range mutants() {
		src := m.change(t, source(t, m.file))
		for _, mode := range some {
			cfg := Config{Mode: mode, Workers: 1, MaxSteps: 1 << 20}
			for {
				p, err := m.run(newRig(t, cfg, m.file, src))
				var rep *Report
				if err == nil && len(p.Warnings) > 0 {
					err = p.Warnings[0]
				}
				if !errors.As(err, &rep) {
					done++
					break
				}
				if slices.Contains(cfg.Ignore, rep.Kind) {
					t.Errorf("%s, %v without %v: %v", m.name, mode, cfg.Ignore, rep)
					break
				}
				if !slices.Contains(Optional, rep.Kind) {
					break
				}
				cfg.Ignore = append(cfg.Ignore, rep.Kind)
			}
		}
	}
	if done < 15*len(some) { // of 29; the others end in what no launch can go on behind
		t.Errorf("only %d runs went on to their end", done)
	}
	if _, err := New(Config{Ignore: []Kind{Race, Deadlock}}).Load("f.ptx", nil); err == nil || err.Error() != `the check "deadlock" cannot be switched off` {
		t.Error(err)
	}
}
