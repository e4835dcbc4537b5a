package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/sim"
)

// checkNames are the checks as flags have them: the kinds of reports, in one word.
var checkNames = []sim.Kind{
	sim.Uninitialised, sim.Race, sim.InFlight, sim.ProxyFence, // those that may be off
	sim.OutOfBounds, sim.Misaligned, sim.Divergence, sim.Deadlock, sim.StepLimit, sim.Misuse, sim.Assertion,
}

func checkName(k sim.Kind) string { return strings.ReplaceAll(string(k), " ", "-") }

// optionalChecks are the names of those that may be off.
func optionalChecks() string {
	var s []string
	for _, k := range sim.Optional {
		s = append(s, checkName(k))
	}
	return strings.Join(s[:len(s)-1], ", ") + " and " + s[len(s)-1]
}

// findChecks reads NAME,NAME,…: each a check's name or a part that no other has, or all.
func findChecks(flag string, lists []string) (map[sim.Kind]bool, error) {
	found := map[sim.Kind]bool{}
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			name = strings.ToLower(strings.TrimSpace(name))
			fits := fitting(name)
			switch {
			case name == "all":
				fits = sim.Optional
			case len(fits) == 0:
				return nil, fmt.Errorf("--%s %s: no such check; %s can be switched off, the others are always on", flag, name, optionalChecks())
			case len(fits) > 1:
				return nil, fmt.Errorf("--%s %s: is it %s or %s?", flag, name, checkName(fits[0]), checkName(fits[1]))
			}
			for _, k := range fits {
				found[k] = true
			}
		}
	}
	return found, nil
}

// fitting are the checks that a name can stand for.
func fitting(name string) (fits []sim.Kind) {
	for _, k := range checkNames {
		switch {
		case name == checkName(k):
			return []sim.Kind{k}
		case name != "" && strings.Contains(checkName(k), name):
			fits = append(fits, k)
		}
	}
	return fits
}

// ignored are the checks that --check and --no-check leave out.
func ignored(only, without []string) (off []sim.Kind, err error) {
	keep, err := findChecks("check", only)
	if err != nil {
		return nil, err
	}
	drop, err := findChecks("no-check", without)
	if err != nil {
		return nil, err
	}
	for _, k := range checkNames {
		switch may := slices.Contains(sim.Optional, k); {
		case may && (len(only) > 0 && !keep[k] || drop[k]):
			off = append(off, k)
		case !may && drop[k]:
			return nil, fmt.Errorf("--no-check %s: it is always on, since no kernel can go on behind it; %s can be switched off", checkName(k), optionalChecks())
		}
	}
	return off, nil
}
