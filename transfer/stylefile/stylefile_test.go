package stylefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/tools/cost"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/safetensors"
)

// style is one with the matrices of random features, none negative, as a ReLU leaves them.
func style(sizes ...int) *File {
	f := &File{
		Name: "waves, stars", Weights: strings.Repeat("ab", 32), Pooling: "avg",
		Sources: []Source{{"waves.jpg", strings.Repeat("01", 32), 640, 480, 2}, {"stars.png", strings.Repeat("02", 32), 300, 700, 0.5}},
		Palette: [][3]float32{{0.1, 0.2, 0.3}, {1, 1, 0}},
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, size := range sizes {
		s := Size{Size: size, W: size, H: size * 3 / 4, Grams: map[string][]float32{}}
		for _, l := range Layers() {
			const p = 3
			x := make([]float32, p*l.C)
			for i := range x {
				x[i] = max(0, r.Float32()-0.3)
			}
			g := make([]float32, l.C*l.C)
			for i := range l.C {
				for j := range l.C {
					for k := range p {
						g[i*l.C+j] += x[k*l.C+i] * x[k*l.C+j] / float32(p*l.C)
					}
				}
			}
			s.Grams[l.Name] = g
		}
		f.Sizes = append(f.Sizes, s)
	}
	return f
}

func written(tb testing.TB, f *File) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func decode(b []byte) (*File, error) { return Decode(bytes.NewReader(b), int64(len(b))) }

func TestLayers(t *testing.T) {
	values := 0
	var names []string
	for _, l := range Layers() {
		names, values = append(names, l.Name), values+l.C*l.C
	}
	if len(names) != 13 || names[0] != "relu1_1" || names[12] != "relu5_1" || 4*values != sizeBytes {
		t.Errorf("%v, %d values", names, values)
	}
}

// save writes a style as the program does.
func save(f *File, path string) error { return atomicfile.Write(path, f.Write) }

func TestRoundTrip(t *testing.T) {
	f := style(64, 500)
	path := filepath.Join(t.TempDir(), "x.png") // its name does not matter
	if err := save(f, path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(b); got.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("the hash of the file is %s", got.SHA256)
	}
	if !IsFile(path) {
		t.Error("it is not taken for a style file")
	}
	if !bytes.Equal(b, written(t, f)) || !bytes.Equal(b, written(t, got)) {
		t.Error("equal styles have other bytes")
	}
	if n := len(b) - 2*sizeBytes; n > 1<<13 {
		t.Errorf("the header has %d bytes", n)
	}
	got.SHA256 = ""
	if !reflect.DeepEqual(f, got) {
		t.Error("what comes back is another")
	}
	st, err := safetensors.Open(bytes.NewReader(b), int64(len(b))) // as another program reads it
	if err != nil || !slices.Equal(st.Tensors["500/relu4_2.gram"].Shape, []int{512, 512}) {
		t.Errorf("%v, %v", st, err)
	}
}

// A style without names, palette or pictures is one too.
func TestBare(t *testing.T) {
	f := style(64)
	f.Name, f.Sources, f.Palette, f.Pooling = "", nil, nil, "max"
	got, err := decode(written(t, f))
	if err != nil {
		t.Fatal(err)
	}
	got.SHA256 = ""
	if !reflect.DeepEqual(f, got) {
		t.Errorf("%+v", got)
	}
}

func TestNearest(t *testing.T) {
	f := &File{Sizes: []Size{{Size: 128}, {Size: 256}, {Size: 1024}}}
	for longest, want := range map[int]int{-5: 128, 0: 128, 1: 128, 128: 128, 181: 128, 182: 256, 256: 256, 511: 256, 512: 1024, 1024: 1024, math.MaxInt: 1024} {
		got := f.Nearest(longest)
		if got.Size != want {
			t.Errorf("to %d: %d, want %d", longest, got.Size, want)
		}
	}
	if s := (&File{}).Nearest(5); s != nil {
		t.Errorf("of none: %v", s)
	}
}

// split is the header of a file as JSON, and what lies behind it.
func split(tb testing.TB, b []byte) (header map[string]json.RawMessage, data []byte) {
	tb.Helper()
	n := binary.LittleEndian.Uint64(b)
	if err := json.Unmarshal(b[8:8+n], &header); err != nil {
		tb.Fatal(err)
	}
	return header, b[8+n:]
}

func join(tb testing.TB, header any, data []byte) []byte {
	tb.Helper()
	js, err := json.Marshal(header)
	if err != nil {
		tb.Fatal(err)
	}
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(js))), js, data)
}

// edited is a file with another JSON of itself; the hash is made right.
func edited(t *testing.T, whole []byte, edit func(js map[string]any, header map[string]json.RawMessage, data []byte)) []byte {
	t.Helper()
	header, data := split(t, whole)
	data = slices.Clone(data)
	var meta map[string]string
	var js map[string]any
	if err := json.Unmarshal(header["__metadata__"], &meta); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(meta[key]), &js); err != nil {
		t.Fatal(err)
	}
	edit(js, header, data)
	sum := sha256.Sum256(data)
	js["sha256"] = hex.EncodeToString(sum[:])
	text, err := json.Marshal(js)
	if err != nil {
		t.Fatal(err)
	}
	if header["__metadata__"], err = json.Marshal(map[string]string{key: string(text)}); err != nil {
		t.Fatal(err)
	}
	return join(t, header, data)
}

// What is refused, and in which words.
func TestRefused(t *testing.T) {
	whole := written(t, style(64, 128))
	header := binary.LittleEndian.Uint64(whole)
	put := func(data []byte, i int, v float64) {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(float32(v)))
	}
	set := func(name string, v any) []byte {
		return edited(t, whole, func(js map[string]any, _ map[string]json.RawMessage, _ []byte) { js[name] = v })
	}
	tensor := func(name, entry string) []byte {
		return edited(t, whole, func(_ map[string]any, h map[string]json.RawMessage, _ []byte) { h[name] = json.RawMessage(entry) })
	}
	values := func(f func(data []byte)) []byte {
		return edited(t, whole, func(_ map[string]any, _ map[string]json.RawMessage, data []byte) { f(data) })
	}
	size := func(s, w, h int) map[string]int { return map[string]int{"size": s, "width": w, "height": h} }
	flipped := slices.Clone(whole)
	flipped[len(flipped)-1] ^= 1
	if _, err := decode(values(func([]byte) {})); err != nil {
		t.Fatalf("unchanged: %v", err)
	}
	for what, c := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":             {nil, "is no style file; give a picture, or"},
		"text":              {[]byte("a wave, painted by hand in 1831"), "is no style file"},
		"picture":           {[]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), "is no style file"},
		"other tensors":     {join(t, map[string]any{"__metadata__": map[string]string{"a": "b"}}, nil), "is no style file"},
		"a long header":     {append(binary.LittleEndian.AppendUint64(nil, maxHeader+1), `{"64/relu1_1.gram":`...), "is no style file"},
		"cut in the header": {whole[:header/2], "the file is cut short: its header has"},
		"cut in the values": {whole[:len(whole)-1], "the file is cut short: it has 12913"},
		"cut at the values": {whole[:8+header], "the file is cut short: it has"},
		"something behind":  {append(slices.Clone(whole), 0, 0, 0), "it has 3 bytes behind its end"},
		"a bit":             {flipped, "its values are not those that were written"},
		"no JSON":           {join(t, map[string]any{"__metadata__": map[string]string{key: "{"}}, nil), "no JSON of a style"},
		"version":           {set("format", 2), "another version of stylize, in format 2, and this one reads 1; make it again"},
		"no version":        {set("format", nil), "another version of stylize, in format 0"},
		"weights":           {set("weights", "ABAB"), `the hash of the weights is "ABAB"`},
		"pooling":           {set("pooling", "mean"), `its pooling is "mean"`},
		"no pooling":        {set("pooling", ""), `its pooling is ""`},
		"no sizes":          {set("sizes", []int{}), "it has 0 sizes, want 1 to 64"},
		"sizes":             {set("sizes", slices.Repeat([]any{size(64, 64, 64)}, 65)), "it has 65 sizes"},
		"order":             {set("sizes", []any{size(128, 64, 64), size(64, 64, 64)}), "its sizes are not in order: 64 comes behind 128"},
		"twice":             {set("sizes", []any{size(64, 64, 64), size(64, 64, 64)}), "its sizes are not in order: 64 comes behind 64"},
		"tiny":              {set("sizes", []any{size(64, 64, 15)}), "size 64 of 64x15 cannot be"},
		"huge":              {set("sizes", []any{size(1<<40, 64, 64)}), "cannot be"},
		"negative":          {set("sizes", []any{size(-64, 64, 64)}), "cannot be"},
		"another size":      {set("sizes", []any{size(64, 64, 64), size(129, 64, 64)}), "129/relu1_1.gram is missing"},
		"fewer sizes":       {set("sizes", []any{size(64, 64, 64)}), "it has 26 tensors, want 13"},
		"source":            {set("sources", []any{map[string]any{"name": "a", "sha256": "xyz"}}), `the hash of picture "a" is "xyz"`},
		"source's extent":   {set("sources", []any{Source{"a", strings.Repeat("01", 32), 0, 5, 1}}), `picture "a" has 0x5 pixels`},
		"source's weight":   {set("sources", []any{Source{"\x1b[31m", strings.Repeat("01", 32), 5, 5, -1}}), `picture "\x1b[31m" has weight -1`},
		"palette":           {set("palette", [][]float64{{0, 2, 0}}), "its palette has colour [0 2 0]"},
		"palette's length":  {set("palette", make([][3]int, 257)), "257 colours, more than 256"},
		"shape":             {tensor("64/relu1_1.gram", `{"dtype":"F32","shape":[64,63],"data_offsets":[0,16384]}`), "64/relu1_1.gram is \"F32\" of shape [64 63], want F32 of [64 64]"},
		"type":              {tensor("64/relu1_1.gram", `{"dtype":"F16","shape":[64,64],"data_offsets":[0,16384]}`), `is "F16" of shape`},
		"range":             {tensor("64/relu1_1.gram", `{"dtype":"F32","shape":[64,64],"data_offsets":[0,16380]}`), "64/relu1_1.gram: 16380 bytes for a tensor of 16384"},
		"beyond":            {tensor("64/relu1_1.gram", `{"dtype":"F32","shape":[64,64],"data_offsets":[99999999,100016383]}`), "64/relu1_1.gram: the file is cut off"},
		"one more":          {tensor("more", `{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`), "it has 27 tensors, want 26"},
		"one less": {edited(t, whole, func(_ map[string]any, h map[string]json.RawMessage, _ []byte) {
			delete(h, "128/relu5_1.gram")
		}), "128/relu5_1.gram is missing"},
		"NaN":        {values(func(d []byte) { put(d, 3, math.NaN()) }), "64/relu1_1.gram: value 0,3 is NaN"},
		"Inf":        {values(func(d []byte) { put(d, 64*64, math.Inf(-1)) }), "64/relu1_2.gram: value 0,0 is -Inf"},
		"diagonal":   {values(func(d []byte) { put(d, 64+1, -0.5) }), "64/relu1_1.gram: value 1,1 of the diagonal is -0.5"},
		"asymmetric": {values(func(d []byte) { put(d, 1, 0) }), "64/relu1_1.gram: it is not symmetric"},
		"no Gram":    {values(func(d []byte) { put(d, 1, 7); put(d, 64, 7) }), "it is no Gram matrix: 7 at 1,0"},
	} {
		f, err := decode(c.b)
		if err == nil || !strings.Contains(err.Error(), c.want) || f != nil {
			t.Errorf("%s: %v", what, err)
		} else if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 250 {
			t.Errorf("%s: %q", what, err)
		}
		if strings.Contains(c.want, "is no style file") == IsFile(saved(t, c.b)) {
			t.Errorf("%s: a style file: %v", what, IsFile(saved(t, c.b)))
		}
	}
	if _, err := Decode(bytes.NewReader(whole), maxFile+1); err == nil || !strings.Contains(err.Error(), "more than any style file") {
		t.Errorf("long: %v", err)
	}
	// What rounding leaves is no asymmetry.
	if _, err := decode(values(func(d []byte) {
		for i := range 64 * 64 {
			v := float64(math.Float32frombits(binary.LittleEndian.Uint32(d[4*i:])))
			put(d, i, v*(1+2e-4*float64(i%3-1)))
		}
	})); err != nil {
		t.Errorf("rounded: %v", err)
	}
}

func saved(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wave.style")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// Errors of Read begin with the name, and a file that is not there is no style file.
func TestRead(t *testing.T) {
	path := saved(t, written(t, style(64))[:5000])
	if _, err := Read(path); err == nil || !strings.HasPrefix(err.Error(), path+": the file is cut short") {
		t.Errorf("%v", err)
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "none.style"), t.TempDir()} {
		if _, err := Read(path); err == nil || !strings.HasPrefix(err.Error(), path) || IsFile(path) {
			t.Errorf("%v", err)
		}
	}
}

// Write refuses what Read would, and then leaves what was there.
func TestWriteRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.style")
	if err := save(style(64), path); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	for want, edit := range map[string]func(f *File){
		"it has 0 sizes":       func(f *File) { f.Sizes = nil },
		"its pooling":          func(f *File) { f.Pooling = "" },
		"not in order":         func(f *File) { slices.Reverse(f.Sizes) },
		"has 0 values":         func(f *File) { delete(f.Sizes[1].Grams, "relu3_3") },
		"128/relu2_1.gram: v":  func(f *File) { f.Sizes[1].Grams["relu2_1"][5] = float32(math.NaN()) },
		"has weight +Inf":      func(f *File) { f.Sources[0].Weight = math.Inf(1) },
		"are too much":         func(f *File) { f.Sources[0].Name = strings.Repeat("x", maxHeader) },
		"hash of the weights":  func(f *File) { f.Weights = "" },
		"the hash of picture ": func(f *File) { f.Sources[1].SHA256 = strings.ToUpper(strings.Repeat("ab", 32)) },
	} {
		f := style(64, 128)
		edit(f)
		if err := save(f, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Fatalf("%s: the file has changed", want)
		}
	}
}

// sparse is a file of zeros behind its header, as long as somebody says.
type sparse struct {
	head []byte
	size int64
}

func (s sparse) ReadAt(b []byte, at int64) (int, error) {
	if at >= s.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), s.size-at))
	clear(b[:n])
	if at < int64(len(s.head)) {
		copy(b[:n], s.head[at:])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// A short file that claims to be long takes no memory.
func TestBombs(t *testing.T) {
	var sizes []any
	for i := range MaxSizes {
		sizes = append(sizes, map[string]int{"size": 64 + i, "width": 64, "height": 64})
	}
	whole := written(t, style(64))
	claims := edited(t, whole, func(js map[string]any, h map[string]json.RawMessage, _ []byte) {
		js["sizes"] = sizes
		for _, l := range Layers() {
			for i := range MaxSizes { // all of them the same bytes
				h[tensorName(64+i, l.Name)] = h[tensorName(64, l.Name)]
			}
		}
	})
	nested := []byte(`{"a":` + strings.Repeat("[", 1<<20))
	names := []byte(`{"__metadata__":{"` + key + `":"` + strings.Repeat(`\u0000`, 2<<20) + `"}}`)
	for what, b := range map[string][]byte{
		"a matrix for 64 sizes": claims,
		"nested":                slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(nested))), nested),
		"names":                 slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(names))), names),
	} {
		var err error
		memory, took := cost.Of(func() { _, err = decode(b) })
		if err == nil || memory > cost.Memory || took > cost.Time {
			t.Errorf("%s: %d MB, %v, %v", what, memory>>20, took, err)
		}
	}
}

// Nothing that follows a header makes Decode panic, or take what the file is not long.
// The input is a header; what it calls for is zeros, which are Gram matrices.
func FuzzRead(f *testing.F) {
	zeros := style(64)
	for _, g := range zeros.Sizes[0].Grams {
		clear(g)
	}
	whole := written(f, zeros)
	head := whole[8:][:binary.LittleEndian.Uint64(whole)]
	if _, err := decode(whole); err != nil {
		f.Fatal(err)
	}
	f.Add(head, int64(sizeBytes))
	f.Add(head, int64(sizeBytes-1))
	f.Add(head[:len(head)/2], int64(0))
	f.Add(bytes.Replace(head, []byte("64/relu3_1"), []byte("64/relu3_2"), 1), int64(sizeBytes))
	f.Add(bytes.Replace(head, []byte(`"data_offsets":[0,`), []byte(`"data_offsets":[9,`), 1), int64(sizeBytes))
	f.Add(bytes.Replace(head, []byte(`\"size\":64`), []byte(`\"size\":-4`), 1), int64(sizeBytes))
	f.Fuzz(func(t *testing.T, head []byte, behind int64) {
		if behind < 0 || behind > 2*sizeBytes {
			return
		}
		s := sparse{slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head), 8 + int64(len(head)) + behind}
		before := cost.Allocated()
		got, err := Decode(s, s.size)
		if took := cost.Allocated() - before; took > uint64(40*len(head))+3*uint64(behind)+1<<20 {
			t.Errorf("%d bytes were taken for a file of %d", took, s.size)
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q", err)
			}
			return
		}
		if len(got.Sizes) == 0 || got.Nearest(512) == nil {
			t.Error("it has no size")
		}
		var b bytes.Buffer
		if err := got.Write(&b); err != nil { // what is read can be written
			t.Error(err)
		}
	})
}
