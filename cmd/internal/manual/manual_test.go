package manual

import (
	"slices"
	"strings"
	"testing"
)

// roff prints what it is given, and takes no line for a macro.
func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"--size": `\-\-size`, `a\b`: `a\eb`, ".png": `\&.png`, "'x": `\&'x`, "a.b": "a.b",
	} {
		if got := escape(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// Lines are short, and lose no word.
func TestFold(t *testing.T) {
	text := strings.Repeat("some words and a wörd ", 30)
	got := fold(text, margin)
	for i, line := range strings.Split(got, "\n") {
		if i == 0 {
			line = strings.Repeat(" ", margin) + line
		}
		if n := len([]rune(line)); n > columns-1 || !strings.HasPrefix(line, strings.Repeat(" ", margin)) {
			t.Errorf("%q has %d columns", line, n)
		}
	}
	if !slices.Equal(strings.Fields(got), strings.Fields(text)) {
		t.Error("words are lost")
	}
}

// What bash has cut is put together, and what it keeps is not said again.
func TestJoined(t *testing.T) {
	for _, c := range []struct{ in, want, cut string }{
		{"--device = cu", "--device=cu", "--device="},
		{"a --device =", "a --device=", "--device="},
		{"--device cuda : 1", "--device cuda:1", "cuda:"},
		{"a b", "a b", ""},
	} {
		all, cut := joined(strings.Fields(c.in))
		if strings.Join(all, " ") != c.want || cut != c.cut {
			t.Errorf("%q became %q, cut %q", c.in, all, cut)
		}
	}
}
