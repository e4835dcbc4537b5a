package manual

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

const (
	columns = 80
	margin  = 25 // where the usage of a flag begins
)

// Help writes the help of a program or a command. It has the form of cli.HelpPrinter,
// whose template it has no use for.
func Help(w io.Writer, _ string, data any) {
	switch d := data.(type) {
	case *cli.App:
		program(d).help(w)
	case *cli.Command:
		one(d.HelpName, d).help(w)
	}
}

func (c command) help(w io.Writer) {
	fmt.Fprint(w, fold(c.path+" - "+c.usage, 0), "\n\nUsage:\n")
	for _, line := range c.synopsis {
		fmt.Fprintf(w, "  %s\n", line)
	}
	if c.description != "" {
		fmt.Fprintf(w, "\n%s\n", paragraphs(c.description, 0))
	}
	if len(c.commands) > 0 {
		fmt.Fprint(w, "\nCommands:\n")
		for _, s := range c.commands {
			entry(w, s.name(), s.usage, 14)
		}
	}
	for _, h := range headings(c.flags) {
		fmt.Fprintf(w, "\n%s\n", h)
		for _, f := range c.flags {
			if f.heading == h {
				entry(w, f.label(), f.says(), margin)
			}
		}
	}
}

func (c command) name() string { return c.path[strings.LastIndexByte(c.path, ' ')+1:] }

// entry is a name and what it is, side by side where the name is short.
func entry(w io.Writer, name, text string, at int) {
	body := fold(text, at)
	if len(name)+4 > at {
		fmt.Fprintf(w, "  %s\n%s%s\n", name, strings.Repeat(" ", at), body)
		return
	}
	fmt.Fprintf(w, "  %-*s%s\n", at-2, name, body)
}

// fold breaks a text into lines that begin at a column; the first is not indented.
func fold(text string, at int) string {
	var b strings.Builder
	room := columns - 1 - at // one column short, for terminals that break early
	n := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case n+1+len([]rune(word)) > room:
			b.WriteString("\n" + strings.Repeat(" ", at))
			n = 0
		default:
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += len([]rune(word))
	}
	return b.String()
}

// paragraphs folds each line of a text.
func paragraphs(text string, at int) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = fold(lines[i], at)
	}
	return strings.Join(lines, "\n")
}
