// Package fault is a file system that fails, for tests of what is left then. It
// counts the operations that write, and at the n-th one fails, stays broken, or loses
// its power: what was not synced is then gone.
//
// It imports vgg/atomicfile.
package fault

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// Mode says what happens at the n-th operation.
type Mode int

// The modes.
const (
	Once  Mode = iota // this operation fails, those after it work
	Stays             // this one and all after it fail
	Power             // this one and all after it fail, and what was not synced is lost
)

func (m Mode) String() string { return [...]string{"fails once", "stays broken", "loses power"}[m] }

// ErrPower is the error of everything behind a loss of power.
var ErrPower = errors.New("the power is gone")

// FS is the machine's file system with a fault in it.
type FS struct {
	N    int  // the operation at which it happens, from 1; 0 is never
	Mode Mode // what happens
	Err  error

	mu      sync.Mutex
	count   int
	files   map[string]*content // of names that were written: what is on the disk
	renames []rename            // not yet synced
	off     bool
}

// content is what a file would have after a loss of power.
type content struct {
	data  []byte
	there bool
}

type rename struct {
	to  string
	was content // at the target before
}

// New makes one that fails with the error of a full disk.
func New(n int, mode Mode) *FS {
	f := &FS{N: n, Mode: mode, Err: syscall.ENOSPC, files: map[string]*content{}}
	if mode == Power {
		f.Err = ErrPower
	}
	return f
}

// Count is how many operations there were.
func (f *FS) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// do counts an operation, and says whether it fails.
func (f *FS) do(op, name string) error {
	if f.off {
		return &fs.PathError{Op: op, Path: name, Err: f.Err}
	}
	f.count++
	if f.N == 0 || f.count < f.N || f.Mode == Once && f.count > f.N {
		return nil
	}
	if f.Mode == Power {
		f.off = true
		f.lose()
	}
	return &fs.PathError{Op: op, Path: name, Err: f.Err}
}

// Lose takes the power away now, if it is still there: what is not synced is gone.
func (f *FS) Lose() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.off {
		f.off, f.Err = true, ErrPower
		f.lose()
	}
}

// lose puts every file back to what was synced of it.
func (f *FS) lose() {
	for name, c := range f.files {
		c.restore(name)
	}
	for i := len(f.renames) - 1; i >= 0; i-- {
		f.renames[i].was.restore(f.renames[i].to)
	}
}

func (c content) restore(name string) {
	if !c.there {
		os.Remove(name)
		return
	}
	_ = os.WriteFile(name, c.data, 0o666)
}

// on is what is on the disk under a name now.
func on(name string) content {
	b, err := os.ReadFile(name)
	return content{b, err == nil}
}

// OpenFile counts when it may write.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (atomicfile.File, error) {
	name, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		return atomicfile.OS{}.OpenFile(name, flag, perm)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.do("open", name); err != nil {
		return nil, err
	}
	st, err := os.Stat(name)
	regular := err != nil || st.Mode().IsRegular()
	if _, known := f.files[name]; !known && regular {
		c := on(name)
		f.files[name] = &c
	}
	file, err := atomicfile.OS{}.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &open{file, f, name}, nil
}

// Rename counts; it holds when the folder is synced.
func (f *FS) Rename(from, to string) error {
	from, _ = filepath.Abs(from)
	to, _ = filepath.Abs(to)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.do("rename", from); err != nil {
		return err
	}
	was := on(to)
	if err := os.Rename(from, to); err != nil {
		return err
	}
	f.renames = append(f.renames, rename{to, was})
	if c := f.files[from]; c != nil {
		f.files[to] = c
		delete(f.files, from)
	}
	return nil
}

// Remove counts.
func (f *FS) Remove(name string) error {
	name, _ = filepath.Abs(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.do("remove", name); err != nil {
		return err
	}
	delete(f.files, name)
	return os.Remove(name)
}

// SyncDir counts; the renames in the folder hold.
func (f *FS) SyncDir(name string) error {
	name, _ = filepath.Abs(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.do("sync", name); err != nil {
		return err
	}
	var left []rename
	for _, r := range f.renames {
		if filepath.Dir(r.to) != name {
			left = append(left, r)
		}
	}
	f.renames = left
	return atomicfile.OS{}.SyncDir(name)
}

// open is a file whose writes count.
type open struct {
	atomicfile.File
	fs   *FS
	name string
}

func (o *open) Write(b []byte) (int, error) {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	if err := o.fs.do("write", o.name); err != nil {
		n := 0
		if o.fs.Mode != Power {
			n, _ = o.File.Write(b[:len(b)/2]) // as a disk that fills up does
		}
		return n, err
	}
	return o.File.Write(b)
}

func (o *open) Truncate(size int64) error {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	if err := o.fs.do("truncate", o.name); err != nil {
		return err
	}
	return o.File.Truncate(size)
}

func (o *open) Sync() error {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	if err := o.fs.do("sync", o.name); err != nil {
		return err
	}
	if err := o.File.Sync(); err != nil {
		return err
	}
	if c := o.fs.files[o.name]; c != nil {
		now := on(o.name)
		*c = content{bytes.Clone(now.data), now.there}
	}
	return nil
}

func (o *open) Close() error {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	err := o.fs.do("close", o.name)
	return errors.Join(err, o.File.Close())
}
