package main

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// allFlags are those of every command.
func allFlags() []cli.Flag {
	app := newApp(nil, nil)
	flags := slices.Clone(app.Flags)
	var walk func([]*cli.Command)
	walk = func(commands []*cli.Command) {
		for _, c := range commands {
			flags = append(flags, c.Flags...)
			walk(c.Subcommands)
		}
	}
	walk(app.Commands)
	return flags
}

// A flag that is declared goes somewhere.
func TestEveryFlagIsBound(t *testing.T) {
	for _, f := range allFlags() {
		v := reflect.ValueOf(f).Elem()
		if v.FieldByName("Destination").IsNil() && v.FieldByName("Action").IsNil() {
			t.Errorf("--%s is parsed and forgotten", f.Names()[0])
		}
	}
}

// What is given arrives in its field, and what is not stays nil.
func TestFlagsArrive(t *testing.T) {
	var f paintFlags
	app := &cli.App{Flags: f.flags(), Writer: io.Discard, Action: func(*cli.Context) error { return nil }}
	if err := app.Run(strings.Fields("stylize --preset classic --size 64 -n 3 --ladder 20:4,32 --until plateau --content-weight 1 --style-weight 2 --tv-weight 0 --lr 0.5 --lr-schedule constant --init noise --seed 0 --output-size 8x9 " +
		"--weights w --device cpu --precision fp32 --kernels sm80 --no-autotune --threads 5 --pin --low-memory --max-pixels 6 -o out --bits 16 --quality 7 --save-every 8 --trace t --checkpoint c --checkpoint-every 9s -q --json")); err != nil {
		t.Fatal(err)
	}
	o, err := f.picture.options()
	if err != nil {
		t.Fatal(err)
	}
	want, err := transfer.Preset("classic")
	if err != nil {
		t.Fatal(err)
	}
	want.Size, want.Iterations, want.ContentWeight, want.StyleWeight, want.TVWeight, want.LR = 64, 3, 1, 2, 0, 0.5
	want.Init, want.OutputSize = "noise", "8x9"
	want.LRSchedule = "constant"
	want.Ladder, want.Until = []transfer.Level{{Size: 20, Iterations: 4}, {Size: 32, Iterations: 3}}, "plateau"
	if !reflect.DeepEqual(o, want) {
		t.Errorf("options\n%+v, want\n%+v", o, want)
	}
	weights, kernels, threads := "w", "sm80", 5
	if m := (machineFlags{&weights, "cpu", "fp32", false, &kernels, true, &threads, true, true, 6}); !reflect.DeepEqual(f.machine, m) {
		t.Errorf("machine %+v", f.machine)
	}
	bits, quality, every, often := 16, 7, 8, "9s"
	if out := (outputFlags{"out", &bits, &quality, &every, "t", "c", &often, true, true, fileFlags{}}); !reflect.DeepEqual(f.output, out) {
		t.Errorf("output %+v", f.output)
	}

	f = paintFlags{}
	app.Flags = f.flags()
	if err := app.Run([]string{"stylize"}); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f.picture, pictureFlags{preset: "default"}) || f.machine.device != "auto" || f.machine.threads != nil || f.output != (outputFlags{}) {
		t.Errorf("with nothing given: %+v", f)
	}
}

// Those of a batch, too. A name may have a comma in it.
func TestBatchFlagsArrive(t *testing.T) {
	var f batchFlags
	app := &cli.App{Flags: f.flags(), Writer: io.Discard, DisableSliceFlagSeparator: true, Action: func(*cli.Context) error { return nil }}
	if err := app.Run(strings.Fields("batch --style a,b.jpg --style c --pair --manifest m --blend 2,1 --mask c=m --snap 16 --devices cpu --slots 3 --shard 1/2 -o out --report r --overwrite --retry-failed --fail-fast --dry-run --size 64 --threads 5 --bits 16 --no-metadata -q --json")); err != nil {
		t.Fatal(err)
	}
	snap, size, threads, bits, blend := 16, 64, 5, 16, "2,1"
	want := batchFlags{
		picture: pictureFlags{preset: "default", size: &size}, inputs: inputFlags{blend: &blend, masks: []string{"c=m"}}, machine: machineFlags{threads: &threads, maxPixels: picture.DefaultMaxPixels}, devices: "cpu", slots: "3",
		output: outputFlags{path: "out", bits: &bits, quiet: true, json: true, file: fileFlags{noMetadata: true}},
		styles: []string{"a,b.jpg", "c"}, pair: true, manifest: "m", snap: &snap, shard: "1/2", report: "r", dryRun: true, overwrite: true, retryFailed: true, failFast: true,
	}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("%+v, want\n%+v", f, want)
	}
	// Every flag that decides pixels can stand in the options of a manifest's line, under its
	// name; those about styles stand beside them.
	known := reflect.TypeFor[lineOptions]()
	names := map[string]bool{}
	for i := range known.NumField() {
		names[known.Field(i).Tag.Get("json")] = true
	}
	flags := new(pictureFlags).flags()
	for _, f := range flags {
		if !names[strings.ReplaceAll(f.Names()[0], "-", "_")] {
			t.Errorf("a manifest does not know %s", f.Names()[0])
		}
	}
	if len(names) != len(flags)+1 || !names["feather"] {
		t.Errorf("a manifest knows %d options, there are %d flags and feather", len(names), len(flags))
	}
}

// Every option that a user can set has a flag of its name, which errors then carry.
func TestOptionErrorsNameFlags(t *testing.T) {
	preset := []string{"Square", "TVOfStyle", "ClampFirst", "Truncate8", "LRSpan", "MaskAlpha"} // and what is left of a schedule, and --mask alpha
	for i := range reflect.TypeFor[transfer.Options]().NumField() {
		if !reflect.TypeFor[transfer.Options]().Field(i).IsExported() {
			continue
		}
		field := reflect.TypeFor[transfer.Options]().Field(i).Name
		err := inFlags(&transfer.OptionError{Field: field, Value: 1, Reason: "no"})
		if named := strings.HasPrefix(err.Error(), "--"); named == slices.Contains(preset, field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// A message names flags that exist; the packages below name none.
func TestMessagesNameFlags(t *testing.T) {
	names := map[string]bool{"--help": true, "--version": true}
	for _, f := range allFlags() {
		for _, n := range f.Names() {
			names["--"+n] = true
		}
	}
	flag := regexp.MustCompile(`--[a-z][a-z0-9-]*`)
	for _, dir := range []string{".", "../../transfer", "../../vgg"} {
		if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			for _, name := range flag.FindAllString(string(b), -1) {
				if dir != "." {
					t.Errorf("%s speaks of a flag, %s", path, name)
				} else if !names[name] {
					t.Errorf("%s speaks of %s, which there is not", path, name)
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// A preset of L-BFGS keeps its ladder at any size, and lends itself to Adam.
func TestPresets(t *testing.T) {
	for _, c := range []struct {
		line       string
		optimizer  string
		iterations int
		ladder     []int
		err        string
	}{
		{"", "lbfgs", 40, []int{19, 57, 171}, ""},
		{"--size 200 -n 7", "lbfgs", 7, []int{22, 67}, ""},
		{"--size 32", "lbfgs", 40, nil, ""},
		{"--ladder off", "lbfgs", 40, nil, ""},
		{"--optimizer adam", "adam", 500, nil, ""},
		{"--optimizer adam --ladder auto --size 256 -n 9", "adam", 9, []int{28, 85}, ""},
		{"--preset classic", "", 500, nil, ""},
		{"--preset classic --optimizer lbfgs", "lbfgs", 500, nil, ""},
		{"--lr 0.1", "", 0, nil, "--lr has no effect"},
		{"--preset classic --history 3", "", 0, nil, "--history 3"},
	} {
		var f paintFlags
		app := &cli.App{Flags: f.flags(), Writer: io.Discard, Action: func(*cli.Context) error { return nil }}
		if err := app.Run(append([]string{"stylize"}, strings.Fields(c.line)...)); err != nil {
			t.Fatal(err)
		}
		o, err := f.picture.options()
		if err == nil {
			err = inFlags(o.Validate())
		}
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: %v, want %q", c.line, err, c.err)
			}
			continue
		}
		var sizes []int
		for _, l := range o.Ladder {
			sizes = append(sizes, l.Size)
		}
		if err != nil || o.Optimizer != c.optimizer || o.Iterations != c.iterations || !slices.Equal(sizes, c.ladder) {
			t.Errorf("%q: %v, %s, %d iterations, ladder %v", c.line, err, o.Optimizer, o.Iterations, sizes)
		}
	}
}
