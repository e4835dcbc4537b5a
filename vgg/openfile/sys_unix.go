//go:build unix

package openfile

import (
	"errors"
	"syscall"
)

// noWait opens a named pipe at once, to be refused.
const noWait = syscall.O_NONBLOCK

// isSocket is what opening a socket says.
func isSocket(err error) bool { return errors.Is(err, syscall.ENXIO) }
