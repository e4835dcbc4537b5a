// Package arrows holds the imports of this module to the table of packages in
// ARCHITECTURE.md, which owns them: what that table does not name may not be
// imported, what it names must be, and every package has a row.
//
// It reads every Go file, whatever platform or tag the file is for, so one run
// speaks for all of them.
package arrows

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	root   = "../.."
	module = "github.com/stylize-gpu/stylize/"
	header = "| package | what | imports | its tests also |"
)

// row says what a package may import, and what its tests may import besides.
type row struct {
	anything    bool
	code, tests []string
}

// found is what the files of a package do import: package, then one file that does.
type found struct{ code, tests map[string]string }

var name = regexp.MustCompile("^`([a-z0-9/]+)`$")

// table reads the rows below header: package, what it is, imports, imports of
// its tests. A cell of imports is `nothing`, empty, or names in backquotes;
// a command may import `anything`, but for other commands, which Go refuses.
func table(text string) (map[string]row, error) {
	_, text, ok := strings.Cut(text, header+"\n")
	if !ok {
		return nil, fmt.Errorf("there is no table that begins %q", header)
	}
	rows := map[string]row{}
	for i, line := range strings.Split(text, "\n") {
		if i == 0 { // the rule below the header
			continue
		}
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		m := name.FindStringSubmatch(cells[0])
		if m == nil || len(cells) != 4 {
			return nil, fmt.Errorf("want a name in backquotes and three cells more: %s", line)
		}
		if _, ok := rows[m[1]]; ok {
			return nil, fmt.Errorf("%s has two rows", m[1])
		}
		var r row
		var err error
		if cells[2] == "anything" && strings.HasPrefix(m[1], "cmd/") {
			r.anything = true
		} else if r.code, err = names(cells[2]); err != nil {
			return nil, fmt.Errorf("imports of %s: %w", m[1], err)
		}
		if r.tests, err = names(cells[3]); err != nil {
			return nil, fmt.Errorf("imports of the tests of %s: %w", m[1], err)
		}
		rows[m[1]] = r
	}
	return rows, nil
}

func names(cell string) ([]string, error) {
	if cell == "" || cell == "nothing" {
		return nil, nil
	}
	var all []string
	for s := range strings.SplitSeq(cell, ", ") {
		m := name.FindStringSubmatch(s)
		if m == nil {
			return nil, fmt.Errorf("want names in backquotes and commas, not %q", s)
		}
		all = append(all, m[1])
	}
	return all, nil
}

// imports reads every Go file below fsys that the go command would ever
// build: none in testdata, nor in folders whose names begin with a dot or a _.
func imports(fsys fs.FS) (map[string]found, error) {
	pkgs := map[string]found{}
	err := fs.WalkDir(fsys, ".", func(file string, d fs.DirEntry, err error) error {
		switch base := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && file != "." && (base == "testdata" || base[0] == '.' || base[0] == '_'):
			return fs.SkipDir
		case d.IsDir() || path.Ext(file) != ".go":
			return nil
		}
		src, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := path.Dir(file)
		if _, ok := pkgs[pkg]; !ok {
			pkgs[pkg] = found{map[string]string{}, map[string]string{}}
		}
		into := pkgs[pkg].code
		if strings.HasSuffix(file, "_test.go") {
			into = pkgs[pkg].tests
		}
		for _, spec := range f.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if p, ok := strings.CutPrefix(p, module); ok {
				into[p] = file
			}
		}
		return nil
	})
	return pkgs, err
}

// check says where the imports and the rows differ.
func check(rows map[string]row, pkgs map[string]found) []string {
	var wrong []string
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for pkg, has := range pkgs {
		r, ok := rows[pkg]
		if !ok {
			complain("%s has no row", pkg)
			continue
		}
		if r.anything {
			continue
		}
		for p, file := range has.code {
			if !slices.Contains(r.code, p) {
				complain("%s imports %s, which its row does not name", file, p)
			}
		}
		for p, file := range has.tests {
			if p != pkg && !slices.Contains(r.code, p) && !slices.Contains(r.tests, p) {
				complain("%s imports %s, which its row does not name", file, p)
			}
		}
		for _, p := range r.code {
			if _, ok := has.code[p]; !ok {
				complain("%s no longer imports %s: take it out of its row", pkg, p)
			}
		}
		for _, p := range r.tests {
			if _, ok := has.tests[p]; !ok || slices.Contains(r.code, p) {
				complain("the tests of %s need no leave of their own for %s: take it out of their cell", pkg, p)
			}
		}
	}
	for pkg := range rows {
		if _, ok := pkgs[pkg]; !ok {
			complain("%s has a row and no Go files", pkg)
		}
	}
	slices.Sort(wrong)
	return wrong
}

// read gives ARCHITECTURE.md's rows and what this module's files import.
func read(t *testing.T) (map[string]row, map[string]found) {
	t.Helper()
	text, err := os.ReadFile(root + "/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := table(string(text))
	if err != nil {
		t.Fatal("ARCHITECTURE.md: ", err)
	}
	pkgs, err := imports(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	return rows, pkgs
}

func TestArrows(t *testing.T) {
	for _, w := range check(read(t)) {
		t.Errorf("ARCHITECTURE.md: %s", w)
	}
}

// In every package but the commands two files are planted, behind tags that
// nobody sets, which import all that the package's row does not name, one for
// the code and one for the tests. Every such import must be reported, and
// nothing else.
func TestPlanted(t *testing.T) {
	rows, pkgs := read(t)
	known := check(rows, pkgs) // TestArrows' to report
	planted := fstest.MapFS{}
	var want []string
	plant := func(file string, forbidden func(p string) bool) {
		text := "//go:build windows && cuda && never\n\npackage planted\n"
		for p := range rows {
			if forbidden(p) {
				text += fmt.Sprintf("import _ %q\n", module+p)
				want = append(want, file+" imports "+p+", which its row does not name")
			}
		}
		planted[file] = &fstest.MapFile{Data: []byte(text)}
	}
	for pkg := range pkgs {
		r, ok := rows[pkg]
		if !ok || r.anything {
			continue
		}
		plant(pkg+"/planted.go", func(p string) bool { return !slices.Contains(r.code, p) })
		plant(pkg+"/planted_test.go", func(p string) bool {
			return p != pkg && !slices.Contains(r.code, p) && !slices.Contains(r.tests, p)
		})
	}
	more, err := imports(planted)
	if err != nil {
		t.Fatal(err)
	}
	for pkg, has := range more {
		maps.Copy(pkgs[pkg].code, has.code)
		maps.Copy(pkgs[pkg].tests, has.tests)
	}
	got := check(rows, pkgs)
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("not caught: %s", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) && !slices.Contains(known, g) {
			t.Errorf("caught, and not planted: %s", g)
		}
	}
	t.Logf("%d imports planted in %d packages", len(want), len(more))
}

// The checks themselves, on a module of three packages.
func TestCheck(t *testing.T) {
	const top = header + "\n| --- | --- | --- | --- |\n"
	good := []string{
		"| `cmd/a` | | anything | |\n",
		"| `lib` | | `leaf` | `leaf/sub` |\n",
		"| `leaf` | | nothing | |\n",
		"| `leaf/sub` | | nothing | |\n",
	}
	lib := "package lib\nimport _ \"" + module + "leaf\"\n"
	files := map[string]string{
		"cmd/a/a.go":            "package main\nimport _ \"" + module + "lib\"\nimport _ \"" + module + "leaf\"\n",
		"lib/lib.go":            lib,
		"lib/lib_test.go":       "package lib_test\nimport _ \"" + module + "lib\"\nimport _ \"" + module + "leaf/sub\"\n",
		"leaf/leaf.go":          "package leaf\nimport _ \"fmt\"\n",
		"leaf/sub/sub.go":       "package sub\n",
		"leaf/testdata/x.go":    "package x\nimport _ \"" + module + "lib\"\n",
		".hidden/dep/anyhow.go": "package dep\n",
	}
	for _, c := range []struct {
		name, file, src string
		without, with   string
		want            string
	}{
		{name: "as it should be"},
		{
			name: "no row", without: good[3],
			want: "leaf/sub has no row",
		},
		{
			name: "no package", with: "| `gone` | | nothing | |\n",
			want: "gone has a row and no Go files",
		},
		{
			name: "an arrow up", file: "leaf/up.go", src: "package leaf\nimport _ \"" + module + "lib\"\n",
			want: "leaf/up.go imports lib, which its row does not name",
		},
		{
			name: "what only tests may", file: "lib/more.go", src: "package lib\nimport _ \"" + module + "leaf/sub\"\n",
			want: "lib/more.go imports leaf/sub, which its row does not name",
		},
		{
			name: "a test", file: "leaf/leaf_test.go", src: "package leaf\nimport _ \"" + module + "lib\"\n",
			want: "leaf/leaf_test.go imports lib, which its row does not name",
		},
		{
			name: "an arrow that nobody goes", file: "lib/lib.go", src: "package lib\n",
			want: "lib no longer imports leaf: take it out of its row",
		},
		{
			name: "a leave that no test needs", file: "lib/lib_test.go", src: "package lib\n",
			want: "the tests of lib need no leave of their own for leaf/sub: take it out of their cell",
		},
		{
			name: "anything, for a library", without: good[2], with: "| `leaf` | | anything | |\n",
			want: `imports of leaf: want names in backquotes and commas, not "anything"`,
		},
		{
			name: "two rows", with: good[1],
			want: "lib has two rows",
		},
		{
			name: "a cell too few", with: "| `x` | nothing | |\n",
			want: "want a name in backquotes and three cells more: | `x` | nothing | |",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := top
			for _, line := range good {
				if line != c.without {
					text += line
				}
			}
			tree := fstest.MapFS{}
			for file, src := range files {
				tree[file] = &fstest.MapFile{Data: []byte(src)}
			}
			if c.file != "" {
				tree[c.file] = &fstest.MapFile{Data: []byte(c.src)}
			}
			pkgs, err := imports(tree)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := table(text + c.with + "\nprose\n| `no` | row |\n")
			got := check(rows, pkgs)
			if err != nil {
				got = []string{err.Error()}
			}
			if strings.Join(got, "\n") != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if _, err := table("no table"); err == nil {
		t.Error("no table, and no error")
	}
	if pkgs, err := imports(fstest.MapFS{"a/a.go": &fstest.MapFile{Data: []byte("import")}}); err == nil {
		t.Errorf("a file that does not parse, and no error: %v", slices.Collect(maps.Keys(pkgs)))
	}
}
