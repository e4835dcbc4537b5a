//go:build unix

package weights

import (
	"syscall"

	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// others reports whether a file has more names than one.
func others(f atomicfile.File) bool {
	st, err := f.Stat()
	if err != nil {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && sys.Nlink > 1
}
