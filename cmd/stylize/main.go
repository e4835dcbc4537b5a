// Command stylize repaints a picture in the style of another. Run it with
// --help; the flags are described there and in the README.
//
// This folder parses flags and prints; the work is in transfer and below it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/anywhere"
	"github.com/stylize-gpu/stylize/cmd/internal/manual"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// version is set by the Makefile from git.
var version = "devel"

// Exit codes; tests and scripts rely on them.
const (
	exitFailed      = 1   // while running
	exitUsage       = 2   // bad usage or bad input, found before the work
	exitSome        = 3   // of a batch: some pictures failed, the others are there
	exitInterrupted = 130 // Ctrl-C; the picture so far is saved
)

// codedError carries the exit code of an error.
type codedError struct {
	code int
	error
}

func (e codedError) Unwrap() error { return e.error }

// errInterrupted is an interrupt before there is anything to save.
var errInterrupted = codedError{exitInterrupted, errors.New("interrupted before the first iteration; nothing was saved")}

// usage marks an error that the user can cure before anything was done.
func usage(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled): // while a picture was decoded, for example
		return errInterrupted
	}
	return codedError{exitUsage, err}
}

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signals = append(signals, syscall.SIGHUP)
	}
	// A reader that goes away, as head does, is no reason to lose the picture: what is
	// said to it is lost.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	go func() {
		<-ctx.Done()
		stop() // a second Ctrl-C ends the program at once
	}()
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	args, err := habits(app, args)
	if err == nil {
		args, err = anywhere.Reorder(app, args)
	}
	if err = usage(translated(err)); err == nil {
		err = app.RunContext(ctx, args)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "stylize: %s\n", plain(err.Error()))
	var coded codedError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitFailed
}

func newApp(stdout, stderr io.Writer) *cli.App {
	var (
		forPaint   paintFlags
		forPlan    planFlags
		forRerun   rerunFlags
		forResume  resumeFlags
		forBatch   batchFlags
		forPlot    plotFlags
		forSheet   sheetFlags
		forMake    styleMakeFlags
		forShow    styleShowFlags
		forFetch   fetchFlags
		forImport  convertFlags
		forConvert convertFlags
		forDevices devicesFlags
	)
	app := &cli.App{
		Name:            "stylize",
		Usage:           "repaint a picture in the style of another",
		UsageText:       "stylize [flags] CONTENT STYLE -o OUT.png\nstylize COMMAND [flags] ...\nstylize help [COMMAND]",
		ArgsUsage:       "CONTENT STYLE",
		Description:     "Paints CONTENT with the textures and colours of STYLE and writes OUT (" + picture.Written + ").\nFlags may stand before or after the pictures. - is standard input for one of them, and standard output for -o.",
		Version:         version,
		HideVersion:     true,
		HideHelpCommand: true,
		Writer:          stdout,
		ErrWriter:       stderr,
		ExitErrHandler:  func(*cli.Context, error) {},

		DisableSliceFlagSeparator: true, // a name may have a comma in it
		OnUsageError:              func(_ *cli.Context, err error, _ bool) error { return usage(err) },
		Flags:                     forPaint.flags(),
		Action: func(c *cli.Context) error {
			if err := notCommand(c.App, c.Args().Slice()); err != nil {
				return err
			}
			return paint(c.Context, c.Args().Slice(), forPaint, stdout, stderr)
		},
	}
	// Here the cli package ends: a command gets a context, its arguments and, by
	// its closure, its flags.
	sub := func(name, use, args string, flags []cli.Flag, f func(ctx context.Context, args []string) error) *cli.Command {
		return &cli.Command{
			Name: name, Usage: use, ArgsUsage: args, Flags: flags, HideHelpCommand: true,
			OnUsageError: func(_ *cli.Context, err error, _ bool) error { return usage(err) },
			Action: func(c *cli.Context) error {
				if args == "" && c.NArg() > 0 {
					return usage(fmt.Errorf("%s takes no arguments, got %q", name, c.Args().First()))
				}
				return f(c.Context, c.Args().Slice())
			},
		}
	}
	app.Commands = []*cli.Command{
		sub("batch", "paint many pictures; what is done is skipped when it is started again", "CONTENT...", forBatch.flags(),
			func(ctx context.Context, args []string) error { return paintBatch(ctx, args, forBatch, stdout, stderr) }),
		sub("sheet", "paint with several values of a flag, side by side on a labelled sheet", "CONTENT STYLE", forSheet.flags(),
			func(ctx context.Context, args []string) error { return sheet(ctx, args, forSheet, stdout, stderr) }),
		sub("plan", "say how much memory and time a run takes, without running it", "CONTENT STYLE", forPlan.flags(),
			func(ctx context.Context, args []string) error { return printPlan(ctx, args, forPlan, stdout, stderr) }),
		sub("rerun", "make a picture again from what its PNG remembers", "OUT.png", forRerun.flags(),
			func(ctx context.Context, args []string) error { return rerun(ctx, args, forRerun, stdout, stderr) }),
		sub("resume", "go on after a stop, from what --checkpoint wrote", "CHECKPOINT", forResume.flags(),
			func(ctx context.Context, args []string) error { return resume(ctx, args, forResume, stdout, stderr) }),
		sub("plot", "draw the losses of a trace, or compare several", "TRACE...", forPlot.flags(),
			func(_ context.Context, args []string) error { return plotTraces(args, forPlot) }),
		{
			Name: "style", Usage: "make style files, which stand for style pictures, and look into them", HideHelpCommand: true,
			OnUsageError: func(_ *cli.Context, err error, _ bool) error { return usage(err) },
			Action: func(c *cli.Context) error {
				if c.NArg() == 0 {
					return usage(errors.New("style: say what to do: make or show"))
				}
				return usage(fmt.Errorf("style %s: there is no such command; use make or show", c.Args().First()))
			},
			Subcommands: []*cli.Command{
				sub("make", "write what the network sees in pictures as a style file, which paints without them", "PICTURE...", forMake.flags(),
					func(ctx context.Context, args []string) error { return styleMake(ctx, args, forMake, stderr) }),
				sub("show", "say what is in a style file, and paint a texture from it", "FILE", forShow.flags(),
					func(ctx context.Context, args []string) error { return styleShow(ctx, args, forShow, stdout, stderr) }),
			},
		},
		{
			Name: "weights", Usage: "fetch, import, convert and verify the weights of VGG19", HideHelpCommand: true,
			OnUsageError: func(_ *cli.Context, err error, _ bool) error { return usage(err) },
			Action: func(c *cli.Context) error {
				if c.NArg() == 0 {
					return usage(errors.New("weights: say what to do: fetch, import, path, convert or verify"))
				}
				return usage(fmt.Errorf("weights %s: there is no such command; use fetch, import, path, convert or verify", c.Args().First()))
			},
			Subcommands: []*cli.Command{
				sub("fetch", "download the trained weights (548 MB) and keep the part that is needed (52 MB)", "", forFetch.flags(),
					func(ctx context.Context, _ []string) error { return weightsFetch(ctx, forFetch, stdout, stderr) }),
				sub("import", "put the weights of a .pth or .safetensors file where fetch puts them", "WEIGHTS", forImport.flags(),
					func(_ context.Context, args []string) error { return weightsImport(args, forImport, stdout) }),
				sub("path", "say where the fetched weights are", "", nil,
					func(context.Context, []string) error { return weightsPath(stdout) }),
				sub("convert", "write .pth or .safetensors as a .safetensors (or .safetensors.zst) of the 13 convolutions", "IN OUT", forConvert.flags(),
					func(_ context.Context, args []string) error { return weightsConvert(args, forConvert, stdout, stderr) }),
				sub("verify", "read a file of weights, or the fetched ones, and say what is in it", "[WEIGHTS]", nil,
					func(_ context.Context, args []string) error { return weightsVerify(args, stdout) }),
			},
		},
		sub("devices", "list the devices of this machine", "", forDevices.flags(),
			func(context.Context, []string) error { return devices(forDevices, stdout, stderr) }),
		sub("completion", "print a script that has a shell complete the command line", strings.Join(manual.Shells, "|"), nil,
			func(_ context.Context, args []string) error { return completion(args, stdout) }),
		sub("man", "print the man page, as stylize man | man -l -", "", nil,
			func(context.Context, []string) error { return manual.Man(stdout, newApp(nil, nil), facts...) }),
		{
			Name: "__complete", Hidden: true, HideHelp: true,
			Action: func(c *cli.Context) error { return complete(c.Args().Slice(), stdout) },
		},
		sub("version", "print the version", "", nil, func(context.Context, []string) error {
			_, err := fmt.Fprintf(stdout, "stylize %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}),
	}
	app.Command("plan").Description = "Put plan before all that a run is given: flags about the result are taken, and have no effect."
	return app
}
