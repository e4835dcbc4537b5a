package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// server answers a fetch with anything, until the fetch gives up; then it answers as it
// should, and the weights must come.
func server(t *trial) (func() (string, []byte, error), error) {
	var whole bytes.Buffer
	w := weights.Random(3)
	if err := weights.Write(&whole, w); err != nil {
		return nil, err
	}
	data := whole.Bytes()
	sum := sha256.Sum256(data)
	name := fmt.Sprintf("vgg19-%x.safetensors", sum[:4])
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var answer func(c net.Conn, request string)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 1<<14)
				n, err := c.Read(b)
				if err != nil {
					return
				}
				mu.Lock()
				f := answer
				mu.Unlock()
				f(c, string(b[:n]))
			}()
		}
	}()
	from := func(request string) (n int) {
		_, rest, ok := strings.Cut(request, "Range: bytes=")
		if ok {
			_, _ = fmt.Sscanf(rest, "%d-", &n)
		}
		return min(max(n, 0), len(data))
	}
	honest := func(c net.Conn, request string) {
		n := from(request)
		if n == len(data) {
			fmt.Fprintf(c, "HTTP/1.1 416 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return
		}
		if n > 0 {
			fmt.Fprintf(c, "HTTP/1.1 206 OK\r\nContent-Range: bytes %d-%d/%d\r\n", n, len(data)-1, len(data))
		} else {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
		}
		fmt.Fprintf(c, "Content-Length: %d\r\nConnection: close\r\n\r\n", len(data)-n)
		_, _ = c.Write(data[n:])
	}
	url := "http://" + l.Addr().String() + "/" + name
	fetch := func(o weights.FetchOptions) (took time.Duration, err error) {
		start := time.Now()
		_, err = weights.Fetch(context.Background(), o)
		return time.Since(start), err
	}
	number := 0
	return func() (string, []byte, error) {
		number++
		dir := filepath.Join(t.dir, fmt.Sprint(number))
		defer os.RemoveAll(dir)
		o := weights.FetchOptions{URL: url, Path: filepath.Join(dir, "w.safetensors"), Stall: 200 * time.Millisecond, Retries: 2, Backoff: time.Millisecond}
		log := t.liar(data, honest, &mu, &answer)
		took, err := fetch(o)
		what := "refused"
		if err == nil {
			what = "fetched"
		}
		input := []byte(log)
		switch {
		case took > 20*time.Second:
			return what, input, fmt.Errorf("%s: took %v", log, took)
		case err != nil && (len(err.Error()) > 4000 || strings.Contains(err.Error(), "panic")):
			return what, input, fmt.Errorf("%s: %.300w", log, err)
		}
		got, e := weights.Load(o.Path)
		if e == nil && !same(got, w) || (e == nil) != (err == nil) {
			return what, input, fmt.Errorf("%s: %w", log, errors.Join(err, e))
		}
		if es, _ := os.ReadDir(dir); len(es) > 1 {
			return what, input, fmt.Errorf("%s: left %v", log, es)
		}
		mu.Lock()
		answer = honest
		mu.Unlock()
		o.Stall = 10 * time.Second
		if _, err := fetch(o); err != nil { // a part that the liar has sent may be thrown away first
			if _, err = fetch(o); err != nil {
				return what, input, fmt.Errorf("%s: an honest server then: %w", log, err)
			}
		}
		if got, err := weights.Load(o.Path); err != nil || !same(got, w) {
			return what, input, fmt.Errorf("%s: other weights in the end: %w", log, err)
		}
		return what, input, nil
	}, nil
}

func same(a, b *vgg.Weights) bool { return a.SHA256 == b.SHA256 }

// liar sets how the next connections are answered, and says how.
func (t *trial) liar(data []byte, honest func(net.Conn, string), mu *sync.Mutex, answer *func(net.Conn, string)) string {
	r := t.random
	status := []string{"200 OK", "206 Partial Content", "301 Moved", "404 Not Found", "416 No", "429 Slow", "500 Oh", "999 \x1b[2J", "abc", "200 " + strings.Repeat("x", 1<<r.IntN(21))}[r.IntN(10)]
	length := []string{"", "0", "5", fmt.Sprint(len(data)), fmt.Sprint(len(data) + 1), "-1", "99999999999999999999", "1000000000000"}[r.IntN(8)]
	extra := []string{"", "Transfer-Encoding: chunked\r\n", "Content-Encoding: gzip\r\n", "Content-Range: bytes 5-9/10\r\n", "Content-Range: bytes 0-1/2\r\n", "Content-Range: bytes -\x1b/\r\n", "Location: /\r\n", "Location: file:///etc/passwd\r\n", "Location: http://127.0.0.1:1/\r\n", "X: " + strings.Repeat("y", 1<<r.IntN(21)) + "\r\n"}[r.IntN(10)]
	size := []int{0, 1, 5, 1 << 12, len(data) / 2, len(data), len(data) + 5}[r.IntN(7)]
	noise, slow, lies := r.IntN(3) == 0, r.IntN(6) == 0, 1+r.IntN(4)
	seen := 0
	mu.Lock()
	defer mu.Unlock()
	*answer = func(c net.Conn, request string) {
		mu.Lock()
		seen++
		lie := seen <= lies
		mu.Unlock()
		if !lie {
			honest(c, request)
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 %s\r\n%s", status, extra)
		if length != "" {
			fmt.Fprintf(c, "Content-Length: %s\r\n", length)
		}
		fmt.Fprint(c, "Connection: close\r\n\r\n")
		for at := 0; at < size; at += 1 << 16 {
			b := bytes.Repeat([]byte{7}, min(size-at, 1<<16))
			if !noise {
				copy(b, data[min(at, len(data)):])
			}
			if slow {
				b = b[:1]
				time.Sleep(50 * time.Millisecond)
			}
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}
	return fmt.Sprintf("%.40q, length %s, %.60q, %d bytes, noise %v, slow %v, %d lies", status, length, extra, size, noise, slow, lies)
}
