package plan

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/ptx"
	"github.com/stylize-gpu/stylize/gpu/sim"
	"github.com/stylize-gpu/stylize/gpu/tensormap"
	"github.com/stylize-gpu/stylize/kernels"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/vgg"
)

// The model of a convolution on wgmma that kernels/docs/model.md tells: what a layer
// takes of what its machine code executes. The simulator counts it.

// counts are the warp instructions of a convolution on wgmma, by phase.
type counts struct {
	stage    int64 // a stage of gemm_k: the producer's and all consumers'
	epilogue int64 // of a tile
	measured int64 // of a tile, in the kernels that a GPU has measured
	prologue int64 // of a block
}

// counter runs launches on the simulator, for their instructions alone.
type counter struct {
	t     *testing.T
	dev   *sim.Device
	loads map[string]*sim.Kernel
	some  sim.Ptr // memory that all arrays are
	known map[string]counts
	// measured are the epilogues of the kernels that an H200 ran, by kind, and what the
	// first layer's executed: those have changed since, and the model is held to what was
	// measured of them.
	measured map[string]int64
	firsts   map[string]int64 // by entry
}

const counterBytes = 1 << 24

func newCounter(t *testing.T) *counter {
	t.Helper()
	c := &counter{t: t, dev: sim.New(sim.Config{NoChecks: true, Profile: true}), loads: map[string]*sim.Kernel{}, known: map[string]counts{}, measured: measuredEpilogues(t), firsts: map[string]int64{}}
	var err error
	if c.some, err = c.dev.Alloc("everything", counterBytes); err != nil {
		t.Fatal(err)
	}
	return c
}

var modules = sync.OnceValues(func() (map[string]string, error) {
	all := map[string]string{}
	for _, target := range []string{"sm90", "sm90a"} {
		ms, err := kernels.Modules(target)
		if err != nil {
			return nil, err
		}
		for _, m := range ms {
			all[m.Name] = m.PTX
		}
	}
	return all, nil
})

func (c *counter) kernel(s *kernels.Spec) *sim.Kernel {
	c.t.Helper()
	if k := c.loads[s.Entry]; k != nil {
		return k
	}
	sources, err := modules()
	if err != nil {
		c.t.Fatal(err)
	}
	mod, err := c.dev.Load(s.Module, []byte(sources[s.Module]))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, k := range mod.Kernels {
		c.loads[k.Name] = k
	}
	return c.loads[s.Entry]
}

// run executes a launch of a plan with other extents: groups of tiles below each other,
// for one cluster; cin values of gemm_k's channels, in the first product and, where the
// launch has a second, in that too.
func (c *counter) run(la kernels.Launch, groups, cin int) int64 {
	c.t.Helper()
	s := la.Spec
	cluster := s.Tile.Multicast * s.Tile.Split
	height, width, k := groups*s.Tile.Multicast*s.Tile.Pixels/16, 16, s.Tile.Channels
	grid := cluster
	if s.Tile.Split > 1 {
		grid = groups * cluster
	}
	has := map[string]bool{}
	for i, p := range s.Params {
		has[p.Name] = la.Args[i].Ptr.Ref != nil || la.Args[i].Map.Of.Ref != nil
	}
	second := 0
	switch {
	case !has["x"]:
		cin, second = 0, cin
	case has["x2"]:
		second = 64
	}
	extents := map[string]int{"height": height, "width": width, "c": cin, "c2": second, "k": k, "pictures": 1, "unpool_h": 2 * height, "unpool_w": 2 * width}
	var args []any
	for i, p := range s.Params {
		a := la.Args[i]
		switch p.Kind {
		case kernels.Pointer:
			if a.Ptr.Ref == nil {
				args = append(args, sim.Ptr(0))
			} else {
				args = append(args, c.some)
			}
		case kernels.TensorMap:
			args = append(args, c.tensor(a.Map, extents, p.Name))
		case kernels.Float32:
			args = append(args, math.Float32frombits(uint32(a.Bits)))
		default:
			v := uint32(a.Bits)
			if e, ok := extents[p.Name]; ok && (v != 0 || !strings.HasPrefix(p.Name, "unpool")) {
				v = uint32(e)
			}
			args = append(args, v)
		}
	}
	prof := c.launch(s, grid, args)
	n := prof.WarpInstrs
	for _, o := range prof.Opcodes { // who waits, and how often he looks, is a matter of time
		if strings.HasPrefix(o.Name, "mbarrier.try_wait") {
			n -= 2 * o.Warps // with its branch
		}
	}
	return n
}

// tensor is a map of a launch with other extents.
func (c *counter) tensor(m kernels.Map, extents map[string]int, name string) []byte {
	c.t.Helper()
	if m.Of.Ref == nil {
		return make([]byte, kernels.TensorMap.Bytes())
	}
	channels := extents["c"]
	if strings.HasSuffix(name, "2") {
		channels = extents["c2"]
	}
	dims := []uint64{uint64(channels), uint64(extents["width"]), uint64(extents["height"]), 1}
	if strings.HasPrefix(name, "w") {
		columns := 9 * channels
		if name == "w2" {
			columns = channels
		}
		dims = []uint64{uint64(columns), uint64(extents["k"])}
	}
	types := map[kernels.Elem]ptx.Type{kernels.F16: ptx.F16, kernels.BF16: ptx.BF16, kernels.F32: ptx.F32}
	tiled := tensormap.Tiled{Type: types[m.Of.Elem], Base: uint64(c.some), Dims: dims, Box: m.Box, Swizzle: tensormap.Swizzle128}
	tiled.Strides = tensormap.DenseStrides(tiled.Type, tiled.Dims)
	b, err := sim.EncodeTiled(tiled)
	if err != nil {
		c.t.Fatal(err)
	}
	return b[:]
}

// kind is what decides the instructions of a launch: the entry, and what its epilogue
// does.
func kind(la *kernels.Launch) string {
	s := la.Spec.Entry
	for i, p := range la.Spec.Params { // x and x2 among them
		a := la.Args[i]
		switch {
		case slices.Contains([]string{"w", "height", "width", "c", "c2", "k", "pictures", "w2"}, p.Name):
		case p.Kind == kernels.Pointer && a.Ptr.Ref != nil, p.Kind == kernels.TensorMap && a.Map.Of.Ref != nil:
			s += " " + p.Name
		case p.Kind == kernels.Flag && a.Bits != 0, strings.HasPrefix(p.Name, "unpool") && a.Bits != 0:
			s += " " + p.Name
		}
	}
	return s
}

// count is what a launch of a plan executes, found by differences: another three stages,
// another tile.
func (c *counter) count(la *kernels.Launch) counts {
	c.t.Helper()
	name := kind(la)
	n, ok := c.known[name]
	if ok {
		return n
	}
	short, long := c.run(*la, 1, 64), c.run(*la, 1, 128)
	stages := int64(3)
	if !strings.Contains(name+" ", " x ") { // the second product alone, of a stage for 64 channels
		stages = 1
	}
	n.stage = (long - short) / stages
	if stages > 1 && strings.Contains(name, " x2") {
		stages++
	}
	if la.Spec.Tile.Split > 1 { // a cluster has one tile
		n.epilogue = short - stages*n.stage
	} else {
		n.epilogue = c.run(*la, 2, 64) - short - stages*n.stage
		n.prologue = short - stages*n.stage - n.epilogue
	}
	if n.measured, ok = c.measured[name]; !ok {
		c.t.Fatalf("nothing is known of the epilogue of %s that was measured", name)
	}
	c.known[name] = n
	return n
}

// first is what a launch of the first layer executes for 64 lines of 512 pixels, found
// as the difference that they make.
func (c *counter) first(la *kernels.Launch) int64 {
	c.t.Helper()
	n, ok := c.firsts[la.Spec.Entry]
	if !ok {
		n = c.firstLines(la, 128, 512) - c.firstLines(la, 64, 512)
		c.firsts[la.Spec.Entry] = n
	}
	return n
}

// firstLines executes a launch of the first layer for a picture of other extents.
func (c *counter) firstLines(la *kernels.Launch, height, width int) int64 {
	c.t.Helper()
	extents := map[string]int{"height": height, "width": width, "each": kernels.FirstTiles(height, width)}
	pixels := 1 // of the picture that it is planned for
	var args []any
	for i, p := range la.Spec.Params {
		a := la.Args[i]
		if p.Name == "height" || p.Name == "width" {
			pixels *= int(a.Bits)
		}
		v, ok := extents[p.Name]
		switch {
		case ok:
			args = append(args, uint32(v))
		case p.Kind != kernels.Pointer:
			args = append(args, uint32(a.Bits))
		case a.Ptr.Ref == nil:
			args = append(args, sim.Ptr(0))
		default:
			args = append(args, c.some)
		}
	}
	grid := kernels.FirstBlocks(height, width)
	if la.Spec.Family == "conv3x3_first_dgrad" {
		grid = la.Grid[0] * height * width / pixels // tiles, which are all whole
	}
	return c.launch(la.Spec, grid, args).WarpInstrs
}

// launch executes a kernel.
func (c *counter) launch(s *kernels.Spec, grid int, args []any) *sim.Profile {
	c.t.Helper()
	kernel := c.kernel(s)
	params, err := kernel.Pack(args...)
	if err != nil {
		c.t.Fatalf("%s: %v", s.Entry, err)
	}
	prof, err := c.dev.Launch(c.t.Context(), sim.Launch{Kernel: kernel, Grid: sim.Dim{X: grid}, Block: sim.Dim{X: s.Threads}, SharedBytes: s.Shared, Params: params})
	if err != nil {
		c.t.Fatalf("%s: %v", s.Entry, err)
	}
	return prof
}

// measuredEpilogues reads what the kernels of the measurement executed.
func measuredEpilogues(t *testing.T) map[string]int64 {
	t.Helper()
	b, err := os.ReadFile(measurement + "epilogues.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int64{}
	for line := range strings.Lines(string(b)) {
		if name, n, ok := strings.Cut(line, ": "); ok && line[0] != '#' {
			if all[name], err = strconv.ParseInt(strings.TrimSpace(n), 10, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// machine is what the model knows of a GPU, in microseconds where nothing else is said.
type machine struct {
	title string
	sms   int
	clock float64 // cycles in a microsecond, under load
	rate  float64 // MFLOP of a multiprocessor's tensor cores in a microsecond, while stages run
	// pace is the cycles that a warp takes for an instruction of an epilogue, of which a
	// scheduler has two warps to choose from.
	pace float64
	fill float64 // from a launch to its first product, and from the last store to the next launch
	// exchange is what a split tile's blocks take to meet twice.
	exchange float64
	// A way back waits for gates and features, for each MB beyond what the second-level
	// cache still holds of the launch before.
	wait, cached float64
	cold         float64 // more of a launch in its place than of one that is repeated
}

// own is the share of the first layer's time that goes with the instructions it
// executes: those of its warps' waits that are for fixed latencies and for shared memory,
// 3.3 of 5.2 cycles. What is for memory and for barriers stays when they get fewer.
const own = 3.3 / 5.2

// The constants were fitted to the H200's times at 512x512 of 2026-11-26, hot, and hold
// for all layers. An H100 is taken for the same with the memory that it has.
var machines = []machine{
	{"H200", 132, 1800, 7.1, 5.0, 1.4, 2.4, 0.14, 18, 1.25},
	{"H100", 132, 1755, 6.9, 5.0, 1.4, 2.4, 0.20, 18, 1.5},
}

// share is a launch's time, taken apart.
type share struct {
	name                                 string
	floor, main, epilogue, fill, waiting float64
	counts                               counts
	warps                                int64 // that share an epilogue
	spec                                 *kernels.Spec
	tile                                 string
}

func (s share) total() float64 { return s.main + s.epilogue + s.fill + s.waiting }

func (s *share) add(x share) {
	s.floor, s.main, s.epilogue, s.fill, s.waiting = s.floor+x.floor, s.main+x.main, s.epilogue+x.epilogue, s.fill+x.fill, s.waiting+x.waiting
}

// pair is a launch of the kernels that were measured and of those of today, which
// differ in their epilogues.
type pair struct{ then, now share }

// convolutions are the model of a launch of conv3x3_wgmma, of both ages.
func (m machine) convolutions(c *counter, pl *Plan, s *Step, la *kernels.Launch) pair {
	n := c.count(la)
	return pair{m.convolution(n, n.measured, pl, s, la), m.convolution(n, n.epilogue, pl, s, la)}
}

// convolution is the model of a launch whose epilogue executes so many instructions.
func (m machine) convolution(n counts, epilogue int64, pl *Plan, s *Step, la *kernels.Launch) share {
	tile := la.Spec.Tile
	out := s.Results()[0].Shape
	value := func(name string) int {
		i := slices.IndexFunc(la.Spec.Params, func(p kernels.Param) bool { return p.Name == name })
		return int(la.Args[i].Bits)
	}
	height, width, k := value("height"), value("width"), value("k")
	tiles := tile.Count(height, width, k, out.N)
	x := share{name: layerOf(s), counts: n, warps: 8, spec: la.Spec}
	x.tile = strings.ReplaceAll(la.Spec.Entry[strings.Index(la.Spec.Entry, "nhwc_")+5:], "_", " ")
	flops := float64(s.FLOPs) / 1e6
	x.floor = flops / m.rate / float64(m.sms)
	x.fill = m.fill
	if tile.Pingpong {
		x.warps = 4
	}
	x.warps *= int64(tile.Split)
	blocks := la.Grid[0]
	each := (tiles*tile.Split + blocks - 1) / blocks // tiles of the busiest block
	product := flops / float64(tiles*tile.Split) / m.rate
	end := float64(epilogue) / float64(x.warps) * m.pace / m.clock
	switch {
	case tile.Split > 1:
		x.main, x.epilogue = product*float64(each), end*float64(each)+m.exchange
	case tile.Pingpong:
		// The warpgroups take turns: each waits for the other's product, or is waited for
		// while it is at its own end.
		own, other := (each+1)/2, each/2
		busy := max(float64(each)*product+end, product+float64(other)*(product+end), float64(own)*(product+end))
		x.main = float64(each) * product
		x.epilogue = busy - x.main
	default:
		x.main, x.epilogue = product*float64(each), end*float64(each)
	}
	if s.Ops[0].Kind != gpu.Conv3x3Fprop {
		x.waiting = max(float64(pl.Traffic(s, la))/1e6-m.cached, 0) * m.wait
	}
	return x
}

// layerOf names a step as the tuning reference does.
func layerOf(s *Step) string {
	if s.Ops[0].Kind == gpu.Conv3x3Fprop {
		return s.Ops[0].Name
	}
	return s.Ops[0].Name + " back"
}

// measurement is the folder of the H200's times.
const measurement = "../../../testdata/measurements/2026-11-26-h200/"

// hot are medians of the H200's times at 512x512, of launches that are repeated, by step
// and entry.
func hot(t *testing.T) map[[2]string]float64 {
	t.Helper()
	b, err := os.ReadFile(measurement + "ours-fp16.json")
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Launches []struct {
			Layer, Kernel string
			Hot           []float64 `json:"hot_us"`
		}
	}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	all := map[[2]string]float64{}
	for _, l := range m.Launches {
		slices.Sort(l.Hot)
		all[[2]string{l.Layer, l.Kernel}] = l.Hot[len(l.Hot)/2]
	}
	return all
}

// iteration is the model of one on a machine: its convolutions, what the others take, in
// both ages, and how many launches there are.
func (m machine) iteration(c *counter, measured map[[2]string]float64, size int) (convs []pair, times []float64, others [2]float64, launches int) {
	c.t.Helper()
	o, err := transfer.Preset("classic")
	if err != nil {
		c.t.Fatal(err)
	}
	p, err := transfer.LoopProgram(o, vgg.Shapes(), 1, size, size)
	if err != nil {
		c.t.Fatal(err)
	}
	pl := planned(c.t, p, Target{Precision: FP16, Hopper: true, SMs: m.sms})
	const start = 1.5 // of a small launch; the rest grows with the picture
	for _, s := range pl.Steps {
		for i := range s.Launches {
			la := &s.Launches[i]
			launches++
			us := measured[[2]string{strings.ReplaceAll(s.Name, fmt.Sprint(size), "512"), la.Spec.Entry}]
			if la.Spec.Family == "conv3x3_wgmma" {
				convs, times = append(convs, m.convolutions(c, pl, s, la)), append(times, us)
				continue
			}
			if us = other(measured, la.Spec.Entry); us == 0 {
				c.t.Fatalf("%s has not been measured", la.Spec.Entry)
			}
			now := us
			if n, ok := c.measured[la.Spec.Entry]; ok {
				now *= 1 - own*(1-float64(c.first(la))/float64(n))
			}
			for i, us := range []float64{us, now} {
				others[i] += start + max(us-start, 0)*float64(size*size)/(512*512)
			}
		}
	}
	return convs, times, others, launches
}

// other is the time of a launch that is the only one of its entry.
func other(measured map[[2]string]float64, entry string) float64 {
	for k, us := range measured {
		if k[1] == entry {
			return us
		}
	}
	return 0
}

// What kernels/docs/model.md says is what the kernels execute, and what the model makes
// of that; and the model is not far from what a GPU took.
func TestModel(t *testing.T) {
	c := newCounter(t)
	measured := hot(t)
	var b strings.Builder
	h200 := machines[0]
	b.WriteString("\n| layer, µs at 512×512 | tile | instructions of a warp's epilogue, as measured | floor | main loop | epilogue | fill, gap | waits | sum | measured | instructions today | epilogue | sum |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	convs, times, _, _ := h200.iteration(c, measured, 512)
	var all, today share
	var took float64
	for i, p := range convs {
		x, n := p.then, p.then.counts
		fmt.Fprintf(&b, "| %s | %s | %d | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %d | %.1f | %.1f |\n", x.name, x.tile, n.measured/x.warps, x.floor, x.main, x.epilogue, x.fill, x.waiting, x.total(), times[i], n.epilogue/x.warps, p.now.epilogue, p.now.total())
		if off := x.total()/times[i] - 1; math.Abs(off) > 0.1 {
			t.Errorf("%s: the model says %.1f us, the H200 took %.1f", x.name, x.total(), times[i])
		}
		if n.epilogue > n.measured {
			t.Errorf("%s: an epilogue of %d instructions, and %d when it was measured", x.name, n.epilogue, n.measured)
		}
		all.add(x)
		today.add(p.now)
		took += times[i]
	}
	fmt.Fprintf(&b, "| all | | | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | | %.0f | %.0f |\n", all.floor, all.main, all.epilogue, all.fill, all.waiting, all.total(), took, today.epilogue, today.total())
	if off := all.total()/took - 1; math.Abs(off) > 0.03 {
		t.Errorf("the model says %.0f us for all convolutions, the H200 took %.0f", all.total(), took)
	}

	b.WriteString("\n| an iteration, ms by the model | 256×256 | 512×512 | 1024×1024 |\n| --- | --- | --- | --- |\n")
	for _, m := range machines {
		then, now := fmt.Sprintf("| %s, kernels that were measured |", m.title), fmt.Sprintf("| %s, kernels of today |", m.title)
		for _, size := range []int{256, 512, 1024} {
			convs, _, us, launches := m.iteration(c, measured, size)
			was, is := us[0]+float64(launches)*m.cold, us[1]+float64(launches)*m.cold
			for _, p := range convs {
				was, is = was+p.then.total(), is+p.now.total()
			}
			then, now = then+fmt.Sprintf(" %.3f |", was/1e3), now+fmt.Sprintf(" %.3f |", is/1e3)
		}
		b.WriteString(then + "\n" + now + "\n")
	}

	b.WriteString("\n| tile | instructions of a stage, all warps | of a block before its first | KiB in flight | a stage, µs | refill window, µs | shared memory's port |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	seen := map[string]bool{}
	for _, p := range convs {
		x := p.now
		if seen[x.tile] || x.name == "relu5_1 back" {
			continue
		}
		seen[x.tile] = true
		s := x.spec
		stage := (s.Tile.Pixels/16+2)*2048 + s.Tile.Channels*384
		groups, wide := 2, s.Tile.Pixels
		switch {
		case s.Tile.Pingpong:
			groups = 1
		case s.Tile.Channels == 64:
			wide /= 2
		}
		us := float64(s.Tile.Channels*s.Tile.Pixels*64*3*2) / 1e6 / h200.rate
		read := groups * 12 * (64 + wide) * 32 // both operands of each product
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %.2f | %.2f | %.0f %% |\n", x.tile, x.counts.stage, x.counts.prologue, s.Stages*stage>>10, us, float64(s.Stages-1)*us, 100*float64(read+stage)/128/(us*h200.clock))
	}
	document(t, "../../../kernels/docs/model.md", "<!-- go test ./gpu/cuda/plan -run Model -update -->\n", b.String())
}

// document holds the end of a page, behind a mark, to what a test has made of it.
func document(t *testing.T, file, mark, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, table, ok := strings.Cut(string(text), mark)
	switch {
	case !ok:
		t.Fatalf("%s has no line %s", file, mark)
	case *rewrite:
		if err := os.WriteFile(file, []byte(head+mark+want), 0o644); err != nil {
			t.Fatal(err)
		}
	case table != want:
		t.Errorf("%s is not what the code says; with -update it is written again:\n%s", file, want)
	}
}
