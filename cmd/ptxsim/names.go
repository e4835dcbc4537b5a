package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ianlancetaylor/demangle"
)

// longestName is the most letters of a name in a message: those of template libraries have a
// thousand.
const longestName = 100

// mangled is a name of C++ or Rust, as it stands in PTX. nvcc calls a kernel's parameters
// by its name with _param_0 behind it.
var (
	mangled   = regexp.MustCompile(`\b_[ZR][0-9A-Za-z_$]+`)
	paramName = regexp.MustCompile(`_param_[0-9]+$`)
)

// demangled is a name as its source has it, and without its parameters; one that is not
// mangled is itself.
func demangled(name string, more ...demangle.Option) string {
	s, err := demangle.ToString(name, append(more, demangle.MaxLength(12))...)
	if err != nil {
		return name
	}
	return s
}

func withTemplates(name string) string { return demangled(name, demangle.NoParams) }

func shortName(name string) string {
	return demangled(name, demangle.NoParams, demangle.NoTemplateParams, demangle.NoEnclosingParams)
}

// shorten leaves out the middle of a long name.
func shorten(s string) string {
	r := []rune(s)
	if len(r) <= longestName {
		return s
	}
	const tail = 39
	return string(r[:longestName-1-tail]) + "…" + string(r[len(r)-tail:])
}

// names are those of the kernels, or of the variables, of a file.
type names struct {
	what  string // "kernel"
	file  string
	all   []string // as PTX has them
	label map[string]string
}

// newNames gives each name a label: the short one, that with template arguments where
// several have the same, and the last resort is a number.
func newNames(what, file string, all []string) *names {
	n := &names{what: what, file: file, all: all, label: map[string]string{}}
	for _, form := range []func(string) string{shortName, withTemplates} {
		count := map[string]int{}
		for _, name := range all {
			if n.label[name] == "" {
				count[shorten(form(name))]++
			}
		}
		for _, name := range all {
			if s := shorten(form(name)); n.label[name] == "" && count[s] == 1 {
				n.label[name] = s
			}
		}
	}
	nth := map[string]int{}
	for _, name := range all {
		if s := shorten(withTemplates(name)); n.label[name] == "" {
			nth[s]++
			n.label[name] = fmt.Sprintf("%s#%d", s, nth[s])
		}
	}
	return n
}

// find returns the name that is meant: itself, its label, or a part of it that no other
// has. PART#2 is the second that has it.
func (n *names) find(want string) (string, error) {
	part, nth := want, 0
	if at := strings.LastIndexByte(want, '#'); at > 0 {
		if k, err := strconv.Atoi(want[at+1:]); err == nil && k > 0 {
			part, nth = want[:at], k
		}
	}
	bare := func(s string) string { return strings.ReplaceAll(s, " ", "") }
	key := bare(part)
	if key == "" {
		return "", fmt.Errorf("%s: a %s has a name; %s", n.file, n.what, n.has())
	}
	suit := []func(string) bool{
		func(name string) bool { return name == want },
		func(name string) bool { return n.label[name] == want },
		func(name string) bool { return bare(shortName(name)) == key || bare(withTemplates(name)) == key },
		func(name string) bool {
			return strings.Contains(bare(demangled(name)), key) || strings.Contains(name, part)
		},
	}
	if n.what != "kernel" { // a part of a variable's name could be meant for a buffer
		suit[3] = func(name string) bool { return last(shortName(name)) == part }
	}
	for i, suits := range suit {
		var found []string
		for _, name := range n.all {
			if suits(name) {
				found = append(found, name)
			}
		}
		switch {
		case len(found) == 1 && (nth <= 1 || i < 2):
			return found[0], nil
		case len(found) == 0, nth > len(found) && i < len(suit)-1: // #2 counts all that have the part
		case nth > len(found):
			return "", fmt.Errorf("%s: %s of %d %ss: %s", n.file, want, len(found), n.what, n.list(found))
		case nth > 0:
			return found[nth-1], nil
		default:
			return "", fmt.Errorf("%s: %s fits %d %ss: %s; say more of one, or %s#1", n.file, part, len(found), n.what, n.list(found), part)
		}
	}
	return "", fmt.Errorf("%s: no %s %s; %s", n.file, n.what, shorten(want), n.has())
}

// last is a name without the namespaces and functions that it is in.
func last(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }

// has says what there is.
func (n *names) has() string {
	if len(n.all) == 0 {
		return "it has none"
	}
	return "it has " + n.list(n.all)
}

// list names the first of some.
func (n *names) list(some []string) string {
	const most = 8
	var s []string
	for _, name := range some[:min(len(some), most)] {
		s = append(s, n.label[name])
	}
	if more := len(some) - most; more > 0 {
		s = append(s, fmt.Sprintf("%d more, which ptxsim list shows", more))
	}
	return strings.Join(s, ", ")
}

// plain puts the labels of kernels, and short names, for the mangled names of a text.
func plain(text string, ns ...*names) string {
	return mangled.ReplaceAllStringFunc(text, func(name string) string {
		suffix := paramName.FindString(name)
		name = strings.TrimSuffix(name, suffix)
		for _, n := range ns {
			if s := n.label[name]; s != "" {
				return s + suffix
			}
		}
		return shorten(shortName(name)) + suffix
	})
}

// plainError is an error in plain names.
type plainError struct {
	error
	text string
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.error }

// listed are the keys of a map, for messages that say what there is.
func listed[T any](m map[string]T) string {
	if len(m) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}
