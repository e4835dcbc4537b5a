package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

const (
	catPicture = "What to paint:"
	catMachine = "Where to compute:"
	catOutput  = "What to write:"
)

// paintFlags decide the pixels and the device.
func paintFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "preset", Category: catPicture, Value: "default", Usage: "default, or article: the article that this program follows, to the letter (square, 20001 iterations)"},
		&cli.IntFlag{Name: "size", Category: catPicture, DefaultText: "512", Usage: "longest side of the picture while it is painted"},
		&cli.IntFlag{Name: "iterations", Aliases: []string{"n"}, Category: catPicture, DefaultText: "500", Usage: "steps of the optimisation"},
		&cli.Float64Flag{Name: "content-weight", Category: catPicture, DefaultText: "0.001", Usage: "how much the content holds on"},
		&cli.Float64Flag{Name: "style-weight", Category: catPicture, DefaultText: "1e+07", Usage: "how strong the style is"},
		&cli.Float64Flag{Name: "tv-weight", Category: catPicture, DefaultText: "0.005", Usage: "how smooth the result is"},
		&cli.Float64Flag{Name: "lr", Category: catPicture, DefaultText: "0.01", Usage: "step of Adam, in units of the picture's range"},
		&cli.StringFlag{Name: "init", Category: catPicture, DefaultText: "content", Usage: "start from content, noise, or the picture at a path"},
		&cli.Uint64Flag{Name: "seed", Category: catPicture, DefaultText: "0", Usage: "of the noise"},
		&cli.StringFlag{Name: "output-size", Category: catPicture, DefaultText: "working", Usage: "working, original (the content's own), or WIDTHxHEIGHT"},
	}, machineFlags()...)
}

// machineFlags decide where and from which weights.
func machineFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "weights", Category: catMachine, Value: "auto", Usage: "auto (the fetched ones, else random), random[:SEED], or a .pth or .safetensors file"},
		&cli.StringFlag{Name: "device", Category: catMachine, Value: "auto", Usage: "auto, cpu, cuda, cuda:N, or sim: the CUDA kernels on a simulated GPU, under checks and slowly"},
		&cli.StringFlag{Name: "precision", Category: catMachine, DefaultText: "fp16; the CPU: fp32", Usage: "of CUDA: fp16, bf16, tf32 or fp32"},
		&cli.StringFlag{Name: "kernels", Category: catMachine, Value: "auto", Usage: "of CUDA: auto, sm80 (any GPU from Ampere on) or sm90a (Hopper)"},
		&cli.BoolFlag{Name: "no-autotune", Category: catMachine, Usage: "do not time kernels on a GPU's first picture of a size; pixels are the same either way"},
		&cli.IntFlag{Name: "threads", Category: catMachine, DefaultText: "all", Usage: "threads of the CPU"},
		&cli.BoolFlag{Name: "low-memory", Category: catMachine, Usage: "about 300 MB less for weights, half the speed"},
		&cli.IntFlag{Name: "max-pixels", Category: catMachine, Value: picture.DefaultMaxPixels, Usage: "refuse pictures of more pixels before decoding them"},
	}
}

// rerunFlags replace files that have moved.
func rerunFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "content", Category: catPicture, Usage: "where the content is now"},
		&cli.StringFlag{Name: "style", Category: catPicture, Usage: "where the style is now"},
		&cli.StringFlag{Name: "init", Category: catPicture, Usage: "where the initial picture is now"},
	}, machineFlags()...)
}

// outputFlags decide what is written and shown.
func outputFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Category: catOutput, Usage: "the result, .png or .jpg"},
		&cli.IntFlag{Name: "bits", Category: catOutput, DefaultText: "8", Usage: "per channel of a PNG: 8 or 16"},
		&cli.IntFlag{Name: "quality", Category: catOutput, DefaultText: "95", Usage: "of a JPEG, 1 to 100"},
		&cli.IntFlag{Name: "save-every", Category: catOutput, Usage: "also save the picture so far every N iterations, as OUT-000100.png"},
		&cli.StringFlag{Name: "trace", Category: catOutput, Usage: "write every iteration's losses to a CSV file"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Category: catOutput, Usage: "print errors only"},
		jsonFlag(),
	}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Category: catOutput, Usage: "print a summary to standard output as JSON"}
}

// options turns the flags into transfer.Options: the preset, then what was set.
func options(c *cli.Context) (transfer.Options, error) {
	o, err := transfer.Preset(c.String("preset"))
	if err != nil {
		return o, err
	}
	for name, set := range map[string]func(){
		"size":           func() { o.Size = c.Int("size") },
		"iterations":     func() { o.Iterations = c.Int("iterations") },
		"lr":             func() { o.LR = c.Float64("lr") },
		"content-weight": func() { o.ContentWeight = c.Float64("content-weight") },
		"style-weight":   func() { o.StyleWeight = c.Float64("style-weight") },
		"tv-weight":      func() { o.TVWeight = c.Float64("tv-weight") },
		"init":           func() { o.Init = c.String("init") },
		"seed":           func() { o.Seed = c.Uint64("seed") },
		"output-size":    func() { o.OutputSize = c.String("output-size") },
		"bits":           func() { o.Bits = c.Int("bits") },
	} {
		if c.IsSet(name) {
			set()
		}
	}
	// A flag without effect is a mistake that the user would like to hear of.
	switch {
	case c.IsSet("seed") && o.Init != "noise":
		return o, fmt.Errorf("--seed has no effect with --init %s; add --init noise, or write random:SEED after --weights", o.Init)
	case c.IsSet("tv-weight") && o.TVOfStyle:
		return o, fmt.Errorf("--tv-weight has no effect with --preset article, whose smoothness term looks at the style picture; leave it out")
	}
	return o, o.Validate()
}
