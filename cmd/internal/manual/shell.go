package manual

import (
	_ "embed"
	"fmt"
	"strings"
)

//go:embed complete.bash
var bash string

//go:embed complete.zsh
var zsh string

//go:embed complete.fish
var fish string

// Shells are those that [Script] knows.
var Shells = []string{"bash", "zsh", "fish"}

// Script has a shell complete the command line of a program. It asks the program, which
// answers to "NAME __complete SHELL -- WORDS" with what [Table.Complete] writes.
func Script(shell, name string) (string, error) {
	text, ok := map[string]string{"bash": bash, "zsh": zsh, "fish": fish}[shell]
	if !ok {
		return "", fmt.Errorf("there is no completion for %s; give %s", shell, strings.Join(Shells, ", "))
	}
	return strings.ReplaceAll(text, "NAME", name), nil
}
