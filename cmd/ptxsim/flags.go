package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/gpu/sim"
)

// listFlags are those of ptxsim list. Each is bound to its field where it is
// declared.
type listFlags struct {
	arch string
	json bool
}

func (f *listFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "arch", Destination: &f.arch, Value: "sm_90a", Usage: "device to simulate: sm_80, sm_86, sm_89, sm_90, sm_90a"},
		&cli.BoolFlag{Name: "json", Destination: &f.json, Usage: "print JSON"},
	}
}

// deviceFlags are those of whole runs and scripts.
type deviceFlags struct {
	mode           string
	check, noCheck cli.StringSlice
	noChecks       bool
	maxSteps       int64
	strict         bool
	listFlags
}

func (f *deviceFlags) flags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "mode", Destination: &f.mode, Aliases: []string{"m"}, Value: "eager", Usage: "when asynchronous work completes: eager, lazy, random:SEED, or all"},
		&cli.StringSliceFlag{Name: "check", Destination: &f.check, Usage: "NAME,NAME…: of the checks that can be switched off, only these: " + optionalChecks()},
		&cli.StringSliceFlag{Name: "no-check", Destination: &f.noCheck, Usage: "NAME,NAME…, or all: without these"},
		&cli.BoolFlag{Name: "no-checks", Destination: &f.noChecks, Hidden: true, Usage: "--no-check all"},
		&cli.BoolFlag{Name: "strict", Destination: &f.strict, Usage: "a warning counts as a report"},
		&cli.Int64Flag{Name: "max-steps", Destination: &f.maxSteps, Value: 1 << 32, Usage: "warp instructions of a cluster before it counts as endless"},
	}, f.listFlags.flags()...)
}

// options reads them.
func (f *deviceFlags) options() (*options, error) {
	o := &options{arch: f.arch, maxSteps: f.maxSteps, strict: f.strict, json: f.json}
	without := f.noCheck.Value()
	if f.noChecks {
		without = append(without, "all")
	}
	if f.maxSteps < 1 {
		return nil, fmt.Errorf("--max-steps %d: want at least 1", f.maxSteps)
	}
	var err error
	if o.modes, err = modes(f.mode); err != nil {
		return nil, err
	}
	o.ignore, err = ignored(f.check.Value(), without)
	return o, err
}

// modes reads --mode; all stands for those that find different mistakes.
func modes(s string) ([]sim.Mode, error) {
	if s == "all" {
		return []sim.Mode{sim.Eager, sim.Lazy, sim.Random(1), sim.Random(2), sim.Random(3)}, nil
	}
	m, err := sim.ParseMode(s)
	if err != nil {
		err = fmt.Errorf("--%w, or all", err)
	}
	return []sim.Mode{m}, err
}

// launchFlags are those of one launch, in run and in a script.
type launchFlags struct {
	grid, block, cluster string
	shared               int // bytes
	registers            int
	dependent            bool
}

func (f *launchFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "grid", Destination: &f.grid, Aliases: []string{"g"}, Value: "1", Usage: "blocks, X or XxYxZ"},
		&cli.StringFlag{Name: "block", Destination: &f.block, Aliases: []string{"b"}, Value: "32", Usage: "threads of a block, X or XxYxZ"},
		&cli.StringFlag{Name: "cluster", Destination: &f.cluster, Usage: "blocks of a cluster, where the kernel does not say"},
		&cli.IntFlag{Name: "shared", Destination: &f.shared, Usage: "bytes of dynamic shared memory"},
		&cli.IntFlag{Name: "registers", Destination: &f.registers, Usage: "registers of a thread, from ptxas, for the occupancy"},
		&cli.BoolFlag{Name: "dependent", Destination: &f.dependent, Usage: "as a programmatic dependent launch"},
	}
}

// expectFlags say how near is near enough.
type expectFlags struct{ within, relative float64 }

func (f *expectFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.Float64Flag{Name: "within", Destination: &f.within, Usage: "how far off a number may be that is expected"},
		&cli.Float64Flag{Name: "relative", Destination: &f.relative, Usage: "the same, times the number that is expected"},
	}
}

// runFlags are those of ptxsim run.
type runFlags struct {
	launchFlags
	deviceFlags
	expectFlags
	buffers, maps, sets   cli.StringSlice
	expects, prints, outs cli.StringSlice
	noProfile             bool
}

func (f *runFlags) flags() []cli.Flag {
	all := append(f.launchFlags.flags(),
		&cli.StringSliceFlag{Name: "buffer", Destination: &f.buffers, Usage: "NAME=BUFFER: a buffer that is not an argument"},
		&cli.StringSliceFlag{Name: "map", Destination: &f.maps, Usage: "NAME=MAP: a tensor map with a name"},
		&cli.StringSliceFlag{Name: "set", Destination: &f.sets, Usage: "NAME=VALUE: give a .const or .global variable, or a buffer, a value"},
		&cli.StringSliceFlag{Name: "expect", Destination: &f.expects, Usage: "NAME=VALUE: what a buffer or a variable must hold when the kernel is done"},
	)
	all = append(all, f.expectFlags.flags()...)
	all = append(all,
		&cli.StringSliceFlag{Name: "print", Destination: &f.prints, Usage: "NAME: print a buffer or a variable when the kernel is done"},
		&cli.StringSliceFlag{Name: "out", Destination: &f.outs, Aliases: []string{"o"}, Usage: "NAME=FILE.npy or FILE.raw: write a buffer or a variable when the kernel is done"},
		&cli.BoolFlag{Name: "no-profile", Destination: &f.noProfile, Usage: "say only what the checks found"},
	)
	return append(all, f.deviceFlags.flags()...)
}

// lines are the steps that a run takes.
func (f *runFlags) lines(args []string) (lines []line, err error) {
	if len(args) < 2 {
		return nil, errors.New("run takes a file, a kernel and its arguments: ptxsim run FILE.ptx KERNEL [ARGUMENT…]; ptxsim list FILE.ptx shows the kernels")
	}
	add := func(flag string, values []string, parse func(string) (step, error)) {
		for _, v := range values {
			if err != nil {
				return
			}
			var st step
			if st, err = parse(v); err != nil {
				err = fmt.Errorf("--%s %w", flag, err)
			}
			lines = append(lines, line{fmt.Sprintf("--%s %s: ", flag, v), st})
		}
	}
	lines = append(lines, line{step: &loadStep{args[0]}})
	add("buffer", f.buffers.Value(), func(v string) (step, error) { return parseDefine(v, true) })
	add("map", f.maps.Value(), func(v string) (step, error) { return parseDefine(v, false) })
	add("set", f.sets.Value(), func(v string) (step, error) { return parseSet(v) })
	if err != nil {
		return nil, err
	}
	l, err := parseLaunch(args[1:], &f.launchFlags)
	if err != nil {
		return nil, err
	}
	lines = append(lines, line{step: l})
	add("expect", f.expects.Value(), func(v string) (step, error) { return parseExpect(v, f.within, f.relative) })
	add("print", f.prints.Value(), func(v string) (step, error) { return parsePrint(v) })
	add("out", f.outs.Value(), func(v string) (step, error) { return parseOut(v) })
	return lines, err
}

// scriptFlags are those of ptxsim script.
type scriptFlags struct {
	deviceFlags
	profile bool
}

func (f *scriptFlags) flags() []cli.Flag {
	return append([]cli.Flag{
		&cli.BoolFlag{Name: "profile", Destination: &f.profile, Usage: "print the profile of each launch"},
	}, f.deviceFlags.flags()...)
}
