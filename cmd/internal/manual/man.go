package manual

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Section is a part of a man page that no flag tells: lines of "name\ttext", or text.
type Section struct {
	Title string
	Lines []string
}

// Man writes the man page of a program, in the macros of man(7).
func Man(w io.Writer, app *cli.App, more ...Section) error {
	c := program(app)
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(".TH %s 1 \"\" \"%s %s\"", strings.ToUpper(c.path), c.path, escape(app.Version))
	p(".SH NAME\n%s \\- %s", c.path, escape(c.usage))
	p(".SH SYNOPSIS")
	p("%s", escapeLines(strings.Join(c.synopsis, "\n")))
	p(".SH DESCRIPTION\n%s", escapeLines(c.description))
	p(".SH OPTIONS")
	c.options(p, nil)
	p(".SH COMMANDS")
	var walk func([]command)
	walk = func(cs []command) {
		for _, s := range cs {
			p(".SS %s", escape(strings.TrimPrefix(s.synopsis[0], c.path+" ")))
			p("%s", escapeLines(strings.TrimSpace(sentence(s.usage)+"\n"+s.description)))
			s.options(p, c.flags)
			walk(s.commands)
		}
	}
	walk(c.commands)
	for _, s := range more {
		p(".SH %s", escape(strings.ToUpper(s.Title)))
		for _, line := range s.Lines {
			if name, text, ok := strings.Cut(line, "\t"); ok {
				p(".TP\n\\fB%s\\fR\n%s", escape(name), escape(text))
			} else {
				p(".PP\n%s", escape(line))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// options are the flags of a command; those that the program has too are named only.
func (c command) options(p func(string, ...any), known []flag) {
	var also []string
	for _, h := range headings(c.flags) {
		said := known != nil // a heading is said before its first flag, of the program alone
		for _, f := range c.flags {
			switch {
			case f.heading != h:
				continue
			case slices.ContainsFunc(known, func(k flag) bool { return k.label() == f.label() && k.usage == f.usage }):
				also = append(also, "--"+f.names[0])
				continue
			case !said:
				p(".SS %s", escape(strings.TrimSuffix(h, ":")))
				said = true
			}
			names, value := f.label(), ""
			if f.value != "" {
				names, value = strings.TrimSuffix(names, " "+f.value), " \\fI"+escape(f.value)+"\\fR"
			}
			p(".TP\n\\fB%s\\fR%s\n%s", escape(names), value, escape(sentence(f.says())))
		}
	}
	if len(also) > 0 {
		p(".PP\nIt takes also, with the same meaning: %s.", escape(strings.Join(also, ", ")))
	}
}

// sentence is a usage with a capital and a full stop.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

func escapeLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = escape(lines[i])
	}
	return strings.Join(lines, "\n.br\n")
}

// escape has roff print a text as it is.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if s != "" && (s[0] == '.' || s[0] == '\'') {
		s = `\&` + s
	}
	return s
}
