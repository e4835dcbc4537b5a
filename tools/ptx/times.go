package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The rows of the matrix are of one run each, beside others. What a driver takes on a
// machine that has nothing else to do is measured here.

// timedRuns are those of which the quickest counts.
const timedRuns = 3

// runTimes prints how long every assembler takes for each file of shipped whose name has
// one of some words in it, for all without: seconds of CPU time, and their sum.
func runTimes(w io.Writer, fetch bool, words []string) error {
	if err := installAssemblers(fetch); err != nil {
		return err
	}
	m, err := readManifest(filepath.Join(shipped.dst, "MANIFEST"))
	if err != nil {
		return err
	}
	return times(w, assemblers, m, words, func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(shipped.dst, name)) })
}

func times(w io.Writer, with []assembler, m *manifest, words []string, read func(name string) ([]byte, error)) error {
	row := func(name string, took []time.Duration) {
		fmt.Fprintf(w, "| %s |", name)
		for _, t := range took {
			fmt.Fprintf(w, " %.2f |", t.Seconds())
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "| seconds by ptxas |")
	for _, a := range with {
		fmt.Fprintf(w, " %s |", a.version)
	}
	fmt.Fprintf(w, "\n| --- |%s\n", strings.Repeat(" --- |", len(with)))
	sum, files := make([]time.Duration, len(with)), 0
	for _, f := range m.files {
		if len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(f.name, word) }) {
			continue
		}
		text, err := read(f.name)
		if err != nil {
			return err
		}
		took := make([]time.Duration, len(with))
		for i, a := range with {
			for run := range timedRuns { // in turn, one at a time
				v, err := a.ask(f, text)
				if err != nil {
					return err
				}
				if run == 0 || v.took < took[i] {
					took[i] = v.took
				}
			}
			sum[i] += took[i]
		}
		row(f.name, took)
		files++
	}
	if files == 0 {
		return fmt.Errorf("no file has one of %q in its name", words)
	}
	row("all", sum)
	return nil
}
