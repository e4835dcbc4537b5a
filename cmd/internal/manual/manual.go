// Package manual writes what a command line says of itself, from its table of flags:
// the help in 80 columns, the man page, and what a shell completes. It is shared by the
// commands of this repository and imports none of it.
//
// A flag says what its value may be in backquotes at the beginning of its usage:
//
//	"`auto|cpu|cuda:N` where to compute"
//
// Parts in small letters and digits are literal, and a shell completes them. A part with
// a capital letter stands for something: those that a [Table] knows are files.
package manual

import (
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// Table is what the flags do not say themselves.
type Table struct {
	// Files are the kinds of files by the word that stands for one, in a usage or
	// among the arguments of a command: extensions without a dot. None is any file.
	Files map[string][]string
	// Folders are the words that stand for a folder.
	Folders []string
}

// command is one of the program, or the program itself.
type command struct {
	path        string // "stylize weights fetch"
	usage, args string
	synopsis    []string
	description string
	flags       []flag
	commands    []command
}

// flag is one as people are told of it.
type flag struct {
	names    []string // the long one first
	value    string   // "N", "auto|cpu"; empty for one that takes none
	usage    string
	standard string // the default, if it is worth saying
	heading  string
}

// program reads the whole tree.
func program(app *cli.App) command {
	c := command{path: app.Name, usage: app.Usage, args: app.ArgsUsage, synopsis: strings.Split(app.UsageText, "\n"), description: app.Description, flags: flags(app.Flags)}
	c.commands = commands(app.Name, app.Commands)
	return c
}

func commands(path string, all []*cli.Command) (cs []command) {
	for _, c := range all {
		if !c.Hidden {
			cs = append(cs, one(path+" "+c.Name, c))
		}
	}
	return cs
}

func one(path string, c *cli.Command) command {
	r := command{path: path, usage: c.Usage, args: c.ArgsUsage, description: c.Description, flags: flags(c.Flags), commands: commands(path, c.Subcommands)}
	line := path
	if len(r.flags) > 0 {
		line += " [FLAGS]"
	}
	if len(r.commands) > 0 {
		line += " COMMAND"
	}
	r.synopsis = []string{strings.TrimSpace(line + " " + r.args)}
	return r
}

func flags(all []cli.Flag) (fs []flag) {
	for _, f := range all {
		d, ok := f.(cli.DocGenerationFlag)
		if v, hides := f.(cli.VisibleFlag); !ok || hides && !v.IsVisible() || f.Names()[0] == "help" {
			continue
		}
		r := flag{names: f.Names(), usage: d.GetUsage()}
		if d.TakesValue() {
			r.value = "VALUE"
			if rest, ok := strings.CutPrefix(r.usage, "`"); ok {
				value, usage, _ := strings.Cut(rest, "`")
				r.value, r.usage = value, strings.TrimSpace(usage)
			}
			r.standard = d.GetDefaultText()
			if s, err := strconv.Unquote(r.standard); err == nil {
				r.standard = s
			}
			if r.standard == "0" { // what is not given
				r.standard = ""
			}
		}
		if c, ok := f.(cli.CategorizableFlag); ok {
			r.heading = c.GetCategory()
		}
		if r.heading == "" {
			r.heading = "Flags:"
		}
		fs = append(fs, r)
	}
	return fs
}

// headings are those of some flags, in the order of the table.
func headings(fs []flag) (all []string) {
	seen := map[string]bool{}
	for _, f := range fs {
		if !seen[f.heading] {
			seen[f.heading] = true
			all = append(all, f.heading)
		}
	}
	return all
}

// label is a flag with its names and its value, as one writes it.
func (f flag) label() string {
	var names []string
	for i := range f.names {
		n := f.names[len(f.names)-1-i] // the short one first
		dash := "--"
		if len(n) == 1 {
			dash = "-"
		}
		names = append(names, dash+n)
	}
	return strings.TrimSpace(strings.Join(names, ", ") + " " + f.value)
}

// says is what a flag does, with its default.
func (f flag) says() string {
	if f.standard == "" {
		return f.usage
	}
	return f.usage + " (default " + f.standard + ")"
}

// words are the parts of a value.
func (f flag) words() []string { return strings.Split(f.value, "|") }

// literal reports whether a word stands for itself.
func literal(word string) bool { return word != "" && word == strings.ToLower(word) }
