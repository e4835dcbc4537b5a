package atomicfile

import (
	"io"
	"io/fs"
	"os"
	"syscall"
)

// FS is what writing asks of a file system. There is one, the machine's; tests put
// one in its place that fails, or that loses what was not synced.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	SyncDir(name string) error // puts the names in a folder on the disk
}

// File is an open file of an [FS]; an *os.File is one.
type File interface {
	io.ReadWriteSeeker
	io.Closer
	Name() string
	Stat() (fs.FileInfo, error)
	Chmod(mode fs.FileMode) error
	Truncate(size int64) error
	Sync() error
	SyscallConn() (syscall.RawConn, error)
}

// OS is the machine's file system.
type OS struct{}

// OpenFile is os.OpenFile.
func (OS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // and no File around a nil
	}
	return f, nil
}

// Rename is os.Rename.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is os.Remove.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir does nothing where folders cannot be synced.
func (OS) SyncDir(name string) error { return syncDir(name) }

var system FS = OS{}

// Use puts another file system in the place of the machine's, for tests, and returns
// what puts it back. It may not be called while anything is written.
func Use(other FS) (restore func()) {
	before := system
	system = other
	return func() { system = before }
}

// OpenFile opens a file that is written bit by bit, as a trace or a download, on the
// file system in use.
func OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	return system.OpenFile(name, flag, perm)
}

// Remove removes a file on the file system in use.
func Remove(name string) error { return system.Remove(name) }
