package weights

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/stylize-gpu/stylize/tools/cost"
)

// packedZip is an archive of one entry and more, packed.
func packedZip(t *testing.T, entries map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for name, data := range entries {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// pickled is a zip whose pickle has these operations.
func pickled(t *testing.T, ops ...string) []byte {
	t.Helper()
	return packedZip(t, map[string][]byte{"archive/data.pkl": []byte("\x80\x02" + strings.Join(ops, "") + ".")})
}

// tensors is a pickle of a state_dict whose storages lie n values into long entries.
func tensors(names []string, offset int32, numel uint32) string {
	u32 := func(v uint32) string { return string(binary.LittleEndian.AppendUint32(nil, v)) }
	text := func(s string) string { return "X" + u32(uint32(len(s))) + s }
	s := "}("
	for i, name := range names {
		key := fmt.Sprint(i)
		s += text(name) + "ctorch._utils\n_rebuild_tensor_v2\n(" +
			"(" + text("storage") + "ctorch\nFloatStorage\n" + text(key) + text("cpu") + "J" + u32(numel) + "tQ" +
			"J" + u32(uint32(offset)) + "(K\x40K\x03K\x03K\x03t(K\x1bK\x09K\x03K\x01tt" + "R"
	}
	return s + "u"
}

func zstdOf(t *testing.T, head string, zeros int) []byte {
	t.Helper()
	var buf bytes.Buffer
	z, err := zstd.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write([]byte(head)); err != nil {
		t.Fatal(err)
	}
	for ; zeros > 0; zeros -= 1 << 20 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Files that ask for far more than they are: each ends in a line, within bounds.
func TestBombs(t *testing.T) {
	many := strings.Repeat
	var names []string
	data := map[string][]byte{}
	for i := range 16 {
		name := fmt.Sprintf("features.%d.weight", i)
		names = append(names, name)
		data[fmt.Sprintf("archive/data/%d", i)] = make([]byte, 16<<20)
	}
	data["archive/data.pkl"] = []byte("\x80\x02" + tensors(names, 2<<20, 4<<20) + ".")
	header := func(js string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(js))), js...)
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"dictionaries", pickled(t, many("}", 32<<20)), "more than 1048576 objects"},
		{"places of the memo", pickled(t, "N", many("\x94", 6<<20)), "more than 1048576 objects"},
		{"nothing at all", pickled(t, many("\x80\x02", 20<<20)), "more than 8 MB"},
		{"long strings", pickled(t, many("X\x00\x10\x00\x00"+many("a", 4096), 8192)), "more than 8 MB"},
		{"deep tuples", pickled(t, "N", many("\x85", 1<<19)), "more than 64 deep"},
		{"deep lists", pickled(t, many("]", 1<<19), many("a", 1<<19)), "more than 64 deep"},
		{"a list in itself", pickled(t, "]q\x00", many("h\x00a", 1<<18)), "more than 64 deep"},
		{"deep dictionaries", pickled(t, many("}N", 1<<18), "}", many("s", 1<<18)), "more than 64 deep"},
		{"packed storages", packedZip(t, data), "unpacks to more than 120 MB"},
		{"zstd", zstdOf(t, "\x10\x00\x00\x00\x00\x00\x00\x00{", 1<<30), "unpacks to more than 120 MB"},
		{"a long header", header("{" + strings.TrimSuffix(many(`"":{},`, 1<<20), ",") + "}"), "missing"},
		{"a shape of many dimensions", header(`{"t":{"shape":[` + many("1,", 1<<21) + `1]}}`), "dimensions"},
		{"names that terminals obey", header(`{"\u001b[2J` + many("x", 1<<20) + `":{}}`), `"\x1b[2J`},
		{"a function that terminals obey", pickled(t, "cposix\x1b[2J\nsystem\n)R"), `"posix\x1b[2J.system"`},
	} {
		var err error
		peak, took := cost.Of(func() {
			var f *file
			if f, err = open(bytes.NewReader(c.b), int64(len(c.b))); err == nil {
				for _, name := range append(names, "features.0.weight") {
					if _, e := f.values(name, []int{64, 3, 3, 3}); err == nil {
						err = e
					}
				}
			}
		})
		// A file of so many bytes may also be read.
		if peak > cost.Memory+4*int64(len(c.b)) || took > 2*cost.Time {
			t.Errorf("%s: %d kB took %d MB and %v", c.name, len(c.b)>>10, peak>>20, took)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %.300q, want %q", c.name, fmt.Sprint(err), c.want)
		}
		if !errors.Is(err, ErrFormat) && !strings.Contains(err.Error(), "missing") {
			t.Errorf("%s: no ErrFormat", c.name)
		}
		t.Logf("%s: %d kB, %d MB, %v", c.name, len(c.b)>>10, peak>>20, took)
	}
}
