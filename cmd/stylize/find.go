package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/vgg/openfile"
)

// finder looks for the inputs of a result, by their content.
type finder struct {
	from, folder string
}

// check verifies the folder.
func (f finder) check() error {
	if f.folder == "" {
		return nil
	}
	st, err := os.Stat(f.folder)
	switch {
	case err != nil:
		return fmt.Errorf("--folder %s: there is no such folder", f.folder)
	case !st.IsDir():
		return fmt.Errorf("--folder %s: is no folder; give the one that the pictures are in", f.folder)
	}
	return nil
}

// locate finds an input: where the user says, where it was, beside the result, or
// in the folder. The record has the name alone, so only the hash tells. What is
// not found is named as it was recorded, and the error says so.
func (f finder) locate(flag string, in transfer.Input) string {
	if flag != "" {
		return flag
	}
	name := filepath.Base(in.Path)
	near := []string{in.Path, filepath.Join(filepath.Dir(f.from), name)}
	if in.Path == standard { // what came from there may be a file now, in the folder
		near = nil
	}
	for _, path := range near {
		if hashOf(path) == in.SHA256 {
			return path
		}
	}
	for _, path := range f.files(name) {
		if hashOf(path) == in.SHA256 {
			return path
		}
	}
	for _, path := range near { // another content: the error says which file is wrong
		if openfile.IsRegular(path) {
			return path
		}
	}
	return in.Path
}

// files are those of the folder and below, of the same name first.
func (f finder) files(name string) []string {
	if f.folder == "" {
		return nil
	}
	var all []string
	_ = filepath.WalkDir(f.folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() { // what cannot be read cannot be found
			all = append(all, path)
		}
		return nil
	})
	first := func(path string) int {
		if filepath.Base(path) == name {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(first(a), first(b)) })
	return all
}

// hashOf is the SHA-256 of a regular file, empty if it cannot be read.
func hashOf(path string) string {
	sum, _ := openfile.SHA256(path)
	return sum
}
