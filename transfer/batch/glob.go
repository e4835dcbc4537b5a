package batch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unread is a folder that could not be read.
type unread struct {
	path string
	err  error
}

func isPattern(s string) bool { return strings.ContainsAny(s, "*?[") }

// escape makes a pattern that matches only the name itself.
func escape(name string) string {
	return strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]").Replace(name)
}

// glob finds the files that a pattern matches, in order: * ? and [] as in a shell, and **
// for any number of folders, none included. Names that begin with a dot match only a
// pattern that does. Where the last part of the pattern ends in *, only those with one of the
// extensions do.
func glob(pattern string, extensions []string) (found []file, errs []unread, bad error) {
	pattern = filepath.Clean(pattern)
	if _, err := filepath.Match(pattern, ""); err != nil {
		return nil, nil, err
	}
	parts := strings.Split(filepath.ToSlash(pattern), "/")
	base := ""
	if filepath.IsAbs(pattern) {
		base = filepath.VolumeName(pattern) + string(filepath.Separator)
		parts = strings.Split(strings.TrimPrefix(filepath.ToSlash(pattern[len(base):]), "/"), "/")
	}
	if parts[len(parts)-1] == "**" { // all files below
		parts = append(parts, "*")
	}
	g := &globber{seen: map[string]bool{}}
	if strings.HasSuffix(parts[len(parts)-1], "*") {
		g.extensions = extensions
	}
	fixed := true
	root := base
	for len(parts) > 1 && fixed { // what comes before the first wildcard is no part of {dir}
		if isPattern(parts[0]) && unescaped(parts[0]) == "" {
			fixed = false
			continue
		}
		if p := unescaped(parts[0]); p != "" {
			root = filepath.Join(root, p)
		} else {
			root = filepath.Join(root, parts[0])
		}
		parts = parts[1:]
	}
	g.root = root
	g.walk(root, parts)
	slices.SortFunc(g.found, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return g.found, g.errs, nil
}

// unescaped is the one name that a part matches; empty where it may match others.
func unescaped(part string) string {
	s := strings.NewReplacer("[*]", "\x00", "[?]", "\x01", "[[]", "\x02").Replace(part)
	if isPattern(s) {
		return ""
	}
	return strings.NewReplacer("\x00", "*", "\x01", "?", "\x02", "[").Replace(s)
}

type globber struct {
	root       string
	extensions []string // of what counts; nil is everything
	found      []file
	seen       map[string]bool
	errs       []unread
}

// walk matches the rest of a pattern below a folder.
func (g *globber) walk(dir string, parts []string) {
	name := dir
	if name == "" {
		name = "."
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			g.errs = append(g.errs, unread{name, err})
		}
		return
	}
	part, last := parts[0], len(parts) == 1
	if part == "**" {
		g.walk(dir, parts[1:])
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(part, ".") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if part == "**" {
			if e.IsDir() { // links are not followed: they may lead round in a circle
				g.walk(path, parts)
			}
			continue
		}
		if ok, err := filepath.Match(part, e.Name()); err != nil || !ok {
			continue
		}
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			st, err := os.Stat(path)
			isDir = err == nil && st.IsDir()
		}
		switch {
		case !last && isDir:
			g.walk(path, parts[1:])
		case last && !isDir && (g.extensions == nil || slices.Contains(g.extensions, strings.ToLower(filepath.Ext(path)))) && !g.seen[path]:
			g.seen[path] = true
			rel, err := filepath.Rel(g.root, filepath.Dir(path))
			if g.root == "" {
				rel, err = filepath.Dir(path), nil
			}
			if err != nil {
				rel = "."
			}
			g.found = append(g.found, file{path, rel, true})
		}
	}
}
