package main

import (
	"strconv"
	"strings"
)

// lineLength is what a message may have; more is cut out of its middle, since it
// begins with what is wrong and ends with what to do.
const lineLength = 1000

// plain is text, some of which may come from files, servers or names, as one line for a
// terminal: nothing in it is obeyed there, and it is never long.
func plain(s string) string {
	if len(s) > 8*lineLength { // before looking at megabytes
		s = s[:4*lineLength] + s[len(s)-4*lineLength:]
	}
	var b strings.Builder
	for _, r := range strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "; ") {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	line := []rune(b.String())
	if len(line) > lineLength {
		half := (lineLength - 5) / 2
		return string(line[:half]) + " ... " + string(line[len(line)-half:])
	}
	return string(line)
}
