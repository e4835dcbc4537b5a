package plan

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels"
	"github.com/stylize-gpu/stylize/kernels/kerneltest"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
)

// golden is a program and a target whose plan is written down in testdata.
type golden struct {
	file   string
	gpu    string
	as     Precision
	change func(*Target) // nil for the target of gpu
	build  func(transfer.Options) (*gpu.Program, error)
	preset string
}

const goldenWidth, goldenHeight = 64, 48

func loopOf(pictures int) func(transfer.Options) (*gpu.Program, error) {
	return func(o transfer.Options) (*gpu.Program, error) {
		return transfer.LoopProgram(o, vgg.Shapes(), pictures, goldenHeight, goldenWidth)
	}
}

func loopWithoutTV(o transfer.Options) (*gpu.Program, error) {
	o.TVWeight = 0
	return transfer.LoopProgram(o, vgg.Shapes(), 1, goldenHeight, goldenWidth)
}

func loopOfMax(o transfer.Options) (*gpu.Program, error) {
	o.Pooling = "max"
	return transfer.LoopProgram(o, vgg.Shapes(), 1, goldenHeight, goldenWidth)
}

func loopOfLBFGS(o transfer.Options) (*gpu.Program, error) {
	o.Optimizer, o.History = "lbfgs", transfer.DefaultHistory
	return transfer.LoopProgram(o, vgg.Shapes(), 1, goldenHeight, goldenWidth)
}

// loopOfTile is an iteration on a picture that continues beyond its border, of two style
// layers, whose iterates are averaged: the first layer is fused as that of a plain
// picture, and the average belongs to the update.
func loopOfTile(o transfer.Options) (*gpu.Program, error) {
	o.ContentWeight, o.Padding, o.Average = 0, "wrap", 0.5
	o.StyleLayers = []transfer.Layer{{Name: "relu1_1", Weight: 1}, {Name: "relu1_2", Weight: 1}}
	return transfer.LoopProgram(o, vgg.Shapes(), 1, goldenHeight, goldenWidth)
}

// loopOfRegions has two styles, one of them in a part of the picture.
func loopOfRegions(o transfer.Options) (*gpu.Program, error) {
	source := func() *picture.Source { return &picture.Source{W: goldenWidth, H: goldenHeight} }
	o.Size = goldenWidth
	w := transfer.Work{Options: o, Content: source(), Styles: []transfer.Style{{Picture: source(), Mask: source()}, {Picture: source()}}}
	_, _, loop, err := w.Stages()[0].Programs(vgg.Shapes())
	return loop, err
}

func styleTarget(o transfer.Options) (*gpu.Program, error) {
	return transfer.StyleProgram(o, vgg.Shapes(), goldenHeight, goldenWidth, false)
}

func contentTarget(o transfer.Options) (*gpu.Program, error) {
	return transfer.ContentProgram(o, vgg.Shapes(), 1, goldenHeight, goldenWidth)
}

func unfused(t *Target) { t.Unfused = true }

var goldens = []golden{
	{"loop-h100-fp16", "h100", FP16, nil, loopOf(1), "classic"},
	{"loop-h100-bf16", "h100", BF16, nil, loopOf(1), "classic"},
	{"loop-h100-tf32", "h100", TF32, nil, loopOf(1), "classic"},
	{"loop-h100-fp32", "h100", FP32, nil, loopOf(1), "classic"},
	{"loop-a100-fp16", "a100", FP16, nil, loopOf(1), "classic"},
	{"loop-4090-fp16", "4090", FP16, nil, loopOf(1), "classic"},
	{"loop-batch3", "h100", FP16, nil, loopOf(3), "classic"},
	{"loop-article", "h100", FP16, nil, loopOf(1), "article"},
	{"loop-no-tv", "h100", FP16, nil, loopWithoutTV, "classic"},
	{"loop-max", "h100", FP16, nil, loopOfMax, "classic"},
	{"loop-lbfgs", "h100", FP16, nil, loopOfLBFGS, "classic"},
	{"loop-unfused", "h100", FP16, unfused, loopOf(1), "classic"},
	{"loop-tile", "h100", FP16, nil, loopOfTile, "classic"},
	{"loop-regions", "h100", FP16, nil, loopOfRegions, "classic"},
	{"style-target", "h100", FP16, nil, styleTarget, "classic"},
	{"content-target", "h100", FP16, nil, contentTarget, "classic"},
}

// program builds a golden program, and the target that it is planned for.
func (g golden) program(t *testing.T) (*gpu.Program, Target) {
	t.Helper()
	o, err := transfer.Preset(g.preset)
	if err != nil {
		t.Fatal(err)
	}
	p, err := g.build(o)
	if err != nil {
		t.Fatal(err)
	}
	kind, err := FindGPU(g.gpu)
	if err != nil {
		t.Fatal(err)
	}
	target := kind.Target(g.as)
	if g.change != nil {
		g.change(&target)
	}
	return p, target
}

// planned is a program's plan, which has to be.
func planned(t *testing.T, p *gpu.Program, target Target) *Plan {
	t.Helper()
	pl, err := New(p, target)
	if err != nil {
		t.Fatal(err)
	}
	return pl
}

// The plan of each program, to the last argument, is the one that was written
// down: whoever changes a fusion sees in the difference what became of it.
func TestGolden(t *testing.T) {
	files := map[string]bool{}
	for _, g := range goldens {
		t.Run(g.file, func(t *testing.T) {
			p, target := g.program(t)
			var text strings.Builder
			if err := planned(t, p, target).Text(&text, p); err != nil {
				t.Fatal(err)
			}
			var again strings.Builder
			p, target = g.program(t)
			if err := planned(t, p, target).Text(&again, p); err != nil {
				t.Fatal(err)
			}
			if text.String() != again.String() {
				t.Errorf("two plans of a program differ: %s", firstDifference(again.String(), text.String()))
			}
			file := filepath.Join("testdata", g.file+".txt")
			if *rewrite {
				if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if text.String() != string(want) {
				t.Errorf("%s: %s\nWith -update it is written again.", file, firstDifference(text.String(), string(want)))
			}
		})
		files[g.file+".txt"] = true
	}
	there, err := fs.Glob(os.DirFS("testdata"), "*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range there {
		if !files[f] {
			t.Errorf("testdata/%s belongs to no program", f)
		}
	}
}

// firstDifference is the first line in which two texts differ.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d is\n%s\nand was\n%s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, and were %d", len(g), len(w))
}

// Every type of step is in a golden file.
func TestEveryStep(t *testing.T) {
	missing := stepTypes(t)
	for _, g := range goldens {
		p, target := g.program(t)
		for _, s := range fuse(p, target, infer(p, target.Precision)) {
			delete(missing, reflect.TypeOf(s).Elem().Name())
		}
	}
	for name := range missing {
		t.Errorf("no golden program has a step of type %s", name)
	}
}

// stepTypes are the types of this package's sources that have a method lower.
func stepTypes(t *testing.T) map[string]bool {
	t.Helper()
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{}
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || f.Name.Name != "lower" {
				continue
			}
			receiver, ok := f.Recv.List[0].Type.(*ast.StarExpr)
			if !ok {
				t.Fatalf("%s: the receiver of a lower is no pointer", name)
			}
			types[receiver.X.(*ast.Ident).Name] = true
		}
	}
	if len(types) < 10 {
		t.Fatalf("found only %d types of steps", len(types))
	}
	return types
}

// Every entry is launched by some plan, or is one of the kernels that a
// measurement may choose there. The probes measure the machine; no plan has them.
func TestEveryEntry(t *testing.T) {
	missing := map[string]bool{}
	for name, s := range kernels.All {
		if !strings.HasPrefix(s.Source, "probe") {
			missing[name] = true
		}
	}
	met := func(pl *Plan) {
		for _, s := range pl.Steps {
			all := s.Launches
			if s.Variants != nil {
				all = slices.Concat(all, s.Variants.Launches)
			}
			for _, la := range all {
				delete(missing, la.Spec.Entry)
			}
		}
	}
	var targets []Target
	for _, p := range []Precision{FP16, BF16, TF32, FP32} {
		for _, hopper := range []bool{false, true} {
			for _, unfused := range []bool{false, true} {
				if hopper && p == FP32 {
					continue
				}
				targets = append(targets, Target{Precision: p, Hopper: hopper, SMs: 132, Unfused: unfused})
			}
		}
	}
	for _, c := range kerneltest.Cases() {
		p := &gpu.Program{}
		c.Build(p)
		for _, target := range targets {
			pl, err := New(p, target)
			if err != nil {
				t.Errorf("%v, %v: %v", c, target, err)
				continue
			}
			met(pl)
		}
	}
	o, err := transfer.Preset("classic")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{64, 256, 512, 1024} { // each with tiles of its own
		p, err := transfer.LoopProgram(o, vgg.Shapes(), 1, size, size)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range targets {
			met(planned(t, p, target))
		}
	}
	for name := range missing {
		t.Errorf("no plan launches %s", name)
	}
}

// A pointer to the wrong type is found when the step is lowered.
func TestWrongElement(t *testing.T) {
	p := &gpu.Program{}
	x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: 1, H: 4, W: 4, C: 8})
	p.Output(p.ReLUFwd("y", x))
	op := p.Ops[0]
	types := infer(p, FP16)
	l := &lowering{target: Target{Precision: FP16, SMs: 132}, types: types, weights: map[WeightKey]*Weight{}}
	s := &single{op: op, taken: taken{list: []*gpu.Op{op}}}
	if _, err := l.step(s); err != nil {
		t.Fatal(err)
	}
	delete(types.stored, op.Y()) // as if it were fp32
	_, err := l.step(s)
	if err == nil || !strings.Contains(err.Error(), "relu_fwd_f16") || !strings.Contains(err.Error(), "y points to f32, and must to f16") {
		t.Errorf("a result of another type: %v", err)
	}
}

// With few tiles every layer has the tile that it has with all, and no plan another one
// than Tiles says.
func TestFewTiles(t *testing.T) {
	o, err := transfer.Preset("classic")
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{64, 256, 512, 1024} {
		p, err := transfer.LoopProgram(o, vgg.Shapes(), 1, size, size)
		if err != nil {
			t.Fatal(err)
		}
		all, few := Target{Precision: FP16, Hopper: true, SMs: 132}, Target{Precision: FP16, Hopper: true, SMs: 132, Few: true}
		a, b := planned(t, p, all), planned(t, p, few)
		for i := range a.Steps {
			for j := range a.Steps[i].Launches {
				if a, b := a.Steps[i].Launches[j].Spec.Entry, b.Steps[i].Launches[j].Spec.Entry; a != b {
					t.Errorf("%d: %s with all tiles, %s with few", size, a, b)
				}
			}
			if v := b.Steps[i].Variants; v != nil {
				for _, la := range v.Launches {
					if la.Spec.Family == "conv3x3_wgmma" && !slices.Contains(few.Tiles(), la.Spec.Tile) {
						t.Errorf("%d: %s is none of the few", size, la.Spec.Entry)
					}
				}
			}
		}
	}
}

// What an iteration at 512x512 takes is what the README states.
func TestPlan512(t *testing.T) {
	o, err := transfer.Preset("classic")
	if err != nil {
		t.Fatal(err)
	}
	p, err := transfer.LoopProgram(o, vgg.Shapes(), 1, 512, 512)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		gpu       string
		as        Precision
		launches  int
		megabytes string
	}{
		{"h100", FP16, 34, "177"},
		{"h100", BF16, 34, "177"},
		{"h100", TF32, 34, "334"},
		{"h100", FP32, 72, "450"},
		{"a100", FP16, 36, "177"},
		{"a100", BF16, 36, "177"},
		{"a100", TF32, 37, "334"},
		{"a100", FP32, 72, "450"},
	} {
		kind, err := FindGPU(c.gpu)
		if err != nil {
			t.Fatal(err)
		}
		pl := planned(t, p, kind.Target(c.as))
		launches := 0
		for _, s := range pl.Steps {
			launches += len(s.Launches)
		}
		if mb := fmt.Sprintf("%.0f", float64(pl.Cost.Total())/1e6); launches != c.launches || mb != c.megabytes {
			t.Errorf("%s, %v: %d launches and %s MB, want %d and %s", c.gpu, c.as, launches, mb, c.launches, c.megabytes)
		}
	}
}

// The kernels and the program mean the same columns of the knobs and of the control of L-BFGS, and
// the same history.
func TestControlColumns(t *testing.T) {
	program := []int{
		gpu.CtlAccepted, gpu.CtlPairs, gpu.CtlNext, gpu.CtlLoss, gpu.CtlMost, gpu.CtlFactor, gpu.CtlRefusals, gpu.CtlStep, gpu.CtlLongest, gpu.CtlSmooth, gpu.CtlProducts,
	}
	if !slices.Equal(program, kernels.LBFGSColumns) {
		t.Errorf("columns %v, the kernels' %v", program, kernels.LBFGSColumns)
	}
	if knobs := []int{gpu.KnobLimit, gpu.KnobRate, gpu.KnobFinal, gpu.KnobFrom, gpu.KnobSpan, gpu.KnobDecay, gpu.KnobBegin}; !slices.Equal(knobs, kernels.KnobColumns) || gpu.KnobTerms != len(knobs) {
		t.Errorf("knobs %v, the kernels' %v, and the first weight is %d", knobs, kernels.KnobColumns, gpu.KnobTerms)
	}
	if gpu.MaxHistory != kernels.MaxLBFGSHistory || gpu.GiveUp != kernels.GiveUp {
		t.Errorf("at most %d pairs and %d refusals, the kernels %d and %d", gpu.MaxHistory, gpu.GiveUp, kernels.MaxLBFGSHistory, kernels.GiveUp)
	}
}
