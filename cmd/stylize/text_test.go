package main

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"a picture":             "a picture",
		"naïve 猫.png":           "naïve 猫.png",
		"two\nlines\n":          "two; lines",
		"\x1b[31mred\x1b]0;t\a": `\x1b[31mred\x1b]0;t\a`,
		"back\bspace\r\t":       `back\bspace\r\t`,
		"bad \xff byte":         `bad � byte`,
		"right\u202eleft":       `right\u202eleft`,
		"csi \u009b31m":         `csi \u009b31m`,
	} {
		if got := plain(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for _, long := range []string{strings.Repeat("x", 5e6), strings.Repeat("猫", 1e5), strings.Repeat("\x1b", 1e6), "begin " + strings.Repeat("x\n", 1e5) + " end"} {
		got := plain(long)
		if n := utf8.RuneCountInString(got); n > lineLength || n < lineLength/2 {
			t.Errorf("%d bytes became %d", len(long), n)
		}
		if strings.HasPrefix(long, "begin") && (!strings.HasPrefix(got, "begin") || !strings.HasSuffix(got, "end")) {
			t.Errorf("cut at its ends: %s", got)
		}
	}
}
