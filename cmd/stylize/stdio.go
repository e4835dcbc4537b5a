package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/term"

	"github.com/stylize-gpu/stylize/transfer/picture"
)

// standard is the name of standard input among what is read, and of standard output
// behind -o.
const standard = "-"

// fileName is a name as messages say it.
func fileName(path string) string {
	if path == standard {
		return "standard output"
	}
	return path
}

// openInput reads a picture from a file, or from standard input.
func openInput(ctx context.Context, path string, maxPixels int) (*picture.Source, error) {
	if path != standard {
		return openPicture(ctx, path, maxPixels)
	}
	type read struct {
		s   *picture.Source
		err error
	}
	in, done := os.Stdin, make(chan read, 1)
	go func() { // nobody can stop a read; what comes after an interrupt is lost
		s, err := picture.Read(ctx, in, "standard input", limits(maxPixels))
		done <- read{s, err}
	}()
	select {
	case r := <-done:
		if r.err == nil {
			r.s.Path = standard
		}
		return r.s, explainSize(r.err, maxPixels)
	case <-ctx.Done():
		return nil, codedError{exitInterrupted, errors.New("interrupted while reading standard input; nothing was saved")}
	}
}

// checkStandard verifies that - is used where it can be.
func checkStandard(out outputFlags, stdout io.Writer, reads []string) error {
	from := 0
	for _, name := range reads {
		if name == standard {
			from++
		}
	}
	switch {
	case from > 1:
		return errors.New("-: standard input has one picture; give the other as a file")
	case from > 0 && isTerminal(os.Stdin):
		return errors.New("-: standard input is a terminal; send a picture to it, as in stylize - STYLE -o OUT.png < CONTENT")
	case out.trace == standard || out.checkpoint == standard:
		return errors.New("--trace and --checkpoint need the name of a file; standard output is for the picture")
	case out.path != standard:
		return nil
	case isTerminal(stdout):
		return errors.New("-o -: standard output is a terminal; send it on, as in stylize CONTENT STYLE -o - > OUT.png")
	case out.json:
		return errors.New("--json prints to standard output, where -o - puts the picture; leave one out")
	case out.saveEvery != nil:
		return errors.New("--save-every makes names of that of the result; give -o a file, or leave it out")
	}
	f, ok := stdout.(*os.File)
	if !ok {
		return nil
	}
	to, err := f.Stat()
	if err != nil || !to.Mode().IsRegular() {
		return nil
	}
	if i := slices.IndexFunc(reads, func(name string) bool {
		st, err := os.Stat(name)
		return err == nil && os.SameFile(st, to)
	}); i >= 0 {
		return fmt.Errorf("-o -: standard output is %s, which is read; send it elsewhere", reads[i])
	}
	return nil
}

func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// toStandard writes a picture that is encoded. If standard output takes no more of it, as
// when the program behind has ended, it goes to a temporary file: it may be the work of
// hours.
func toStandard(b []byte, format picture.Format, stdout io.Writer) error {
	_, err := stdout.Write(b)
	if err == nil {
		return nil
	}
	f, e := os.CreateTemp("", "stylize-*"+format.Extension())
	if e != nil {
		return fmt.Errorf("standard output: %w; the picture is lost (%w)", err, e)
	}
	_, e = f.Write(b)
	if e = errors.Join(e, f.Close()); e != nil {
		return fmt.Errorf("standard output: %w; the picture is lost (%w)", err, e)
	}
	return fmt.Errorf("standard output: %w; the picture is in %s", err, f.Name())
}
