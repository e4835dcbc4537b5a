// Package atomicfile writes files that are either whole or not there: a
// temporary beside the target, renamed when complete.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Write calls fill with a writer and puts what it wrote at path. On any error
// path is what it was before, and no temporary is left.
func Write(path string, fill func(w io.Writer) error) (err error) {
	if st, e := os.Stat(path); e == nil && !st.Mode().IsRegular() {
		return writeSpecial(path, st, fill)
	}
	path = target(path)
	f, err := temp(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = Explain(path, err)
		}
	}()
	if err = fill(f); err != nil {
		return err
	}
	if st, e := os.Stat(path); e == nil {
		if err = f.Chmod(st.Mode()); err != nil {
			return err
		}
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Check finds out whether Write(path) can work, without leaving a trace.
func Check(path string) error {
	st, err := os.Stat(path)
	switch {
	case err == nil && st.IsDir():
		return fmt.Errorf("%s: is a folder; give the name of a file in it", path)
	case err == nil && !st.Mode().IsRegular():
		return nil // a device or pipe: only writing tells
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Explain(path, err)
	}
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: the folder %s does not exist; create it first", path, filepath.Dir(path))
	}
	f, err := temp(target(path))
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// target is what a link points to, so that the link itself is not replaced.
func target(path string) string {
	if t, err := filepath.EvalSymlinks(path); err == nil {
		return t
	}
	return path
}

// Explain names the file and the remedy for the common failures of writing.
func Explain(path string, err error) error {
	switch {
	case isFull(err):
		return fmt.Errorf("%s: the disk is full; free some space or write elsewhere: %w", path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: no permission to write there; choose another place: %w", path, err)
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return fmt.Errorf("%s: cannot be written: %w", path, pe.Err)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// Full reports whether an error is that of a full disk, or of a quota.
func Full(err error) bool { return isFull(err) }

// temp makes the temporary; unlike os.CreateTemp it leaves the permissions to
// the umask, as any new file has them.
func temp(path string) (*os.File, error) {
	for i := range 100 {
		name := fmt.Sprintf("%s.%d-%d.tmp", path, os.Getpid(), i)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, Explain(path, err)
		}
		return f, nil
	}
	return nil, fmt.Errorf("%s: a hundred temporaries are in the way (%s.*.tmp); remove them", path, path)
}

func writeSpecial(path string, st fs.FileInfo, fill func(w io.Writer) error) error {
	if st.IsDir() {
		return fmt.Errorf("%s: is a folder; give the name of a file in it", path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return Explain(path, err)
	}
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return Explain(path, err)
	}
	return nil
}
