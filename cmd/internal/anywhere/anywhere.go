// Package anywhere lets the flags of a command line stand behind its arguments.
// It is shared by the commands of this repository and imports none of it.
package anywhere

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// Reorder moves flags in front of the other arguments, so that they may stand anywhere:
// the cli package stops reading flags at the first argument. It also reports
// unknown flags, with the nearest known one, and flags before a command: they
// would be the program's, which the command does not look at.
func Reorder(app *cli.App, args []string) ([]string, error) {
	out, flags, commands := []string{args[0]}, app.Flags, app.Commands
	rest := args[1:]
	for len(rest) > 0 { // follow subcommands
		next := command(commands, rest[0])
		if next == nil {
			break
		}
		out, flags, commands, rest = append(out, rest[0]), next.Flags, next.Subcommands, rest[1:]
	}
	var front, others []string
	early := "" // the first flag before the other arguments
	for i := 0; i < len(rest); i++ {
		a := rest[i]
		switch {
		case a == "--":
			others = append(others, rest[i+1:]...)
			i = len(rest)
			continue
		case len(a) < 2 || a[0] != '-' || number(a):
			if early != "" && len(others) == 0 && command(commands, a) != nil {
				return nil, behind(early, a)
			}
			others = append(others, a)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(a, "-"), "=")
		f := find(flags, name)
		help := f == nil && (name == "help" || name == "h")
		if f == nil && !help {
			for _, arg := range rest[i+1:] { // is it a flag of a command that follows?
				if c := command(commands, arg); c != nil && len(others) == 0 && find(c.Flags, name) != nil {
					return nil, behind(a, arg)
				}
			}
			return nil, fmt.Errorf("unknown flag %s%s", a, nearest(app.Name, flags, name))
		}
		if early == "" && len(others) == 0 && !help {
			early = a
		}
		if f != nil { // one name for each flag, so that the last one given counts
			name = f.Names()[0]
		}
		if _, isBool := f.(*cli.BoolFlag); f == nil || (isBool && !hasValue) {
			front = append(front, "--"+name)
			continue
		}
		if !hasValue {
			if i++; i == len(rest) {
				return nil, fmt.Errorf("%s needs a value", a)
			}
			value = rest[i]
		}
		value, err := decimal(f, name, value)
		if err != nil {
			return nil, err
		}
		front = append(front, "--"+name+"="+value)
	}
	out = append(out, front...)
	if len(others) > 0 {
		out = append(append(out, "--"), others...)
	}
	return out, nil
}

// behind says where a flag of a command stands.
func behind(flag, command string) error {
	return fmt.Errorf("%s stands before %s; put it behind %s", flag, command, command)
}

func command(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// number reports whether an argument is a negative number, not a flag.
func number(a string) bool {
	_, err := strconv.ParseFloat(a, 64)
	return err == nil
}

func find(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				return f
			}
		}
	}
	return nil
}

func nearest(app string, flags []cli.Flag, name string) string {
	best, dist := "", min(3, len(name)) // of a letter every other is near
	for _, f := range flags {
		for _, n := range f.Names() {
			if d := distance(n, name); d < dist && len(n) > 1 {
				best, dist = n, d
			}
		}
	}
	if best == "" {
		return "; see " + app + " --help"
	}
	return fmt.Sprintf("; did you mean --%s?", best)
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		prev := row[0]
		row[0] = i + 1
		for j := range b {
			cost := prev
			if a[i] != b[j] {
				cost++
			}
			prev = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
