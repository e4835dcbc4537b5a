package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/tools/cost"
	"github.com/stylize-gpu/stylize/vgg"
)

const dir = "../../testdata/weights"

var seven = sync.OnceValue(func() *vgg.Weights { return Random(7) })

// The generator is repeated in NumPy by tools/parity; these are its numbers,
// and the hash that a torch.save file with them gave.
func TestRandomIsNumPys(t *testing.T) {
	if got, want := seven().SHA256, "e362e82deaa661e9c6a2971da033f51250ceec47364a8608f831642d32ff4c57"; got != want {
		t.Errorf("random:7 hashes to %s, want %s", got, want)
	}
	w := seven().Conv[1].W
	var sum, sq float64
	for _, v := range w {
		sum += float64(v)
		sq += float64(v) * float64(v)
	}
	n := float64(len(w))
	if mean, std := sum/n, math.Sqrt(sq/n); math.Abs(mean) > 1e-3 || math.Abs(std/math.Sqrt(2.0/(9*64))-1) > 0.01 {
		t.Errorf("conv1_2: mean %g, deviation %g, want 0 and %g", mean, std, math.Sqrt(2.0/(9*64)))
	}
}

// Files that torch.save and safetensors wrote, in all their types.
func TestForeignFiles(t *testing.T) {
	for name, wantFormat := range map[string]string{
		"zip.pth": "torch zip", "legacy.pth": "torch legacy", "checkpoint.pth": "torch zip", "tiny.safetensors": "safetensors",
	} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if f.format != wantFormat {
			t.Errorf("%s: taken for %s", name, f.format)
		}
		w, err := f.values("features.0.weight", []int{4, 3, 3, 3})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if w[0] != -0.07664429396390915 || w[1] != 0.35988152027130127 || w[107] != 0.3998355269432068 {
			t.Errorf("%s: weights begin %v and end %v", name, w[:2], w[107])
		}
		for tensor, want := range map[string][]float32{
			"features.0.bias": {0, .125, .25, .375}, "half": {0, .25, .5, .75, 1, 1.25}, "double": {-1, 0, 1}, "bf16": {1.5, -2},
		} {
			got, err := f.values(tensor, f.tensors[tensor].shape)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %s is %v, %v", name, tensor, got, err)
			}
		}
		for tensor, complaint := range map[string]string{"count": "not a float type", "absent": "missing"} {
			if _, err := f.values(tensor, f.tensors[tensor].shape); err == nil || !strings.Contains(err.Error(), complaint) {
				t.Errorf("%s: %s: %v", name, tensor, err)
			}
		}
		if v, ok := f.tensors["view"]; ok { // shares a storage, starts inside it
			got, err := f.values("view", v.shape)
			if err != nil || !slices.Equal(got, w[27:54]) {
				t.Errorf("%s: a view of a storage: %v", name, err)
			}
			if _, err := f.values("turned", f.tensors["turned"].shape); err == nil || !strings.Contains(err.Error(), "contiguous") {
				t.Errorf("%s: a transposed tensor: %v", name, err)
			}
		}
	}
}

// A pickle that asks to run something is refused by name, and nothing runs.
func TestHostilePickles(t *testing.T) {
	for name, want := range map[string]string{
		"hostile_plain.pth": "asks to call posix.system", "hostile_zip.pth": "asks to call posix.system", "whole_model.pth": "save model.state_dict()",
	} {
		_, err := Load(filepath.Join(dir, name))
		if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat("/tmp/stylize-pwned"); err == nil {
		t.Fatal("the hostile pickle ran")
	}
}

// Cut off anywhere, a file is an error that says so, never a panic.
func TestCutOffFiles(t *testing.T) {
	for _, name := range []string{"zip.pth", "legacy.pth", "tiny.safetensors"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(b) {
			f, err := open(bytes.NewReader(b[:n]), int64(n))
			if err == nil {
				_, err = f.values("features.0.weight", []int{4, 3, 3, 3})
				if err == nil {
					_, err = f.values("bf16", []int{2})
				}
				if err == nil {
					_, err = f.values("half", []int{2, 3})
				}
				if err == nil {
					_, err = f.values("double", []int{3})
				}
			}
			if err == nil && n < len(b)-64 { // the last bytes may belong to no tensor that was read
				t.Errorf("%s: cut to %d of %d bytes and still read", name, n, len(b))
			}
		}
	}
}

// What is written is read back, plain and compressed; damage is noticed.
func TestSaveLoadAndDamage(t *testing.T) {
	tmp := t.TempDir()
	for _, name := range []string{"w.safetensors", "w.safetensors.zst"} {
		path := filepath.Join(tmp, name)
		if err := Save(path, seven()); err != nil {
			t.Fatal(err)
		}
		w, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if w.SHA256 != seven().SHA256 {
			t.Errorf("%s: other values came back", name)
		}
	}
	if err := Save(filepath.Join(tmp, "w.pth"), seven()); err == nil {
		t.Error("wrote a .pth")
	}

	var buf bytes.Buffer
	if err := Write(&buf, seven()); err != nil {
		t.Fatal(err)
	}
	good := buf.Bytes()
	data := 8 + int(binary.LittleEndian.Uint64(good))
	for name, c := range map[string]struct {
		damage func(b []byte) []byte
		want   string
	}{
		"NaN": {func(b []byte) []byte { binary.LittleEndian.PutUint32(b[data+4096:], 0x7fc00000); return b }, "value"},
		"missing": {func(b []byte) []byte {
			return bytes.Replace(b, []byte("features.28.weight"), []byte("features.99.weight"), 1)
		}, "features.28.weight is missing"},
		"misshapen":   {func(b []byte) []byte { return bytes.Replace(b, []byte("[64,3,3,3]"), []byte("[64,9,1,3]"), 1) }, "shape [64 9 1 3], VGG19 has [64 3 3 3]"},
		"cut off":     {func(b []byte) []byte { return b[:len(b)/2] }, "cut off"},
		"not weights": {func([]byte) []byte { return []byte("hello, this is text") }, "neither a .pth"},
		"empty":       {func([]byte) []byte { return nil }, "empty"},
		"huge header": {func(b []byte) []byte { binary.LittleEndian.PutUint64(b, 1<<62); return b }, "damaged"},
	} {
		b := c.damage(bytes.Clone(good))
		_, err := read(bytes.NewReader(b), int64(len(b)), "", false)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := Load(tmp); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Load(filepath.Join(tmp, "nothing")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "give a .pth or .safetensors file") {
		t.Errorf("no file: %v", err)
	}
}

func TestResolve(t *testing.T) {
	t.Setenv(EnvCache, t.TempDir())
	w, fellBack, err := Resolve("auto")
	if err != nil || w.Source != "random:0" || !fellBack {
		t.Errorf("auto without a cache: %v, %v, %v", w.Source, fellBack, err)
	}
	if _, fellBack, err := Resolve("random"); err != nil || fellBack {
		t.Errorf("random, as asked: %v, %v", fellBack, err)
	}
	for _, bad := range []string{"random:", "random:x", "random:-1", "random:4294967296", "no/such/file.pth"} {
		if _, _, err := Resolve(bad); err == nil {
			t.Errorf("%s accepted", bad)
		}
	}
	path, err := CachePath()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("damaged cache"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Resolve("auto"); !errors.Is(err, ErrCache) || !errors.Is(err, ErrFormat) {
		t.Errorf("a damaged cache: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before, start := cost.Allocated(), time.Now()
		defer func() {
			if n, took := cost.Allocated()-before, time.Since(start); n > 2*cost.Memory || took > 4*cost.Time { // code that is fuzzed is instrumented
				t.Errorf("%d bytes allocated %d MB, in %v", len(b), n>>20, took)
			}
		}()
		o, err := open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if s := err.Error(); len(s) > 1000 || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
				t.Errorf("a message of %d bytes, or what a terminal obeys: %.200q", len(s), s)
			}
			return
		}
		if n, err := o.naming(); err == nil {
			_ = o.another(n)
		}
		for name, tn := range o.tensors {
			n := 1
			for _, s := range tn.shape {
				if s < 0 || s > 1<<12 || n > 1<<16 {
					return
				}
				n *= s
			}
			_, _ = o.values(name, tn.shape)
		}
	})
}

// Random weights are made once for all who use them at a time.
func TestRandomIsShared(t *testing.T) {
	a, b, other := Random(41), Random(41), Random(42)
	if a != b || a == other || a.SHA256 == other.SHA256 || other.Source != "random:42" {
		t.Errorf("%p %p %p", a, b, other)
	}
	runtime.KeepAlive(a)
}
