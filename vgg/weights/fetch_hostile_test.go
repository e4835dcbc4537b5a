//go:build unix

package weights

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/atomicfile/fault"
)

// A server that sends a byte now and then is given up after two tries.
func TestFetchTrickle(t *testing.T) {
	var tries atomic.Int32
	start := time.Now()
	_, err := fetch(t, t.Context(), served().name, func(w http.ResponseWriter, r *http.Request) {
		tries.Add(1)
		w.Header().Set("Content-Length", "500000000")
		for r.Context().Err() == nil {
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "sent only") || tries.Load() != 2 || time.Since(start) > 10*time.Second {
		t.Errorf("%v after %d tries and %v", err, tries.Load(), time.Since(start))
	}
}

// No source is taken at its word on how much it sends.
func TestFetchBounded(t *testing.T) {
	s := served()
	for name, c := range map[string]struct {
		file, want string
		length     string
	}{
		"the official file of another size": {"vgg19-dcbb9e9d.pth", "has 5000 bytes, it is not dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44 of 574673361 bytes", "5000"},
		"a file of terabytes":               {s.name, "no weights of VGG19", "5000000000000"},
	} {
		dir, err := fetch(t, t.Context(), c.file, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", c.length)
			w.Write(make([]byte, 5000))
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if es, _ := os.ReadDir(filepath.Join(dir, "cache")); len(es) > 0 {
			t.Errorf("%s: left %v", name, es)
		}
	}
	// Nor what stands in its answers.
	_, err := fetch(t, t.Context(), s.name, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 404 \x1b[2J%s\r\n\r\n", strings.Repeat("x", 1<<16))
		c.Close()
	})
	if err == nil || strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 500 {
		t.Errorf("%.300q", err)
	}
}

// What lies where the download goes is not written through.
func TestPartIsOurs(t *testing.T) {
	s := served()
	for name, put := range map[string]func(part, victim string) error{
		"link":          func(part, victim string) error { return os.Symlink(victim, part) },
		"dangling link": func(part, victim string) error { return os.Symlink(victim+".none", part) },
		"hard link":     func(part, victim string) error { return os.Link(victim, part) },
		"pipe":          func(part, _ string) error { return syscall.Mkfifo(part, 0o666) },
		"folder":        func(part, _ string) error { return os.Mkdir(part, 0o777) },
	} {
		dir := t.TempDir()
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(s.data) }))
		o := options(srv.URL+"/"+s.name, dir)
		victim := filepath.Join(dir, "victim")
		if err := errors.Join(os.WriteFile(victim, []byte("precious"), 0o666), os.Mkdir(filepath.Dir(o.Path), 0o777), put(filepath.Join(filepath.Dir(o.Path), s.name+".part"), victim)); err != nil {
			t.Fatal(err)
		}
		_, err := Fetch(t.Context(), o)
		srv.Close()
		if (err == nil) != strings.Contains(name, "link") || err != nil && !strings.Contains(err.Error(), "is in the way") {
			t.Errorf("%s: %v", name, err)
		}
		if b, _ := os.ReadFile(victim); string(b) != "precious" {
			t.Errorf("%s: it was overwritten with %d bytes", name, len(b))
		}
		if _, err := os.Stat(victim + ".none"); err == nil {
			t.Errorf("%s: it was followed", name)
		}
	}
}

// Two fetches at once both succeed, over one download.
func TestFetchTwice(t *testing.T) {
	s := served()
	var downloads, waits atomic.Int32
	begun := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if downloads.Add(1) == 1 {
			close(begun)
			time.Sleep(200 * time.Millisecond)
		}
		w.Write(s.data)
	}))
	defer srv.Close()
	o := options(srv.URL+"/"+s.name, t.TempDir())
	o.Waiting = func() { waits.Add(1) }
	var wg sync.WaitGroup
	for i := range 3 {
		if i > 0 {
			<-begun
		}
		wg.Go(func() {
			if _, err := Fetch(t.Context(), o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if downloads.Load() != 1 || waits.Load() != 2 {
		t.Errorf("%d downloads, %d waited", downloads.Load(), waits.Load())
	}
	if es, _ := os.ReadDir(filepath.Dir(o.Path)); len(es) != 1 {
		t.Errorf("left %v", es)
	}
}

func TestPartName(t *testing.T) {
	for url, want := range map[string]string{
		"http://host/a/vgg19-dcbb9e9d.pth":           "vgg19-dcbb9e9d.pth.part",
		"http://host/x.pth?token=../../etc":          "etc.part",
		"http://host/x.pth?token=1":                  "x.pth.part",
		"http://host/\x1b[2J%2e":                     "__2J_2e.part",
		"http://host/..":                             "...part",
		"http://host/" + strings.Repeat("a", 300):    strings.Repeat("a", 100) + ".part",
		"http://host/" + strings.Repeat("\u00e9", 9): strings.Repeat("_", 9) + ".part",
	} {
		if got := partName(url); got != want {
			t.Errorf("%q: %q, want %q", url, got, want)
		}
	}
}

// Whatever operation fails while weights are fetched, they are there and whole, or not
// there; the next fetch succeeds, and leaves them alone.
func TestFetchInjected(t *testing.T) {
	s := served()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(s.data) }))
	defer srv.Close()
	whole := func(path string) bool {
		w, err := Load(path)
		return err == nil && w.SHA256 == seven().SHA256
	}
	fetchWith := func(f *fault.FS, o FetchOptions) error {
		defer atomicfile.Use(f)()
		_, err := Fetch(t.Context(), o)
		return err
	}
	count := fault.New(0, fault.Once)
	if err := fetchWith(count, options(srv.URL+"/"+s.name, t.TempDir())); err != nil {
		t.Fatal(err)
	}
	last := count.Count()
	tried := 0
	for _, mode := range []fault.Mode{fault.Once, fault.Stays, fault.Power} {
		for n := 1; n <= last; n++ {
			if n > 8 && n < last-8 && n%32 != 0 { // one write of the download is as another
				continue
			}
			if testing.Short() && (int(mode)+n)%4 != 0 || testing.Short() && n > 8 && n < last-4 && n != last/2 {
				continue
			}
			tried++
			o := options(srv.URL+"/"+s.name, t.TempDir())
			f := fault.New(n, mode)
			err := fetchWith(f, o)
			if mode == fault.Power { // also when all is done
				f.Lose()
			}
			_, e := os.Stat(o.Path)
			if err == nil && !whole(o.Path) || e == nil && !whole(o.Path) {
				t.Errorf("operation %d of %d %v: %v, and the file is there (%v) and not whole", n, last, mode, err, e == nil)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("operation %d %v: more than a line: %v", n, mode, err)
			}
			if _, err := Fetch(t.Context(), o); err != nil || !whole(o.Path) {
				t.Errorf("operation %d %v: the next fetch: %v", n, mode, err)
			}
			if es, _ := os.ReadDir(filepath.Dir(o.Path)); len(es) != 1 {
				t.Errorf("operation %d %v: left %v", n, mode, es)
			}
		}
	}
	t.Logf("%d failures injected into %d operations", tried, last)
}
