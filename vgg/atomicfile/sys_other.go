//go:build !unix || aix || solaris

package atomicfile

import (
	"errors"
	"os"
	"runtime"
	"syscall"
)

const (
	renameOpen  = false
	nonBlocking = 0
	// NoFollow refuses to open a link, where that is possible.
	NoFollow = 0
)

func noReader(error) bool { return false }

func tryLock(File) (bool, error) { return false, errors.ErrUnsupported }

// abandoned removes a temporary that nobody has open: Windows refuses it for others.
func abandoned(name string) bool {
	return runtime.GOOS == "windows" && system.Remove(name) == nil
}

// lockFile makes a file that must not be there. Windows does not remove one that is
// open, so what can be removed was left by a process that died.
func lockFile(path string) (unlock func(), err error) {
	if runtime.GOOS == "windows" {
		_ = system.Remove(path)
	}
	f, err := system.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return func() { f.Close(); _ = system.Remove(path) }, nil
}

func syncDir(string) error { return nil }

// ERROR_DISK_FULL and ERROR_HANDLE_DISK_FULL of Windows.
func isFull(err error) bool {
	return errors.Is(err, syscall.Errno(112)) || errors.Is(err, syscall.Errno(39))
}
