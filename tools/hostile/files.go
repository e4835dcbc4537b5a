package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// pictures mutates every picture of testdata.
func pictures(t *trial) (func() (string, []byte, error), error) {
	all, err := seeds("testdata", "testdata/odd", "testdata/jpeg")
	if err != nil {
		return nil, err
	}
	const most = 20_000_000 // pixels
	return func() (string, []byte, error) {
		b := t.mutate(all[t.random.IntN(len(all))], all)
		// What is read is resized, as every picture is.
		honest := int64(len(b))
		what, err := bounded(40*most, func() error {
			s, err := picture.DecodeContext(context.Background(), b, picture.Limits{Pixels: most})
			if err == nil {
				honest += int64(s.W) * int64(s.H)
				s.Resize(16, 16, picture.Bicubic)
			}
			return err
		})
		return what, b, err
	}, nil
}

// files mutates files of weights: the small ones of testdata, and one in ten times a
// whole one of 52 MB, which is changed in place.
func files(t *trial) (func() (string, []byte, error), error) {
	small, err := seeds("testdata/weights")
	if err != nil {
		return nil, err
	}
	path, whole := filepath.Join(t.dir, "mutant.pth"), filepath.Join(t.dir, "whole.safetensors")
	if err := weights.Save(whole, weights.Random(1)); err != nil {
		return nil, err
	}
	good, err := os.ReadFile(whole)
	if err != nil {
		return nil, err
	}
	number := 0
	return func() (string, []byte, error) {
		if number++; number%10 > 0 {
			b := t.mutate(small[t.random.IntN(len(small))], small)
			if err := os.WriteFile(path, b, 0o666); err != nil {
				return "", b, err
			}
			what, err := bounded(64<<20, func() error {
				if _, err := weights.ReadTensors(path); err != nil { // as tools read them
					return err
				}
				_, err := weights.Load(path)
				return err
			})
			return what, b, err
		}
		what, err := t.wholeWeights(whole, good)
		return what, nil, err
	}, nil
}

// wholeWeights changes some bytes of a whole file, half the time in its header, loads
// it, and puts them back.
func (t *trial) wholeWeights(path string, good []byte) (what string, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	size := int64(len(good))
	if t.random.IntN(10) == 0 {
		size = t.random.Int64N(size)
		if err := f.Truncate(size); err != nil {
			return "", err
		}
	}
	type change struct{ at, n int64 }
	var changes []change
	for range 1 + t.random.IntN(4) {
		c := change{t.random.Int64N(int64(len(good))), 1 + t.random.Int64N(8)}
		if t.random.IntN(2) == 0 {
			c.at = t.random.Int64N(3000)
		}
		if c.at+c.n > size {
			continue
		}
		b := make([]byte, c.n)
		for i := range b {
			b[i] = byte(t.random.Uint32())
		}
		if _, err := f.WriteAt(b, c.at); err != nil {
			return "", err
		}
		changes = append(changes, c)
	}
	what, bad := bounded(4*int64(len(good)), func() error {
		w, err := weights.Load(path)
		if err != nil {
			return err
		}
		for i := range w.Conv { // what loads is numbers
			for _, v := range w.Conv[i].W {
				if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
					return errors.New("panic: a value that is no number")
				}
			}
		}
		return nil
	})
	for _, c := range changes {
		if _, err := f.WriteAt(good[c.at:c.at+c.n], c.at); err != nil {
			return "", err
		}
	}
	if size < int64(len(good)) {
		if _, err := f.WriteAt(good[size:], size); err != nil {
			return "", err
		}
	}
	return "whole " + what, bad
}

// records mutates what a PNG says of how it was made, and has stylize make it again. One
// that paints on is interrupted.
func records(t *trial) (func() (string, []byte, error), error) {
	for _, name := range []string{"content.jpg", "style.jpg"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(t.dir, name), b, 0o666)
		}
		if err != nil {
			return nil, fmt.Errorf("%w; run it in the repository", err)
		}
	}
	stylize := func(within time.Duration, args ...string) (code int, stderr string, hung bool) {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		cmd := exec.CommandContext(ctx, t.bin, args...)
		cmd.Dir = t.dir
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 20 * time.Second
		var out strings.Builder
		cmd.Stderr = &out
		err := cmd.Run()
		return cmd.ProcessState.ExitCode(), out.String(), errors.Is(err, exec.ErrWaitDelay) || cmd.ProcessState.ExitCode() < 0
	}
	if code, stderr, _ := stylize(time.Minute, "content.jpg", "style.jpg", "-o", "good.png", "--size", "16", "-n", "1", "--weights", "random:1", "--device", "cpu", "-q"); code != 0 {
		return nil, fmt.Errorf("%s: exit %d, %s", t.bin, code, stderr)
	}
	good := filepath.Join(t.dir, "good.png")
	text, err := picture.ReadText(good)
	if err != nil {
		return nil, err
	}
	s, err := picture.Open(good, 0)
	if err != nil {
		return nil, err
	}
	pixels := s.Resize(s.W, s.H, picture.Bicubic)
	values := []any{nil, true, 0, -1, 1e308, 1e-320, 1 << 53, "", "/dev/zero", "/proc/self/mem", "../../etc/passwd", "\x1b[2J", strings.Repeat("x", 1<<20), "random:99999999999", []any{}, map[string]any{}, "32768x32768", "adam", "auto"}
	// fields are all places of a record, to be set to values that do not belong there.
	var fields func(v any, set func(any)) []func(any)
	fields = func(v any, set func(any)) (all []func(any)) {
		if set != nil {
			all = append(all, set)
		}
		switch v := v.(type) {
		case map[string]any:
			for k := range v {
				all = append(all, fields(v[k], func(x any) { v[k] = x })...)
			}
		case []any:
			for i := range v {
				all = append(all, fields(v[i], func(x any) { v[i] = x })...)
			}
		}
		return all
	}
	inputs := func() string {
		a, err1 := os.ReadFile(filepath.Join(t.dir, "content.jpg"))
		b, err2 := os.ReadFile(filepath.Join(t.dir, "style.jpg"))
		return fmt.Sprint(len(a), len(b), err1, err2)
	}
	before := inputs()
	return func() (string, []byte, error) {
		b := []byte(text)
		if t.random.IntN(3) == 0 {
			b = t.mutate(b, [][]byte{b})
		} else {
			var rec any
			if err := json.Unmarshal(b, &rec); err != nil {
				return "", b, err
			}
			for range 1 + t.random.IntN(2) {
				all := fields(rec, nil)
				all[t.random.IntN(len(all))](values[t.random.IntN(len(values))])
			}
			var err error
			if b, err = json.Marshal(rec); err != nil {
				return "", b, err
			}
		}
		if err := pixels.Save(filepath.Join(t.dir, "hostile.png"), picture.SaveOptions{Metadata: string(b)}); err != nil {
			return "", b, err
		}
		code, stderr, hung := stylize(4*time.Second, "rerun", "hostile.png", "-o", "again.png", "--device", "cpu", "-q")
		what := fmt.Sprint("exit ", code)
		switch {
		case hung:
			return what, b, errors.New("it does not end when it is interrupted")
		case code != 0 && code != 1 && code != 2 && code != 130 || strings.Contains(stderr, "goroutine "):
			return what, b, fmt.Errorf("exit %d: %s", code, stderr)
		case code != 0 && (strings.Count(stderr, "\n") != 1 || len(stderr) > 5000 || strings.Contains(stderr, "\x1b")):
			return what, b, fmt.Errorf("not one plain line: %s", stderr)
		case inputs() != before:
			return what, b, errors.New("an input is another file now")
		}
		if left, _ := filepath.Glob(filepath.Join(t.dir, ".stylize-*")); len(left) > 0 {
			return what, b, fmt.Errorf("left %v", left)
		}
		return what, b, nil
	}, nil
}
