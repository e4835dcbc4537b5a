package batch

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Placeholders are what an output template may have in braces.
var Placeholders = []string{"dir", "content", "style", "key", "seed"}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// checkTemplate refuses unknown placeholders.
func checkTemplate(t string) error {
	for _, p := range placeholder.FindAllString(t, -1) {
		if !slices.Contains(Placeholders, strings.Trim(p, "{}")) {
			return fmt.Errorf("%s: there is no %s; use {%s}", t, p, strings.Join(Placeholders, "}, {"))
		}
	}
	return nil
}

// fill puts an item's names into a template. {key} stays until the key is known.
func fill(t string, it *Item) string {
	t = placeholder.ReplaceAllStringFunc(t, func(p string) string {
		switch p {
		case "{dir}":
			return it.Dir
		case "{content}":
			return stem(it.Content)
		case "{style}":
			return it.styleStem()
		case "{seed}":
			return strconv.FormatUint(it.Options.Seed, 10)
		}
		return p
	})
	return filepath.Clean(t)
}

// stem is the name of a file without folder and extension.
func stem(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

const keyHole = "{key}"

// withKey completes a name.
func withKey(path string, k Key) string { return strings.ReplaceAll(path, keyHole, k.Short()) }

var keyInName = regexp.MustCompile(`[0-9a-f]{16}`)

// holed are the names that a file may have been given before its key was known: its own,
// and that with {key} for each run of as many digits.
func holed(path string) []string {
	return []string{path, keyInName.ReplaceAllString(path, keyHole)}
}
