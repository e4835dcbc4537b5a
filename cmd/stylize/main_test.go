package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/cmd/internal/anywhere"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// The test binary is the program itself when asked, for what needs a process.
func TestMain(m *testing.M) {
	if os.Getenv("STYLIZE_TEST_MAIN") == "1" {
		main()
	}
	os.Setenv("CUDA_VISIBLE_DEVICES", "") // auto is the CPU here, also where a GPU is
	held := weights.Random(1)             // which rnd names: made once for all tests
	newCPU = packedOnce
	code := m.Run()
	runtime.KeepAlive(held)
	os.Exit(code)
}

// shared are the devices whose packed weights all runs of the tests have, how often each
// was taken, by options.
var shared = struct {
	sync.Mutex
	of    map[cpu.Options]*cpu.Device
	taken map[cpu.Options]int
}{of: map[cpu.Options]*cpu.Device{}, taken: map[cpu.Options]int{}}

// packedOnce opens a device as cpu.New does, as a lane of one that stays open: to pack the
// weights takes longer than to paint a picture as small as those of the tests. Weights
// that nobody has any more stay packed, so that every fiftieth run begins afresh.
func packedOnce(o cpu.Options) (*cpu.Device, error) {
	if o.Pin { // lanes go to the processors beside
		return cpu.New(o)
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.taken[o]%50 == 0 {
		if old := shared.of[o]; old != nil {
			old.Close()
		}
		dev, err := cpu.New(o)
		if err != nil {
			return nil, err
		}
		shared.of[o] = dev
	}
	shared.taken[o]++
	return shared.of[o].Lane(o.Threads)
}

// samples writes two small pictures into a fresh folder and makes it the
// working directory; the cache is empty.
func samples(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv(weights.EnvCache, filepath.Join(dir, "cache"))
	for i, name := range []string{"content.png", "style.jpg"} {
		m := image.NewNRGBA(image.Rect(0, 0, 40, 28))
		for y := range 28 {
			for x := range 40 {
				m.SetNRGBA(x, y, color.NRGBA{uint8(6 * x), uint8(9*y + 40*i), uint8((x*y*(i+1) + 90) % 256), 255})
			}
		}
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".png") {
			err = png.Encode(f, m)
		} else {
			err = jpeg.Encode(f, m, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return dir
}

// stylize runs the program in this process.
func stylize(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, append([]string{"stylize"}, args...), &out, &err)
	return code, out.String(), err.String()
}

func mustRun(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr := stylize(context.Background(), args...)
	if code != 0 {
		t.Fatalf("stylize %s: exit %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout, stderr
}

func ls(t *testing.T) []string {
	t.Helper()
	var names []string
	es, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		names = append(names, e.Name())
	}
	sort.Strings(names)
	return names
}

const (
	small = "--size=32"
	quick = "--iterations=3"
	rnd   = "--weights=random:1"
)

func TestPaint(t *testing.T) {
	samples(t)
	stdout, stderr := mustRun(t, "content.png", "style.jpg", "-o", "out.png", small, quick, rnd, "--json", "--trace", "t.csv")
	var rec transfer.Record
	if err := json.Unmarshal([]byte(stdout), &rec); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if rec.Result.Iterations != 3 || rec.Result.Width != 32 || rec.Result.Height != 22 || rec.Result.Total <= 0 || rec.Weights.Source != "random:1" {
		t.Errorf("summary %+v", rec)
	}
	for _, want := range []string{"cpu: ", "painting at 32x22", "iteration 1/3", "iteration 3/3", "it/s", "left", "content", "style", "tv", "out.png: 32x22"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in\n%s", want, stderr)
		}
	}
	s, err := picture.Open("out.png", 0)
	if err != nil || s.W != 32 || s.H != 22 {
		t.Fatalf("result: %v", err)
	}
	csv, err := os.ReadFile("t.csv")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(string(csv)), "\n"); len(lines) != 4 || lines[0] != "evaluation,level,content,style,tv,total,step,refused,seconds,gflop,content_relu4_2,style_relu1_1,style_relu2_1,style_relu3_1,style_relu4_1,style_relu5_1" || strings.Count(lines[3], ",") != 15 || !strings.HasPrefix(lines[3], "3,") {
		t.Errorf("trace:\n%s", csv)
	}
}

// Flags before, between and behind the pictures, and the same bits each time.
func TestFlagsAnywhereAndSameBits(t *testing.T) {
	samples(t)
	mustRun(t, small, quick, rnd, "-o", "a.png", "content.png", "style.jpg")
	mustRun(t, "content.png", "-o=b.png", small, "style.jpg", quick, rnd, "-q")
	mustRun(t, "content.png", "style.jpg", "--output", "c.png", small, quick, rnd, "--threads", "1")
	a, _ := os.ReadFile("a.png")
	b, _ := os.ReadFile("b.png")
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Error("the same run wrote two different files")
	}
	pa, err := picture.Open("a.png", 0)
	if err != nil {
		t.Fatal(err)
	}
	pc, err := picture.Open("c.png", 0)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(pa.Resize(32, 22, picture.Point).RGB, pc.Resize(32, 22, picture.Point).RGB) {
		t.Error("one thread paints another picture than all")
	}
}

func TestAutoWeightsAreAnnounced(t *testing.T) {
	samples(t)
	_, stderr := mustRun(t, "content.png", "style.jpg", "-o", "out.png", small, "-n", "1")
	if strings.Count(stderr, "random weights (random:0); `stylize weights fetch`") != 1 {
		t.Errorf("without weights:\n%s", stderr)
	}
}

func TestOutputs(t *testing.T) {
	samples(t)
	for _, c := range []struct {
		args []string
		out  string
		w, h int
	}{
		{nil, "o.jpg", 32, 22},
		{[]string{"--quality", "50"}, "q.jpg", 32, 22},
		{[]string{"--bits", "16"}, "o16.png", 32, 22},
		{[]string{"--output-size", "original"}, "orig.png", 40, 28},
		{[]string{"--output-size", "64x20"}, "wh.png", 64, 20},
		{[]string{"--preset", "article", "-n", "2"}, "article.png", 40, 28},
		{[]string{"--init", "noise", "--seed", "4"}, "noise.png", 32, 22},
		{[]string{"--init", "style.jpg"}, "init.png", 32, 22},
		{[]string{"--content-weight", "0"}, "texture.png", 32, 22},
		{[]string{"--style-weight", "0"}, "plain.png", 32, 22},
		{[]string{"--tv-weight", "0"}, "notv.png", 32, 22},
		{[]string{"--save-every", "2"}, "se.png", 32, 22},
		{[]string{"--low-memory", "--size", "96"}, "lean.png", 96, 67},
	} {
		args := append([]string{"content.png", "style.jpg", small, quick, rnd, "-o", c.out}, c.args...)
		mustRun(t, args...)
		s, err := picture.Open(c.out, 0)
		if err != nil {
			t.Errorf("%v: %v", c.args, err)
			continue
		}
		if s.W != c.w || s.H != c.h {
			t.Errorf("%v: %dx%d, want %dx%d", c.args, s.W, s.H, c.w, c.h)
		}
	}
	if _, err := picture.Open("se-000002.png", 0); err != nil {
		t.Errorf("--save-every: %v", err)
	}
	for _, n := range ls(t) {
		if strings.HasSuffix(n, ".tmp") {
			t.Errorf("left behind: %s", n)
		}
	}
}

// Alpha goes from the content to the result.
func TestAlphaIsCarried(t *testing.T) {
	samples(t)
	m := image.NewNRGBA(image.Rect(0, 0, 32, 32))
	for i := range 32 * 32 {
		m.Pix[4*i], m.Pix[4*i+1], m.Pix[4*i+2], m.Pix[4*i+3] = 200, uint8(i), 90, uint8(i%32*8)
	}
	writePNG(t, "alpha.png", m)
	mustRun(t, "alpha.png", "style.jpg", "-o", "out.png", small, quick, rnd, "-q")
	s, err := picture.Open("out.png", 0)
	if err != nil || !s.HasAlpha {
		t.Fatalf("no alpha: %v", err)
	}
	p := s.Resize(32, 32, picture.Point)
	for x := range 32 {
		if d := p.Alpha[x]*255 - float32(x*8); d < -1.5 || d > 1.5 {
			t.Errorf("alpha at %d is %.0f, was %d", x, p.Alpha[x]*255, x*8)
		}
	}
}

func TestRerun(t *testing.T) {
	samples(t)
	mustRun(t, "content.png", "style.jpg", "-o", "out.png", small, quick, rnd, "--init", "noise", "--seed", "9", "--preset", "classic", "--lr", "0.02")
	_, stderr := mustRun(t, "rerun", "out.png", "-o", "again.png")
	if !strings.Contains(stderr, "the same picture, to the bit") {
		t.Errorf("rerun says\n%s", stderr)
	}
	a, _ := os.ReadFile("out.png")
	b, _ := os.ReadFile("again.png")
	if !bytes.Equal(a, b) {
		t.Error("rerun wrote another file")
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"rerun", "content.png", "-o", "x.png"}, "does not say how it was made"},
		{[]string{"rerun", "style.jpg", "-o", "x.png"}, "is no PNG"},
		{[]string{"rerun", "nothing.png", "-o", "x.png"}, "nothing.png: there is no such file"},
		{[]string{"rerun", "out.png"}, "-o OUT.png"},
		{[]string{"rerun", "-o", "x.png"}, "give one PNG"},
		{[]string{"rerun", "out.png", "-o", "x.png", "--style", "content.png"}, "not the style"},
		{[]string{"rerun", "out.png", "-o", "x.png", "--weights", "random:2"}, "not the weights"},
		{[]string{"rerun", "out.png", "-o", "x.png", "--init", "style.jpg"}, "no effect"},
		{[]string{"rerun", "out.png", "-o", "x.png", "--folder", "nowhere"}, "--folder nowhere: there is no such folder"},
		{[]string{"rerun", "out.png", "-o", "x.png", "--folder", "out.png"}, "--folder out.png: is no folder"},
	} {
		code, _, stderr := stylize(context.Background(), c.args...)
		if code != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d, %s", c.args, code, stderr)
		}
	}
	// The inputs moved: named, they are accepted; a moved folder is found by itself.
	if err := os.Mkdir("elsewhere", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"content.png", "style.jpg", "out.png"} {
		if err := os.Rename(n, filepath.Join("elsewhere", n)); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, "rerun", filepath.Join("elsewhere", "out.png"), "-o", "again2.png")
	if c, _ := os.ReadFile("again2.png"); !bytes.Equal(a, c) {
		t.Error("from another folder rerun wrote another file")
	}
}

// Every mistake: one line with the remedy, exit 2, and nothing written.
func TestBadUsage(t *testing.T) {
	foreign, err := filepath.Abs(filepath.Join("..", "..", "testdata", "weights"))
	if err != nil {
		t.Fatal(err)
	}
	samples(t)
	for name, data := range map[string]string{"empty.png": "", "text.png": "no picture at all", "bad.pth": "no weights", "adir.png": ""} {
		if name == "adir.png" {
			if err := os.Mkdir(name, 0o777); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(name, []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	good, _ := os.ReadFile("content.png")
	if err := os.WriteFile("cut.png", good[:len(good)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	before := ls(t)
	ok := []string{"content.png", "style.jpg", "-o", "out.png", small, quick, rnd}
	with := func(extra ...string) []string { return append(slices.Clone(ok), extra...) }
	cases := []struct {
		args []string
		want string
	}{
		{nil, "give a content and a style"},
		{[]string{"content.png", "-o", "out.png"}, "give two pictures"},
		{[]string{"content.png", "style.jpg", "style.jpg", "-o", "out.png"}, "style.jpg: is the same style as style.jpg"},
		{[]string{"content.png", "style.jpg"}, "-o OUT.png"},
		{[]string{"content.png", "style.jpg", "-o"}, "needs a value"},
		{[]string{"nope.png", "style.jpg", "-o", "out.png"}, "nope.png: there is no such file"},
		{[]string{"content.png", "empty.png", "-o", "out.png"}, "empty.png: the file is empty"},
		{[]string{"text.png", "style.jpg", "-o", "out.png"}, "text.png: is no picture"},
		{[]string{"cut.png", "style.jpg", "-o", "out.png"}, "cut.png: the PNG picture is damaged or cut off"},
		{[]string{"adir.png", "style.jpg", "-o", "out.png"}, "is a folder"},
		{with("--max-pixels", "1000"), "content.png: the picture has 40x28 = 0.00112 million pixels, more than the 0.001 million allowed; raise --max-pixels 1000 or shrink it"},
		{with("--max-pixels", "0"), "--max-pixels 0"},
		{with("-o", "out"), "give the name an extension"},
		{with("-o", "out.gif"), "written as .png, .jpg, .webp, .tif or .avif"},
		{with("-o", "adir.png"), "is a folder"},
		{with("-o", "no/such/folder/out.png"), "does not exist"},
		{with("-o", "content.png"), "overwrite its own input"},
		{with("-o", "./style.jpg"), "overwrite its own input"},
		{with("--trace", "content.png"), "which is read"},
		{with("--trace", "out.png"), "also the result's name"},
		{with("--trace", "no/such/t.csv"), "does not exist"},
		{with("--size", "15"), "--size 15"},
		{with("--size", "100000"), "--size 100000"},
		{with("--ladder", "16,64"), "--ladder 16:3,64:3: the picture is painted at 32 in the end"},
		{with("--ladder", "24,16"), "--ladder 24:3,16:3: give the sizes from small to large"},
		{with("--ladder", "16,16,32"), "--ladder 16:3,16:3: 16 is there twice"},
		{with("--ladder", "8,32"), "--ladder 8:3: the network needs 16 pixels"},
		{with("--ladder", "32"), "--ladder 32: give a smaller size before the last"},
		{with("--ladder", "auto"), "--ladder auto has no effect at --size 32: so small a picture has no smaller one"},
		{with("--ladder", "16:4,32:5"), "--iterations 3: --ladder 16:4,32:5 says how many"},
		{with("--ladder", "16:0,32"), "--ladder 16:0,32: give auto, off or sizes"},
		{with("--ladder", "small"), "--ladder small: give auto, off or sizes"},
		{with("--ladder", ""), "give auto, off or sizes"},
		{with("--until", "soon"), "--until soon: give plateau or a time"},
		{with("--until", "-1s"), "--until -1s"},
		{[]string{"content.png", "style.jpg", "-o", "out.png", "--budget", "never"}, "--budget never: give a time"},
		{[]string{"content.png", "style.jpg", "-o", "out.png", "--budget", "1s", "--until", "plateau"}, "--budget 1s and --until plateau both say when to stop"},
		{[]string{"content.png", "style.jpg", "-o", "out.png", "--budget", "1s", "--ladder", "auto"}, "--ladder auto has no effect with --budget 1s"},
		{with("--budget", "1s"), "--iterations 3 has no effect with --budget 1s"},
		{[]string{"content.png", "style.jpg", "-o", "out.png", "--budget", "1ms", rnd}, "--budget 1ms: one iteration at 512 takes about"},
		{[]string{"plan", "content.png", "style.jpg", "--budget", "1ms"}, "--budget 1ms: one iteration at each size takes about"},
		{[]string{"plan", "content.png", "style.jpg", "--budget", "1s", "--device", "cuda", "--like", "h100"}, "takes a measurement on the GPU itself"},
		{with("--checkpoint-every", "5s"), "--checkpoint-every 5s has no effect without --checkpoint"},
		{with("--checkpoint", "r.ckpt", "--checkpoint-every", "often"), "--checkpoint-every often: give a time"},
		{with("--checkpoint", "style.jpg"), "--checkpoint style.jpg: would overwrite style.jpg, which is read"},
		{with("--checkpoint", "out.png"), "--checkpoint out.png: is also the result's name"},
		{with("--checkpoint", "t.csv", "--trace", "t.csv"), "--checkpoint t.csv: is also the trace's name"},
		{with("--checkpoint", "no/such/r.ckpt"), "does not exist"},
		{with("--size", "abc"), "abc"},
		{with("--size", "20000"), "the largest that fits is --size"},
		{with("-n", "0"), "--iterations 0"},
		{with("--preset", "classic", "--lr", "0"), "--lr 0"},
		{with("--preset", "classic", "--lr", "nan"), "--lr NaN"},
		{with("--preset", "classic", "--lr", "-1"), "--lr -1"},
		{with("--style-weight", "-1"), "--style-weight -1"},
		{with("--style-weight", "inf"), "--style-weight +Inf"},
		{with("--content-weight", "0", "--style-weight", "0", "--tv-weight", "0"), "nothing would change"},
		{with("--preset", "none"), "choose from article, best, classic, default, draft"},
		{with("--preset", "article", "--tv-weight", "1"), "--tv-weight has no effect"},
		{with("--seed", "3"), "--seed has no effect"},
		{with("--seed", "-3", "--init", "noise"), "-3"},
		{with("--init", "nope.png"), "--init: nope.png"},
		{with("--init", ""), "--init"},
		{with("--output-size", "12"), "--output-size 12"},
		{with("--output-size", "0x5"), "--output-size 0x5"},
		{with("--bits", "12"), "--bits 12"},
		{with("--bits", "16", "-o", "out.jpg"), "a JPEG has 8 bits"},
		{with("--quality", "90"), "--quality has no effect"},
		{with("--quality", "0", "-o", "out.jpg"), "--quality 0"},
		{with("--save-every", "0"), "--save-every 0"},
		{with("--save-every", "3"), "no effect with 3 iterations"},
		{with("--device", "cuda"), "--device cuda"},
		{with("--device", "tpu"), "--device tpu"},
		{with("--precision", "fp16"), "--precision fp16"},
		{with("--kernels", "sm70"), "--kernels sm70"},
		{with("--device", "cpu", "--kernels", "sm80"), "--kernels"},
		{with("--device", "cpu", "--no-autotune"), "--no-autotune"},
		{with("--threads", "0"), "--threads 0"},
		{with("--threads", "1000000"), "--threads 1000000: give 1 to"},
		{with("--weights", "bad.pth"), "bad.pth: not a usable weights file"},
		{with("--weights", "nope.pth"), "give a .pth or .safetensors file, or random"},
		{with("--weights", filepath.Join(foreign, "hostile_zip.pth")), "asks to call posix.system"},
		{with("--weights", filepath.Join(foreign, "hostile_plain.pth")), "asks to call posix.system"},
		{with("--weights", filepath.Join(foreign, "whole_model.pth")), "save model.state_dict()"},
		{with("--weights", filepath.Join(foreign, "zip.pth")), "VGG19 has [64 3 3 3]"},
		{with("--weights", "adir.png"), "is a folder"},
		{with("--weights", "random:x"), "random:x"},
		{with("--itterations", "3"), "did you mean --iterations?"},
		{with("--frobnicate"), "unknown flag --frobnicate"},
		{[]string{"plan", "content.png"}, "give two pictures"},
		{[]string{"plan", "-", "-"}, "standard input has one picture"},
		{with("--format", "gif"), "--format gif: give png, jpg, webp, tif or avif"},
		{with("--format", "jpg"), "--format jpg: out.png has the name of another"},
		{with("-o", "-", "--json"), "--json prints to standard output"},
		{with("-o", "-", "--save-every", "2"), "--save-every makes names"},
		{with("-o", "-", "--bits", "16", "--format", "jpg"), "a JPEG has 8 bits"},
		{with("--trace", "-"), "need the name of a file"},
		{[]string{"-", "-", "-o", "out.png"}, "standard input has one picture"},
		{[]string{"content.png", "-", "-o", "out.png", "--init", "-"}, "standard input has one picture"},
		{[]string{"--size", "64", "plan", "content.png", "style.jpg"}, "--size stands before plan; put it behind plan"},
		{[]string{"-q", "--size=64", "plan", "content.png", "style.jpg"}, "-q stands before plan"},
		{[]string{"--like", "h100", "plan", "content.png", "style.jpg"}, "--like stands before plan; put it behind plan"},
		{[]string{"weights", "--force", "fetch"}, "--force stands before fetch; put it behind fetch"},
		{[]string{"--frobnicate", "plan", "content.png", "style.jpg"}, "unknown flag --frobnicate"},
		{[]string{"devices", "x"}, "takes no arguments"},
		{[]string{"version", "x"}, "takes no arguments"},
		{[]string{"weights"}, "fetch, import, path, convert or verify"},
		{[]string{"weights", "eat"}, "no such command"},
		{[]string{"weights", "verify"}, "run `stylize weights fetch`"},
		{[]string{"weights", "verify", "a", "b"}, "give one file"},
		{[]string{"weights", "convert", "bad.pth"}, "got 1"},
		{[]string{"weights", "convert", "bad.pth", "out.safetensors"}, "not a usable weights file"},
		{[]string{"weights", "convert", "bad.pth", "bad.pth"}, "overwrite its own input"},
	}
	if runtime.GOOS == "linux" {
		cases = append(cases, struct {
			args []string
			want string
		}{with("-o", "/proc/out.png"), "/proc/out.png"})
	}
	for _, c := range cases {
		code, stdout, stderr := stylize(context.Background(), c.args...)
		line := strings.TrimSpace(stderr)
		if code != exitUsage || !strings.Contains(line, c.want) || strings.Contains(line, "\n") || !strings.HasPrefix(line, "stylize: ") {
			t.Errorf("stylize %s: exit %d, want 2 and %q:\n%s%s", strings.Join(c.args, " "), code, c.want, stdout, stderr)
		}
	}
	if after := ls(t); !slices.Equal(before, after) {
		t.Errorf("files before %v\nand after %v", before, after)
	}
}

// A loss that overflows: a clear message, exit 1, and the last good picture.
func TestDivergence(t *testing.T) {
	samples(t)
	code, stdout, stderr := stylize(context.Background(), "content.png", "style.jpg", "-o", "out.png", small, "-n", "30", rnd, "--style-weight", "3e38", "--json")
	if code != exitFailed || !strings.Contains(stderr, "no longer finite") || !strings.Contains(stderr, "lower the weights or --lr") || !strings.Contains(stderr, "last good picture") {
		t.Fatalf("exit %d:\n%s", code, stderr)
	}
	if _, err := picture.Open("out.png", 0); err != nil {
		t.Error(err)
	}
	if !json.Valid([]byte(stdout)) || !strings.Contains(stdout, `"stopped": "diverged"`) {
		t.Errorf("summary:\n%s", stdout)
	}
}

// Full disks, by a device that is always full: exit 1, the reason, and where the picture
// is instead.
func TestFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	samples(t)
	if err := os.Symlink("/dev/full", "full.png"); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := stylize(context.Background(), "content.png", "style.jpg", "-o", "full.png", small, quick, rnd, "-q")
	if code != exitFailed || !strings.Contains(stderr, "full.png: the disk is full") || !strings.Contains(stderr, "the picture is complete, in full-rescued-1.png") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, err := picture.Open("full-rescued-1.png", 0); err != nil {
		t.Error(err)
	}
	code, _, stderr = stylize(context.Background(), "content.png", "style.jpg", "-o", "out.png", small, quick, rnd, "-q", "--trace", "/dev/full")
	if code != exitFailed || !strings.Contains(stderr, "/dev/full: the disk is full") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, err := picture.Open("out.png", 0); err != nil {
		t.Errorf("the picture went with the trace: %v", err)
	}
}

// Ctrl-C in a real process: the picture so far, exit 130.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("processes cannot be interrupted one by one there")
	}
	samples(t)
	cmd, stderr := process(t, "", "content.png", "style.jpg", "-o", "out.png", small, "-n", "100000", rnd, "--trace", "t.csv")
	deadline := time.Now().Add(time.Minute)
	for { // until a few iterations are done
		if b, err := os.ReadFile("t.csv"); err == nil && bytes.Count(b, []byte("\n")) > 3 {
			break
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatalf("no iterations in a minute:\n%s", stderr.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(stderr.String(), "the picture so far is in out.png") {
		t.Fatalf("exit %d, %v:\n%s", code, err, stderr.String())
	}
	if _, err := picture.Open("out.png", 0); err != nil {
		t.Error(err)
	}
	text, err := picture.ReadText("out.png")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := transfer.ParseRecord(text)
	if err != nil || rec.Result.Stopped != "interrupted" || rec.Result.Iterations < 1 {
		t.Errorf("record %+v: %v", rec.Result, err)
	}
}

func TestInterruptBeforeTheFirstIteration(t *testing.T) {
	samples(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	code, _, stderr := stylize(ctx, "content.png", "style.jpg", "-o", "out.png", small, quick, rnd)
	if code != exitInterrupted || !strings.Contains(stderr, "nothing was saved") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if _, err := os.Stat("out.png"); err == nil {
		t.Error("a picture was written")
	}
}

func TestPlan(t *testing.T) {
	samples(t)
	stdout, _ := mustRun(t, "plan", "content.png", "style.jpg", "--size", "512")
	for _, want := range []string{"painting at", "512x358", "GFLOP an iteration", "memory", "about"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	stdout, _ = mustRun(t, "plan", "--json", "--size", "64", "content.png", "style.jpg")
	var p struct {
		Peak    int64   `json:"peak_bytes"`
		Low     int64   `json:"low_memory_peak_bytes"`
		Seconds float64 `json:"seconds"`
	}
	if err := json.Unmarshal([]byte(stdout), &p); err != nil || p.Peak <= 0 || p.Low <= 0 || p.Low > p.Peak || p.Seconds <= 0 {
		t.Errorf("%v: %s", err, stdout)
	}
	// The plan is what a run takes.
	stdout, _ = mustRun(t, "content.png", "style.jpg", "-o", "out.png", "--size", "64", quick, rnd, "--json")
	var rec transfer.Record
	if err := json.Unmarshal([]byte(stdout), &rec); err != nil {
		t.Fatal(err)
	}
	if r := float64(rec.Result.MemoryBytes) / float64(p.Peak); r < 0.95 || r > 1.05 {
		t.Errorf("the run took %d bytes, the plan said %d", rec.Result.MemoryBytes, p.Peak)
	}
}

// Plan stands in front of a whole command line, writes nothing, and says what a budget
// pays for.
func TestPlanInFront(t *testing.T) {
	samples(t)
	before := ls(t)
	line := strings.Fields("content.png style.jpg -o out.png --size 64 -n 7 --trace t.csv --checkpoint c --checkpoint-every 5s --save-every 2 --quality 8 --bits 16 --quiet --weights random")
	out, stderr := mustRun(t, append([]string{"plan"}, line...)...)
	if !strings.Contains(out, "7 iterations of") || stderr != "" {
		t.Errorf("%s%s", out, stderr)
	}
	if after := ls(t); !slices.Equal(before, after) {
		t.Errorf("a plan left %v", after)
	}
	iterations := func(budget string) int {
		out, _ := mustRun(t, "plan", "content.png", "style.jpg", "--size", "64", "--budget", budget, "--json")
		var p struct {
			Iterations int     `json:"iterations"`
			Seconds    float64 `json:"seconds"`
		}
		if err := json.Unmarshal([]byte(out), &p); err != nil {
			t.Fatal(err)
		}
		if want, _ := transfer.ParseTime(budget); p.Seconds > want.Seconds() || p.Seconds < want.Seconds()/2 {
			t.Errorf("%s is planned to take %g s", budget, p.Seconds)
		}
		return p.Iterations
	}
	if few, many := iterations("10s"), iterations("1000s"); many < 10*few {
		t.Errorf("%d and %d iterations", few, many)
	}
	if out, _ := mustRun(t, "plan", "content.png", "style.jpg", "--size", "32", "--until", "plateau"); !strings.Contains(out, "--until plateau may end it sooner") {
		t.Error(out)
	}
}

// A plan for a GPU needs none.
func TestPlanElsewhere(t *testing.T) {
	samples(t)
	stdout, _ := mustRun(t, "plan", "content.png", "style.jpg", "--size", "64", "--device", "cuda", "--like", "A100")
	for _, want := range []string{"NVIDIA A100", "not here", "memory", "time", "unknown"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	stdout, _ = mustRun(t, "plan", "content.png", "style.jpg", "--size", "64", "--device", "cuda", "--like", "4090", "--launches", "--precision", "bf16")
	for _, want := range []string{"bf16", "128 multiprocessors", "conv3x3_first_fprop_bf16", "lbfgs_solve_f32"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--like", "h100"}, "add --device cuda"},
		{[]string{"--launches"}, "add --device cuda"},
		{[]string{"--device", "cuda", "--like", "voodoo2"}, "h100, h200, a100, 4090, l4"},
		{[]string{"--device", "cuda", "--like", "a100", "--kernels", "sm90a"}, "Hopper"},
		{[]string{"--device", "cuda", "--like", "a100", "--precision", "int4"}, "fp16, bf16, tf32 or fp32"},
		{[]string{"--device", "cuda", "--like", "a100", "--low-memory"}, "CPU's"},
	} {
		code, _, stderr := stylize(t.Context(), append([]string{"plan", "content.png", "style.jpg"}, c.args...)...)
		if code != 2 || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d, %q, want %q", c.args, code, stderr, c.want)
		}
	}
}

func TestDevicesVersionHelp(t *testing.T) {
	stdout, _ := mustRun(t, "devices")
	if !strings.Contains(stdout, "cpu") || !strings.Contains(stdout, "thread") {
		t.Errorf("devices:\n%s", stdout)
	}
	stdout, _ = mustRun(t, "devices", "--json")
	if !json.Valid([]byte(stdout)) {
		t.Errorf("devices --json:\n%s", stdout)
	}
	stdout, _ = mustRun(t, "version")
	if !strings.HasPrefix(stdout, "stylize ") {
		t.Errorf("version: %s", stdout)
	}
	for _, args := range [][]string{{"--help"}, {"-h"}, {"plan", "--help"}, {"rerun", "--help"}, {"weights", "fetch", "--help"}} {
		stdout, _ := mustRun(t, args...)
		if !strings.Contains(stdout, "Usage:\n  stylize ") {
			t.Errorf("%v:\n%s", args, stdout)
		}
	}
}

func TestWeightsCommands(t *testing.T) {
	samples(t)
	stdout, _ := mustRun(t, "weights", "convert", "random:3", "w.safetensors")
	if !strings.Contains(stdout, "sha256") {
		t.Error(stdout)
	}
	stdout, _ = mustRun(t, "weights", "verify", "w.safetensors")
	if !strings.Contains(stdout, "conv5_1") || !strings.Contains(stdout, "complete, every value finite") {
		t.Error(stdout)
	}
	if _, stderr := mustRun(t, "weights", "convert", "--caffe", "w.safetensors", "caffe.safetensors"); !strings.Contains(stderr, "Caffe's (BGR, 0 to 255), converted, features divided by 64") {
		t.Error(stderr)
	}
	// In the cache they are what auto takes, without a word.
	if err := os.MkdirAll("cache", 0o777); err != nil {
		t.Fatal(err)
	}
	path, err := weights.CachePath()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename("w.safetensors", path); err != nil {
		t.Fatal(err)
	}
	_, stderr := mustRun(t, "content.png", "style.jpg", "-o", "out.png", small, "-n", "1", "-q")
	if stderr != "" {
		t.Errorf("with cached weights:\n%s", stderr)
	}
	stdout, _ = mustRun(t, "weights", "fetch")
	if !strings.Contains(stdout, "is there already") {
		t.Error(stdout)
	}
	if err := os.WriteFile(path, []byte("damaged"), 0o666); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := stylize(context.Background(), "content.png", "style.jpg", "-o", "out2.png", small)
	if code != exitUsage || !strings.Contains(stderr, "run `stylize weights fetch --force` to replace them") {
		t.Errorf("damaged weights in the cache: exit %d, %s", code, stderr)
	}
	mustRun(t, "weights", "convert", "random:4", "mine.safetensors")
	if stdout, _ := mustRun(t, "weights", "import", "mine.safetensors"); !strings.Contains(stdout, "not torchvision's") {
		t.Error(stdout)
	}
	stdout, _ = mustRun(t, "weights", "path")
	if strings.TrimSpace(stdout) != path {
		t.Errorf("weights path says %s", stdout)
	}
	if _, err := weights.Load(path); err != nil {
		t.Errorf("imported weights: %v", err)
	}
	for _, args := range [][]string{{"import"}, {"import", "content.png"}, {"import", path}, {"path", "x"}, {"fetch", "--force", "--url", "ftp://x/y.pth"}, {"fetch", "--force", "--url", "here.pth"}, {"fetch", "--force", "--sha256", "zz"}} {
		if code, _, stderr := stylize(context.Background(), append([]string{"weights"}, args...)...); code != exitUsage {
			t.Errorf("weights %v: exit %d, %s", args, code, stderr)
		}
	}
	code, _, stderr = stylize(context.Background(), "weights", "fetch", "--force", "--url", "http://127.0.0.1:1/vgg19-dcbb9e9d.pth", "--sha256", "00")
	if code != exitFailed || !strings.Contains(stderr, "127.0.0.1:1") || !strings.Contains(stderr, "pass it with --weights") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestReorder(t *testing.T) {
	app := newApp(nil, nil)
	for _, c := range []struct{ in, want string }{
		{"a b -o c", "--output=c -- a b"},
		{"-o c a b", "--output=c -- a b"},
		{"a -q b --size=3", "--quiet --size=3 -- a b"},
		{"a --lr -1 b", "--lr=-1 -- a b"},
		{"-n 5 --iterations 6 a", "--iterations=5 --iterations=6 -- a"},
		{"-- -a -b", "-- -a -b"},
		{"a - b", "-- a - b"},
		{"plan a --json b", "plan --json -- a b"},
		{"-o plan a plan", "--output=plan -- a plan"}, // files of a command's name
		{"--help plan a b", "plan --help"},
		{"a -h b -q", "--help"},
		{"weights fetch x --help", "weights fetch --help"},
		{"weights convert a b", "weights convert -- a b"},
		{"", ""},
		{"-n50 a", "--iterations=50 -- a"},
		{"-n1e3 -oout.png a", "--iterations=1000 --output=out.png -- a"},
		{"-o- -o../x -n=7 a", "--output=- --output=../x --iterations=7 -- a"},
	} {
		got, err := anywhere.Reorder(app, append([]string{"stylize"}, strings.Fields(c.in)...))
		if err != nil || strings.Join(got[1:], " ") != c.want {
			t.Errorf("%q became %q, %v; want %q", c.in, got[1:], err, c.want)
		}
	}
}

// A ladder is painted level by level, planned as such, and remembered.
func TestLadderCommand(t *testing.T) {
	samples(t)
	_, stderr := mustRun(t, "content.png", "style.jpg", "-o", "out.png", small, quick, rnd, "--ladder", "16:2,24", "--trace", "t.csv")
	for _, want := range []string{"painting at 16x16, then 24x17, then 32x22", "iteration 1/8 at 16x16", "iteration 8/8 at 32x22", "8 iterations in"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in\n%s", want, stderr)
		}
	}
	var levels []string
	for line := range strings.Lines(untimed(t, "t.csv")) {
		levels = append(levels, strings.Split(line, ",")[1])
	}
	if got := strings.Join(levels, " "); got != "level 16x16 16x16 24x17 24x17 24x17 32x22 32x22 32x22" {
		t.Errorf("levels of the trace: %s", got)
	}
	// The last size of a ladder is that of the picture, and its iterations are.
	mustRun(t, "content.png", "style.jpg", "-o", "same.png", rnd, "--ladder", "16:2,24:3,32:3", "-q")
	if !bytes.Equal(read(t, "out.png"), read(t, "same.png")) {
		t.Error("the same ladder in other words is another picture")
	}
	mustRun(t, "rerun", "out.png", "-o", "again.png", "-q")
	if !bytes.Equal(read(t, "out.png"), read(t, "again.png")) {
		t.Error("rerun wrote another file")
	}
	stdout, _ := mustRun(t, "plan", "content.png", "style.jpg", "--size", "256", "-n", "10", "--ladder", "auto")
	for _, want := range []string{"before at", "28x20, 10 iterations", "85x60, 10 iterations", "on 3 levels", "for the levels before"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	stdout, _ = mustRun(t, "plan", "content.png", "style.jpg", "--size", "256", "-n", "10", "--ladder", "auto", "--json")
	var p struct {
		FLOPs  float64
		Levels []struct {
			Width, Iterations int
			FLOPs             float64
		}
	}
	if err := json.Unmarshal([]byte(stdout), &p); err != nil || len(p.Levels) != 3 || p.Levels[2].Width != 256 || p.FLOPs != p.Levels[0].FLOPs+p.Levels[1].FLOPs+p.Levels[2].FLOPs {
		t.Errorf("%v: %s", err, stdout)
	}
}

// A budget is for everything, from the start of the program to the picture. How well
// it is kept is logged: a busy machine would fail what is right.
func TestBudgetCommand(t *testing.T) {
	samples(t)
	start := time.Now()
	stdout, stderr := mustRun(t, "content.png", "style.jpg", "-o", "out.png", "--size", "128", "--budget", "5s", rnd, "--json")
	t.Logf("took %.2f s of 5", time.Since(start).Seconds())
	var rec transfer.Record
	if err := json.Unmarshal([]byte(stdout), &rec); err != nil || rec.Result.Iterations == 0 || rec.Result.Stopped != "time" {
		t.Errorf("%v: %+v", err, rec.Result)
	}
	for _, want := range []string{"painting at ", ", when the time was up"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in\n%s", want, stderr)
		}
	}
	_, stderr = mustRun(t, "rerun", "out.png", "-o", "again.png")
	if !strings.Contains(stderr, "the same picture, to the bit") {
		t.Errorf("rerun says\n%s", stderr)
	}
}

// Nothing that is read is ever written, under any name.
func TestInputsStay(t *testing.T) {
	samples(t)
	mustRun(t, "weights", "convert", "random:1", "w.safetensors")
	copyFile := func(from, to string) {
		if err := os.WriteFile(to, read(t, from), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copyFile("content.png", "init.png")
	copyFile("content.png", "out-000001.png")
	for _, c := range []struct {
		keep string
		args []string
	}{
		{"init.png", []string{"content.png", "style.jpg", "--init", "init.png", "-o", "init.png"}},
		{"init.png", []string{"content.png", "style.jpg", "--init", "init.png", "--trace", "init.png", "-o", "o.png"}},
		{"out-000001.png", []string{"out-000001.png", "style.jpg", "--save-every", "1", "-o", "out.png"}},
		{"w.safetensors", []string{"content.png", "style.jpg", "--weights", "w.safetensors", "--trace", "w.safetensors", "-o", "o.png"}},
		{"w.safetensors", []string{"content.png", "style.jpg", "--weights", "w.safetensors", "--checkpoint", "w.safetensors", "-o", "o.png"}},
	} {
		before := read(t, c.keep)
		code, _, stderr := stylize(t.Context(), append(c.args, small, quick)...)
		if code != exitUsage || !strings.Contains(stderr, c.keep) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d, %s", c.args, code, stderr)
		}
		if !bytes.Equal(before, read(t, c.keep)) {
			t.Errorf("%v: %s is another file now", c.args, c.keep)
		}
	}
}

// A rerun says what differs when the pixels do: here somebody has painted over them.
func TestRerunBlames(t *testing.T) {
	samples(t)
	mustRun(t, "content.png", "style.jpg", "-o", "a.png", small, quick, rnd, "-q")
	mustRun(t, "content.png", "style.jpg", "-o", "b.png", small, "--iterations=4", rnd, "-q")
	record, err := picture.ReadText("a.png")
	if err != nil {
		t.Fatal(err)
	}
	b, err := picture.Open("b.png", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	p := b.Resize(b.W, b.H, picture.Bicubic) // the pixels of one with the record of the other
	for _, c := range []struct{ old, now, want string }{
		{"", "", "they were changed afterwards"},
		{`"version":"devel"`, `"version":"v0.1"`, "it was made by version v0.1, this is devel"},
		{`"kind":"cpu"`, `"kind":"cuda"`, "it was made on cuda, this is cpu"},
		{`"bits":"`, `"bits":"mmx, `, "it was computed with mmx, "},
		{`"bits":"`, `"bats":"`, "its record does not say with which instructions, precision or --low-memory"},
	} {
		if err := p.Save("a.png", picture.SaveOptions{Bits: 8, Metadata: strings.Replace(record, c.old, c.now, 1)}); err != nil {
			t.Fatal(err)
		}
		if _, stderr := mustRun(t, "rerun", "a.png", "-o", "c.png"); !strings.Contains(stderr, "not the same picture to the bit (") || !strings.Contains(stderr, c.want) {
			t.Errorf("want %q: %s", c.want, stderr)
		}
	}
}

// --low-memory changes bits, so it is in the record.
func TestRerunLowMemory(t *testing.T) {
	samples(t)
	mustRun(t, "content.png", "style.jpg", "-o", "a.png", "--size=48", "-n=5", rnd, "--bits=16", "--low-memory", "-q")
	mustRun(t, "content.png", "style.jpg", "-o", "b.png", "--size=48", "-n=5", rnd, "--bits=16", "-q")
	if bytes.Equal(read(t, "a.png"), read(t, "b.png")) {
		t.Fatal("--low-memory changes nothing here")
	}
	for _, name := range []string{"a.png", "b.png"} {
		if _, stderr := mustRun(t, "rerun", name, "-o", "again.png"); !strings.Contains(stderr, "the same picture, to the bit") || !bytes.Equal(read(t, name), read(t, "again.png")) {
			t.Errorf("%s: %s", name, stderr)
		}
	}
	if _, stderr := mustRun(t, "rerun", "b.png", "-o", "again.png", "--low-memory"); !strings.Contains(stderr, ", low memory") {
		t.Errorf("blamed: %s", stderr)
	}
}

// What other programs are asked by is understood here.
func TestHabits(t *testing.T) {
	want, _ := mustRun(t, "version")
	for _, flag := range []string{"--version", "-V"} {
		if got, _ := mustRun(t, flag); got != want {
			t.Errorf("%s: %q, want %q", flag, got, want)
		}
	}
	if out, _ := mustRun(t, "help"); !strings.Contains(out, "stylize [flags] CONTENT STYLE") {
		t.Error(out)
	}
	if out, _ := mustRun(t, "help", "plan"); !strings.Contains(out, "--launches") {
		t.Error(out)
	}
	if _, _, stderr := stylize(t.Context(), "-v"); strings.Contains(stderr, "did you mean") {
		t.Error(stderr)
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("STYLIZE_CACHE", "")
	samples(t)
	if _, stderr := mustRun(t, "content.png", "style.jpg", "-o", "o.png", small, quick, "-q"); stderr != "" {
		t.Errorf("quiet: %q", stderr)
	}
}
