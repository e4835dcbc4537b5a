package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/stylize-gpu/stylize/cmd/internal/given"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// claims are the files of a run: every one that it reads, and every one that it may
// write. No file is both, whatever links lead to it: what was read is never
// overwritten. Every command that writes files checks its claims before any work.
type claims struct {
	resumed bool // the run goes on with its checkpoint and its trace, which it reads
	all     []claim
}

type claim struct {
	flag   string // that names it, as --trace; empty for the command's own result
	what   string // as a message says it: "the trace"
	path   string // as the user gave it
	reads  bool
	writes bool // a run that is resumed reads its checkpoint and trace and writes them
	// The pictures on the way to path: nobody knows which there will be.
	numbered bool

	real string      // with all links followed
	file os.FileInfo // nil if it is not there
}

// read says that a file is read.
func (c *claims) read(what, path string) {
	if path == standard {
		return
	}
	c.all = append(c.all, claim{what: what, path: path, reads: true})
}

// write says that a file may be written.
func (c *claims) write(flag, what, path string) {
	if path != "" && path != standard {
		c.all = append(c.all, claim{flag: flag, what: what, path: path, writes: true})
	}
}

// goOn says that a file is read, and written by what it belongs to.
func (c *claims) goOn(flag, what, path string) {
	if path != "" {
		c.all = append(c.all, claim{flag: flag, what: what, path: path, reads: true, writes: true})
	}
}

// writeNumbered says that pictures on the way to a result are written.
func (c *claims) writeNumbered(flag, result string) {
	c.all = append(c.all, claim{flag: flag, what: "a picture of " + flag, path: result, writes: true, numbered: true})
}

// check refuses a meeting of a file that is written with any other, and what cannot be
// written. It leaves no trace.
func (c *claims) check() error {
	for i := range c.all {
		if err := c.all[i].find(); err != nil {
			return err
		}
	}
	for i := range c.all {
		w := &c.all[i]
		if !w.writes {
			continue
		}
		for j := range c.all {
			o := &c.all[j]
			if i == j || o.writes && j > i || !w.meets(o) { // of two that are written the later is wrong
				continue
			}
			return w.refusal(o)
		}
		if w.numbered {
			if err := w.onWay(c.all); err != nil {
				return err
			}
			continue
		}
		if err := atomicfile.Check(w.path); err != nil {
			if w.flag != "" {
				err = fmt.Errorf("%s: %w", w.flag, err)
			}
			return err
		}
	}
	return nil
}

// sweep removes what killed runs have left in the folders that are written.
func (c *claims) sweep() {
	var written []string
	for _, w := range c.all {
		if w.writes {
			written = append(written, w.real)
		}
	}
	atomicfile.SweepBeside(written)
}

// find follows the links.
func (c *claim) find() (err error) {
	if c.real, err = atomicfile.Resolve(c.path); err != nil {
		return atomicfile.Explain(c.path, err)
	}
	if c.numbered { // its pictures stand beside the name, not beside what a link of that name leads to
		dir, err := atomicfile.Resolve(filepath.Dir(c.path))
		if err != nil {
			return atomicfile.Explain(c.path, err)
		}
		c.real = filepath.Join(dir, filepath.Base(c.path))
		return nil
	}
	c.file, _ = os.Stat(c.path)
	return nil
}

// meets reports whether two claims are, or would be, one file. Devices and pipes hold
// nothing, so many may write to them.
func (c *claim) meets(o *claim) bool {
	switch {
	case c.numbered && o.numbered:
		return equalNames(c.real, o.real)
	case o.numbered:
		return o.meets(c)
	case c.numbered:
		return isNumbered(c.real, o.real)
	case c.file != nil && o.file != nil:
		return os.SameFile(c.file, o.file) && c.file.Mode().IsRegular()
	}
	return c.file == nil && o.file == nil && equalNames(c.real, o.real)
}

// onWay looks at what has the name of a numbered picture already: it may be a link to
// what is read, or no file.
func (c *claim) onWay(all []claim) error {
	entries, err := os.ReadDir(filepath.Dir(c.real))
	if err != nil { // not there: Check of the result says so
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(filepath.Dir(c.real), e.Name())
		if !isNumbered(c.real, path) {
			continue
		}
		there := claim{flag: c.flag, what: c.what, path: filepath.Join(filepath.Dir(c.path), e.Name()), writes: true, numbered: true}
		st, err := os.Stat(path)
		if err == nil && st.IsDir() {
			return fmt.Errorf("%s: %s is a folder, and the name of a picture on the way; choose another name for -o", c.flag, there.path)
		}
		for i := range all {
			if o := &all[i]; err == nil && o.file != nil && o.file.Mode().IsRegular() && os.SameFile(st, o.file) {
				return there.refusal(o)
			}
		}
	}
	return nil
}

// refusal says what would overwrite what.
func (c *claim) refusal(o *claim) error {
	switch {
	case o.numbered:
		return fmt.Errorf("%s %s: is also the name of %s; choose another", c.flag, c.path, o.what)
	case c.numbered && o.reads:
		return fmt.Errorf("%s: would overwrite %s, which is read, as the picture after so many iterations; choose another name for -o", c.flag, o.path)
	case c.numbered:
		return o.refusal(c)
	case o.reads && c.flag == "":
		return fmt.Errorf("%s: %s would overwrite its own input, %s; choose another name", c.path, c.what, o.what)
	case o.reads:
		return fmt.Errorf("%s %s: would overwrite %s, which is read; choose another name", c.flag, c.path, o.path)
	}
	return fmt.Errorf("%s: is also %s's name; choose another", strings.TrimSpace(c.flag+" "+c.path), o.what)
}

// equalNames compares names of files that are not there. Where case does not matter to
// the file system it does not matter here.
func equalNames(a, b string) bool {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		return strings.EqualFold(a, b)
	}
	return a == b
}

// isNumbered reports whether a file has the name of an intermediate picture of a
// result; both are absolute.
func isNumbered(result, path string) bool {
	ext := filepath.Ext(result)
	n := len(path) - len(result) - 1 // digits, and before them a dash
	stem := strings.TrimSuffix(result, ext) + "-"
	return n >= 6 && equalNames(path[:len(stem)], stem) && equalNames(path[len(path)-len(ext):], ext) &&
		strings.Trim(path[len(stem):len(stem)+n], "0123456789") == ""
}

// claim says what a run writes, or goes on with.
func (f *outputFlags) claim(c *claims) {
	write := c.write
	c.write("", "the result", f.path)
	if c.resumed {
		write = c.goOn
	}
	write("--trace", "the trace", f.trace)
	write("--checkpoint", "the checkpoint", f.checkpoint)
	if f.saveEvery != nil {
		c.writeNumbered("--save-every", f.path)
	}
}

// claim says which files of weights and of kernel choices are read and written.
func (f *machineFlags) claim(c *claims) {
	name := given.Or(f.weights, "auto")
	if name == "auto" {
		if path, err := weights.CachePath(); err == nil {
			c.read("the fetched weights", path)
		}
	} else if !weights.IsRandom(name) {
		c.read("the weights", name)
	}
	if path, err := choicesPath(); err == nil && !f.noAutotune && f.device != "cpu" && exists(path) {
		c.read("the choices of kernels", path)
	}
}
