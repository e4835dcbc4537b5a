package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/batch"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// mask writes a grey picture.
func mask(t *testing.T, name string, w, h int, grey func(x, y int) uint8) {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetGray(x, y, color.Gray{grey(x, y)})
		}
	}
	writePNG(t, name, m)
}

func writePNG(t *testing.T, name string, m image.Image) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, m); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// painter has everything that a control needs: a second style, masks, a content with
// alpha, a style file, a checkpoint.
func painter(t *testing.T) {
	t.Helper()
	samples(t)
	second := image.NewNRGBA(image.Rect(0, 0, 30, 44))
	alpha := image.NewNRGBA(image.Rect(0, 0, 40, 28))
	for y := range 44 {
		for x := range 40 {
			second.SetNRGBA(x, y, color.NRGBA{uint8(8 * y), uint8(200 - 3*x), uint8(x * x), 255})
			c := color.NRGBA{uint8(6 * x), uint8(9 * y), 90, 255}
			if x < 10 {
				c.A = 0
			}
			alpha.SetNRGBA(x, y, c)
		}
	}
	writePNG(t, "second.png", second)
	writePNG(t, "alpha.png", alpha)
	grey := func(white bool) uint8 {
		if white {
			return 255
		}
		return 0
	}
	mask(t, "left.png", 40, 28, func(x, _ int) uint8 { return grey(x < 20) })
	mask(t, "right.png", 80, 56, func(x, _ int) uint8 { return grey(x >= 40) })
	mask(t, "top.png", 30, 44, func(_, y int) uint8 { return grey(y < 30) })
	mask(t, "square.png", 20, 20, func(int, int) uint8 { return 255 })
	mask(t, "black.png", 40, 28, func(int, int) uint8 { return 0 })
	mask(t, "white.png", 40, 28, func(int, int) uint8 { return 255 })
}

// Every control is in the record, and rerun makes the same file from it; each changes the
// picture.
func TestRerunHasControls(t *testing.T) {
	painter(t)
	mustRun(t, "style", "make", "style.jpg", "second.png", "--blend=1,2", "-o", "both.style", "--sizes=16,32", rnd, "-q")
	plain := []string{small, "--ladder=16:2", "-n=3", rnd, "-q"}
	mustRun(t, append([]string{"content.png", "style.jpg", "-o", "plain.png"}, plain...)...)
	before, err := os.ReadFile("plain.png")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{string(before): "nothing"}
	for i, line := range []string{ // the first five have most of what follows
		"content.png style.jpg second.png --mask 1=left.png --mask second=right.png --content-mask right.png --feather 3 --blend 3,1 --strength 2",
		"alpha.png both.style second.png --mask alpha --style-mask second.png=top.png --style-size native --style-scale 1.5 --colors match",
		"content.png style.jpg --style-layers relu1_1,relu3_2:0.5 --content-layers relu2_1:2 --init blend:0.3 --seed 4 --colors content",
		"content.png style.jpg --padding reflect --average 0.5 --optimizer adam --init style",
		"content.png style.jpg --padding wrap --average 0.5 --init plain.png",
		"content.png style.jpg second.png",
		"content.png style.jpg second.png --blend 3,1",
		"content.png style.jpg second.png --mask style.jpg=left.png --feather 6",
		"content.png style.jpg second.png --mask 1=left.png --mask second=right.png",
		"content.png style.jpg --content-mask right.png",
		"content.png style.jpg second.png --style-mask second.png=top.png",
		"alpha.png style.jpg --mask alpha",
		"content.png style.jpg --mask left.png",
		"content.png both.style",
		"content.png both.style style.jpg --blend 1,4 --strength 2",
		"content.png style.jpg --style-layers relu1_1,relu3_2:0.5 --content-layers relu2_1:2",
		"content.png second.png --style-size native --style-scale 1.5",
		"content.png second.png --style-size 64",
		"content.png style.jpg --colors content",
		"content.png style.jpg --colors match",
		"content.png style.jpg --init style",
		"content.png style.jpg --init blend:0.3 --seed 4",
		"content.png style.jpg --init plain.png",
		"content.png style.jpg --padding reflect",
		"content.png style.jpg --padding wrap",
		"content.png style.jpg --average 0.5 --optimizer adam",
		"content.png style.jpg --average 0.5",
	} {
		if testing.Short() && i == 5 {
			break
		}
		out := fmt.Sprintf("%02d.png", i)
		mustRun(t, append(append(strings.Fields(line), plain...), "-o", out)...)
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if other := seen[string(b)]; other != "" {
			t.Errorf("%s: the same file as with %s", line, other)
		}
		seen[string(b)] = line
		for _, device := range []string{"cpu", "cuda"} {
			said, _ := mustRun(t, append(append([]string{"plan"}, strings.Fields(line)...), small, "--ladder=16:2", rnd, "--device", device)...)
			if !strings.Contains(said, "painting at  32x22") {
				t.Errorf("plan %s: %s", line, said)
			}
		}
		mustRun(t, "rerun", out, "-o", "again.png", "-q")
		if again, err := os.ReadFile("again.png"); err != nil || !bytes.Equal(b, again) {
			t.Errorf("%s: rerun makes another file (%v)", line, err)
		}
	}
}

// What a control cannot be is one line, before any work.
func TestBadControls(t *testing.T) {
	painter(t)
	mustRun(t, "style", "make", "style.jpg", "-o", "wave.style", "--sizes=32", rnd, "-q")
	whole, err := os.ReadFile("wave.style")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("cut.style", whole[:len(whole)/2], 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("none", 0o777); err != nil {
		t.Fatal(err)
	}
	before := ls(t)
	for _, c := range []struct{ line, want string }{
		{"content.png style.jpg second.png --mask nix=left.png", "nix is none of the styles, which are style.jpg, second.png"},
		{"content.png style.jpg second.png --mask left.png", "say of which style"},
		{"content.png style.jpg --mask square.png", "square.png: has another aspect than its picture"},
		{"content.png style.jpg --mask black.png", "black.png: it covers nothing"},
		{"content.png style.jpg --content-mask black.png", "black.png: it covers nothing"},
		{"content.png style.jpg --mask gone.png", "--mask: gone.png: there is no such file"},
		{"content.png style.jpg second.png --mask 1=white.png --mask 2=left.png", "the masks overlap"},
		{"content.png style.jpg second.png --mask 1=white.png", "second.png: the other masks leave nothing"},
		{"content.png style.jpg --mask 1=left.png --mask 1=right.png", "has one already"},
		{"content.png style.jpg --mask 1=", "names no file"},
		{"content.png style.jpg --mask alpha", "content.png: has no transparent pixels"},
		{"content.png style.jpg --style-mask square.png", "square.png: has another aspect"},
		{"content.png wave.style --style-mask left.png", "wave.style: a style file has no picture for a mask"},
		{"content.png style.jpg --content-mask left.png --content-weight 0", "no effect where the content has no weight"},
		{"content.png style.jpg --feather 5", "--feather 5: there is no mask"},
		{"content.png style.jpg second.png --blend 1,2,3", "got 3 for 2"},
		{"content.png style.jpg second.png --blend 1,-2", "--blend 1,-2: give numbers above 0"},
		{"content.png style.jpg style.jpg", "is the same style as style.jpg"},
		{"content.png none", "none: has no pictures in it"},
		{"content.png cut.style", "cut.style: "},
		{"content.png wave.style --weights random:2", "made with other weights"},
		{"content.png wave.style --pooling max", "made with pooling avg"},
		{"content.png wave.style --init style", "--init style: a style file has no picture to start from"},
		{"content.png style.jpg second.png --preset article", "the article has one style"},
		{"content.png style.jpg --preset article --style-size 64", "the article squeezes"},
		{"content.png style.jpg --style-layers relu6_1", "near it are relu5_1"},
		{"content.png style.jpg --style-layers relu1_1,relu1_1", "is there twice"},
		{"content.png style.jpg --style-layers relu1_1:x", "is no number"},
		{"content.png style.jpg --content-layers conv4_2", "near it are relu4_2"},
		{"content.png style.jpg --content-layers relu4_2:0", "leave the layer out"},
		{"content.png style.jpg --style-layers relu1_1 --style-weight 0", "their weight is 0"},
		{"content.png style.jpg --style-size huge", "content or native"},
		{"content.png style.jpg --colors blue", "give style, content or match"},
		{"content.png style.jpg --padding odd", "give zero, reflect or wrap"},
		{"content.png style.jpg --init blend:1.5", "above 0 and below 1"},
		{"content.png style.jpg --init blend:x", "above 0 and below 1"},
		{"content.png style.jpg --seed 3 --init style", "--seed has no effect"},
		{"sheet content.png style.jpg", "say what varies"},
		{"sheet content.png style.jpg --vary strength", "give a flag and its values"},
		{"sheet content.png style.jpg --vary weather=1,2", "there is no such flag to vary"},
		{"sheet content.png style.jpg --vary strength=1,x", `"x" is no value for it`},
		{"sheet content.png style.jpg --vary strength=1,1", "there twice"},
		{"sheet content.png style.jpg --vary strength=1,1e9", "with strength 1e9: --strength 1e+09"},
		{"sheet content.png style.jpg --vary seed=1..2 --init noise --vary seed=3", "varies already"},
		{"sheet content.png style.jpg --vary seed=1..900 --init noise", "more than 400 cells"},
		{"sheet content.png --vary strength=1,2", "give two pictures"},
		{"style make", "give the pictures"},
		{"style show gone.style", "there is no such file"},
		{"style show style.jpg", "is no style file"},
		{"style", "say what to do: make or show"},
		{"style paint", "there is no such command"},
	} {
		args := strings.Fields(c.line)
		if !slices.Contains([]string{"style"}, args[0]) {
			args = append(args, "-o", "out.png", small)
		}
		if !strings.Contains(c.line, "--weights") && args[0] != "style" {
			args = append(args, rnd)
		}
		code, _, stderr := stylize(t.Context(), args...)
		if code != exitUsage || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, %q, want %q", c.line, code, stderr, c.want)
		}
		if after := ls(t); !slices.Equal(before, after) {
			t.Fatalf("%s: files %v became %v", c.line, before, after)
		}
	}
	for _, c := range []struct{ line, want string }{
		{"style make style.jpg", "say where the style file goes"},
		{"style make style.jpg -o x.png", "has the name of a picture"},
		{"style make style.jpg -o style.jpg/x.style", "style.jpg"},
		{"style make style.jpg -o x.style --sizes 4", "give 16 to 32768"},
		{"style make style.jpg second.png -o x.style --blend 1", "got 1 for 2"},
		{"style make wave.style -o x.style", "is a style file already"},
		{"style make wave.style -o wave.style", "would overwrite its own input"},
		{"style make style.jpg -o x.style --pooling sum", "give avg or max"},
		{"style show wave.style -o wave.txt", "-o: "},
		{"style show wave.style -o x.png --size 4", "--size 4"},
	} {
		if code, _, stderr := stylize(t.Context(), append(strings.Fields(c.line), rnd)...); code != exitUsage || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, %q, want %q", c.line, code, stderr, c.want)
		}
	}
}

// A style file paints what its picture paints, to the bit, at the sizes that it has, and
// tells nobody where the picture was.
func TestStyleFile(t *testing.T) {
	painter(t)
	mustRun(t, "style", "make", "style.jpg", "-o", "wave.style", "--sizes=16,32", rnd, "-q")
	args := []string{"content.png", "style.jpg", "-o", "a.png", small, "--ladder=16:2", "-n=3", rnd, "-q", "--no-metadata"}
	mustRun(t, args...)
	args[1], args[3] = "wave.style", "b.png"
	mustRun(t, args...)
	a, err1 := os.ReadFile("a.png")
	b, err2 := os.ReadFile("b.png")
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Error("a style file does not paint what its picture paints", err1, err2)
	}
	mustRun(t, "batch", "content.png", "alpha.png", "--style", "wave.style", "-o", "{content}-{style}.png", small, "--ladder=16:2", "-n=3", rnd, "-q", "--no-metadata", "--devices=cpu")
	c, err := picture.Open("content-wave.png", 0)
	if err != nil {
		t.Fatal(err)
	}
	d, err := picture.Open("a.png", 0)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Resize(c.W, c.H, picture.Bicubic).RGB, d.Resize(d.W, d.H, picture.Bicubic).RGB) {
		t.Error("a batch paints something else from a style file")
	}
	stdout, _ := mustRun(t, "style", "show", "wave.style")
	for _, want := range []string{"wave", "style.jpg, 40x28", "16x16, 32x22", "pooling avg", "#"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in %s", want, stdout)
		}
	}
	stdout, _ = mustRun(t, "style", "show", "wave.style", "-o", "texture.png", "--size=16", "-n=2", rnd, "--json")
	var said struct {
		Sizes   []struct{ Size int }
		Palette []string
	}
	if err := json.Unmarshal([]byte(stdout), &said); err != nil || len(said.Sizes) != 2 || len(said.Palette) == 0 {
		t.Errorf("%v: %s", err, stdout)
	}
	if w, h, err := picture.Extent("texture.png"); err != nil || w != 16 || h != 18 {
		t.Errorf("the texture is %dx%d, %v", w, h, err)
	}
}

// A sheet has a cell for every combination, each a result that rerun makes again; what is
// there already is not painted again.
func TestSheet(t *testing.T) {
	samples(t)
	args := []string{"sheet", "content.png", "style.jpg", "--vary=strength=0.3,3", "--vary=style-layers=relu1_1,relu2_1|relu3_1", "-o", "s.png", small, "--ladder=off", "-n=2", rnd}
	_, stderr := mustRun(t, args...)
	if !strings.Contains(stderr, "s.png: 4 cells") {
		t.Error(stderr)
	}
	want := []string{"s-1-strength-0.3-style-layers-relu1_1_relu2_1.png", "s-2-strength-3-style-layers-relu1_1_relu2_1.png", "s-3-strength-0.3-style-layers-relu3_1.png", "s-4-strength-3-style-layers-relu3_1.png"}
	for i, name := range want {
		text, err := picture.ReadText(name)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := transfer.ParseRecord(text)
		if err != nil {
			t.Fatal(err)
		}
		if s := []float64{0.3, 3}[i%2]; rec.Options.Strength != s || len(rec.Options.StyleLayers) != 2-i/2 {
			t.Errorf("%s: %+v", name, rec.Options)
		}
		mustRun(t, "rerun", name, "-o", "again.png", "-q")
		a, err := picture.Open(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := picture.Open("again.png", 0)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Resize(a.W, a.H, picture.Bicubic).RGB, b.Resize(b.W, b.H, picture.Bicubic).RGB) {
			t.Errorf("%s: rerun makes another picture", name)
		}
	}
	first, err := os.ReadFile("s.png")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(want[2]); err != nil {
		t.Fatal(err)
	}
	_, stderr = mustRun(t, args...)
	if again, err := os.ReadFile("s.png"); err != nil || !bytes.Equal(first, again) || !strings.Contains(stderr, "1 painted, 3 done before") {
		t.Errorf("painted again: %v, %s", err, stderr)
	}
}

// A run with several styles, masks and an average goes on after a stop with the bits that
// it would have had, and refuses another mask.
func TestResumeHasControls(t *testing.T) {
	painter(t)
	args := strings.Fields("content.png style.jpg second.png --mask 1=left.png --content-mask right.png --blend 1,1 --optimizer adam --average 0.9 --padding reflect --style-layers relu1_1,relu3_1 --ladder 16:15,24:15 -n 25")
	args = append(args, small, rnd)
	mustRun(t, append(slices.Clone(args), "-o", "whole.png", "--trace", "whole.csv", "-q")...)
	interrupted(t, 20, append(slices.Clone(args), "-o", "out.png", "--trace", "t.csv", "--checkpoint", "run.ckpt")...)

	mask(t, "left.png.new", 40, 28, func(x, _ int) uint8 { return uint8(6 * x) })
	if err := errors.Join(os.Rename("left.png", "kept.png"), os.Rename("left.png.new", "left.png")); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := stylize(t.Context(), "resume", "run.ckpt", "-q")
	if code != exitUsage || !strings.Contains(stderr, "not the mask of style 1 that run.ckpt was begun with") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("another mask: exit %d, %s", code, stderr)
	}
	if err := os.Mkdir("moved", 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename("kept.png", "moved/mask.png"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "resume", "run.ckpt", "--folder", "moved", "-q")
	if !bytes.Equal(read(t, "out.png"), read(t, "whole.png")) {
		t.Error("the resumed run wrote another picture")
	}
	if a, b := untimed(t, "t.csv"), untimed(t, "whole.csv"); a != b {
		t.Errorf("the trace is\n%s, want\n%s", a, b)
	}
	header, _, _ := strings.Cut(string(read(t, "t.csv")), "\n")
	if want := "content_relu4_2,style1_relu1_1,style1_relu3_1,style2_relu1_1,style2_relu3_1"; !strings.HasSuffix(header, want) {
		t.Errorf("the columns are %s", header)
	}
	mustRun(t, "plot", "t.csv", "--layers", "-o", "t.svg")
}

// A style that the machine cannot hold at its full size is looked at smaller, is said to
// be, and rerun makes the same picture.
func TestStyleTooLarge(t *testing.T) {
	samples(t)
	wk := &work{Work: transfer.Work{Options: transfer.Options{}}}
	var err error
	if wk.Options, err = transfer.Preset("classic"); err != nil {
		t.Fatal(err)
	}
	wk.Options.Size, wk.Options.StyleSize = 32, "2048"
	if err := wk.open(t.Context(), inputs{content: "content.png", styles: []batch.Style{{Path: "style.jpg"}}}, 1e6); err != nil {
		t.Fatal(err)
	}
	m := machineFlags{device: "cpu"}
	if wk.device, err = m.open(io.Discard); err != nil {
		t.Fatal(err)
	}
	defer wk.device.Close()
	whole, err := wk.need(32)
	if err != nil {
		t.Fatal(err)
	}
	size, err := wk.smallerStyles(whole / 2)
	if err != nil {
		t.Fatal(err)
	}
	need, err := wk.need(32)
	if err != nil || size >= 2048 || size < 512 || need > whole/2 || wk.Options.StyleSize != fmt.Sprint(size) {
		t.Errorf("at %d (%s) it needs %d of %d, %v", size, wk.Options.StyleSize, need, whole/2, err)
	}
	if size, err := wk.smallerStyles(1); size != 0 || err != nil || wk.Options.StyleSize == "32" {
		t.Errorf("with no memory at all: %d, %v, %s", size, err, wk.Options.StyleSize)
	}
}
