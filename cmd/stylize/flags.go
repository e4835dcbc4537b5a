package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/given"
	cudaplan "github.com/stylize-gpu/stylize/gpu/cuda/plan"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/batch"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// Each command has a struct of its flags. A flag is bound to its field where it
// is declared, which is also the only place that knows its name: what is below
// gets the struct, or the part of it that it needs.
//
// A field that is a pointer is nil when the flag was left out, where that is
// more than a default value.

// paintFlags are those of stylize itself.
type paintFlags struct {
	picture pictureFlags
	inputs  inputFlags
	machine machineFlags
	output  outputFlags
}

func (f *paintFlags) flags() []cli.Flag {
	return slices.Concat(f.picture.flags(), f.inputs.flags(), f.machine.flags(), f.output.flags())
}

// planFlags are those of stylize plan. Those of the output are taken, so that plan can stand
// in front of a whole command line, and but for the last have no effect.
type planFlags struct {
	picture  pictureFlags
	inputs   inputFlags
	machine  machineFlags
	output   outputFlags
	like     *string // a GPU that is not here
	launches bool
}

func (f *planFlags) flags() []cli.Flag {
	return slices.Concat(f.picture.flags(), f.inputs.flags(), f.machine.flags(), hidden(f.output.flags()), []cli.Flag{
		&cli.StringFlag{Name: "like", Action: given.To(&f.like), Category: catMachine, Usage: "`" + strings.Join(cudaplan.GPUNames(), "|") + "` with --device cuda: plan for this GPU, which need not be here"},
		&cli.BoolFlag{Name: "launches", Destination: &f.launches, Category: catOutput, Usage: "with --device cuda: print every launch of an iteration instead"},
	})
}

// hidden leaves flags out of the help and of what shells complete, --json excepted.
func hidden(flags []cli.Flag) []cli.Flag {
	for _, f := range flags {
		switch f := f.(type) {
		case *cli.StringFlag:
			f.Hidden = true
		case *cli.IntFlag:
			f.Hidden = true
		case *cli.BoolFlag:
			f.Hidden = f.Name != "json"
		}
	}
	return flags
}

// rerunFlags are those of stylize rerun: files that have moved, by the names
// that they have now.
type rerunFlags struct {
	content, style, init string
	folder               string
	machine              machineFlags
	output               outputFlags
}

func (f *rerunFlags) flags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.StringFlag{Name: "content", Destination: &f.content, Category: catPicture, Usage: "`PICTURE` where the content is now"},
		&cli.StringFlag{Name: "style", Destination: &f.style, Category: catPicture, Usage: "`PICTURE` where the style is now"},
		&cli.StringFlag{Name: "init", Destination: &f.init, Category: catPicture, Usage: "`PICTURE` where the initial picture is now"},
		&cli.StringFlag{Name: "folder", Destination: &f.folder, Category: catPicture, Usage: "`FOLDER` look for them in this folder and below, by their content"},
	}, f.machine.flags(), f.output.flags())
}

// resumeFlags are those of stylize resume: as those of rerun. What is left out is as
// the checkpoint has it.
type resumeFlags rerunFlags

func (f *resumeFlags) flags() []cli.Flag { return (*rerunFlags)(f).flags() }

// batchFlags are those of stylize batch.
type batchFlags struct {
	picture pictureFlags
	inputs  inputFlags
	machine machineFlags
	devices string
	slots   string
	output  outputFlags // path is a template

	styles   []string
	pair     bool
	manifest string
	snap     *int
	shard    string
	report   string
	dryRun   bool

	overwrite, retryFailed, failFast bool
}

func (f *batchFlags) flags() []cli.Flag {
	styles := func(_ *cli.Context, v []string) error {
		f.styles = v
		return nil
	}
	// Of one picture, or of one device.
	without := []string{"device", "output", "save-every", "trace", "checkpoint", "checkpoint-every"}
	shared := slices.DeleteFunc(slices.Concat(f.picture.flags(), f.inputs.flags(), f.machine.flags(), f.output.flags()), func(f cli.Flag) bool {
		return slices.Contains(without, f.Names()[0])
	})
	return append(shared, []cli.Flag{
		&cli.StringSliceFlag{Name: "style", Action: styles, Category: catPicture, Usage: "a style: a file, a folder or a quoted pattern; given several times, each content is painted in each, or with --blend in all of them together"},
		&cli.BoolFlag{Name: "pair", Destination: &f.pair, Category: catPicture, Usage: "paint the first content in the first style, the second in the second, and so on"},
		&cli.StringFlag{Name: "manifest", Destination: &f.manifest, Category: catPicture, Usage: "take the list from this file instead, or - for standard input: a JSON object a line, with content, style, options, output, and what is of one picture only: blend, mask, style_mask, content_mask"},
		&cli.IntFlag{Name: "snap", Action: given.To(&f.snap), Category: catPicture, DefaultText: "off", Usage: "crop contents a little, so that the shorter side is a multiple of N while painted, and more of them share an extent"},
		&cli.StringFlag{Name: "devices", Destination: &f.devices, Category: catMachine, Value: "all", Usage: "all (every GPU, else the CPU), or a list as in cuda:0,cuda:1"},
		&cli.StringFlag{Name: "slots", Destination: &f.slots, Category: catMachine, Value: "auto", Usage: "pictures that a device paints side by side: auto (on a GPU as many as fill it, on the CPU one a thread, of small ones up to four), or a number"},
		&cli.StringFlag{Name: "shard", Destination: &f.shard, Category: catMachine, DefaultText: "everything, or what " + envIndex + " or " + envTask + " says", Usage: "paint part I of N, as 0/4 to 3/4; N alone takes I from the environment"},
		&cli.StringFlag{Name: "output", Destination: &f.output.path, Aliases: []string{"o"}, Category: catOutput, Usage: "names of the results, with {" + strings.Join(batch.Placeholders, "}, {") + "} in them"},
		&cli.StringFlag{Name: "report", Destination: &f.report, Category: catOutput, Usage: "append a line of JSON for each item to this file"},
		&cli.BoolFlag{Name: "overwrite", Destination: &f.overwrite, Category: catOutput, Usage: "paint what is done again, and replace files that are no results of a batch"},
		&cli.BoolFlag{Name: "retry-failed", Destination: &f.retryFailed, Category: catOutput, Usage: "try again what the report says has failed"},
		&cli.BoolFlag{Name: "fail-fast", Destination: &f.failFast, Category: catOutput, Usage: "stop at the first picture that fails"},
		&cli.BoolFlag{Name: "dry-run", Destination: &f.dryRun, Category: catOutput, Usage: "say what would be painted and skipped, and what it costs"},
	}...)
}

// plotFlags are those of stylize plot.
type plotFlags struct {
	path    string
	against string
	layers  bool
}

func (f *plotFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "output", Destination: &f.path, Aliases: []string{"o"}, Category: catOutput, Usage: "`FILE` the drawing, .svg or .png"},
		&cli.StringFlag{Name: "against", Destination: &f.against, Category: catOutput, Value: "gflop", Usage: "`evaluations|gflop|seconds` what to draw the losses against"},
		&cli.BoolFlag{Name: "layers", Destination: &f.layers, Category: catOutput, Usage: "the loss of every layer, and not their sums"},
	}
}

// fetchFlags are those of stylize weights fetch.
type fetchFlags struct {
	url, sha256 string
	force       bool
}

func (f *fetchFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "url", Destination: &f.url, Usage: "`URL` another source of the same file", DefaultText: weights.OfficialURL},
		&cli.StringFlag{Name: "sha256", Destination: &f.sha256, Usage: "`DIGITS` what the file's SHA-256 begins with", DefaultText: "the digits in its name"},
		&cli.BoolFlag{Name: "force", Destination: &f.force, Usage: "fetch even if the weights are there"},
	}
}

// convertFlags are those of stylize weights convert and import.
type convertFlags struct{ caffe bool }

func (f *convertFlags) flags() []cli.Flag {
	return []cli.Flag{&cli.BoolFlag{Name: "caffe", Destination: &f.caffe, Usage: "take the weights for Caffe's (BGR, 0 to 255) where neither names nor scale say so"}}
}

// devicesFlags are those of stylize devices.
type devicesFlags struct{ json bool }

func (f *devicesFlags) flags() []cli.Flag { return []cli.Flag{jsonFlag(&f.json)} }

// Headings of the help.
const (
	catPicture = "What to paint:"
	catMachine = "Where to compute:"
	catOutput  = "What to write:"
)

// pictureFlags decide the pixels. What was left out is the preset's.
type pictureFlags struct {
	preset        string
	size          *int
	iterations    *int
	ladder        *string
	until         *string
	budget        *string
	contentWeight *float64
	styleWeight   *float64
	tvWeight      *float64
	strength      *float64
	optimizer     *string
	history       *int
	lrSchedule    *string
	lr            *float64
	pooling       *string
	styleLayers   *string
	contentLayers *string
	styleSize     *string
	styleScale    *float64
	colors        *string
	padding       *string
	average       *float64
	init          *string
	seed          *uint64
	outputSize    *string
}

func (f *pictureFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "preset", Destination: &f.preset, Category: catPicture, Value: "default", Usage: "`default|draft|best|classic|article` how long it takes and how far it comes: draft for a first look; best, three times as long as default; classic, 500 steps of Adam; article, the article that this program follows, to the letter (square, 20001 iterations)"},
		&cli.IntFlag{Name: "size", Action: given.To(&f.size), Category: catPicture, DefaultText: "512", Usage: "`N` longest side of the picture while it is painted, 16 to 32768 pixels: more gives finer strokes, and takes time and memory with its square, as 1024"},
		&cli.IntFlag{Name: "iterations", Action: given.To(&f.iterations), Aliases: []string{"n"}, Category: catPicture, DefaultText: "40", Usage: "`N` steps of the optimisation, 1 to 10000000, with a ladder at each of its sizes: more come closer to the style, ever more slowly, as 100"},
		&cli.StringFlag{Name: "ladder", Action: given.To(&f.ladder), Category: catPicture, DefaultText: "auto", Usage: "`auto|off|SIZES` paint at smaller sizes first, for larger shapes: auto (thirds, of 16 pixels at least), off, or SIZE[:ITERATIONS],... from small to large, the last being --size unless that is given too, as 64:40,128:40,256"},
		&cli.StringFlag{Name: "until", Action: given.To(&f.until), Category: catPicture, Usage: "`plateau|TIME` stop before the last iteration: plateau, when the loss hardly falls any more, or after a time, as 90s"},
		&cli.StringFlag{Name: "budget", Action: given.To(&f.budget), Category: catPicture, Usage: "`TIME` take this long in all, as 30s or 5m: longer comes closer to the style; chooses the ladder and the iterations"},
		&cli.Float64Flag{Name: "strength", Action: given.To(&f.strength), Category: catPicture, Usage: "`X` style against content, 0.0001 to 10000: a larger one has more of the style; 0.01 is mostly the picture, 1 is balanced, 10 is mostly the style, as 0.3; it means the same at every size, and takes the place of --content-weight and --style-weight"},
		&cli.Float64Flag{Name: "content-weight", Action: given.To(&f.contentWeight), Category: catPicture, DefaultText: "0.001", Usage: "`W` how much the content holds on, 0 or more: a larger one keeps more of it; it counts against --style-weight and --tv-weight, as 1e4"},
		&cli.Float64Flag{Name: "style-weight", Action: given.To(&f.styleWeight), Category: catPicture, DefaultText: "1e+07", Usage: "`W` how strong the style is, 0 or more: a larger one leaves less of the content; it counts against --content-weight and --tv-weight, as 1e3"},
		&cli.Float64Flag{Name: "tv-weight", Action: given.To(&f.tvWeight), Category: catPicture, DefaultText: "0.005", Usage: "`W` how smooth the result is, 0 or more: a larger one melts strokes into flat patches; it counts against the other weights, as 0.1 with a strength or 10 without"},
		&cli.StringFlag{Name: "optimizer", Action: given.To(&f.optimizer), Category: catPicture, DefaultText: "lbfgs", Usage: "`lbfgs|adam` lbfgs needs a twentieth of the iterations"},
		&cli.IntFlag{Name: "history", Action: given.To(&f.history), Category: catPicture, DefaultText: "8", Usage: "`N` steps that lbfgs learns from, 1 to 32: more come further in as many iterations, and each takes the memory of two pictures, as 20"},
		&cli.StringFlag{Name: "lr-schedule", Action: given.To(&f.lrSchedule), Category: catPicture, DefaultText: "constant", Usage: "`constant|cosine`: with cosine the step of Adam falls to 0 at the last iteration of all, and the picture settles"},
		&cli.Float64Flag{Name: "lr", Action: given.To(&f.lr), Category: catPicture, DefaultText: "0.01", Usage: "`X` step of Adam in units of the picture's range, above 0: a larger one is faster and leaves blotches, as 0.02"},
		&cli.StringFlag{Name: "pooling", Action: given.To(&f.pooling), Category: catPicture, DefaultText: "avg", Usage: "`avg|max` how the network halves its pictures: the mean of 2x2 values, or the largest of them"},
		&cli.StringFlag{Name: "style-layers", Action: given.To(&f.styleLayers), Category: catPicture, DefaultText: "relu1_1,relu2_1,relu3_1,relu4_1,relu5_1", Usage: "`LAYER[:WEIGHT],...` where the network compares the style, and what each layer counts for: relu1_1 is colours and grain, relu5_1 large shapes, as relu1_1:1,relu3_1:0.5"},
		&cli.StringFlag{Name: "content-layers", Action: given.To(&f.contentLayers), Category: catPicture, DefaultText: "relu4_2", Usage: "`LAYER[:WEIGHT],...` where it compares the content: a lower one keeps more detail, as relu3_2"},
		&cli.StringFlag{Name: "style-size", Action: given.To(&f.styleSize), Category: catPicture, DefaultText: "content", Usage: "`content|native|N` longest side of the style while the network looks at it: as the content (content), as its file (native), or N pixels, 16 to 32768: a larger one gives larger strokes, as 1024"},
		&cli.Float64Flag{Name: "style-scale", Action: given.To(&f.styleScale), Category: catPicture, DefaultText: "1", Usage: "`X` times that, 0.015625 to 64: a larger one gives larger strokes, as 1.5"},
		&cli.StringFlag{Name: "colors", Action: given.To(&f.colors), Category: catPicture, DefaultText: "style", Usage: "`style|content|match` whose colours the result has: those of the style; the content's own, with the lightness that was painted (content); or the style's pattern in the content's colours, matched beforehand (match)"},
		&cli.StringFlag{Name: "padding", Action: given.To(&f.padding), Category: catPicture, DefaultText: "zero", Usage: "`zero|reflect|wrap` what the network sees beyond the border: a mean grey (zero), the picture mirrored, which paints the rim as the rest (reflect), or the opposite side, which makes a seamless tile (wrap)"},
		&cli.Float64Flag{Name: "average", Action: given.To(&f.average), Category: catPicture, DefaultText: "0", Usage: "`A` the result is an average of the pictures on the way, the last counting most, 0 to 0.9999: a larger one is smoother, as 0.99 with --optimizer adam"},
		&cli.StringFlag{Name: "init", Action: given.To(&f.init), Category: catPicture, DefaultText: "content", Usage: "`content|noise|style|blend:X|PICTURE` what to start from: blend:X is X of noise on the content, as blend:0.3; PICTURE may be a checkpoint"},
		&cli.Uint64Flag{Name: "seed", Action: given.To(&f.seed), Category: catPicture, DefaultText: "0", Usage: "`N` which noise --init noise and blend:X have, 0 or more: another number gives another picture of the same kind, as 7"},
		&cli.StringFlag{Name: "output-size", Action: given.To(&f.outputSize), Category: catPicture, DefaultText: "working", Usage: "`working|original|WxH` working (that of --size), original (the content's own), or so many pixels, as 1920x1080"},
	}
}

// options are those of the preset with what was given in their place. They are
// not yet validated.
func (f *pictureFlags) options() (transfer.Options, error) {
	o, err := transfer.Preset(f.preset)
	if err != nil {
		return o, inFlags(err)
	}
	// Adam on a preset of L-BFGS takes what it needs instead from the classic one.
	if given.Or(f.optimizer, "") == "adam" && o.Optimizer == "lbfgs" {
		classic, _ := transfer.Preset("classic")
		o.Optimizer, o.History, o.Ladder, o.Iterations = "adam", 0, nil, classic.Iterations
	}
	given.Replace(&o.Size, f.size)
	given.Replace(&o.Iterations, f.iterations)
	given.Replace(&o.Until, f.until)
	given.Replace(&o.Budget, f.budget)
	if err := f.climb(&o); err != nil {
		return o, err
	}
	given.Replace(&o.Strength, f.strength)
	given.Replace(&o.ContentWeight, f.contentWeight)
	given.Replace(&o.StyleWeight, f.styleWeight)
	given.Replace(&o.TVWeight, f.tvWeight)
	given.Replace(&o.LR, f.lr)
	given.Replace(&o.LRSchedule, f.lrSchedule)
	given.Replace(&o.Optimizer, f.optimizer)
	if o.Optimizer == "lbfgs" && o.History == 0 {
		o.History = transfer.DefaultHistory
	}
	given.Replace(&o.History, f.history)
	given.Replace(&o.Pooling, f.pooling)
	if err := f.layers(&o); err != nil {
		return o, err
	}
	given.Replace(&o.StyleSize, f.styleSize)
	given.Replace(&o.StyleScale, f.styleScale)
	given.Replace(&o.Colors, f.colors)
	given.Replace(&o.Padding, f.padding)
	given.Replace(&o.Average, f.average)
	given.Replace(&o.Init, f.init)
	given.Replace(&o.Seed, f.seed)
	given.Replace(&o.OutputSize, f.outputSize)
	// A flag without effect is a mistake that the user would like to hear of.
	switch {
	case f.iterations != nil && *f.iterations < 1: // with a ladder, a record may have 0 at its last level
		return o, fmt.Errorf("--iterations %d: give 1 or more", *f.iterations)
	case f.styleScale != nil && *f.styleScale == 0:
		return o, fmt.Errorf("--style-scale 0: give a number above 0, as 0.5 for strokes half as large")
	case f.seed != nil && !o.InitNoise():
		return o, fmt.Errorf("--seed has no effect with --init %s; add --init noise, or write random:SEED after --weights", o.Init)
	case f.strength != nil && *f.strength == 0:
		return o, fmt.Errorf("--strength 0: give a number above 0; for no style at all, --style-weight 0")
	case f.strength != nil && (f.contentWeight != nil || f.styleWeight != nil):
		return o, fmt.Errorf("--strength %g takes the place of --content-weight and --style-weight; leave them out", *f.strength)
	case f.lr != nil && o.Optimizer == "lbfgs":
		return o, fmt.Errorf("--lr has no effect with --optimizer lbfgs, which finds its own step; leave it out, or add --optimizer adam")
	case f.budget != nil && f.until != nil:
		return o, fmt.Errorf("--budget %s and --until %s both say when to stop; give one of them", *f.budget, *f.until)
	case f.budget != nil && f.iterations != nil:
		return o, fmt.Errorf("--iterations %d has no effect with --budget %s, which chooses them; leave one out", *f.iterations, *f.budget)
	case f.budget != nil && f.ladder != nil:
		return o, fmt.Errorf("--ladder %s has no effect with --budget %s, which chooses it; leave one out", *f.ladder, *f.budget)
	case f.tvWeight != nil && o.TVOfStyle:
		return o, fmt.Errorf("--tv-weight has no effect with --preset article, whose smoothness term looks at the style picture; leave it out")
	}
	return o, nil
}

// layers sets those that are named.
func (f *pictureFlags) layers(o *transfer.Options) error {
	for _, l := range []struct {
		flag string
		text *string
		to   *[]transfer.Layer
	}{{"style-layers", f.styleLayers, &o.StyleLayers}, {"content-layers", f.contentLayers, &o.ContentLayers}} {
		if l.text == nil {
			continue
		}
		var err error
		if *l.to, err = transfer.ParseLayers(*l.text); err != nil {
			return fmt.Errorf("--%s %s: %w", l.flag, *l.text, err)
		}
	}
	return nil
}

// climb sets the ladder, and the size and the iterations of the last level if it
// says them.
func (f *pictureFlags) climb(o *transfer.Options) error {
	if f.ladder == nil { // the preset's, for this size and these iterations
		if o.Ladder != nil {
			o.Ladder = transfer.AutoLadder(o.Size, o.Iterations)
		}
		return nil
	}
	switch text := *f.ladder; text {
	case "off":
		o.Ladder = nil
	case "auto":
		if o.Ladder = transfer.AutoLadder(o.Size, o.Iterations); o.Ladder == nil {
			return fmt.Errorf("--ladder auto has no effect at --size %d: so small a picture has no smaller one to begin with; leave it out", o.Size)
		}
	default:
		levels, err := parseLadder(text)
		if err != nil {
			return err
		}
		if last := levels[len(levels)-1]; f.size == nil || last.Size == o.Size {
			if levels = levels[:len(levels)-1]; len(levels) == 0 {
				return fmt.Errorf("--ladder %s: give a smaller size before the last, or leave it out", text)
			}
			if last.Iterations > 0 && f.iterations != nil {
				return fmt.Errorf("--iterations %d: --ladder %s says how many the last level has; leave one out", *f.iterations, text)
			}
			o.Size = last.Size
			if last.Iterations > 0 {
				o.Iterations = last.Iterations
			}
		}
		for i := range levels {
			if levels[i].Iterations == 0 {
				levels[i].Iterations = transfer.LowerIterations(o.Iterations)
			}
		}
		o.Ladder = levels
	}
	return nil
}

// parseLadder reads SIZE[:ITERATIONS],...; what is left out is 0.
func parseLadder(text string) ([]transfer.Level, error) {
	var levels []transfer.Level
	for part := range strings.SplitSeq(text, ",") {
		size, count, counted := strings.Cut(strings.TrimSpace(part), ":")
		l := transfer.Level{}
		var err1, err2 error
		l.Size, err1 = strconv.Atoi(size)
		if counted {
			if l.Iterations, err2 = strconv.Atoi(count); l.Iterations < 1 {
				err2 = strconv.ErrRange
			}
		}
		if err1 != nil || err2 != nil || l.Size < 1 {
			return nil, fmt.Errorf("--ladder %s: give auto, off or sizes from small to large, as in 64:40,128:40,256", text)
		}
		levels = append(levels, l)
	}
	return levels, nil
}

// machineFlags decide where to compute, and from which weights.
type machineFlags struct {
	weights    *string
	device     string
	precision  string // the device's own if empty or auto
	exact      bool   // auto on the CPU is fp32, whatever it could
	kernels    *string
	noAutotune bool
	threads    *int
	pin        bool
	lowMemory  bool
	maxPixels  int
}

func (f *machineFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "weights", Action: given.To(&f.weights), Category: catMachine, DefaultText: "auto", Usage: "`auto|random|random:SEED|WEIGHTS` auto (the fetched ones, else random), random ones of a seed, or a .pth or .safetensors file"},
		&cli.StringFlag{Name: "device", Destination: &f.device, Category: catMachine, Value: "auto", Usage: "`auto|cpu|cuda|cuda:N|sim` where to compute: auto is the first GPU, else the CPU; sim runs the CUDA kernels on a simulated GPU, under checks and slowly"},
		&cli.StringFlag{Name: "precision", Destination: &f.precision, Category: catMachine, DefaultText: "auto", Usage: "`auto|fp16|bf16|tf32|fp32` how features are stored: fp16 and bf16 are the fastest, fp32 is the most exact. auto is fp16 on a GPU; on a CPU with AMX bf16, which is four times as fast there, else fp32. The presets classic and article stay fp32 on a CPU"},
		&cli.StringFlag{Name: "kernels", Action: given.To(&f.kernels), Category: catMachine, DefaultText: "auto", Usage: "`auto|sm80|sm90a` of CUDA: those for any GPU from Ampere on (sm80) or for Hopper (sm90a)"},
		&cli.BoolFlag{Name: "no-autotune", Destination: &f.noAutotune, Category: catMachine, Usage: "do not time kernels on a GPU's first picture of a size; pixels are the same either way"},
		&cli.IntFlag{Name: "threads", Action: given.To(&f.threads), Category: catMachine, DefaultText: "all", Usage: "`N` threads of the CPU, 1 or more: fewer leave the others to other programs, as 2"},
		&cli.BoolFlag{Name: "pin", Destination: &f.pin, Category: catMachine, Usage: "of the CPU: keep each thread on a processor of its own, for steady times on a machine that nobody else uses; beside other programs it is slower"},
		&cli.BoolFlag{Name: "low-memory", Destination: &f.lowMemory, Category: catMachine, Usage: "of the CPU in fp32: about 300 MB less for weights, half the speed"},
		&cli.IntFlag{Name: "max-pixels", Destination: &f.maxPixels, Category: catMachine, Value: picture.DefaultMaxPixels, Usage: "`N` refuse pictures of more pixels before decoding them, 1 or more: a larger number lets larger pictures in, as 400000000"},
	}
}

// outputFlags decide what is written and shown.
type outputFlags struct {
	path      string
	bits      *int
	quality   *int
	saveEvery *int
	trace     string

	checkpoint      string
	checkpointEvery *string

	quiet bool
	json  bool
	file  fileFlags
}

func (f *outputFlags) flags() []cli.Flag {
	return append(f.file.flags(), []cli.Flag{
		&cli.StringFlag{Name: "output", Destination: &f.path, Aliases: []string{"o"}, Category: catOutput, Usage: "`FILE` the result, " + picture.Written + "; - is standard output"},
		&cli.IntFlag{Name: "bits", Action: given.To(&f.bits), Category: catOutput, DefaultText: "8", Usage: "`8|16` per channel of a PNG or TIFF: 16 keeps what later editing needs, and is larger"},
		&cli.IntFlag{Name: "quality", Action: given.To(&f.quality), Category: catOutput, DefaultText: "95", Usage: "`N` of a JPEG or an AVIF, 1 to 100: a higher one loses less and is larger, as 90"},
		&cli.IntFlag{Name: "save-every", Action: given.To(&f.saveEvery), Category: catOutput, Usage: "`N` also save the picture so far every N iterations, 1 or more: fewer give more pictures, as 100 for OUT-000100.png, OUT-000200.png"},
		&cli.StringFlag{Name: "trace", Destination: &f.trace, Category: catOutput, Usage: "`FILE` write the losses of every iteration to a CSV file, which stylize plot draws"},
		&cli.StringFlag{Name: "checkpoint", Destination: &f.checkpoint, Category: catOutput, Usage: "`FILE` keep a file from which stylize resume goes on after any stop; it is removed when the picture is done"},
		&cli.StringFlag{Name: "checkpoint-every", Action: given.To(&f.checkpointEvery), Category: catOutput, DefaultText: "60s", Usage: "`TIME` how often it is written, as 90s or 5m; 0s is as often as can be"},
		&cli.BoolFlag{Name: "quiet", Destination: &f.quiet, Aliases: []string{"q"}, Category: catOutput, Usage: "print errors only"},
		jsonFlag(&f.json),
	}...)
}

func jsonFlag(dst *bool) cli.Flag {
	return &cli.BoolFlag{Name: "json", Destination: dst, Category: catOutput, Usage: "print a summary to standard output as JSON"}
}

// inFlags says an error of transfer in the words of the command line. The flag
// of a field has its name, in small letters with dashes between the words.
func inFlags(err error) error {
	var bad *transfer.OptionError
	switch {
	case errors.Is(err, transfer.ErrNoLoss):
		return errors.New("--content-weight, --style-weight and --tv-weight are all 0: nothing would change; give at least one")
	case errors.As(err, &bad):
		for _, f := range new(paintFlags).flags() {
			if name := f.Names()[0]; strings.EqualFold(strings.ReplaceAll(name, "-", ""), bad.Field) {
				return fmt.Errorf("%s: %s", strings.TrimSpace(fmt.Sprintf("--%s %v", name, bad.Value)), bad.Reason)
			}
		}
	}
	return err
}
