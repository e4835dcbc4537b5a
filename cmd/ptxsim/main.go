// Command ptxsim runs kernels in PTX on the simulated CUDA device, for anyone
// who writes PTX and wants to know what is wrong with it: no GPU, no driver, no
// tie to style transfer. Run it with --help.
//
// This folder parses words and prints; the work is in gpu/sim. A run is a script of one
// launch: spec.go reads what words stand for, steps.go does what statements say,
// session.go is the device with its buffers, perform.go goes through the steps in each mode.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/anywhere"
)

// Exit codes.
const (
	exitReport      = 1 // a check reports, an expectation is not met, or a result cannot be written
	exitUsage       = 2 // bad usage, bad PTX, bad files
	exitInterrupted = 130
)

// errReport means that a check reported or an expectation was not met; it has been printed.
var errReport = errors.New("a check reports")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	var err error
	if len(args) < 2 || args[1] != "exec" { // whose flags end where the program's begin
		args, err = anywhere.Reorder(app, args)
	}
	if err == nil {
		err = app.RunContext(ctx, args)
	}
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errReport):
		return exitReport
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "ptxsim: interrupted")
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "ptxsim: %s\n", printable(err.Error()))
	if failed := new(failedError); errors.As(err, &failed) {
		return exitReport
	}
	return exitUsage
}

// printable takes out of a message what a terminal would obey: words of a script from a
// stranger stand in it.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '\ufffd'
		}
		return c
	}, s)
}

func newApp(stdout, stderr io.Writer) *cli.App {
	var (
		forList listFlags
		forRun  runFlags

		forScript scriptFlags
	)
	const commands = "there are list, run, script and exec"
	usage := func(_ *cli.Context, err error, _ bool) error { return err }
	return &cli.App{
		Name: "ptxsim", Usage: "run PTX without a GPU, under checks that a GPU does not make",
		UsageText: "ptxsim list FILE.ptx\nptxsim run [flags] FILE.ptx KERNEL [ARGUMENT…]\nptxsim script [flags] FILE\nptxsim exec [flags] PROGRAM [ARGUMENT…]",
		Writer:    stdout, ErrWriter: stderr, HideHelpCommand: true, HideVersion: true,
		ExitErrHandler: func(*cli.Context, error) {},
		OnUsageError:   usage,
		CommandNotFound: func(_ *cli.Context, name string) {
			fmt.Fprintf(stderr, "ptxsim: no command %s; %s\n", name, commands)
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return fmt.Errorf("no command %s; %s", c.Args().First(), commands)
			}
			return cli.ShowAppHelp(c)
		},
		DisableSliceFlagSeparator: true, // a struct has commas
		Commands: []*cli.Command{
			{
				Name: "list", Usage: "the kernels and variables of a file", ArgsUsage: "FILE.ptx",
				Flags: forList.flags(), HideHelpCommand: true, OnUsageError: usage,
				Action: func(c *cli.Context) error { return list(c.Args().Slice(), forList, stdout) },
			},
			{
				Name: "run", Usage: "run one kernel", ArgsUsage: "FILE.ptx KERNEL [ARGUMENT…]", Description: runHelp + wordsHelp + exitHelp,
				Flags: forRun.flags(), HideHelpCommand: true, OnUsageError: usage,
				Action: func(c *cli.Context) error {
					lines, err := forRun.lines(c.Args().Slice())
					if err != nil {
						return err
					}
					o, err := forRun.options()
					if err != nil {
						return err
					}
					o.profile = !forRun.noProfile && len(o.modes) == 1 // else what the modes have in common
					return perform(c.Context, lines, o, stdout)
				},
			},
			{
				Name: "script", Usage: "run several kernels, as a file says", ArgsUsage: "FILE", Description: scriptHelp + wordsHelp + exitHelp,
				Flags: forScript.flags(), HideHelpCommand: true, OnUsageError: usage,
				Action: func(c *cli.Context) error {
					if c.NArg() != 1 {
						return fmt.Errorf("script takes one file, got %d arguments; ptxsim script --help shows an example", c.NArg())
					}
					o, err := forScript.options()
					if err != nil {
						return err
					}
					o.isScript, o.profile = true, forScript.profile
					lines, err := o.readScript(c.Args().First())
					if err != nil {
						return err
					}
					return perform(c.Context, lines, o, stdout)
				},
			},
			execCommand(stdout, stderr),
		},
	}
}
