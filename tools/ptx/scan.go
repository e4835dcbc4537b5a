package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maybeNull is what MAYBE_NULL of params.cuh becomes for the scanner.
const maybeNull = "__maybe_null__"

// source is what a .cu declares, its own headers included.
type source struct {
	kernels   []*kernel
	constants []constant            // constexpr int and enumerators, in order
	records   map[string][]variable // structs, and struct templates: their members
	statics   map[string][]string   // static constexpr members of a struct template
	templates map[string]template
}

// kernel is an extern "C" __global__ function; callee is the template with integer
// parameters, of its own file, that it runs.
type kernel struct {
	name     string
	params   []variable
	callee   string   // "Conv"
	callArgs []string // its arguments: "f16", "64", ...
}

// template is one of a function or a struct.
type template struct {
	file   string
	params []variable
}

// constant is a compile-time integer; name is qualified by its namespaces.
type constant struct{ file, name string }

// variable is a parameter or a member.
type variable struct {
	typ       string // without const and stars: "float", "Element<f16>::Store"
	name      string
	pointer   bool
	constant  bool // what it points to
	maybeNull bool
}

// token is one of preprocessed C++, with the file that it came from.
type token struct{ text, file string }

var (
	lineMarker = regexp.MustCompile(`^# \d+ "([^"]*)"`)
	tokenText  = regexp.MustCompile(`^(?:[A-Za-z_]\w*|\d[\w.']*|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|::|->|<<|>>|\S)`)
)

// tokens splits what the preprocessor made of a source; what comes from outside
// the source's folder is left out.
func tokens(text []byte, folder string) []token {
	var all []token
	file := ""
	for line := range strings.Lines(string(text)) {
		if m := lineMarker.FindStringSubmatch(line); m != nil {
			if file = ""; filepath.Dir(m[1]) == filepath.Clean(folder) {
				file = filepath.Base(m[1])
			}
			continue
		}
		if file == "" || strings.HasPrefix(strings.TrimSpace(line), "#") { // #pragma
			continue
		}
		for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
			t := tokenText.FindString(line)
			all = append(all, token{t, file})
			line = line[len(t):]
		}
	}
	return all
}

// scan reads the declarations of a preprocessed source. It knows as much C++ as the
// kernels use at the level of a file, and looks into no function but for the
// template that a kernel runs.
func scan(text []byte, folder string) (*source, error) {
	s := &source{records: map[string][]variable{}, statics: map[string][]string{}, templates: map[string]template{}}
	if err := s.scope(tokens(text, folder), ""); err != nil {
		return nil, err
	}
	return s, nil
}

// closing is the index of the bracket that closes the one at i.
func closing(ts []token, i int) int {
	pair := map[string]string{"(": ")", "{": "}", "[": "]", "<": ">"}
	open, end, depth := ts[i].text, pair[ts[i].text], 0
	for ; i < len(ts); i++ {
		switch ts[i].text {
		case open:
			depth++
		case end:
			if depth--; depth == 0 {
				return i
			}
		case ">>":
			if open == "<" {
				if depth -= 2; depth <= 0 {
					return i
				}
			}
		}
	}
	return len(ts) - 1
}

// scope reads the declarations of a namespace.
func (s *source) scope(ts []token, namespace string) error {
	for len(ts) > 0 {
		switch {
		case ts[0].text == ";":
			ts = ts[1:]
			continue
		case ts[0].text == "namespace" && len(ts) > 2 && ts[2].text == "{":
			end := closing(ts, 2)
			if err := s.scope(ts[3:end], namespace+ts[1].text+"::"); err != nil {
				return err
			}
			ts = ts[end+1:]
			continue
		}
		n := declaration(ts)
		if err := s.declare(ts[:n], namespace); err != nil {
			return fmt.Errorf("%s: %s: %w", ts[0].file, join(ts[:min(n, 12)]), err)
		}
		ts = ts[n:]
	}
	return nil
}

// declaration is how many tokens the first declaration has: up to a semicolon, or
// the body of a function.
func declaration(ts []token) int {
	for i := 0; i < len(ts); i++ {
		switch ts[i].text {
		case "(", "[":
			i = closing(ts, i)
		case "{":
			i = closing(ts, i)
			if i+1 >= len(ts) || ts[i+1].text != ";" {
				return i + 1
			}
		case ";":
			return i + 1
		}
	}
	return len(ts)
}

func (s *source) declare(ts []token, namespace string) error {
	global := false
	ts = stripAttributes(ts, func(a string) { global = global || a == "global" })
	switch {
	case len(ts) < 2:
		return nil
	case global:
		return s.kernel(ts)
	case ts[0].text == "template" && ts[1].text == "<":
		return s.template(ts)
	case ts[0].text == "struct" && ts[2].text == "{":
		s.records[ts[1].text], _ = members(ts[3:closing(ts, 2)])
	case ts[0].text == "enum":
		open := slices.IndexFunc(ts, func(t token) bool { return t.text == "{" })
		for _, e := range split(ts[open+1:closing(ts, open)], ",") {
			s.constants = append(s.constants, constant{e[0].file, namespace + e[0].text})
		}
	case ts[0].text == "constexpr" && ts[1].text == "int":
		for _, d := range split(ts[2:len(ts)-1], ",") {
			s.constants = append(s.constants, constant{d[0].file, namespace + d[0].text})
		}
	}
	return nil
}

// kernel reads one: extern "C" void NAME(PARAMETERS) { BODY }.
func (s *source) kernel(ts []token) error {
	if len(ts) < 6 || ts[0].text != "extern" || ts[2].text != "void" || ts[4].text != "(" {
		return fmt.Errorf(`a kernel must begin with extern "C" __global__ void`)
	}
	k := &kernel{name: ts[3].text}
	end := closing(ts, 4)
	for _, p := range split(ts[5:end], ",") {
		v, err := parseVariable(p, variable{})
		if err != nil {
			return err
		}
		k.params = append(k.params, v)
	}
	body := ts[end+1:]
	for i := 0; i+1 < len(body) && k.callee == ""; i++ {
		t := s.templates[body[i].text]
		if t.file == ts[0].file && body[i+1].text == "<" && slices.ContainsFunc(t.params, func(p variable) bool { return p.typ == "int" }) {
			end := closing(body, i+1)
			k.callee = body[i].text
			for _, a := range split(body[i+2:end], ",") {
				k.callArgs = append(k.callArgs, join(a))
			}
			if len(k.callArgs) != len(t.params) {
				return fmt.Errorf("%s takes %d template arguments, got %d", k.callee, len(t.params), len(k.callArgs))
			}
		}
	}
	s.kernels = append(s.kernels, k)
	return nil
}

// template reads the parameters of one, and of a struct its members.
func (s *source) template(ts []token) error {
	end := closing(ts, 1)
	var params []variable
	for _, p := range split(ts[2:end], ",") {
		if len(p) == 2 {
			params = append(params, variable{typ: p[0].text, name: p[1].text})
		} else {
			params = append(params, variable{typ: join(p)})
		}
	}
	ts = ts[end+1:]
	if len(ts) > 2 && ts[0].text == "struct" {
		if ts[2].text == "{" {
			s.templates[ts[1].text] = template{ts[0].file, params}
			s.records[ts[1].text], s.statics[ts[1].text] = members(ts[3:closing(ts, 2)])
		}
		return nil
	}
	for i := range ts {
		if ts[i].text == "(" && i > 0 {
			s.templates[ts[i-1].text] = template{ts[0].file, params}
			return nil
		}
	}
	return nil
}

// members reads the variables of a struct and the names of its static constants,
// and passes over functions and types.
func members(ts []token) (vars []variable, statics []string) {
	for len(ts) > 0 {
		n := declaration(ts)
		d := stripAttributes(ts[:n], func(string) {})
		ts = ts[n:]
		if len(d) < 3 || slices.ContainsFunc(d, func(t token) bool { return t.text == "(" || t.text == "{" || t.text == "using" }) && d[0].text != "static" {
			continue
		}
		if d[0].text == "static" {
			if d[1].text == "constexpr" && d[2].text == "int" {
				for _, c := range split(d[3:len(d)-1], ",") {
					statics = append(statics, c[0].text)
				}
			}
			continue
		}
		var base variable
		for i, p := range split(d[:len(d)-1], ",") {
			v, err := parseVariable(p, base)
			if err != nil { // no variable
				break
			}
			vars = append(vars, v)
			if i == 0 {
				base = variable{typ: v.typ, constant: v.constant}
			}
		}
	}
	return vars, statics
}

// parseVariable reads one; base is the type that an earlier one of the same
// declaration has given.
func parseVariable(ts []token, base variable) (variable, error) {
	v := base
	var rest []token
	for _, t := range ts {
		switch t.text {
		case "const":
			v.constant = true
		case "*":
			v.pointer = true
		case maybeNull:
			v.maybeNull = true
		case "__restrict__", ";":
		default:
			rest = append(rest, t)
		}
	}
	if len(rest) == 0 {
		return v, fmt.Errorf("no name in %q", join(ts))
	}
	v.name = rest[len(rest)-1].text
	if len(rest) > 1 {
		v.typ = join(rest[:len(rest)-1])
	}
	if v.typ == "" {
		return v, fmt.Errorf("no type in %q", join(ts))
	}
	return v, nil
}

// stripAttributes leaves out every __attribute__((A)) and names each A.
func stripAttributes(ts []token, see func(string)) []token {
	var out []token
	for i := 0; i < len(ts); i++ {
		if ts[i].text == "__attribute__" && i+3 < len(ts) && ts[i+1].text == "(" {
			see(ts[i+3].text)
			i = closing(ts, i+1)
			continue
		}
		out = append(out, ts[i])
	}
	return out
}

// split cuts at a separator outside every bracket.
func split(ts []token, at string) [][]token {
	var all [][]token
	from := 0
	for i := 0; i < len(ts); i++ {
		switch t := ts[i].text; {
		case t == "(" || t == "{" || t == "[" || t == "<" && i > 0 && ts[i-1].text != "operator":
			i = closing(ts, i)
		case t == at:
			all = append(all, ts[from:i])
			from = i + 1
		}
	}
	if from < len(ts) {
		all = append(all, ts[from:])
	}
	return all
}

// join writes tokens as one text, with spaces between words only.
func join(ts []token) string {
	var b strings.Builder
	word := regexp.MustCompile(`^\w`)
	for i, t := range ts {
		if i > 0 && word.MatchString(t.text) && word.MatchString(ts[i-1].text) {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
	}
	return b.String()
}

// integer is a template argument that is one.
func integer(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil
}
