// Package atomicfile writes files that are either whole or not there: a
// temporary beside the target, synced, renamed when complete, and its folder synced.
//
// A process that is killed leaves its temporary behind. It is locked while it is
// written, so [Sweep] can tell it from those of other processes and remove it. [Lock]
// is for what two processes must not do at once.
//
// It imports nothing of this module.
package atomicfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// grace is how long the other end of a pipe has when everything else is done.
const grace = time.Second

// Write calls fill with a writer and puts what it wrote at path. On any error
// path is what it was before, and no temporary is left.
func Write(path string, fill func(w io.Writer) error) error {
	return WriteContext(context.Background(), path, fill)
}

// WriteContext is Write for a path that may be a pipe, which nobody may read: it
// waits for a reader until ctx is done, and a second longer. A file is written
// whatever ctx says.
func WriteContext(ctx context.Context, path string, fill func(w io.Writer) error) (err error) {
	if st, e := os.Stat(path); e == nil && !st.Mode().IsRegular() {
		return writeSpecial(ctx, path, st, fill)
	}
	named := path
	if path, err = Resolve(path); err != nil {
		return Explain(named, err)
	}
	f, err := temp(path)
	if err != nil {
		return Explain(named, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			_ = system.Remove(f.Name())
			err = Explain(named, err)
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
	if renameOpen { // the lock goes with the file, so nobody sweeps it on its way
		if err = system.Rename(f.Name(), path); err != nil {
			return err
		}
		if err = system.SyncDir(filepath.Dir(path)); err != nil {
			return err
		}
		return f.Close()
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = system.Rename(f.Name(), path); err != nil {
		return err
	}
	return system.SyncDir(filepath.Dir(path))
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
	where, err := Resolve(path)
	if err != nil {
		return Explain(path, err)
	}
	if dir := filepath.Dir(where); missing(dir) {
		if filepath.Dir(path) != "." && missing(filepath.Dir(path)) {
			dir = filepath.Dir(path) // as the user calls it
		}
		return fmt.Errorf("%s: the folder %s does not exist; create it first", path, dir)
	}
	if _, err := os.Lstat(where); err != nil && !errors.Is(err, fs.ErrNotExist) { // a name that cannot be
		return Explain(path, err)
	}
	f, err := temp(where)
	if err != nil {
		return Explain(path, err)
	}
	f.Close()
	return system.Remove(f.Name())
}

func missing(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, fs.ErrNotExist)
}

// Resolve is the absolute name of the file that path leads to, which need not exist,
// nor the folder that it is in: also a link that dangles says where a file will be.
func Resolve(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range 40 { // as many as Linux follows
		path = filepath.Join(realDir(filepath.Dir(path)), filepath.Base(path))
		to, err := os.Readlink(path)
		if err != nil { // no link
			return path, nil
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return "", errors.New("its links lead in a circle; choose another name")
}

// realDir follows the links of as much of a folder's name as is there.
func realDir(dir string) string {
	if to, err := filepath.EvalSymlinks(dir); err == nil {
		return to
	}
	up := filepath.Dir(dir)
	if up == dir {
		return dir
	}
	return filepath.Join(realDir(up), filepath.Base(dir))
}

// Explain names the file and the remedy for the common failures of writing.
func Explain(path string, err error) error {
	if err == nil || errors.As(err, new(*explained)) {
		return err
	}
	text, why := "cannot be written", err
	var pe *fs.PathError
	var le *os.LinkError
	switch { // of several errors the first
	case errors.As(err, &pe):
		why = pe.Err
	case errors.As(err, &le):
		why = le.Err
	case !isFull(err) && !errors.Is(err, fs.ErrPermission):
		return &explained{path, err}
	}
	switch {
	case isFull(why):
		text = "the disk is full; free some space or write elsewhere"
	case errors.Is(why, fs.ErrPermission):
		text = "no permission to write there; choose another place"
	}
	return &explained{path, fmt.Errorf("%s: %w", text, why)}
}

// Full reports whether an error is that of a full disk, or of a quota.
func Full(err error) bool { return isFull(err) }

// explained is an error that names its file already.
type explained struct {
	path string
	error
}

func (e *explained) Error() string { return e.path + ": " + e.error.Error() }
func (e *explained) Unwrap() error { return e.error }

// A temporary has a short name of its own, whatever the target's length.
const prefix, suffix = ".stylize-", ".tmp"

// temp makes the temporary and locks it; unlike os.CreateTemp it leaves the
// permissions to the umask, as any new file has them.
func temp(path string) (File, error) {
	for range 100 {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf("%s%016x%s", prefix, rand.Uint64(), suffix))
		f, err := system.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, _ = tryLock(f); sameFile(f, name) { // and nobody swept it before it was locked
			return f, nil
		}
		f.Close()
	}
	return nil, errors.New("its temporary is removed as soon as it is made")
}

// sameFile reports whether an open file still has its name.
func sameFile(f File, name string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Lstat(name)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// Sweep removes the temporaries that killed processes have left in a folder, and
// returns how many there were. Those that a process still writes stay.
func Sweep(dir string) (removed int) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || !strings.HasPrefix(name, prefix) || !strings.HasSuffix(name, suffix) || len(name) != len(prefix)+16+len(suffix) {
			continue
		}
		if abandoned(filepath.Join(dir, name)) {
			removed++
		}
	}
	return removed
}

// SweepBeside sweeps the folders of files, each once.
func SweepBeside(paths []string) {
	done := map[string]bool{}
	for _, p := range paths {
		if dir := filepath.Dir(p); !done[dir] {
			done[dir] = true
			Sweep(dir)
		}
	}
}

// Lock keeps other processes out of what path stands for, until unlock. Where one is
// in already it calls waiting, and waits until ctx is done. The system opens the lock
// of a process that dies, so that none is ever stale.
func Lock(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	for first := true; ; first = false {
		unlock, err := lockFile(path)
		if err != nil {
			return nil, Explain(path, err)
		}
		if unlock != nil {
			return unlock, nil
		}
		if first && waiting != nil {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// writeSpecial writes to a device or a pipe.
func writeSpecial(ctx context.Context, path string, st fs.FileInfo, fill func(w io.Writer) error) error {
	if st.IsDir() {
		return &explained{path, errors.New("is a folder; give the name of a file in it")}
	}
	f, err := openSpecial(ctx, path, st)
	if err != nil {
		return Explain(path, err)
	}
	defer context.AfterFunc(ctx, func() { // a pipe that is not emptied
		if f, ok := f.(*os.File); ok {
			_ = f.SetWriteDeadline(time.Now().Add(grace))
		}
	})()
	err = fill(f)
	if e := f.Close(); err == nil { // the first error says why
		err = e
	}
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errors.New("nobody reads this pipe to its end")
		}
		return Explain(path, err)
	}
	return nil
}

// OpenContext is [OpenFile] for a name that may be that of a pipe: it waits for a reader
// until ctx is done, and writing to it ends a second after that.
func OpenContext(ctx context.Context, name string, flag int, perm fs.FileMode) (File, error) {
	st, err := os.Stat(name)
	if err != nil || st.Mode()&fs.ModeNamedPipe == 0 {
		return system.OpenFile(name, flag, perm)
	}
	f, err := openSpecial(ctx, name, st)
	if f, ok := f.(*os.File); ok && err == nil {
		context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Now().Add(grace)) })
	}
	return f, err
}

// openSpecial waits for the reader of a pipe.
func openSpecial(ctx context.Context, path string, st fs.FileInfo) (File, error) {
	if st.Mode()&fs.ModeNamedPipe == 0 {
		return system.OpenFile(path, os.O_WRONLY, 0)
	}
	var over <-chan time.Time
	done := ctx.Done()
	for {
		f, err := system.OpenFile(path, os.O_WRONLY|nonBlocking, 0)
		if err == nil || !noReader(err) {
			return f, err
		}
		select {
		case <-done:
			done, over = nil, time.After(grace)
		case <-over:
			return nil, errors.New("nobody reads this pipe")
		case <-time.After(50 * time.Millisecond):
		}
	}
}
