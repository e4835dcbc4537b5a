// Package given binds flags of the command line whose absence means something:
// to a pointer, which is nil when the flag was left out. Other flags have
// Destination. It is shared by the commands of this repository and imports none
// of it.
package given

import "github.com/urfave/cli/v2"

// To is the action of a flag that sets *dst. The cli package takes an action
// for flags that are there, and only those.
func To[T any](dst **T) func(*cli.Context, T) error {
	return func(_ *cli.Context, v T) error {
		*dst = &v
		return nil
	}
}

// Replace puts what was given in the place of *dst.
func Replace[T any](dst, given *T) {
	if given != nil {
		*dst = *given
	}
}

// Or is what was given, or else a default.
func Or[T any](given *T, otherwise T) T {
	Replace(&otherwise, given)
	return otherwise
}
