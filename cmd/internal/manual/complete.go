package manual

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// Complete writes what may stand in the place of the last word of a command line, one a
// line, with a tab and a few words of help behind it. The words are those behind the
// program's name. A last line says which files may stand there as well:
//
//	:files           any
//	:files png jpg   those with these extensions, and folders
//	:folders         folders
//
// A shell of the name bash has cut the words at = and :, and completes what is behind.
func (t Table) Complete(w io.Writer, app *cli.App, shell string, words []string) error {
	if len(words) == 0 {
		words = []string{""}
	}
	cut := ""
	if shell == "bash" {
		words, cut = joined(words)
	}
	c, before, current := program(app), words[:len(words)-1], words[len(words)-1]
	helped := len(before) > 0 && before[0] == "help"
	if helped {
		before = before[1:]
	}
	for len(before) > 0 {
		i := slices.IndexFunc(c.commands, func(s command) bool { return s.name() == before[0] })
		if i < 0 {
			break
		}
		c, before = c.commands[i], before[1:]
	}
	if helped { // the names of commands, and nothing else
		c.flags, c.args = nil, ""
	}
	var r reply
	at := c.position(before)
	switch name, _, has := strings.Cut(current, "="); {
	case at.flag != nil:
		r.value(t, *at.flag, "")
	case !at.literal && strings.HasPrefix(current, "-") && has:
		if f := c.find(name); f != nil && f.value != "" {
			r.value(t, *f, name+"=")
		}
	case !at.literal && strings.HasPrefix(current, "-"):
		for _, f := range c.flags {
			if !slices.Contains(at.given, f.names[0]) {
				r.add("--"+f.names[0], f.usage)
			}
		}
		r.add("--help", "say what it does")
	default:
		if at.args == 0 && len(at.given) == 0 && !at.literal {
			for _, s := range c.commands {
				r.add(s.name(), s.usage)
			}
			if !strings.Contains(c.path, " ") && !helped {
				r.add("help", "say what a command does")
			}
		}
		r.argument(t, c, at.args)
	}
	return r.write(w, current, cut)
}

// position is where a command line has come to.
type position struct {
	flag    *flag    // it waits for its value
	given   []string // flags, by their long names
	args    int      // arguments that are no flags
	literal bool     // behind --
}

func (c command) position(words []string) (p position) {
	for i := 0; i < len(words); i++ {
		word := words[i]
		name, _, has := strings.Cut(word, "=")
		switch f := c.find(name); {
		case p.literal || len(word) < 2 || word[0] != '-':
			p.args++
		case word == "--":
			p.literal = true
		case f != nil:
			p.given = append(p.given, f.names[0])
			if f.value != "" && !has {
				if i++; i == len(words) {
					p.flag = f
				}
			}
		}
	}
	return p
}

func (c command) find(name string) *flag {
	for i, f := range c.flags {
		if name = strings.TrimLeft(name, "-"); slices.Contains(f.names, name) {
			return &c.flags[i]
		}
	}
	return nil
}

// reply is what may stand there.
type reply struct {
	words, notes []string
	files        []string // a word that stands for files makes this not nil
	folders      bool
}

func (r *reply) add(word, note string) {
	r.words, r.notes = append(r.words, word), append(r.notes, note)
}

// value adds what a flag may have.
func (r *reply) value(t Table, f flag, prefix string) {
	for _, word := range f.words() {
		if literal(word) {
			r.add(prefix+word, "")
		}
		r.kind(t, word)
	}
}

// argument adds what may be the next argument of a command.
func (r *reply) argument(t Table, c command, n int) {
	args := strings.Fields(c.args)
	if len(args) == 0 {
		return
	}
	word := strings.Trim(args[min(n, len(args)-1)], "[]")
	repeats := strings.HasSuffix(word, "...")
	if n < len(args) || repeats {
		for _, part := range strings.Split(strings.TrimSuffix(word, "..."), "|") {
			if literal(part) {
				r.add(part, "")
			}
			r.kind(t, part)
		}
	}
}

// kind adds files, if a word stands for some.
func (r *reply) kind(t Table, word string) {
	if extensions, ok := t.Files[word]; ok {
		r.files = append([]string{}, extensions...)
	}
	r.folders = r.folders || slices.Contains(t.Folders, word)
}

// write writes the words that go on from the current one, without what bash has cut off.
func (r *reply) write(w io.Writer, current, cut string) error {
	var b strings.Builder
	for i, word := range r.words {
		if strings.HasPrefix(word, current) {
			note, _, _ := strings.Cut(r.notes[i], ":") // the first clause
			note, _, _ = strings.Cut(note, ";")
			fmt.Fprintf(&b, "%s\t%s\n", strings.TrimPrefix(word, cut), note)
		}
	}
	switch {
	case r.files != nil:
		fmt.Fprintln(&b, strings.TrimSpace(":files "+strings.Join(r.files, " ")))
	case r.folders:
		fmt.Fprintln(&b, ":folders")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// joined puts words together that bash has cut at = and :, and says which part of the
// last one is not to be said again.
func joined(words []string) (all []string, cut string) {
	breaks := func(s string) bool { return s != "" && strings.Trim(s, "=:") == "" }
	glue := false
	for _, word := range words {
		if len(all) > 0 && (glue || breaks(word)) {
			all[len(all)-1] += word
		} else {
			all = append(all, word)
		}
		glue = breaks(word)
	}
	last := all[len(all)-1]
	if len(all) < len(words) {
		cut = last[:strings.LastIndexAny(last, "=:")+1]
	}
	return all, cut
}
