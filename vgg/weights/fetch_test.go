package weights

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// served is a complete weights file and the name that carries its hash.
var served = sync.OnceValue(func() (s struct {
	name string
	data []byte
},
) {
	dir, err := os.MkdirTemp("", "stylize")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "w.safetensors")
	if err := Save(path, seven()); err != nil {
		panic(err)
	}
	if s.data, err = os.ReadFile(path); err != nil {
		panic(err)
	}
	sum := sha256.Sum256(s.data)
	s.name = "vgg19-" + hex.EncodeToString(sum[:4]) + ".safetensors"
	return s
})

// fetch runs Fetch against a handler and returns the folder it wrote to.
func fetch(t *testing.T, ctx context.Context, name string, h http.HandlerFunc) (dir string, err error) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	dir = t.TempDir()
	o := options(srv.URL+"/"+name, dir)
	o.Stall = 300 * time.Millisecond // servers here stall on purpose
	_, err = Fetch(ctx, o)
	return dir, err
}

func options(url, dir string) FetchOptions {
	return FetchOptions{URL: url, Path: filepath.Join(dir, "cache", "w.safetensors.zst"), Stall: 30 * time.Second, Retries: 2, Backoff: time.Millisecond}
}

func TestFetch(t *testing.T) {
	s := served()
	var seen int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		w.Write(s.data)
	}))
	defer srv.Close()
	dir := t.TempDir()
	o := options(srv.URL+"/"+s.name, dir)
	o.Progress = func(done, total int64) {
		if done < seen || total != int64(len(s.data)) {
			t.Errorf("progress went from %d to %d of %d", seen, done, total)
		}
		seen = done
	}
	path, err := Fetch(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if seen != int64(len(s.data)) {
		t.Errorf("progress ended at %d of %d", seen, len(s.data))
	}
	w, err := Load(path)
	if err != nil || w.SHA256 != seven().SHA256 {
		t.Fatalf("what was kept: %v", err)
	}
	if es, _ := os.ReadDir(filepath.Dir(path)); len(es) != 1 {
		t.Errorf("left behind: %v", es)
	}
}

// The connection breaks again and again; each try goes on where the last one ended.
func TestFetchResumes(t *testing.T) {
	s := served()
	var ranges []string
	dir, err := fetch(t, context.Background(), s.name, func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.data)-1, len(s.data)))
			w.Header().Set("Content-Length", fmt.Sprint(len(s.data)-from))
			w.WriteHeader(http.StatusPartialContent)
		} else {
			w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		}
		end := min(from+len(s.data)/2+1000, len(s.data))
		w.Write(s.data[from:end])
		if end < len(s.data) {
			panic(http.ErrAbortHandler)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(ranges) != 2 || ranges[0] != "" || !strings.HasPrefix(ranges[1], "bytes=") {
		t.Errorf("asked for %q", ranges)
	}
	if _, err := Load(filepath.Join(dir, "cache", "w.safetensors.zst")); err != nil {
		t.Error(err)
	}
}

// Every failure names the address and what to do, and leaves no file that looks whole.
func TestFetchFailures(t *testing.T) {
	s := served()
	wrong := "vgg19-00000000.safetensors"
	for name, c := range map[string]struct {
		file, want string
		keepsPart  bool
		handler    http.HandlerFunc
	}{
		"404": {s.name, "404 Not Found", false, http.NotFound},
		"503": {s.name, "503", false, func(w http.ResponseWriter, r *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) }},
		"wrong hash": {wrong, "wrong hash", false, func(w http.ResponseWriter, r *http.Request) {
			w.Write(s.data)
		}},
		"another file under a name without a hash": {"mirror.safetensors", "not dcbb9e9d", false, func(w http.ResponseWriter, r *http.Request) {
			w.Write(s.data)
		}},
		"not weights": {"vgg19-a28d35ff.pth", "cannot be used", false, func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("<html>please log in</html>"))
		}},
		"cut off": {s.name, "broke off", true, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
			if r.Header.Get("Range") != "" { // this server cannot go on, and breaks at the same place
				w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
			}
			w.Write(s.data[:1<<20])
			panic(http.ErrAbortHandler)
		}},
		"silent": {s.name, "sent nothing for", true, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
			w.Write(s.data[:1<<20])
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(2 * time.Second):
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := fetch(t, context.Background(), c.file, c.handler)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.file) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if got := errors.Is(err, ErrRefused); got != (name == "404") {
				t.Errorf("%v counts as refused: %v", err, got)
			}
			if _, err := os.Stat(filepath.Join(dir, "cache", "w.safetensors.zst")); err == nil {
				t.Error("a file was kept")
			}
			_, err = os.Stat(filepath.Join(dir, "cache", c.file+".part"))
			if (err == nil) != c.keepsPart {
				t.Errorf("part kept: %v, want %v", err == nil, c.keepsPart)
			}
		})
	}
}

func TestFetchWithoutConnection(t *testing.T) {
	_, err := Fetch(t.Context(), FetchOptions{URL: "http://127.0.0.1:1/vgg19.pth", Path: filepath.Join(t.TempDir(), "w.safetensors")})
	if !errors.Is(err, ErrNoConnection) || !strings.Contains(err.Error(), "127.0.0.1:1/vgg19.pth") {
		t.Errorf("a closed port: %v", err)
	}
}

// A slow server is no error as long as it sends.
func TestFetchSlow(t *testing.T) {
	s := served()
	_, err := fetch(t, context.Background(), s.name, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
		for i := 0; i < len(s.data); i += len(s.data)/8 + 1 {
			w.Write(s.data[i:min(i+len(s.data)/8+1, len(s.data))])
			w.(http.Flusher).Flush()
			time.Sleep(100 * time.Millisecond)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFetchCancelled(t *testing.T) {
	s := served()
	ctx, cancel := context.WithCancel(context.Background())
	_, err := fetch(t, ctx, s.name, func(w http.ResponseWriter, r *http.Request) {
		w.Write(s.data[:1<<20])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}
