package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/transfer/batch"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// album is a folder in/ of n small pictures, each another, beside the usual two.
func album(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = samples(t)
	if err := os.Mkdir("in", 0o777); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		p := &picture.Picture{W: 40, H: 28 + i%2}
		for j := range p.W * p.H {
			p.RGB = append(p.RGB, float32(j%p.W)/40, float32(j/p.W)/30, float32((j*(i+3))%101)/101)
		}
		if err := p.Save(fmt.Sprintf("in/%02d.png", i), picture.SaveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// fast are options that take next to no time: smoothness alone.
var fast = []string{"--content-weight=0", "--style-weight=0", "--size=16", "--optimizer=adam", "-n=3", rnd, "--devices=cpu"}

func batchArgs(args ...string) []string { return append(append([]string{"batch"}, fast...), args...) }

func reportLines(t *testing.T, path string) (lines []batch.Line) {
	t.Helper()
	for text := range bytes.Lines(read(t, path)) {
		var l batch.Line
		if json.Unmarshal(text, &l) == nil && l.Status != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

func results(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A batch writes what the main command writes, but for the key, in every format.
func TestBatchIsSinglePictures(t *testing.T) {
	album(t, 2)
	same := []string{small, quick, rnd}
	formats := []string{"png", "jpg", "webp", "tif", "avif"}
	if testing.Short() {
		formats = formats[:2] // how each is written is the same code for both
	}
	for _, ext := range formats {
		out := "out/{content}-{style}." + ext
		mustRun(t, append([]string{"batch", "in", "--style", "style.jpg", "-o", out, "--devices", "cpu"}, same...)...)
		for _, c := range []string{"00", "01"} {
			got := "out/" + c + "-style." + ext
			mustRun(t, append([]string{"in/" + c + ".png", "style.jpg", "-o", "alone." + ext, "-q"}, same...)...)
			a, err := picture.Open(got, 0)
			if err != nil {
				t.Fatal(err)
			}
			b, err := picture.Open("alone."+ext, 0)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(a.Resize(32, 20, picture.Point).RGB, b.Resize(32, 20, picture.Point).RGB) {
				t.Errorf("%s is another picture than the one that is painted alone", got)
			}
			if ext == "png" {
				x, err1 := picture.ReadText(got)
				y, err2 := picture.ReadText("alone.png")
				if err1 != nil || err2 != nil || x != y {
					t.Errorf("records differ: %s, %s", x, y)
				}
			}
		}
	}
	_, stderr := mustRun(t, "rerun", "out/01-style.png", "-o", "again.png", "--folder", ".")
	if !strings.Contains(stderr, "the same picture, to the bit") {
		t.Error(stderr)
	}
}

// So it is where several styles paint together, in regions, from the command line and from
// a manifest, whose names are relative to it.
func TestBatchControlsAreSinglePictures(t *testing.T) {
	painter(t)
	common := []string{small, "--ladder=16:2", "-n=3", rnd, "-q"}
	mustRun(t, "style", "make", "second.png", "-o", "second.style", "--sizes=16,32", rnd, "-q")
	if err := os.Mkdir("m", 0o777); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ single, args, line string }{
		{"content.png style.jpg second.png --blend 2,1 --feather 2 --content-mask right.png", "content.png --style style.jpg --style second.png --blend 2,1 --feather 2 --content-mask right.png", ""},
		{"alpha.png style.jpg second.png --blend 1,1 --mask 1=left.png --mask alpha --style-mask second=top.png", "alpha.png --style style.jpg --style second.png --blend 1,1 --mask style.jpg=left.png --mask alpha --style-mask 2=top.png", ""},
		{"content.png style.jpg --mask left.png", "content.png --style style.jpg --mask left.png --snap 16", ""},
		{"content.png style.jpg second.png --blend 1,3", "", `{"content":"../content.png","style":["../style.jpg","../second.png"],"blend":[1,3]}`},
		{"content.png style.jpg second.png", "--style content.png --mask right.png", `{"content":"../content.png","style":["../style.jpg","../second.png"]}`},
		{"content.png style.jpg second.style --mask style.jpg=left.png --feather 3", "", `{"content":"../content.png","style":["../style.jpg","../second.style"],"mask":"../style.jpg=../left.png","options":{"feather":3}}`},
		{"alpha.png style.jpg second.png --mask 1=left.png --mask second=right.png --mask alpha --style-mask second.png=top.png --content-mask right.png", "", `{"content":"../alpha.png","style":["../style.jpg","../second.png"],"mask":["1=../left.png","second=../right.png","alpha"],"style_mask":"second.png=../top.png","content_mask":"../right.png"}`},
		{"content.png style.jpg --mask left.png", "--style style.jpg --mask right.png", `{"content":"../content.png","mask":"../left.png"}`},
		{"content.png style.jpg second.png --blend 4,1", "--style style.jpg --style second.png", `{"content":"../content.png","blend":[4,1]}`},
	} {
		out := fmt.Sprintf("out/%d.png", i)
		args := append([]string{"batch", "-o", out, "--devices=cpu"}, append(strings.Fields(c.args), common...)...)
		if c.line != "" {
			if err := os.WriteFile("m/list.jsonl", []byte(c.line), 0o666); err != nil {
				t.Fatal(err)
			}
			args = append(args, "--manifest", "m/list.jsonl")
		}
		mustRun(t, args...)
		mustRun(t, append(strings.Fields(c.single+" -o alone.png"), common...)...)
		a, err := picture.Open(out, 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := picture.Open("alone.png", 0)
		if err != nil {
			t.Fatal(err)
		}
		if x, y := a.Resize(a.W, a.H, picture.Point), b.Resize(b.W, b.H, picture.Point); !slices.Equal(x.RGB, y.RGB) || !slices.Equal(x.Alpha, y.Alpha) {
			t.Errorf("%s %s is another picture than %s", c.args, c.line, c.single)
		}
		x, err1 := picture.ReadText(out)
		y, err2 := picture.ReadText("alone.png")
		if err1 != nil || err2 != nil || x != y {
			t.Errorf("records differ: %s, %s", x, y)
		}
		_, stderr := mustRun(t, "rerun", out, "-o", "again.png")
		if !strings.Contains(stderr, "the same picture, to the bit") {
			t.Errorf("%s: %s", out, stderr)
		}
	}
	// The names of several styles, and a mask that changes.
	args := append([]string{"batch", "content.png", "--style=style.jpg", "--style=second.png", "--blend=1,1", "--mask=1=left.png", "-o", "{style}.png", "--devices=cpu", "--report=r.jsonl"}, common...)
	mustRun(t, args...)
	mustRun(t, args...)
	mask(t, "left.png", 40, 28, func(x, _ int) uint8 { return uint8(6 * x) })
	mustRun(t, args...)
	lines := reportLines(t, "r.jsonl")
	if len(lines) != 3 || lines[0].Status != batch.Painted || lines[1].Status != batch.Skipped || lines[2].Status != batch.Painted || lines[0].Key == lines[2].Key || lines[0].Style != "style.jpg, second.png" || lines[0].Output != "style+second.png" {
		t.Errorf("%+v", lines)
	}
}

// What a control of a batch cannot be is said before any work.
func TestBatchBadControls(t *testing.T) {
	painter(t)
	mustRun(t, "style", "make", "style.jpg", "-o", "wave.style", "--sizes=32", rnd, "-q")
	whole := read(t, "wave.style")
	if err := os.WriteFile("cut.style", whole[:len(whole)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	two := "content.png --style style.jpg --style second.png "
	for _, c := range []struct{ args, line, want string }{
		{two + "--blend 1,2,3", "", "--blend: give one weight for each style; got 3 for 2"},
		{two + "--blend 1,-2", "", "--blend 1,-2: give numbers above 0"},
		{two + "--mask 1=left.png", "", "--mask 1=left.png: each content is painted in each of the styles by itself; add --blend"},
		{two + "--blend 1,1 --mask nix=left.png", "", "nix is none of the styles, which are style.jpg, second.png"},
		{two + "--blend 1,1 --mask left.png", "", "say of which style, as in --mask style.jpg=left.png"},
		{two + "--blend 1,1 --pair", "", "--pair one of them"},
		{two + "--blend 1,1 --mask 1=left.png --mask 1=right.png", "", "has one already"},
		{two + "--blend 1,1 --mask 1=white.png --mask 2=left.png", "", "the masks overlap"},
		{two + "--blend 1,1 --mask 1=white.png", "", "second.png: the other masks leave nothing"},
		{two + "--blend 1,1 --preset article", "", "the article has one style"},
		{"content.png --style style.jpg --style style.jpg --blend 1,2", "", "is the same style as style.jpg"},
		{"content.png --style style.jpg --mask square.png", "", "square.png: has another aspect than its picture"},
		{"content.png --style style.jpg --mask black.png", "", "black.png: it covers nothing"},
		{"content.png --style style.jpg --style-mask black.png", "", "black.png: it covers nothing"},
		{"content.png --style style.jpg --content-mask black.png", "", "black.png: it covers nothing"},
		{"content.png --style style.jpg --content-mask gone.png", "", "gone.png: there is no such file"},
		{"content.png --style style.jpg --feather 5", "", "--feather 5: there is no mask"},
		{"content.png --style wave.style --style-mask left.png", "", "a style file has no picture for a mask"},
		{"content.png --style wave.style --pooling max", "", "made with pooling avg"},
		{"content.png --style wave.style --weights random:2", "", "made with other weights"},
		{"content.png --style cut.style", "", "cut.style: "},
		{"content.png --style style.jpg --style-layers relu6_1", "", "near it are relu5_1"},
		{"", `{"content":"content.png","style":["style.jpg","second.png"],"blend":[1]}`, "m.jsonl line 1: blend: give one weight for each style; got 1 for 2"},
		{"", `{"content":"content.png","style":["style.jpg","second.png"],"blend":[1,0]}`, "m.jsonl line 1: blend [1 0]: give numbers above 0"},
		{"", `{"content":"content.png","style":"style.jpg","blend":"1"}`, `m.jsonl line 1: "blend" is a string`},
		{"", `{"content":"content.png","style":3}`, `m.jsonl line 1: "style" is a number; it must be a string, or a list of them`},
		{"", `{"content":"content.png","style":["style.jpg",3]}`, `m.jsonl line 1: "style" is a number; it must be a string, or a list of them`},
		{"", `{"content":"content.png","style":["style.jpg",""]}`, `m.jsonl line 1: "style" has an empty name in it`},
		{"", `{"content":"content.png","style":["style.jpg","second.png"],"mask":"nix=left.png"}`, "m.jsonl line 1: mask nix=left.png: nix is none of the styles"},
		{"", `{"content":"content.png","style":["style.jpg","second.png"],"mask":"left.png"}`, "say of which style, as in mask style.jpg=left.png"},
		{"", `{"content":"content.png","style":"style.jpg","options":{"mask":"left.png"}}`, "m.jsonl line 1: options: mask stands beside style in the line"},
		{"", `{"content":"content.png","style":"style.jpg","options":{"feather":-1}}`, "m.jsonl line 1: --feather -1"},
		{"--style style.jpg --style second.png", `{"content":"content.png","mask":"1=left.png"}`, "m.jsonl line 1: mask 1=left.png: each content is painted in each of the styles by itself; add blend"},
		{"", `{"content":"content.png","style":["style.jpg","style.jpg"]}`, "is the same style as style.jpg"},
	} {
		args := append([]string{"batch", small, "-o", "out.png", "--devices=cpu"}, strings.Fields(c.args)...)
		if !strings.Contains(c.args, "--weights") {
			args = append(args, rnd)
		}
		if c.line != "" {
			if err := os.WriteFile("m.jsonl", []byte(c.line), 0o666); err != nil {
				t.Fatal(err)
			}
			args = append(args, "--manifest", "m.jsonl")
		}
		code, _, stderr := stylize(t.Context(), args...)
		if code != exitUsage || !strings.Contains(stderr, c.want) || exists("out.png") {
			t.Errorf("%s %s: exit %d, want %q, got\n%s", c.args, c.line, code, c.want, stderr)
		}
	}
	// One bad mask stops nobody else; a content without transparent pixels is found when it is decoded.
	if err := os.WriteFile("m.jsonl", []byte(`{"content":"content.png","mask":"black.png","output":"a.png"}
{"content":"content.png","mask":"alpha","output":"b.png"}
{"content":"alpha.png","mask":"alpha","output":"c.png"}
`), 0o666); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := stylize(t.Context(), "batch", "--manifest", "m.jsonl", "--style", "style.jpg", small, "--ladder=off", "-n=2", rnd, "--devices=cpu")
	if code != exitSome || exists("a.png") || exists("b.png") || !exists("c.png") || !strings.Contains(stderr, "cannot be painted: black.png: it covers nothing") || !strings.Contains(stderr, "has no transparent pixels") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

func TestBatchCommand(t *testing.T) {
	album(t, 3)
	run := batchArgs("in", "--style", "style.jpg", "--style", "content.png", "-o", "out/{style}/{content}.png", "--report", "r.jsonl")
	stdout, stderr := mustRun(t, append(run, "--dry-run")...)
	if strings.Count(stdout, "\npaint  ")+1 != 6 || !strings.Contains(stdout, "in/02.png + style.jpg -> out/style/02.png  16x16  ") || !strings.Contains(stdout, "6 to paint, 0 to paint again with another key, 0 done") {
		t.Errorf("%s%s", stdout, stderr)
	}
	if exists("out") || exists("r.jsonl") {
		t.Error("a dry run made files")
	}
	stdout, stderr = mustRun(t, append(run, "--json")...)
	var sum batchSummary
	if err := json.Unmarshal([]byte(stdout), &sum); err != nil || sum.Painted != 6 || sum.Items != 6 || len(sum.Devices) != 1 || sum.Devices[0].Painted != 6 || sum.Devices[0].IdleShare <= 0 {
		t.Errorf("%v: %s", err, stdout)
	}
	for _, want := range []string{"6 items: checking", "cpu: ", "/6 done", "cpu: painted 6 in ", "idle ", "6 painted, 0 done before, 0 failed in "} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in\n%s", want, stderr)
		}
	}
	if n := len(results(t, "out/*/*.png")); n != 6 {
		t.Errorf("%d results", n)
	}
	if l := reportLines(t, "r.jsonl"); len(l) != 6 || l[0].Status != batch.Painted {
		t.Errorf("%+v", l)
	}
	_, stderr = mustRun(t, run...)
	if !strings.Contains(stderr, "0 painted, 6 done before, 0 failed") {
		t.Error(stderr)
	}
	// The preset by name and by its options is one; other iterations are not.
	mustRun(t, append(run, "--seed=0", "--init=noise", "--dry-run")...)
	stdout, _ = mustRun(t, append(run, "-n=4", "--dry-run")...)
	if !strings.Contains(stdout, "6 to paint again with another key") {
		t.Error(stdout)
	}
	if _, stderr = mustRun(t, append(run, "-q")...); stderr != "" {
		t.Errorf("not quiet: %s", stderr)
	}
}

// One line for each mistake, exit 2, and nothing painted.
func TestBatchMistakes(t *testing.T) {
	album(t, 2)
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("bad.jsonl", "{\"content\":\"in/00.png\"}\n{\"content\":\n")
	write("option.jsonl", `{"content":"in/00.png","options":{"sise":3}}`)
	write("range.jsonl", `{"content":"in/00.png","options":{"size":3}}`)
	write("notes.txt", "do not touch\n")
	good := []string{"in", "--style", "style.jpg", "-o", "out/{content}.png"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "give contents (files, folders, quoted patterns) or a --manifest"},
		{[]string{"in", "-o", "{content}.png"}, "no style: give --style FILE"},
		{[]string{"in", "--style", "style.jpg"}, "say where results go: -o"},
		{[]string{"in", "--style", "style.jpg", "-o", "x.png"}, "x.png: would be the result of in/00.png and of in/01.png; put {content} into the names of results"},
		{[]string{"in", "--style", "style.jpg", "-o", "in/{content}.png"}, "in/00.png: the result of in/00.png would overwrite it"},
		{[]string{"in", "--style", "style.jpg", "-o", "{name}.png"}, "there is no {name}"},
		{[]string{"none/*.png", "--style", "style.jpg", "-o", "{content}.png"}, "no pictures"},
		{[]string{"none.png", "--style", "style.jpg", "-o", "{content}-o.png"}, "none.png: there is no such file"},
		{append(good, "--pair"), "2 contents and 1 styles do not make pairs"},
		{[]string{"--manifest", "bad.jsonl", "--style", "style.jpg", "-o", "{content}-o.png"}, "bad.jsonl line 2: is no JSON (it is cut off)"},
		{[]string{"--manifest", "option.jsonl", "--style", "style.jpg", "-o", "{content}-o.png"}, `option.jsonl line 1: options: unknown field "sise"`},
		{[]string{"--manifest", "range.jsonl", "--style", "style.jpg", "-o", "{content}-o.png"}, "range.jsonl line 1: --size 3: the network needs 16"},
		{append(good, "--shard", "4/4"), "--shard 4/4: give I/N"},
		{append(good, "--snap", "0"), "--snap 0: give 2 to 256"},
		{append(good, "--devices", "cpu,cpu"), "--devices cpu,cpu: cpu is there twice"},
		{append(good, "--devices", "tpu"), "--devices tpu: give auto, cpu, cuda"},
		{append(good, "--devices", ""), "give all, or a list"},
		{append(good, "--device", "cpu"), "unknown flag --device; did you mean --devices?"},
		{append(good, "--quality", "80"), "--quality has no effect on a PNG"},
		{append(good, "--report", "notes.txt"), "--report notes.txt: line 1 is none of a report of stylize batch"},
		{append(good, "--report", "in/00.png"), "in/00.png: would be overwritten, and is read as a content"},
		{append(good, "--size", "3"), "--size 3"},
		{append(good, "--weights", "none.pth"), "none.pth"},
		{append(good, "--max-pixels", "0"), "--max-pixels 0"},
	} {
		code, stdout, stderr := stylize(t.Context(), batchArgs(c.args...)...)
		if code != exitUsage || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("%v: exit %d, want %q, got\n%s", c.args, code, c.want, stderr)
		}
	}
	if n := results(t, "out/*"); len(n) > 0 || string(read(t, "notes.txt")) != "do not touch\n" {
		t.Errorf("files were written: %v", n)
	}
}

// What is wrong with some pictures is said before anything is painted, and at the end;
// the others are painted.
func TestBatchSomeFail(t *testing.T) {
	album(t, 4)
	for name, text := range map[string]string{"in/bad.png": "no picture", "in/cut.png": string(read(t, "in/03.png")[:200])} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	run := batchArgs("in", "none-*.png", "--style", "style.jpg", "-o", "out/{content}.png", "--report", "r.jsonl")
	code, _, stderr := stylize(t.Context(), run...)
	if code != exitSome || len(results(t, "out/*")) != 4 {
		t.Fatalf("exit %d, %v:\n%s", code, results(t, "out/*"), stderr)
	}
	for _, want := range []string{
		"stylize: none-*.png matches no file\n",
		"stylize: cannot be painted: in/bad.png: is no picture",
		"stylize: failed: in/bad.png: is no picture",
		"stylize: failed: in/cut.png: the PNG picture is damaged or cut off",
		"4 painted, 0 done before, 2 failed in ",
		"stylize: 2 of 6 items failed\n",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in\n%s", want, stderr)
		}
	}
	if l := reportLines(t, "r.jsonl"); len(l) != 6 {
		t.Errorf("%+v", l)
	}
	code, _, stderr = stylize(t.Context(), append(run, "--dry-run")...)
	if code != exitSome || !strings.Contains(stderr, "2 items would fail") {
		t.Errorf("dry run: exit %d\n%s", code, stderr)
	}
	code, _, stderr = stylize(t.Context(), append(run, "--fail-fast", "--overwrite")...)
	if code != exitSome || !strings.Contains(stderr, "stopped at the first failure") {
		t.Errorf("fail fast: exit %d\n%s", code, stderr)
	}
}

// A manifest has its own options, and names relative to itself.
func TestBatchManifest(t *testing.T) {
	album(t, 2)
	if err := os.WriteFile("in/list.jsonl", []byte(`{"content":"00.png","style":"../style.jpg","output":"../a.jpg"}
{"content":"01.png","style":"../style.jpg","options":{"size":20,"init":"noise","seed":4},"output":"../{content}-{seed}.png"}
`), 0o666); err != nil {
		t.Fatal(err)
	}
	mustRun(t, batchArgs("--manifest", "in/list.jsonl")...)
	if w, h, err := picture.Extent("01-4.png"); err != nil || w != 20 || h != 16 || !exists("a.jpg") {
		t.Errorf("%dx%d, %v, %v", w, h, err, ls(t))
	}
	// All shards together are the whole.
	t.Setenv(envShards, "3")
	n := 0
	for i := range 3 {
		t.Setenv(envIndex, fmt.Sprint(i))
		_, stderr := mustRun(t, batchArgs("--manifest", "in/list.jsonl")...)
		m := regexp.MustCompile(`shard (\d)/3: (\d) of 2 items`).FindStringSubmatch(stderr)
		if m == nil || m[1] != fmt.Sprint(i) {
			t.Fatalf("shard %d:\n%s", i, stderr)
		}
		n += int(m[2][0] - '0')
	}
	if n != 2 {
		t.Errorf("the shards have %d items", n)
	}
}

// Ctrl-C keeps what is complete; the same command goes on.
func TestBatchInterrupted(t *testing.T) {
	album(t, 30)
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be interrupted in this way there")
	}
	args := batchArgs("in", "--style", "style.jpg", "-o", "out/{content}.png", "--report", "r.jsonl", "-n=300")
	cmd, stderr := process(t, "", args...)
	for deadline := time.Now().Add(time.Minute); len(results(t, "out/*.png")) < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatalf("nothing in a minute:\n%s", stderr.String())
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	n := len(results(t, "out/*.png"))
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || n == 30 || !strings.Contains(stderr.String(), fmt.Sprintf("interrupted with %d of 30 items left; the same command goes on", 30-n)) {
		t.Fatalf("exit %d with %d results:\n%s", code, n, stderr.String())
	}
	_, again := mustRun(t, args...)
	if !strings.Contains(again, fmt.Sprintf("%d painted, %d done before, 0 failed", 30-n, n)) {
		t.Error(again)
	}
}

// The line fits the terminal, whatever its width, and says first what matters most.
func TestBatchProgress(t *testing.T) {
	s := batch.Status{Items: 10000, Painted: 1234, Skipped: 100, Failed: 7, FLOPs: 3e15, Of: 9e15, Devices: []batch.DeviceStatus{{Name: "cuda:0", FLOPs: 2e15}, {Name: "cuda:1", FLOPs: 1e15}, {Name: "cuda:2", Lost: "gone"}}}
	now := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	for width := 1; width < 160; width++ {
		var b bytes.Buffer
		p := &batchProgress{progress: &progress{w: &b, width: func() int { return width }}}
		p.show(batch.Status{Items: 10000, Of: 9e15, Devices: make([]batch.DeviceStatus, 3)}, now, 0)
		b.Reset()
		p.show(s, now.Add(10*time.Second), 0)
		line := strings.TrimPrefix(b.String(), "\r\x1b[K")
		if len(line) >= max(width, 2) || strings.Contains(line, "\n") {
			t.Fatalf("%d columns: %q has %d", width, line, len(line))
		}
		if want := "[######..............]   33%  1334/10000 done, 7 failed  20s left  cuda:0 200.0 TFLOP/s  cuda:1 100.0 TFLOP/s  cuda:2 lost"; width > 130 && line != want {
			t.Errorf("\n got %q\nwant %q", line, want)
		}
	}
	var b bytes.Buffer
	p := &batchProgress{progress: &progress{w: &b}}
	p.show(s, now, lineEvery)
	p.show(s, now.Add(time.Second), lineEvery)
	p.show(s, now.Add(lineEvery), lineEvery)
	if got := strings.Count(b.String(), "\n"); got != 2 || !strings.HasPrefix(b.String(), " 33%  1334/10000 done, 7 failed") {
		t.Errorf("%d lines: %q", got, b.String())
	}
}

var batchKills = flag.Int("batch-kills", 0, "how often TestBatchKilled kills a batch; 0: 6 times with -short, else 20 times")

// A batch of 40 pictures is killed at any moment, again and again, until it is done. At
// any time each result is whole or not there; in the end each is there once, as in a batch
// that nobody killed, and nothing else is. The report has no picture painted twice.
func TestBatchKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("processes cannot be killed in this way there")
	}
	const n = 40
	dir := album(t, n)
	kills, random := killing(t, *batchKills, 6, 20)
	begin := func(folder string) (*exec.Cmd, *bytes.Buffer) {
		return process(t, folder, batchArgs("../in", "--style", "../style.jpg", "-o", "out/{content}.png", "--report", "r.jsonl", "--json")...)
	}
	mkdir := func(name string) string {
		folder := filepath.Join(dir, name)
		if err := os.Mkdir(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	whole := mkdir("whole")
	start := time.Now()
	cmd, stderr := begin(whole)
	wasKilled(t, cmd, stderr)
	lasts := time.Since(start)
	want := map[string][]byte{}
	for _, f := range results(t, filepath.Join(whole, "out/*")) {
		want[filepath.Base(f)] = read(t, f)
	}
	if len(want) != n {
		t.Fatalf("%d results", len(want))
	}
	// look fails unless each result is whole, and what else there is is a temporary.
	look := func(folder string) (complete, temporaries int) {
		for _, f := range results(t, filepath.Join(folder, "out/*")) {
			switch base := filepath.Base(f); {
			case strings.HasSuffix(base, ".tmp"):
				temporaries++
			case want[base] == nil || !bytes.Equal(read(t, f), want[base]):
				t.Fatalf("%s is not what it is to be", f)
			default:
				complete++
			}
		}
		temporaries += len(results(t, filepath.Join(folder, "out/.*.tmp")))
		return complete, temporaries
	}
	tried, batches, leftovers := 0, 0, 0
	for tried < kills {
		batches++
		folder := mkdir(fmt.Sprint(batches))
		for {
			cmd, stderr := begin(folder)
			// Three in four of the processes are killed.
			if tried < kills && random.IntN(4) > 0 {
				time.Sleep(time.Duration(random.Float64() * float64(lasts)))
				_ = cmd.Process.Kill()
			}
			if killed := wasKilled(t, cmd, stderr); !killed {
				break
			}
			tried++
			_, temporaries := look(folder)
			leftovers += temporaries
		}
		if complete, temporaries := look(folder); complete != n || temporaries != 0 {
			t.Fatalf("%s: %d results and %d temporaries", folder, complete, temporaries)
		}
		painted := map[string]int{}
		for _, l := range reportLines(t, filepath.Join(folder, "r.jsonl")) {
			if l.Status == batch.Failed {
				t.Errorf("%+v", l)
			}
			if l.Status == batch.Painted {
				painted[l.Content]++
			}
		}
		for c, n := range painted {
			if n != 1 {
				t.Errorf("%s was painted %d times", c, n)
			}
		}
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills in %d batches of %d pictures, which take %v: each ended with its results, %d temporaries were swept", tried, batches, n, lasts.Round(time.Millisecond), leftovers)
}

// What was cropped to share an extent says so, and can be made again.
func TestBatchSnap(t *testing.T) {
	album(t, 2)
	mustRun(t, batchArgs("in", "--style", "style.jpg", "-o", "out/{content}.png", "--size=64", "--snap", "16")...)
	for i := range 2 {
		name := fmt.Sprintf("out/%02d.png", i)
		if w, h, err := picture.Extent(name); err != nil || w != 64 || h != 48 {
			t.Errorf("%dx%d, %v", w, h, err)
		}
		_, stderr := mustRun(t, "rerun", name, "-o", "again.png", "--folder", ".")
		if !strings.Contains(stderr, "the same picture, to the bit") {
			t.Error(stderr)
		}
		// And again from that.
		if _, stderr = mustRun(t, "rerun", "again.png", "-o", "third.png", "--folder", "."); !strings.Contains(stderr, "the same picture, to the bit") {
			t.Error(stderr)
		}
	}
	b := read(t, "out/00.png")
	text, err := picture.ReadText("out/00.png")
	if err != nil {
		t.Fatal(err)
	}
	p := &picture.Picture{W: 2, H: 2, RGB: make([]float32, 12)}
	for _, crop := range []string{`"crop":{"left":-1`, `"crop":{"left":99999`} {
		bad := regexp.MustCompile(`"crop":\{"left":\d+`).ReplaceAllString(text, crop)
		if err := p.Save("bad.png", picture.SaveOptions{Metadata: bad}); err != nil {
			t.Fatal(err)
		}
		if code, _, stderr := stylize(t.Context(), "rerun", "bad.png", "-o", "again.png", "--folder", "."); code != exitUsage || !strings.Contains(stderr, "bad.png: the record of how it was made is damaged (a crop of ") {
			t.Errorf("exit %d: %s", code, stderr)
		}
	}
	if !bytes.Equal(b, read(t, "out/00.png")) {
		t.Error("a rerun changed its picture")
	}
}
