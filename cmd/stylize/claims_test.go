package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every two files of a run, of which one is written, may not be one: by name, by link,
// by a link that dangles, or by another name of the same file.
func TestClaims(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"file.png", "other.png"} {
		if err := os.WriteFile(name, []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	linked(t, os.Symlink("file.png", "link.png"))
	linked(t, os.Symlink("link.png", "link2.png"))
	linked(t, os.Symlink("none.png", "dangling.png"))
	linked(t, os.Link("file.png", "hard.png"))
	if err := os.Mkdir("folder", 0o777); err != nil {
		t.Fatal(err)
	}
	linked(t, os.Symlink("..", filepath.Join("folder", "up")))
	same := [][]string{ // groups of names of one file
		{"file.png", "./file.png", filepath.Join(dir, "file.png"), "link.png", "link2.png", "hard.png", "folder/up/file.png", "folder/../file.png"},
		{"none.png", "./none.png", "dangling.png", "folder/up/none.png"},
		{"other.png", "folder/up/other.png"},
	}
	kinds := []struct {
		name string
		add  func(c *claims, path string)
	}{
		{"read", func(c *claims, path string) { c.read("the content", path) }},
		{"result", func(c *claims, path string) { c.write("", "the result", path) }},
		{"trace", func(c *claims, path string) { c.write("--trace", "the trace", path) }},
		{"checkpoint", func(c *claims, path string) { c.goOn("--checkpoint", "the checkpoint", path) }},
	}
	pairs, met := 0, 0
	for i, a := range kinds {
		for j, b := range kinds {
			for g, names := range same {
				for h, others := range same {
					for _, x := range names {
						for _, y := range others {
							var c claims
							a.add(&c, x)
							b.add(&c, y)
							err := c.check()
							pairs++
							if want := g == h && (i > 0 || j > 0); (err != nil) != want {
								t.Errorf("%s %s and %s %s: %v", a.name, x, b.name, y, err)
							} else if want {
								met++
								if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), x) && !strings.Contains(err.Error(), y) {
									t.Errorf("%v", err)
								}
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d pairs, %d of them one file", pairs, met)
}

// Pictures on the way are as many files as nobody knows.
func TestClaimsNumbered(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"in.png", "out-000004.png"} {
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"deep/link.png": "../out-000004.png", "elsewhere/out-000006.png": "../in.png"} {
		if err := os.MkdirAll(filepath.Dir(link), 0o777); err != nil {
			t.Fatal(err)
		}
		linked(t, os.Symlink(to, link))
	}
	if err := os.MkdirAll("taken/out-000008.png", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		result string
		flag   string // "" reads
		path   string
		want   string
	}{
		{"out.png", "", "in.png", ""},
		{"out.png", "", "out-000004.png", "would overwrite out-000004.png, which is read"},
		{"out.png", "", "out-123456789.png", "which is read"},
		{"out.png", "", "out-00004.png", ""},
		{"out.png", "", "out-000004.jpg", ""},
		{"out.png", "", "out-00000x.png", ""},
		{"out.png", "", "out.png", ""},
		{"out.png", "", "deep/link.png", "which is read"},
		{"deep/out.png", "", "out-000004.png", ""},
		{"elsewhere/out.png", "", "in.png", "elsewhere/out-000006.png"}, // a link with such a name
		{"out.png", "--trace", "out-000003.png", "--trace out-000003.png: is also the name of a picture of --save-every"},
		{"out.png", "--trace", "t.csv", ""},
		{"taken/out.png", "", "in.png", "is a folder"},
	} {
		for _, first := range []bool{true, false} {
			var f claims
			if first {
				f.writeNumbered("--save-every", c.result)
			}
			if c.flag == "" {
				f.read("the content", c.path)
			} else {
				f.write(c.flag, "the trace", c.path)
			}
			if !first {
				f.writeNumbered("--save-every", c.result)
			}
			err := f.check()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), strings.TrimPrefix(c.want, "elsewhere/out-000006.png")) {
				t.Errorf("%s and %s %s: %v, want %q", c.result, c.flag, c.path, err, c.want)
			}
		}
	}
}

// Every command takes its files through the claims: whatever file it reads stays what it
// was, under whatever flag it is to be written.
func TestEveryCommandClaims(t *testing.T) {
	samples(t)
	mustRun(t, "weights", "convert", "random:1", "w.safetensors")
	mustRun(t, "content.png", "style.jpg", "-o", "old.png", small, quick, rnd, "--trace", "t.csv", "-q")
	interrupted(t, 20, append([]string{"content.png", "style.jpg", "-o", "half.png", "--trace", "t.csv", "--checkpoint", "run.ckpt"}, ladder...)...)
	cached := filepath.Join("cache", "vgg19-dcbb9e9d.safetensors")
	if err := os.MkdirAll("cache", 0o777); err != nil {
		t.Fatal(err)
	}
	linked(t, os.Link("w.safetensors", cached))
	paint := []string{"content.png", "style.jpg", "--init", "old.png", small, quick, "-o", "new.png"}
	for _, c := range []struct {
		args  []string
		flags []string // that take the name of a file to write
		reads []string
	}{
		{paint, []string{"-o", "--trace", "--checkpoint"}, []string{"content.png", "style.jpg", "old.png", cached}},
		{append(slices.Clone(paint), "--weights", "w.safetensors"), []string{"--trace", "--checkpoint"}, []string{"w.safetensors"}},
		{[]string{"rerun", "old.png", "-o", "new.png"}, []string{"-o", "--trace", "--checkpoint"}, []string{"old.png", "content.png", "style.jpg"}},
		{[]string{"resume", "run.ckpt", "-o", "new.png"}, []string{"-o", "--trace"}, []string{"run.ckpt", "content.png", "style.jpg"}},
		{[]string{"resume", "run.ckpt", "-o", "new.png", "--checkpoint", "new.ckpt"}, []string{"--trace"}, []string{"run.ckpt", "style.jpg"}},
		{[]string{"plot", "t.csv", "-o", "new.svg"}, []string{"-o"}, []string{"t.csv"}},
	} {
		for _, flag := range c.flags {
			for _, in := range c.reads {
				name := in
				if flag == "-o" { // under a name that says what it is
					name = "as" + filepath.Ext(c.args[len(c.args)-1])
					if c.args[0] != "plot" {
						name = "as.png"
					}
					os.Remove(name)
					if err := os.Symlink(in, name); err != nil {
						t.Fatal(err)
					}
				}
				before := read(t, in)
				code, _, stderr := stylize(t.Context(), append(slices.Clone(c.args), flag, name)...)
				if code != exitUsage || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "overwrite") && !strings.Contains(stderr, "is also") {
					t.Errorf("%v %s %s (%s): exit %d, %s", c.args, flag, name, in, code, stderr)
				}
				if string(before) != string(read(t, in)) {
					t.Fatalf("%v %s %s: %s is another file now", c.args, flag, name, in)
				}
			}
		}
	}
	for _, args := range [][]string{{"weights", "convert", "w.safetensors", "./w.safetensors"}, {"weights", "convert", "w.safetensors", cached}, {"weights", "import", "w.safetensors"}} {
		if code, _, stderr := stylize(t.Context(), args...); code != exitUsage || !strings.Contains(stderr, "overwrite its own input") {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
}

// What a killed run has left goes with the next run into its folder.
func TestSweptByTheNextRun(t *testing.T) {
	samples(t)
	for i := range 5 {
		if err := os.WriteFile(fmt.Sprintf(".stylize-%016x.tmp", i), []byte("half"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, "content.png", "style.jpg", "-o", "out.png", small, quick, rnd, "-q")
	if left, _ := filepath.Glob(".stylize-*"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
