package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/anywhere"
	"github.com/stylize-gpu/stylize/vgg/openfile"
)

const (
	maxScript     = 1 << 20 // bytes
	maxStatements = 1 << 14
)

// parseScript reads a script: a statement a line, with the words and flags of run.
func parseScript(file, text string) (lines []line, err error) {
	text = strings.TrimPrefix(text, "\ufeff")
	joined, first := "", 0
	for i, l := range strings.Split(text, "\n") {
		l = strings.TrimSuffix(l, "\r")
		if joined == "" {
			first = i + 1
		}
		if more, ok := strings.CutSuffix(l, "\\"); ok { // goes on in the next line
			joined += more + " "
			continue
		}
		where := fmt.Sprintf("%s:%d: ", file, first)
		words, err := splitWords(joined + l)
		joined = ""
		if err != nil {
			return nil, fmt.Errorf("%s%w", where, err)
		}
		if len(words) == 0 {
			continue
		}
		if len(lines) == maxStatements {
			return nil, fmt.Errorf("%smore than %d statements", where, maxStatements)
		}
		st, err := parseStatement(words)
		if err != nil {
			return nil, fmt.Errorf("%s%w", where, err)
		}
		lines = append(lines, line{where, st})
	}
	if joined != "" {
		return nil, fmt.Errorf("%s:%d: the last line ends with \\; take it away", file, first)
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s has no statement; ptxsim script --help shows one", file)
	}
	return lines, nil
}

// splitWords splits a line at spaces. Quotes keep spaces together, and so do the braces of
// a struct; # begins a comment where a word would.
func splitWords(l string) (words []string, err error) {
	var word strings.Builder
	begun, quote, open := false, rune(0), 0
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, c := range l {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			quote, begun = c, true
		case c == '#' && !begun:
			return words, nil
		case unicode.IsSpace(c) && open == 0:
			end()
		case unicode.IsSpace(c):
		default:
			if c == '{' {
				open++
			} else if c == '}' && open > 0 {
				open--
			}
			word.WriteRune(c)
			begun = true
		}
	}
	switch {
	case quote != 0:
		return nil, fmt.Errorf("the quote %c has no end", quote)
	case open > 0:
		return nil, errors.New("the struct has no end; write {f32:1.5,u32:7}")
	}
	end()
	return words, nil
}

// parseStatement reads one. Each statement is a command with flags, as those of ptxsim are.
func parseStatement(words []string) (st step, err error) {
	var (
		launch launchFlags
		expect expectFlags
		bytes  int
	)
	// one is a statement that takes one word.
	one := func(name, form string, parse func(string) (step, error), flags ...cli.Flag) *cli.Command {
		return &cli.Command{Name: name, Flags: flags, Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return fmt.Errorf("%s takes one word, %s; got %d", name, form, c.NArg())
			}
			var err error
			st, err = parse(c.Args().First())
			return err
		}}
	}
	app := &cli.App{
		Name: "script", HideHelp: true, HideHelpCommand: true, HideVersion: true, DisableSliceFlagSeparator: true,
		ExitErrHandler: func(*cli.Context, error) {},
		Commands: []*cli.Command{
			one("load", "FILE.ptx", func(w string) (step, error) { return &loadStep{w}, nil }),
			one("buffer", "NAME=BUFFER", func(w string) (step, error) { return parseDefine(w, true) }),
			one("map", "NAME=MAP", func(w string) (step, error) { return parseDefine(w, false) }),
			one("set", "NAME=VALUE", func(w string) (step, error) { return parseSet(w) }),
			one("copy", "TO=FROM", func(w string) (step, error) { return parseCopy(w, bytes) },
				&cli.IntFlag{Name: "bytes", Destination: &bytes}),
			one("expect", "NAME=VALUE", func(w string) (step, error) { return parseExpect(w, expect.within, expect.relative) }, expect.flags()...),
			one("print", "NAME", func(w string) (step, error) { return parsePrint(w) }),
			one("out", "NAME=FILE.npy", func(w string) (step, error) { return parseOut(w) }),
			{Name: "launch", Flags: launch.flags(), Action: func(c *cli.Context) error {
				if c.NArg() < 1 {
					return errors.New("launch takes a kernel and its arguments")
				}
				var err error
				st, err = parseLaunch(c.Args().Slice(), &launch)
				return err
			}},
		},
	}
	var names []string
	for _, c := range app.Commands {
		c.HideHelp, c.HideHelpCommand = true, true
		c.OnUsageError = func(_ *cli.Context, err error, _ bool) error { return err }
		names = append(names, c.Name)
	}
	if app.Command(words[0]) == nil {
		err := fmt.Errorf("no statement %s; there are %s", shorten(words[0]), strings.Join(names, ", "))
		if near := anywhere.Nearest(names, strings.TrimLeft(words[0], "-")); near != "" {
			err = fmt.Errorf("no statement %s; did you mean %s?", shorten(words[0]), near)
		}
		return nil, err
	}
	for _, w := range words[1:] {
		if w == "--help" || w == "-h" || w == "-help" {
			return nil, errors.New("ptxsim script --help tells what a statement takes")
		}
	}
	args, err := anywhere.Reorder(app, append([]string{"script"}, words...))
	if err != nil {
		return nil, err
	}
	if err := app.Run(args); err != nil {
		return nil, err
	}
	return st, nil
}

// readScript reads a file; - is standard input.
func (o *options) readScript(file string) ([]line, error) {
	path := file
	if file == "-" {
		path = "/dev/stdin"
	} else {
		o.folder, o.readFirst = filepath.Dir(file), []string{file}
	}
	text, err := openfile.Read(path, maxScript)
	if err != nil {
		return nil, err
	}
	return parseScript(file, string(text))
}
