package plan

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/vgg"
)

var rewrite = flag.Bool("update", false, "write the golden files and the tables of kernels/docs/defaults.md and model.md again")

// What a device uses before it has measured anything is the table in the tuning
// reference.
func TestDefaults(t *testing.T) {
	classes := []struct{ title, name string }{{"H100, H200", "h100"}, {"A100", "a100"}, {"RTX 4090", "4090"}, {"L4", "l4"}}
	o, err := transfer.Preset("classic")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, size := range []int{256, 512, 1024} {
		fmt.Fprintf(&b, "\n### %d×%d\n\n| layer | tiles of 128×128 |", size, size)
		for _, c := range classes {
			g, err := FindGPU(c.name)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %s (%d) |", c.title, g.SMs)
		}
		b.WriteString("\n| --- | --- |" + strings.Repeat(" --- |", len(classes)) + "\n")
		p, err := transfer.LoopProgram(o, vgg.Shapes(), 1, size, size)
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string][]string{}
		var order []string
		for _, c := range classes {
			g, err := FindGPU(c.name)
			if err != nil {
				t.Fatal(err)
			}
			pl, err := New(p, g.Target(FP16))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range pl.Steps {
				i := slices.IndexFunc(s.Launches, func(la kernels.Launch) bool {
					return la.Spec.Source == "conv3x3_mma" || la.Spec.Source == "conv3x3_wgmma"
				})
				if i < 0 {
					continue
				}
				name := s.Ops[0].Name
				if s.Ops[0].Kind != gpu.Conv3x3Fprop {
					name += " back"
				}
				if rows[name] == nil {
					out := s.Ops[0].Out[0].Shape
					order, rows[name] = append(order, name), []string{fmt.Sprint((out.Pixels() + 127) / 128 * out.C / 128)}
				}
				entry := s.Launches[i].Spec.Entry
				kernel, shared := strings.CutSuffix(entry[strings.Index(entry, "nhwc_")+5:], "_share")
				if shared {
					kernel += fmt.Sprintf("_split%d", s.Launches[i].Grid[2])
				}
				rows[name] = append(rows[name], strings.ReplaceAll(kernel, "_", " "))
			}
		}
		for i := 0; i < len(order); {
			first, last, row := order[i], "", strings.Join(rows[order[i]], " | ")
			for i++; i < len(order) && strings.Join(rows[order[i]], " | ") == row; i++ {
				last = " … " + order[i]
			}
			fmt.Fprintf(&b, "| %s%s | %s |\n", first, last, row)
		}
	}
	document(t, "../../../kernels/docs/defaults.md", "<!-- go test ./gpu/cuda/plan -run Defaults -update -->\n", b.String())
}
