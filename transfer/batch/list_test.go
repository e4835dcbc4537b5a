package batch

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// files makes pictures of the given names in a fresh folder, which becomes the working
// directory.
func files(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for i, name := range names {
		paint(t, name, 40, 28, i)
	}
	return dir
}

// paint writes a picture that is like no other of another number.
func paint(t *testing.T, name string, w, h, number int) {
	t.Helper()
	p := &picture.Picture{W: w, H: h}
	for y := range h {
		for x := range w {
			p.RGB = append(p.RGB, float32(x)/float32(w), float32(y)/float32(h), float32((x*y+31*number)%97)/97)
		}
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := p.Save(name, picture.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// tiny are options that take no time.
func tiny() *transfer.Options {
	o, _ := transfer.Preset("classic")
	o.Size, o.Iterations, o.ContentWeight, o.StyleWeight = 32, 2, 0, 0
	return &o
}

func inputs(output string, contents ...string) Inputs {
	return Inputs{
		Contents: contents, Styles: []string{"s.png"}, Output: output, Options: tiny(),
		Parse: func(raw json.RawMessage, _ string) (*transfer.Options, error) {
			o := tiny()
			if len(raw) > 0 {
				if err := json.Unmarshal(raw, o); err != nil {
					return nil, errors.New("options")
				}
			}
			return o, nil
		},
	}
}

// says is a list as text.
func says(l *List) string {
	var s []string
	for _, it := range l.Items {
		s = append(s, fmt.Sprintf("%s+%s=%s", filepath.ToSlash(it.Content), it.StyleNames(), filepath.ToSlash(it.Output)))
	}
	return strings.Join(s, " ")
}

func TestListOfArguments(t *testing.T) {
	files(t, "in/a.png", "in/b.jpg", "in/.hidden.png", "in/deep/c.png", "in/deep/er/d.webp", "odd[1].png", "s.png", "t.png", "styles/u.png")
	write(t, "in/notes.txt", "no picture")
	for _, c := range []struct {
		name string
		in   Inputs
		want string
	}{
		{"file", inputs("o/{content}.png", "in/a.png"), "in/a.png+s.png=o/a.png"},
		{"folder", inputs("o/{content}.png", "in"), "in/a.png+s.png=o/a.png in/b.jpg+s.png=o/b.png"},
		{"below", inputs("o/{dir}/{content}.png", "in/**"), "in/a.png+s.png=o/a.png in/b.jpg+s.png=o/b.png in/deep/c.png+s.png=o/deep/c.png in/deep/er/d.webp+s.png=o/deep/er/d.png"},
		{"pattern", inputs("{content}-o.png", "in/*.jp*g"), "in/b.jpg+s.png=b-o.png"},
		{"middle", inputs("{dir}/{content}-o.png", "in/**/d*.webp"), "in/deep/er/d.webp+s.png=deep/er/d-o.png"},
		{"question", inputs("{content}-o.png", "in/?.png", "in/[ab].jpg"), "in/a.png+s.png=a-o.png in/b.jpg+s.png=b-o.png"},
		{"literal", inputs("{content}-o.png", "odd[1].png"), "odd[1].png+s.png=odd[1]-o.png"},
		{"all but txt", inputs("{content}-o.png", "in/*"), "in/a.png+s.png=a-o.png in/b.jpg+s.png=b-o.png"},
		{"txt by name", inputs("{content}-o.png", "in/*.txt"), "in/notes.txt+s.png=notes-o.png"},
		{"hidden", inputs("{content}-o.png", "in/.*.png"), "in/.hidden.png+s.png=.hidden-o.png"},
		{"not there", inputs("{content}-o.png", "in/none.png"), "in/none.png+s.png=none-o.png"},
		{"placeholders", inputs("{dir}/{style}/{seed}/{content}-{key}.tif", "in/a.png"), "in/a.png+s.png=s/0/a-{key}.tif"},
	} {
		l, err := c.in.List()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := says(l); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
	in := inputs("{content}-{style}.png", "in")
	in.Styles = []string{"s.png", "styles"}
	if l, err := in.List(); err != nil || says(l) != "in/a.png+s.png=a-s.png in/a.png+styles/u.png=a-u.png in/b.jpg+s.png=b-s.png in/b.jpg+styles/u.png=b-u.png" {
		t.Errorf("cross product: %v, %s", err, says(l))
	}
	in.Pair = true
	if l, err := in.List(); err != nil || says(l) != "in/a.png+s.png=a-s.png in/b.jpg+styles/u.png=b-u.png" {
		t.Errorf("pairs: %v, %s", err, says(l))
	}
	in.Pair = false // a folder of styles has style files; one of contents does not look at them
	write(t, "styles/wave.style", "read later")
	write(t, "in/awave.style", "")
	in.Styles, in.Contents = []string{"styles"}, []string{"in/a*"}
	if l, err := in.List(); err != nil || says(l) != "in/a.png+styles/u.png=a-u.png in/a.png+styles/wave.style=a-wave.png" {
		t.Errorf("style files: %v, %s", err, says(l))
	}
}

func TestListMistakes(t *testing.T) {
	files(t, "in/a.png", "in/b.png", "s.png", "t.png")
	with := func(in Inputs, f func(*Inputs)) Inputs {
		f(&in)
		return in
	}
	for want, in := range map[string]Inputs{
		"there is no {name}; use {dir}, {content}":  inputs("{name}.png", "in"),
		"2 contents and 1 styles do not make pairs": with(inputs("{content}.png", "in"), func(in *Inputs) { in.Pair = true }),
		"in/[: is no pattern":                       inputs("{content}.png", "in/["),
		"m.jsonl: cannot be read: no such file":     with(inputs("{content}.png"), func(in *Inputs) { in.Manifest = "m.jsonl" }),
	} {
		if _, err := in.List(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	l, err := inputs("{content}.png", "in", "none/*.png").List()
	if err != nil || len(l.Items) != 2 || len(l.Notes) != 1 || !strings.Contains(l.Notes[0], "none/*.png matches no file") {
		t.Errorf("a pattern without a match: %v, %+v", err, l)
	}
	if err := os.Mkdir("empty", 0o777); err != nil {
		t.Fatal(err)
	}
	if l, err := inputs("{content}.png", "empty").List(); err != nil || len(l.Notes) != 1 || !strings.Contains(l.Notes[0], "empty has no pictures in it") {
		t.Errorf("an empty folder: %v, %+v", err, l)
	}
}

// A folder that cannot be read is a problem of its own; the rest goes on.
func TestUnreadableFolder(t *testing.T) {
	if os.Getuid() == 0 || runtime.GOOS == "windows" { // root reads anything
		g := &globber{seen: map[string]bool{}}
		write(t, filepath.Join(t.TempDir(), "x"), "")
		t.Chdir(t.TempDir())
		write(t, "file", "")
		g.walk("file", []string{"*"}) // no folder: the same error path
		if len(g.errs) != 1 {
			t.Errorf("errors %v", g.errs)
		}
		return
	}
	files(t, "in/a.png", "in/closed/b.png", "s.png")
	if err := os.Chmod("in/closed", 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod("in/closed", 0o777)
	l, err := inputs("{content}.png", "in/**").List()
	if err != nil || says(l) != "in/a.png+s.png=a.png" || len(l.Problems) != 1 || l.Problems[0].What != "in/closed" {
		t.Errorf("%v, %s, %+v", err, says(l), l.Problems)
	}
}

func TestManifest(t *testing.T) {
	files(t, "m/in/a.png", "m/b.png", "m/s.png", "s.png")
	abs, err := filepath.Abs("m/b.png")
	if err != nil {
		t.Fatal(err)
	}
	in := inputs("o/{dir}/{content}-{seed}.png")
	in.Manifest = "m/list.jsonl"
	write(t, in.Manifest, "\xef\xbb\xbf"+`{"content":"in/a.png"}

{"content":"b.png","style":"s.png","options":{"seed":7},"output":"x/{content}.jpg"}
  {"content":`+string(mustJSON(t, abs))+`,"options":{"seed":7}}
`)
	l, err := in.List()
	if err != nil {
		t.Fatal(err)
	}
	want := "m/in/a.png+s.png=o/in/a-0.png m/b.png+m/s.png=m/x/b.jpg " + filepath.ToSlash(abs) + "+s.png=o/b-7.png"
	if got := says(l); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if l.Items[1].Options != l.Items[2].Options || l.Items[1].Line != 3 {
		t.Error("the same options are parsed twice, or lines are miscounted")
	}
	for text, want := range map[string]string{
		"{\"content\":\"a\"}\nnonsense":     "line 2: is no JSON",
		"{\"content\":\"a\"":                "line 1: is no JSON (it is cut off)",
		`{"content":"a"} {"content":"b"}`:   "line 1: has more than one object",
		`{"contents":"a"}`:                  `line 1: there is no field "contents"; use content, style, blend, mask, style_mask, content_mask, options and output`,
		`{"style":"a"}`:                     `line 1: names no "content"`,
		`{"content":3}`:                     `line 1: "content" is a number; it must be a string`,
		`null`:                              "is no object",
		`[]`:                                "is no JSON",
		`{"content":"a","output":"{x}.png"`: "is no JSON",
		`{"content":"a","output":"{x}.p"}`:  "there is no {x}",
		`{"content":"a","options":[]}`:      "line 1: options",
		strings.Repeat("\n", 8) + "x":       "line 9",
	} {
		write(t, in.Manifest, text)
		if _, err := in.List(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), in.Manifest) {
			t.Errorf("%q: want %q, got %v", text, want, err)
		}
	}
	write(t, in.Manifest, strings.Repeat("x\n", 50)+strings.Repeat(" ", maxLine+1))
	if _, err := in.List(); err == nil || strings.Count(err.Error(), "\n") != 9 {
		t.Errorf("want ten lines, got %v", err)
	}
	in.Styles = nil
	write(t, in.Manifest, `{"content":"a"}`)
	if _, err := in.List(); err == nil || !strings.Contains(err.Error(), `line 1: names no "style", and there is none for all`) {
		t.Error(err)
	}
	in.Styles, in.Output = []string{"s.png"}, ""
	if _, err := in.List(); err == nil || !strings.Contains(err.Error(), `line 1: names no "output", and there is no name for all`) {
		t.Error(err)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzEntry(f *testing.F) {
	for _, s := range []string{`{"content":"a.png","style":"s","options":{"seed":1},"output":"o"}`, `{"content":"a","style":["s","t"],"blend":[2,1],"mask":["1=m","alpha"],"style_mask":"t=m","content_mask":"c"}`, `{"content":"a","style":[3]}`, `{"content":"a","mask":{"s":"m"}}`, `null`, `{`, `{"content":"a"}}`, `""`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		e, err := parseEntry(b)
		if err == nil && e.Content == "" {
			t.Errorf("%q has no content", b)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", b, err)
		}
	})
}

func device(t *testing.T) gpu.Device {
	t.Helper()
	d, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// check makes a list and checks it.
func check(t *testing.T, in Inputs, c Checks) (*List, error) {
	t.Helper()
	l, err := in.List()
	if err != nil {
		t.Fatal(err)
	}
	return l, l.Check(c)
}

func TestCollisions(t *testing.T) {
	files(t, "in/a.png", "in/a.jpg", "in/b.png", "in/deep/a.png", "s.png", "t.png", "out/keep.png")
	for link, to := range map[string]string{"link": "out", "out/linked.png": "../in/b.png"} {
		if err := os.Symlink(to, link); err != nil && runtime.GOOS == "windows" {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	two := inputs("out/{content}.png", "in/b.png")
	two.Styles = []string{"s.png", "t.png"}
	links := inputs("out/{content}.png")
	links.Manifest = "m.jsonl"
	write(t, links.Manifest, `{"content":"in/a.png","output":"out/x.png"}`+"\n"+`{"content":"in/b.png","output":"link/x.png"}`)
	seeds := inputs("out/{content}.png")
	seeds.Manifest = "n.jsonl"
	write(t, seeds.Manifest, `{"content":"in/a.png","options":{"init":"noise","seed":1}}`+"\n"+`{"content":"in/a.png","options":{"init":"noise","seed":2}}`)
	init := inputs("out/{content}.png")
	init.Manifest = "i.jsonl"
	write(t, init.Manifest, `{"content":"in/a.png","options":{"init":"t.png"},"output":"t.png"}`)
	for _, c := range []struct {
		name, want string
		in         Inputs
		c          Checks
	}{
		{"one name for all", "out/x.png: would be the result of in/a.jpg and of in/a.png", inputs("out/x.png", "in"), Checks{}},
		{"extension only", "put {key} into the names", inputs("out/{content}.png", "in/a.png", "in/a.jpg"), Checks{}},
		{"folders", "put {dir} into the names", inputs("out/{content}.png", "in/**/*.png"), Checks{}},
		{"styles", "put {style} into the names", two, Checks{}},
		{"seeds", "put {seed} into the names", seeds, Checks{}},
		{"through a link", "(line 1) and of in/b.png (line 2)", links, Checks{}},
		{"over the content", "in/b.png: the result of in/b.png would overwrite it, and it is read as a content", inputs("in/{content}.png", "in/b.png"), Checks{}},
		{"over a linked content", "would overwrite it", inputs("out/linked.png", "in/b.png"), Checks{}},
		{"over the style", "it is read as a style", inputs("s.png", "in/b.png"), Checks{}},
		{"over the initial picture", "it is read as an initial picture", init, Checks{}},
		{"over weights", "read as the batch itself", inputs("out/w.png", "in/b.png"), Checks{Also: []string{"out/w.png"}}},
		{"over the report", "is the report", inputs("out/r.png", "in/b.png"), Checks{Written: []string{"link/r.png"}}},
		{"report over a content", "in/b.png: would be overwritten, and is read as a content", inputs("out/r.png", "in/b.png"), Checks{Written: []string{"in/b.png"}}},
		{"no extension", "give the name an extension", inputs("out/{content}", "in/b.png"), Checks{}},
		{"another extension", "not .gif", inputs("out/{content}.gif", "in/b.png"), Checks{}},
	} {
		l, err := check(t, c.in, c.c)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v (%s)", c.name, c.want, err, says(l))
		}
	}
	// What is asked for twice is no collision.
	l, err := check(t, inputs("out/{content}.png", "in/b.png", "in/*.png"), Checks{})
	if err != nil || len(l.Items) != 2 || len(l.Notes) != 1 {
		t.Errorf("twice: %v, %s, %v", err, says(l), l.Notes)
	}
	if names, err := filepath.Glob("out/*"); err != nil || len(names) != 2 {
		t.Errorf("checking left something in out: %v", names)
	}
}

// What cannot be painted is told before anything is, and the rest goes on.
func TestCheckProblems(t *testing.T) {
	files(t, "a.png", "b.png", "s.png")
	write(t, "blocked", "")
	write(t, "bad.png", "\x89PNG\r\n\x1a\nnonsense")
	write(t, "empty.png", "")
	if err := os.Mkdir("o-b.png", 0o777); err != nil {
		t.Fatal(err)
	}
	in := inputs("o-{content}.png", "a.png", "bad.png", "none.png", "empty.png", "b.png")
	l, err := check(t, in, Checks{})
	if err != nil || says(l) != "a.png+s.png=o-a.png" {
		t.Fatalf("%v, %s", err, says(l))
	}
	var got []string
	for _, p := range l.Problems {
		got = append(got, p.What+": "+p.Err.Error())
	}
	text := strings.Join(got, "\n")
	for _, want := range []string{"bad.png: the PNG picture is damaged", "none.png: there is no such file", "empty.png: the file is empty", "b.png: o-b.png: is a folder"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if len(l.Problems) != 4 {
		t.Errorf("%d problems:\n%s", len(l.Problems), text)
	}
	// A file where a folder is to be.
	l, err = check(t, inputs("blocked/{content}.png", "a.png"), Checks{})
	if err != nil || len(l.Problems) != 1 {
		t.Errorf("%v, %+v", err, l.Problems)
	}
	// A style that cannot be read spoils its items alone.
	two := inputs("o-{content}-{style}.png", "a.png")
	two.Styles = []string{"none.png", "s.png"}
	if l, err := check(t, two, Checks{}); err != nil || len(l.Problems) != 1 || len(l.Items) != 1 {
		t.Errorf("%v, %+v", err, l)
	}
}

// small is a device with little memory.
type small struct {
	gpu.Device
	memory int64
}

func (s small) Info() gpu.Info {
	i := s.Device.Info()
	i.Memory = s.memory
	return i
}

func TestCheckMemory(t *testing.T) {
	files(t, "s.png")
	for i, w := range []int{40, 60, 80, 100} { // in height, what is painted at 32 wide
		paint(t, fmt.Sprintf("%d.png", w), 100, w, i)
	}
	in := inputs("o/{content}.png", "40.png", "60.png", "80.png", "100.png")
	in.Options.ContentWeight, in.Options.Size = 1, 64
	l, err := in.List()
	if err != nil {
		t.Fatal(err)
	}
	dev := device(t)
	need := func(h int) int64 {
		st := stages(*in.Options, 100, h)[0]
		for b := int64(1 << 10); ; b += b / 64 {
			if fits([]gpu.Device{small{dev, b}}, st) == nil {
				return b
			}
		}
	}
	if err := l.Check(Checks{Devices: []gpu.Device{dev, small{dev, need(60)}}}); err != nil {
		t.Fatal(err)
	}
	if says(l) != "40.png+s.png=o/40.png 60.png+s.png=o/60.png" || len(l.Problems) != 2 {
		t.Errorf("%s, %+v", says(l), l.Problems)
	}
	for _, p := range l.Problems {
		if !errors.Is(p.Err, gpu.ErrOutOfMemory) || !strings.Contains(p.Err.Error(), p.What+": painting at 64x") {
			t.Error(p.Err)
		}
	}
}

// A style that does not fit at its full size is looked at smaller, which is said, stands in
// the record and decides the key; items whose style fits keep theirs.
func TestStyleTooLarge(t *testing.T) {
	files(t, "a.png", "b.png", "s.png")
	write(t, "m.jsonl", `{"content":"a.png"}
{"content":"b.png","options":{"style_size":"96"}}
{"content":"b.png","options":{"style_size":"2048"},"output":"c.png"}
`)
	in := inputs("{content}.out.png")
	in.Manifest = "m.jsonl"
	parse := in.Parse
	in.Parse = func(raw json.RawMessage, dir string) (*transfer.Options, error) {
		o, err := parse(raw, dir)
		if err == nil {
			o.StyleWeight, o.Iterations = 1e7, 1
		}
		return o, err
	}
	l, err := in.List()
	if err != nil {
		t.Fatal(err)
	}
	dev := device(t)
	o := *l.Items[2].Options
	features, packed, err := stages(o.StylesAt(1000), 40, 28)[0].Memory(dev.Plan)
	if err != nil {
		t.Fatal(err)
	}
	tight := small{dev, features + packed}
	if err := l.Check(Checks{Devices: []gpu.Device{tight}}); err != nil {
		t.Fatal(err)
	}
	if len(l.Problems) > 0 || len(l.Items) != 3 || len(l.Notes) != 1 || !strings.Contains(l.Notes[0], "styles of 1 items are looked at with 864 pixels") { // 2048 by 3/4 and again
		t.Fatalf("%s, %+v, %v", says(l), l.Problems, l.Notes)
	}
	for i, want := range []string{"", "96", "864"} {
		if got := l.Items[i].Options.StyleSize; got != want {
			t.Errorf("%s: style size %s, want %s", l.Items[i].Output, got, want)
		}
	}
	b := &Batch{List: l, Weights: weights.Random(1), Numerics: Numerics{Precision: "fp32"}, Devices: []Device{{Device: tight, Name: "cpu", Slots: 1}}}
	if err := b.Run(t.Context()); err != nil || b.Status().Painted != 3 {
		t.Fatalf("%v, %+v", err, b.Status())
	}
	text, err := picture.ReadText("c.png")
	if err != nil {
		t.Fatal(err)
	}
	rec, err := transfer.ParseRecord(text)
	if err != nil || rec.Options.StyleSize != "864" {
		t.Errorf("the record says %q, %v", rec.Options.StyleSize, err)
	}
	// Where there is more memory the result is another one, and not done.
	if l, err = in.List(); err != nil {
		t.Fatal(err)
	}
	if err := l.Check(Checks{Devices: []gpu.Device{dev}}); err != nil || len(l.Notes) > 0 {
		t.Fatal(err, l.Notes)
	}
	verdicts := map[string]Verdict{}
	(&Batch{List: l, Weights: b.Weights, Numerics: b.Numerics}).Plans(func(p Plan) bool {
		verdicts[p.Output] = p.Verdict
		return p.Err == nil
	})
	if verdicts["a.out.png"] != IsDone || verdicts["b.out.png"] != IsDone || verdicts["c.png"] != ToRepaint {
		t.Errorf("%v", verdicts)
	}
	// Less than the picture itself takes no style helps with.
	if l, err = in.List(); err != nil {
		t.Fatal(err)
	}
	if err := l.Check(Checks{Devices: []gpu.Device{small{dev, packed}}}); err != nil || len(l.Problems) != 3 || !errors.Is(l.Problems[0].Err, gpu.ErrOutOfMemory) {
		t.Errorf("%v, %+v", err, l.Problems)
	}
}

// Items of an extent stand together, in the order of the list otherwise.
func TestOrder(t *testing.T) {
	files(t, "s.png")
	var names []string
	for i := range 9 {
		name := fmt.Sprintf("%d.png", i)
		paint(t, name, 60, []int{60, 30, 45}[i%3], i)
		names = append(names, name)
	}
	l, err := check(t, inputs("o/{content}.png", names...), Checks{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, it := range l.Items {
		got = append(got, stem(it.Content))
	}
	if s := strings.Join(got, ""); s != "036147258" {
		t.Error(s)
	}
}

// Results beside their contents are not painted again by the next run.
func TestResultsAreNoContents(t *testing.T) {
	files(t, "in/a.png", "in/b.png", "s.png")
	key := strings.Repeat("0123456789abcdef", 4)
	save := func(name, key string) {
		p := &picture.Picture{W: 2, H: 2, RGB: make([]float32, 12)}
		if err := p.Save(name, picture.SaveOptions{Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	save("in/a-s.png", key)
	l, err := check(t, inputs("in/{content}-s.png", "in"), Checks{})
	if err != nil || says(l) != "in/a.png+s.png=in/a-s.png in/b.png+s.png=in/b-s.png" {
		t.Errorf("%v, %s", err, says(l))
	}
	// With a key in the name, too.
	save("in/b-0123456789abcdef.png", key)
	l, err = check(t, inputs("in/{content}-{key}.png", "in/[ab].png", "in/*-0*.png"), Checks{})
	if err != nil || says(l) != "in/a.png+s.png=in/a-{key}.png in/b.png+s.png=in/b-{key}.png" {
		t.Errorf("%v, %s", err, says(l))
	}
	// A picture of the user's that has the name of a result is never overwritten.
	save("in/a-s.png", "")
	if _, err = check(t, inputs("in/{content}-s.png", "in/*.png"), Checks{}); err == nil || !strings.Contains(err.Error(), "in/a-s.png: the result of in/a.png would overwrite it") {
		t.Error(err)
	}
	// Nor is one that was named.
	save("in/a-s.png", key)
	if _, err = check(t, inputs("in/{content}-s.png", "in/*.png", "in/a-s.png"), Checks{}); err == nil {
		t.Error("a named content is left out, or overwritten")
	}
}

func TestSnapped(t *testing.T) {
	for _, c := range []struct{ w, h, size, n, wantW, wantH int }{
		{1000, 667, 512, 0, 1000, 667},
		{1000, 667, 512, 1, 1000, 667},
		{1000, 667, 512, 16, 1000, 656}, // 342 at 512 becomes 336
		{667, 1000, 512, 16, 656, 1000},
		{1000, 680, 512, 16, 989, 680}, // 348 becomes 352: the longer side gives
		{512, 512, 512, 16, 512, 512},
		{1000, 999, 512, 16, 999, 999},
		{4000, 10, 512, 16, 4000, 10}, // the network needs 16
	} {
		w, h := snapped(c.w, c.h, c.size, c.n)
		if w != c.wantW || h != c.wantH {
			t.Errorf("%dx%d at %d by %d: %dx%d, want %dx%d", c.w, c.h, c.size, c.n, w, h, c.wantW, c.wantH)
		}
	}
	// Whatever the extent, the result is a multiple, on a ladder of halves at every level,
	// little is cropped, and the extents of all levels are few.
	thirds, _ := transfer.Preset("default")
	halves := thirds
	halves.Ladder = []transfer.Level{{Size: 64, Iterations: 1}, {Size: 128, Iterations: 1}, {Size: 256, Iterations: 1}}
	for most, o := range map[int]transfer.Options{24: halves, 28: thirds} {
		seen := map[string]bool{}
		for h := 300; h <= 1000; h++ {
			w, sh := snapped(1000, h, o.Size, 16)
			if w > 1000 || sh > h || float64(w*sh) < 0.95*1000*float64(h) {
				t.Fatalf("1000x%d becomes %dx%d", h, w, sh)
			}
			text := ""
			all := stages(o, w, sh)
			for i, st := range all {
				if multiple := 2 << i; (most == 24 || i == len(all)-1) && st.H%multiple != 0 {
					t.Fatalf("1000x%d: level %d at %dx%d", h, i, st.W, st.H)
				}
				text += fmt.Sprintf("%dx%d ", st.W, st.H)
			}
			seen[text] = true
		}
		if len(seen) > most {
			t.Errorf("%v: 700 extents have become %d", o.Ladder, len(seen))
		}
	}
}

func TestKeyDependsOnAll(t *testing.T) {
	o := *tiny()
	base := func() (transfer.Options, hashes, picture.Format, Output, Numerics, int) {
		return o, hashes{content: "c", styles: []styleHashes{{Style: "s"}}, weights: "w"}, picture.PNG, Output{}, Numerics{Precision: "fp32"}, 0
	}
	keys := map[Key]string{}
	add := func(name string, k Key) {
		if len(k) != 64 {
			t.Errorf("%s: key %q", name, k)
		}
		if other, ok := keys[k]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}
		keys[k] = name
	}
	o1, h, f, out, n, s := base()
	first := keyOf(o1, h, f, out, n, s)
	add("base", first)
	for name, change := range map[string]func(o *transfer.Options, h *hashes, f *picture.Format, out *Output, n *Numerics, s *int){
		"content": func(_ *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			h.content = "C"
		},
		"style": func(_ *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			h.styles = []styleHashes{{Style: "S"}}
		},
		"weights": func(_ *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			h.weights = "W"
		},
		"size": func(o *transfer.Options, _ *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) { o.Size = 33 },
		"bits": func(o *transfer.Options, _ *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) { o.Bits = 16 },
		"noise": func(o *transfer.Options, _ *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			o.Init = "noise"
		},
		"seed": func(o *transfer.Options, _ *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			o.Init, o.Seed = "noise", 1
		},
		"init": func(o *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			o.Init, h.init = "x", "i"
		},
		"init 2": func(o *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			o.Init, h.init = "x", "j"
		},
		"jpeg": func(_ *transfer.Options, _ *hashes, f *picture.Format, _ *Output, _ *Numerics, _ *int) {
			*f = picture.JPEG
		},
		"tiff": func(_ *transfer.Options, _ *hashes, f *picture.Format, _ *Output, _ *Numerics, _ *int) {
			*f = picture.TIFF
		},
		"quality": func(_ *transfer.Options, _ *hashes, f *picture.Format, out *Output, _ *Numerics, _ *int) {
			*f, out.Quality = picture.JPEG, 80
		},
		"sampling": func(_ *transfer.Options, _ *hashes, f *picture.Format, out *Output, _ *Numerics, _ *int) {
			*f, out.Subsampling = picture.JPEG, "422"
		},
		"profile": func(_ *transfer.Options, _ *hashes, _ *picture.Format, out *Output, _ *Numerics, _ *int) {
			out.KeepProfile = true
		},
		"bare": func(_ *transfer.Options, _ *hashes, _ *picture.Format, out *Output, _ *Numerics, _ *int) {
			out.Bare = true
		},
		"precision": func(_ *transfer.Options, _ *hashes, _ *picture.Format, _ *Output, n *Numerics, _ *int) {
			n.Precision = "fp16"
		},
		"memory": func(_ *transfer.Options, _ *hashes, _ *picture.Format, _ *Output, n *Numerics, _ *int) {
			n.LowMemory = true
		},
		"kernels": func(_ *transfer.Options, _ *hashes, _ *picture.Format, _ *Output, n *Numerics, _ *int) {
			n.Kernels = "sm80"
		},
		"two styles": func(_ *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			h.styles = []styleHashes{{Style: "s"}, {Style: "t"}}
		},
		"other order": func(_ *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			h.styles = []styleHashes{{Style: "t"}, {Style: "s"}}
		},
		"blend": func(o *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			o.Blend, h.styles = []float64{2, 1}, []styleHashes{{Style: "s"}, {Style: "t"}}
		},
		"mask": func(_ *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			h.styles = []styleHashes{{Style: "s", Mask: "m"}}
		},
		"style mask": func(_ *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			h.styles = []styleHashes{{Style: "s", Look: "m"}}
		},
		"mask of the second": func(_ *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			h.styles = []styleHashes{{Style: "s"}, {Style: "t", Mask: "m"}}
		},
		"content mask": func(_ *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			h.contentMask = "m"
		},
		"feather": func(o *transfer.Options, h *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			o.Feather, h.styles = 3, []styleHashes{{Style: "s", Mask: "m"}}
		},
		"mask alpha": func(o *transfer.Options, _ *hashes, _ *picture.Format, _ *Output, _ *Numerics, _ *int) {
			o.MaskAlpha = true
		},
		"snap": func(_ *transfer.Options, _ *hashes, _ *picture.Format, _ *Output, _ *Numerics, s *int) { *s = 16 },
	} {
		o, h, f, out, n, s := base()
		change(&o, &h, &f, &out, &n, &s)
		add(name, keyOf(o, h, f, out, n, s))
	}
	same := func(name string, a, b Key) {
		if a != b {
			t.Errorf("%s changes the key", name)
		}
	}
	same("quality of a PNG", first, keyOf(o, h, picture.PNG, Output{Quality: 7, Subsampling: "420"}, n, 0))
	same("the default quality", keyOf(o, h, picture.JPEG, Output{}, n, 0), keyOf(o, h, picture.JPEG, Output{Quality: 95, Subsampling: "444"}, n, 0))
	equal := o
	equal.Blend = []float64{1, 1}
	both := hashes{content: "c", styles: []styleHashes{{Style: "s"}, {Style: "t"}}, weights: "w"}
	same("a blend of equal parts", keyOf(o, both, picture.PNG, Output{}, n, 0), keyOf(equal, both, picture.PNG, Output{}, n, 0))
	// The key is what earlier versions of this keyVersion said: results stay done.
	if first != "c69ffdf1abffa56b8e72e9978e501f6d1a635e7caaa950f8ed44d9d8bdcd3899" {
		t.Errorf("the key of the first recipe is %s: raise keyVersion only if old results are to be painted again", first)
	}
}

func TestShards(t *testing.T) {
	// Each item is in one shard, about as many in each, whatever their order.
	var items []*Item
	for i := range 4000 {
		items = append(items, &Item{Content: fmt.Sprintf("in/%d.png", i), Styles: []Style{{Path: "s.png"}}, Options: tiny(), Output: "o.png"})
	}
	counts := make([]int, 8)
	for _, it := range items {
		n := 0
		for i := range counts {
			if (Shard{i, len(counts)}).Has(it) {
				counts[i]++
				n++
			}
		}
		if n != 1 {
			t.Fatalf("%s is in %d shards", it.Content, n)
		}
	}
	if slices.Min(counts) < 400 || slices.Max(counts) > 600 {
		t.Errorf("%v", counts)
	}
}

// stages are the levels of a content of an extent.
func stages(o transfer.Options, w, h int) []transfer.Stage {
	return transfer.Work{Options: o, Content: &picture.Source{W: w, H: h}, Styles: transfer.OneStyle(&picture.Source{W: 40, H: 28})}.Stages()
}
