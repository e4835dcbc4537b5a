package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/manual"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// everyCommand calls f with the words of each command and its flags.
func everyCommand(f func(words []string, flags []cli.Flag)) {
	app := newApp(nil, nil)
	f(nil, app.Flags)
	var walk func([]string, []*cli.Command)
	walk = func(words []string, commands []*cli.Command) {
		for _, c := range commands {
			if !c.Hidden {
				f(append(slices.Clone(words), c.Name), c.Flags)
				walk(append(slices.Clone(words), c.Name), c.Subcommands)
			}
		}
	}
	walk(nil, app.Commands)
}

// The help of every command names its flags, fits 80 columns, and is the same however it
// is asked for.
func TestHelp(t *testing.T) {
	everyCommand(func(words []string, flags []cli.Flag) {
		help, _ := mustRun(t, append(slices.Clone(words), "--help")...)
		if same, _ := mustRun(t, append([]string{"help"}, words...)...); same != help {
			t.Errorf("help %v is not %v --help", words, words)
		}
		for line := range strings.Lines(help) {
			if len(strings.TrimRight(line, "\n")) > 80 {
				t.Errorf("%v: %q has %d columns", words, line, len(line))
			}
		}
		for _, f := range flags {
			if v, ok := f.(cli.VisibleFlag); ok && v.IsVisible() && !strings.Contains(help, "--"+f.Names()[0]) {
				t.Errorf("%v: no --%s in\n%s", words, f.Names()[0], help)
			}
		}
		if strings.Contains(help, "`") {
			t.Errorf("%v: the name of a value is not at the beginning:\n%s", words, help)
		}
	})
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"help", "paint"}, "there is no command paint"},
		{[]string{"help", "weights", "eat"}, "there is no command weights eat"},
		{[]string{"completion"}, "say for which shell: stylize completion bash, or zsh, or fish"},
		{[]string{"completion", "tcsh"}, "no completion for tcsh"},
	} {
		if code, _, stderr := stylize(t.Context(), c.args...); code != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d, %q", c.args, code, stderr)
		}
	}
}

var (
	example = regexp.MustCompile(`, as ([0-9.e+-]+)`)
	bounds  = regexp.MustCompile(`([0-9.]+) to ([0-9.]+)`)
	least   = regexp.MustCompile(`([0-9.]+) or more`)
	above   = regexp.MustCompile(`above ([0-9.]+)`)
	effect  = regexp.MustCompile(`more |larger|higher|fewer|another number`)
)

// The usage of every number says its range, what a larger one does, and an example. The
// range is the one that is checked.
func TestNumbersAreExplained(t *testing.T) {
	numbers := 0
	for _, f := range new(paintFlags).flags() {
		var whole bool
		switch f.(type) {
		case *cli.IntFlag, *cli.Uint64Flag:
			whole = true
		case *cli.Float64Flag:
		default:
			continue
		}
		name, usage := f.Names()[0], f.(cli.DocGenerationFlag).GetUsage()
		if strings.HasPrefix(usage, "`8|16`") { // all that it may be
			continue
		}
		numbers++
		ex := example.FindStringSubmatch(usage)
		if ex == nil || !effect.MatchString(usage) {
			t.Errorf("--%s: no example, or not what it does: %s", name, usage)
			continue
		}
		step := 1.0
		if !whole {
			step = 1e-9
		}
		good, bad := []string{strings.TrimRight(ex[1], ".")}, []string{}
		number := func(s string, d float64) string {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil {
				t.Fatal(err)
			}
			return strconv.FormatFloat(v+d, 'f', -1, 64)
		}
		switch {
		case bounds.MatchString(usage):
			m := bounds.FindStringSubmatch(usage)
			good, bad = append(good, m[1], m[2]), append(bad, number(m[1], -step), number(m[2], max(step, 1e-6)))
		case least.MatchString(usage):
			m := least.FindStringSubmatch(usage)
			good, bad = append(good, m[1]), append(bad, number(m[1], -max(step, 0.5)))
		case above.MatchString(usage):
			m := above.FindStringSubmatch(usage)
			good, bad = append(good, number(m[1], 1e-6)), append(bad, m[1])
		default:
			t.Errorf("--%s: no range: %s", name, usage)
		}
		for _, v := range good {
			if err := accepted(t, name, v); err != nil {
				t.Errorf("--%s %s, as its usage says: %v", name, v, err)
			}
		}
		for _, v := range bad {
			if accepted(t, name, v) == nil {
				t.Errorf("--%s %s is accepted, and its usage says: %s", name, v, usage)
			}
		}
	}
	if numbers < 12 {
		t.Errorf("only %d numbers", numbers)
	}
}

// accepted reports what paint says of a flag before it opens a file.
func accepted(t *testing.T, name, value string) error {
	t.Helper()
	var f paintFlags
	app := &cli.App{Flags: f.flags(), Writer: io.Discard, ErrWriter: io.Discard, Action: func(*cli.Context) error { return nil }}
	args := []string{"stylize", "--" + name + "=" + value, "--output=x.jpg"}
	switch name {
	case "lr":
		args = append(args, "--optimizer=adam")
	case "seed":
		args = append(args, "--init=noise")
	}
	if err := app.Run(args); err != nil {
		return err
	}
	o, err := f.picture.options()
	if err == nil {
		_, err = f.inputs.names([]string{"a", "b"}, &o)
	}
	if err == nil {
		err = o.Validate()
	}
	if name == "save-every" {
		o.Iterations = 1e6
	}
	if err == nil {
		_, _, err = f.output.check(o)
	}
	if err == nil && f.machine.maxPixels < 1 {
		err = new(work).open(t.Context(), inputs{}, f.machine.maxPixels)
	}
	if err == nil {
		f.machine.device = "cpu"
		d, e := f.machine.open(io.Discard)
		if err = e; err == nil {
			err = d.Close()
		}
	}
	return err
}

// The man page has every command and every flag, and its macros are in order.
func TestMan(t *testing.T) {
	page, _ := mustRun(t, "man")
	everyCommand(func(words []string, flags []cli.Flag) {
		if len(words) > 0 && !strings.Contains(page, ".SS "+strings.Join(words, " ")) {
			t.Errorf("no %v", words)
		}
		for _, f := range flags {
			if v, ok := f.(cli.VisibleFlag); ok && v.IsVisible() && !strings.Contains(page, `\-\-`+strings.ReplaceAll(f.Names()[0], "-", `\-`)) {
				t.Errorf("no --%s", f.Names()[0])
			}
		}
	})
	for _, want := range []string{".TH STYLIZE 1", ".SH EXIT STATUS", "STYLIZE_CACHE", ".SH EXAMPLES"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q", want)
		}
	}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !regexp.MustCompile(`^\.(TH|SH|SS|TP|PP|br)\b`).MatchString(line) {
			t.Errorf("a macro by chance: %q", line)
		}
	}
	if _, err := exec.LookPath("mandoc"); err == nil {
		cmd := exec.Command("mandoc", "-Tlint", "-Werror")
		cmd.Stdin = strings.NewReader(page)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("mandoc: %v\n%s", err, out)
		}
	}
}

// What may come next, whatever the shell.
func TestComplete(t *testing.T) {
	all := ":files " + strings.Join(pictures, " ")
	for _, c := range []struct {
		shell, line string // the last word is the one that is typed
		want        []string
		not         []string
	}{
		{"fish", "pl", []string{"plan", "plot", all}, []string{"rerun"}},
		{"fish", "a.png b", []string{all}, []string{"plan"}},
		{"fish", "a.png b.png ", nil, []string{all, "plan"}},
		{"fish", "--st", []string{"--style-weight", "--strength"}, []string{"--size"}},
		{"fish", "--size 3 --s", []string{"--style-weight"}, []string{"--size"}},
		{"fish", "--device ", []string{"auto", "cpu", "cuda", "sim"}, []string{"cuda:N", all}},
		{"fish", "--device=c", []string{"--device=cpu", "--device=cuda"}, []string{"--device=auto"}},
		{"bash", "--device = c", []string{"cpu", "cuda"}, []string{"--device=cpu"}},
		{"bash", "--device =", []string{"cpu", "cuda", "auto"}, nil},
		{"fish", "--init ", []string{"content", "noise", all}, nil},
		{"fish", "--weights ", []string{"auto", "random", ":files pth safetensors zst"}, nil},
		{"fish", "a.png b.png -o ", []string{":files"}, nil},
		{"fish", "rerun ", []string{":files png"}, []string{"plan"}},
		{"fish", "rerun x.png --folder ", []string{":folders"}, nil},
		{"fish", "weights ", []string{"fetch", "import", "path", "convert", "verify"}, nil},
		{"fish", "weights convert a.pth ", []string{":files"}, nil},
		{"fish", "help ", []string{"plan", "weights"}, []string{all}},
		{"fish", "help weights f", []string{"fetch"}, nil},
		{"fish", "completion ", []string{"bash", "zsh", "fish"}, nil},
		{"fish", "plan a.png b.png --like ", []string{"h100", "a100"}, nil},
		{"fish", "-- --s", []string{all}, []string{"--size"}},
		{"fish", "plot a.csv ", []string{":files csv"}, nil},
	} {
		words := strings.Split(c.line, " ")
		out, _ := mustRun(t, append([]string{"__complete", c.shell, "--"}, words...)...)
		var got []string
		for line := range strings.Lines(out) {
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			got = append(got, word)
		}
		for _, w := range c.want {
			if !slices.Contains(got, w) {
				t.Errorf("%s %q: no %q in %q", c.shell, c.line, w, got)
			}
		}
		for _, w := range c.not {
			if slices.Contains(got, w) {
				t.Errorf("%s %q: %q is in %q", c.shell, c.line, w, got)
			}
		}
	}
	entries, err := os.ReadDir("../../testdata/pictures")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := picture.Open(filepath.Join("../../testdata/pictures", e.Name()), 0); err == nil && !slices.Contains(pictures, strings.TrimPrefix(filepath.Ext(e.Name()), ".")) {
			t.Errorf("%s is read, and no shell completes it", e.Name())
		}
	}
}

// The scripts, in the shells that are here: flags, values, commands, and files.
func TestShells(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	linked(t, os.Symlink(exe, filepath.Join(dir, "stylize")))
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("STYLIZE_TEST_MAIN", "1")
	t.Chdir(dir)
	for _, name := range []string{"a picture.png", "photo.jpg", "notes.txt", "w.pth"} {
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir("photos", 0o777); err != nil {
		t.Fatal(err)
	}
	asks := map[string]func(t *testing.T, script string, lines []string) []string{"bash": askBash, "zsh": askZsh, "fish": askFish}
	for _, shell := range manual.Shells {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("no %s here", shell)
			}
			script, err := manual.Script(shell, "stylize")
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "completion."+shell)
			if err := os.WriteFile(file, []byte(script), 0o666); err != nil {
				t.Fatal(err)
			}
			cases := []struct {
				line string
				want []string
				not  string
			}{
				{"stylize --st", []string{"--style-weight", "--strength"}, "--size"},
				{"stylize --device c", []string{"cpu", "cuda"}, "auto"},
				{"stylize --device=cp", []string{"cpu"}, "auto"},
				{"stylize we", []string{"weights"}, "plan"},
				{"stylize weights f", []string{"fetch"}, "verify"},
				{"stylize photo.jpg p", []string{"photos"}, "notes.txt"},
				{"stylize ph", []string{"photo.jpg", "photos"}, "notes.txt"},
				{"stylize --weights w", []string{"w.pth"}, "photo.jpg"},
				{"stylize rerun photo.jpg --folder p", []string{"photos"}, ".jpg"},
				{"stylize photo.jpg photo.jpg -o n", []string{"notes.txt"}, "photos"},
			}
			var lines []string
			for _, c := range cases {
				lines = append(lines, c.line)
			}
			answers := asks[shell](t, file, lines)
			for i, c := range cases {
				got := strings.ReplaceAll(answers[i], c.line, "")
				for _, w := range c.want {
					if !strings.Contains(got, w) {
						t.Errorf("%q: no %q in %q", c.line, w, got)
					}
				}
				if strings.Contains(got, c.not) {
					t.Errorf("%q: %q is in %q", c.line, c.not, got)
				}
			}
		})
	}
}

// ask runs a shell, and returns what it prints.
func ask(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out, stderr bytes.Buffer
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &stderr)
	}
	return out.String()
}

// askBash calls the function as readline does, which cuts words at = too.
func askBash(t *testing.T, script string, lines []string) (answers []string) {
	t.Helper()
	for _, line := range lines {
		words := strings.Fields(strings.ReplaceAll(line, "=", " = "))
		answers = append(answers, ask(t, "bash", "--norc", "-c", fmt.Sprintf("source %s; COMP_WORDS=(%s); COMP_CWORD=%d; _stylize; printf '%%s\\n' \"${COMPREPLY[@]}\"",
			script, strings.Join(words, " "), len(words)-1)))
	}
	return answers
}

func askFish(t *testing.T, script string, lines []string) (answers []string) {
	t.Helper()
	for _, line := range lines {
		answers = append(answers, ask(t, "fish", "--no-config", "-c", fmt.Sprintf("source %s; complete -C '%s'", script, line)))
	}
	return answers
}

// askZsh types into a terminal, which is the only place where zsh completes: each line,
// Ctrl-D, which lists, and when no more comes Ctrl-U, which takes the line back.
func askZsh(t *testing.T, script string, lines []string) []string {
	t.Helper()
	return strings.Split(ask(t, "zsh", "-f", "-c", fmt.Sprintf(`
zmodload zsh/zpty
export TERM=dumb
zpty z zsh -f -i
zpty -w z "PS1='rea''dy> '; stty columns 500; autoload -Uz compinit; compinit -D -u; source %s; LISTMAX=0"
all=
while [[ $all != *'ready> '* ]]; do sleep 0.1; while zpty -r -t z chunk; do all+=$chunk; done; done # the editor has the terminal
for line in '%s'; do
    zpty -n -w z $line$'\x04'
    all= was= quiet=0
    for ((i = 0; i < 200 && quiet < 8; i++)); do # a list is there when there is a line, and no more comes
        sleep 0.1
        while zpty -r -t z chunk; do all+=$chunk; done
        if [[ $all == *$'\n'* && $all == $was ]]; then ((++quiet)); else quiet=0; fi
        was=$all
    done
    print -r -- $all$'\x01'
    zpty -n -w z $'\x15'
done
zpty -d z`, script, strings.Join(lines, "' '"))), "\x01")
}
