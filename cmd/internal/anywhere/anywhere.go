// Package anywhere lets the flags of a command line stand behind its arguments.
// It is shared by the commands of this repository and imports none of it.
package anywhere

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// UnknownError is a flag that the command has not.
type UnknownError struct {
	Flag  string   // as it was given, "--num_iterations"
	Name  string   // without dashes and value
	Value string   // what was behind it, empty if that is a flag too
	Known []string // all names of the command's flags
	hint  string   // the nearest flag, or where they all stand
}

func (e *UnknownError) Error() string { return fmt.Sprintf("unknown flag %s; %s", e.Flag, e.hint) }

// Reorder moves flags in front of the other arguments, so that they may stand anywhere:
// the cli package stops reading flags at the first argument. It also reports
// unknown flags as an *[UnknownError], with the nearest known one, and flags before a
// command: they would be the program's, which the command does not look at. A short flag
// and its value may be one word, as -n50 or -oout.png.
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
	early, helped := "", false // the first flag before the other arguments; help is asked for
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
		if f == nil {
			if short := glued(flags, a); short != nil {
				f, name, value, hasValue = short, a[1:2], a[2:], true
			}
		}
		help := f == nil && (name == "help" || name == "h")
		if f == nil && !help {
			for _, arg := range rest[i+1:] { // is it a flag of a command that follows?
				if c := command(commands, arg); c != nil && len(others) == 0 && find(c.Flags, name) != nil {
					return nil, behind(a, arg)
				}
			}
			if !hasValue && i+1 < len(rest) && (rest[i+1] == "" || rest[i+1][0] != '-' || number(rest[i+1])) {
				value = rest[i+1]
			}
			flag, _, _ := strings.Cut(a, "=")
			return nil, &UnknownError{flag, name, value, names(flags), nearest(strings.Join(append([]string{app.Name}, out[1:]...), " "), flags, name)}
		}
		if helped = helped || help; help {
			continue
		}
		if early == "" && len(others) == 0 {
			early = a
		}
		if f != nil { // one name for each flag, so that the last one given counts
			name = f.Names()[0]
		}
		_, isBool := f.(*cli.BoolFlag)
		if _, err := strconv.ParseBool(value); isBool && hasValue && err != nil {
			return nil, fmt.Errorf("--%s takes no value; leave %q out", name, "="+value)
		}
		if isBool && !hasValue {
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
	if helped { // of this command, or of the one behind: nothing else counts
		if len(others) > 0 && command(commands, others[0]) != nil {
			out = append(out, others[0])
		}
		return append(out, "--help"), nil
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

func names(flags []cli.Flag) (all []string) {
	for _, f := range flags {
		all = append(all, f.Names()...)
	}
	return all
}

// glued is the short flag that a word begins with, if the rest can be nothing but its
// value: -n50, -oout.png. Anything else is more likely a long flag, misspelt.
func glued(flags []cli.Flag, word string) cli.Flag {
	if len(word) < 3 || word[1] == '-' {
		return nil
	}
	rest := word[2:]
	f := find(flags, word[1:2])
	switch f.(type) {
	case nil, *cli.BoolFlag:
		return nil
	case *cli.StringFlag:
		if rest != "-" && !strings.ContainsAny(rest, "./\\") {
			return nil
		}
	default:
		if !plain(rest) {
			return nil
		}
	}
	return f
}

// nearest says which flag may be meant: one that is near, or the only one that the name
// begins.
func nearest(command string, flags []cli.Flag, name string) string {
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	var longer []string
	for _, n := range names(flags) {
		if len(name) > 2 && strings.HasPrefix(n, name) {
			longer = append(longer, n)
		}
	}
	best := Nearest(names(flags), name)
	if best == "" && len(longer) == 1 {
		best = longer[0]
	}
	if best == "" {
		return "see " + command + " --help"
	}
	return fmt.Sprintf("did you mean --%s?", best)
}

// Nearest is the word that is two letters away from a name, one from a name of up to five
// letters, of which every other is near; empty if there is none.
func Nearest(words []string, name string) string {
	best, dist := "", 3
	if len(name) < 6 {
		dist = 2
	}
	for _, w := range words {
		if d := distance(w, name); len(w) > 1 && len(name) > 1 && d < dist {
			best, dist = w, d
		}
	}
	return best
}

// distance is Levenshtein's, with two letters in the wrong order as one mistake.
func distance(a, b string) int {
	var before []int // the row before the one before
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) { // bytes, not letters
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := row[j]
			if a[i] != b[j] {
				cost++
			}
			next[j+1] = min(cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
