//go:build unix && !aix && !solaris

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const (
	renameOpen  = true // a file may be renamed while it is open
	nonBlocking = syscall.O_NONBLOCK
	// NoFollow refuses to open a link, and does not wait for the other end of a pipe.
	NoFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
)

// noReader says that a pipe was opened for writing and nobody reads it.
func noReader(err error) bool { return errors.Is(err, syscall.ENXIO) }

// tryLock locks an open file unless somebody else has it. Where the file system knows
// no locks it is an error, and nothing is ever swept there.
func tryLock(f File) (got bool, err error) {
	c, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	if e := c.Control(func(fd uintptr) { err = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) }); e != nil {
		return false, e
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// abandoned removes a temporary that nobody has locked.
func abandoned(name string) bool {
	f, err := system.OpenFile(name, os.O_RDWR|NoFollow, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	got, err := tryLock(f)
	return got && err == nil && sameFile(f, name) && system.Remove(name) == nil
}

// lockFile makes and locks a file; unlock is nil where another process has it.
func lockFile(path string) (unlock func(), err error) {
	f, err := system.OpenFile(path, os.O_RDWR|os.O_CREATE|NoFollow, 0o666)
	if err != nil {
		return nil, err
	}
	got, err := tryLock(f)
	switch {
	case err != nil: // a file system without locks: there nobody is kept out
		return func() { _ = system.Remove(path); f.Close() }, nil
	case !got || !sameFile(f, path): // or it has just been removed by its owner
		return nil, f.Close()
	}
	return func() { _ = system.Remove(path); f.Close() }, nil
}

// syncDir puts the names in a folder on the disk. Some file systems cannot.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) { // may be written and not read
			return nil
		}
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
