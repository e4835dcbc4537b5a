package sim

import (
	"fmt"
	"slices"
)

// Optional are the checks that Config.Ignore may leave out: a launch can go on behind
// what they find.
var Optional = []Kind{Uninitialised, Race, InFlight, ProxyFence}

// ignores reports whether a check has been switched off.
func (d *Device) ignores(k Kind) bool {
	return len(d.cfg.Ignore) > 0 && slices.Contains(d.cfg.Ignore, k)
}

// checkIgnore refuses kinds that no launch can go on behind.
func (c *Config) checkIgnore() error {
	for _, k := range c.Ignore {
		if !slices.Contains(Optional, k) {
			return fmt.Errorf("the check %q cannot be switched off", k)
		}
	}
	return nil
}

// find is trap for what an Optional check found; the caller goes on where it is off.
func (w *warp) find(kind Kind, o *op, lane int, format string, args ...any) {
	w.raise(w.report(kind, o, lane, format, args...))
}

// raise ends the cluster with a report, unless its check is off.
func (w *warp) raise(r *Report) {
	if !w.g.l.dev.ignores(r.Kind) {
		throw(r)
	}
}
