package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/anywhere"
)

// habits says in our words what other programs are asked by: --version, -V, and
// help [COMMAND...].
func habits(app *cli.App, args []string) ([]string, error) {
	if len(args) < 2 {
		return args, nil
	}
	switch args[1] {
	case "--version", "-V":
		return append([]string{args[0], "version"}, args[2:]...), nil
	case "help":
		commands, help := app.Commands, append(append([]string{args[0]}, args[2:]...), "--help")
		for i, name := range args[2:] {
			if strings.HasPrefix(name, "-") {
				break
			}
			j := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.Name == name && !c.Hidden })
			if j < 0 {
				return nil, usage(fmt.Errorf("there is no command %s; stylize help lists them", strings.Join(args[2:3+i], " ")))
			}
			commands = commands[j].Subcommands
		}
		return help, nil
	}
	return args, nil
}

// notCommand says that a first argument, which is no file, may be meant for a command.
func notCommand(app *cli.App, args []string) error {
	if len(args) == 0 || args[0] == standard || strings.ContainsAny(args[0], "./\\") || exists(args[0]) {
		return nil
	}
	var names []string
	for _, c := range app.VisibleCommands() {
		names = append(names, c.Name)
	}
	if near := anywhere.Nearest(names, strings.ToLower(args[0])); near != "" {
		return usage(fmt.Errorf("there is no command %s, nor a file; did you mean %s?", args[0], near))
	}
	if len(args) > 2 || len(args) == 1 {
		return usage(fmt.Errorf("there is no command %s, nor a file; stylize help lists the commands, and to paint it is stylize CONTENT STYLE -o OUT.png", args[0]))
	}
	return nil
}

const (
	first  = "the content is the first picture, without a flag: stylize CONTENT STYLE -o OUT.png"
	second = "the style is the second picture, without a flag: stylize CONTENT STYLE -o OUT.png"
	silent = "progress is shown without it; --trace FILE writes every iteration, --quiet shows nothing"
)

// foreign are the flags of other programs (neural-style and its ports to PyTorch and
// TensorFlow, style-transfer-pytorch, Magenta, AdaIN), with dashes for underscores, and what
// they are here. A VALUE becomes the one that was given.
var foreign = []struct{ names, here string }{
	{"content-image content content-img content-path content-images content-images-paths input input-image source", first},
	{"style-image style style-img style-path style-images style-imgs style-images-paths styles", second},
	{"output-image output-img output-path output-file out out-file result save-path target", "--output VALUE"},
	{"image-size img-size im-size imsize max-size content-size width resolution s end-scale", "--size VALUE"},
	{"num-iterations num-iters num-iter max-iterations max-iter max-iters iters niter steps num-steps num-inference-steps epochs", "--iterations VALUE"},
	{"style-scales style-scale-fac", "--style-scale VALUE"},
	{"style-image-size", "--style-size VALUE"},
	{"style-blend-weights style-weights style-imgs-weights", "--blend VALUE"},
	{"style-masks style-mask-imgs", "--mask STYLE=MASK"},
	{"original-colors preserve-color preserve-colors keep-colors color-control", "--colors content"},
	{"averaging avg-decay ad", "--average VALUE"},
	{"noise-ratio initial-noiseblend", "--init blend:VALUE"},
	{"init-type init-img-type", "--init VALUE"},
	{"style-strength style-ratio alpha", "--strength VALUE, where 1 is balanced and 10 is mostly the style"},
	{"sw style-wt", "--style-weight VALUE"},
	{"cw content-wt", "--content-weight VALUE"},
	{"tw tv tv-wt total-variation-weight tvw", "--tv-weight VALUE"},
	{"learning-rate step-size ss", "--optimizer adam --lr VALUE"},
	{"lbfgs-num-correction", "--history VALUE"},
	{"init-image initial initial-image start-image", "--init VALUE"},
	{"pool pool-type pooling-type", "--pooling VALUE"},
	{"random-seed r", "--seed VALUE"},
	{"save-iter save-iters save-interval checkpoint-iterations", "--save-every VALUE"},
	{"print-iter print-iters print-iterations log-interval verbose debug", silent},
	{"model model-file model-path vgg vgg-model vgg-path network model-weights proto-file", "--weights VALUE"},
	{"gpu gpu-id gpus", "--device cuda:VALUE, or --device cpu"},
	{"cuda use-cuda use-gpu", "--device cuda"},
	{"cpu no-cuda no-gpu use-cpu", "--device cpu"},
	{"devices", "--device VALUE"},
	{"half fp16 amp", "--precision fp16"},
	{"backend cudnn-autotune multigpu-strategy multidevice-strategy", "nothing here needs it; leave it out"},
}

var named = regexp.MustCompile(`--[a-z-]+`)

// translated answers an unknown flag that another program has, for commands that have what
// it is here.
func translated(err error) error {
	var unknown *anywhere.UnknownError
	if !errors.As(err, &unknown) {
		return err
	}
	name := strings.ToLower(strings.ReplaceAll(unknown.Name, "_", "-"))
	for _, e := range foreign {
		if !slices.Contains(strings.Fields(e.names), name) {
			continue
		}
		needs := named.FindAllString(e.here, -1)
		if needs == nil {
			needs = []string{"--size"} // as all that paint
		}
		if slices.ContainsFunc(needs, func(flag string) bool { return !slices.Contains(unknown.Known, strings.TrimPrefix(flag, "--")) }) {
			return err
		}
		return fmt.Errorf("unknown flag %s; %s", unknown.Flag, said(name, e.here, unknown.Value))
	}
	return err
}

// said is what a flag is here, with the value that was given.
func said(name, here, value string) string {
	switch {
	case strings.HasPrefix(name, "gpu") && (value == "-1" || value == "c" || value == "cpu"):
		here = "--device cpu"
	case value == "" || strings.ContainsAny(value, " \n"):
		value = "VALUE"
	}
	if strings.HasPrefix(here, "--") {
		here = "here it is " + here
	}
	return strings.ReplaceAll(here, "VALUE", value)
}
