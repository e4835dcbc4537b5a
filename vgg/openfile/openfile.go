// Package openfile opens files from outside. Only a regular file is opened, and what
// the process was handed open: its standard input, or the pipe of <(COMMAND). A named
// pipe may never have anything and a device may never end, so both are refused
// without being waited for. What is read is bounded while it is read, whatever a file
// says of its size.
//
// Errors name the file and say what to do.
//
// It imports nothing of this module.
package openfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Regular opens a regular file, and returns its size at this moment.
func Regular(path string) (f *os.File, size int64, err error) {
	return opened(path, os.O_RDONLY|noWait, regular)
}

// opened opens a file whose mode suits.
func opened(path string, flag int, suits func(fs.FileMode) error) (*os.File, int64, error) {
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, 0, explain(path, err)
	}
	st, err := f.Stat()
	if err == nil {
		err = suits(st.Mode())
	}
	if err != nil {
		f.Close()
		return nil, 0, explain(path, err)
	}
	return f, st.Size(), nil
}

// IsRegular reports whether Regular would open a file.
func IsRegular(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// SHA256 is the hash of a regular file, in hexadecimal. What the file has grown since it
// was opened is another file's.
func SHA256(path string) (string, error) {
	f, size, err := Regular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, size)); err != nil {
		return "", explain(path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Read reads a file, or a pipe that the process was handed, of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, size, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, tooLong(path, limit)
	}
	// One byte more than it should have tells whether it has grown. ReadAll grows its
	// buffer as bytes come.
	b, err := readAll(f, min(size, limit)+1, limit+1)
	switch {
	case err != nil:
		return nil, explain(path, err)
	case int64(len(b)) > limit:
		return nil, tooLong(path, limit)
	}
	return b, nil
}

// readAll reads up to limit bytes, probably n.
func readAll(r io.Reader, n, limit int64) ([]byte, error) {
	b := make([]byte, 0, min(n, 1<<20))
	for int64(len(b)) < limit {
		if len(b) == cap(b) {
			grown := make([]byte, len(b), min(max(n, 2*int64(cap(b))), limit)) // to what it should have, then doubling
			copy(grown, b)
			b = grown
		}
		k, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+k]
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func open(path string) (*os.File, int64, error) {
	if !handed(path) {
		return Regular(path)
	}
	return opened(path, os.O_RDONLY, func(m fs.FileMode) error {
		if m&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeCharDevice) != 0 {
			return nil
		}
		return regular(m)
	})
}

// handed reports whether a name is that of an open file of this process.
func handed(path string) bool {
	for _, dir := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if n, ok := strings.CutPrefix(path, dir); ok && n != "" && strings.Trim(n, "0123456789") == "" {
			return true
		}
	}
	return path == "/dev/stdin"
}

func regular(m fs.FileMode) error {
	switch {
	case m.IsRegular():
		return nil
	case m.IsDir():
		return errors.New("is a folder; give a file in it")
	case m&fs.ModeNamedPipe != 0:
		return errors.New("is a named pipe, which may never have anything; give a file")
	case m&fs.ModeDevice != 0:
		return errors.New("is a device; give a file")
	}
	return errors.New("is no file; give one")
}

func tooLong(path string, limit int64) error {
	return fmt.Errorf("%s: has more than %d MB; give another file", path, limit>>20)
}

func explain(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		if strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://") {
			return fmt.Errorf("%s: %w", path, missing{err, "is an address; download it, and give the file"})
		}
		return fmt.Errorf("%s: %w", path, missing{err, "there is no such file; check the name and the folder"})
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		if isSocket(pe.Err) {
			return fmt.Errorf("%s: is no file; give one", path)
		}
		return fmt.Errorf("%s: cannot be read: %w", path, pe.Err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// missing is fs.ErrNotExist in our words.
type missing struct {
	err  error
	says string
}

func (m missing) Error() string { return m.says }
func (m missing) Unwrap() error { return m.err }
