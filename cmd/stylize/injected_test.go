//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
	"github.com/stylize-gpu/stylize/transfer/batch"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/atomicfile/fault"
)

// injected runs the command on a file system with a fault in it.
func injected(t *testing.T, f *fault.FS, args ...string) (code int, stderr string) {
	t.Helper()
	defer atomicfile.Use(f)()
	code, _, stderr = stylize(t.Context(), args...)
	return code, stderr
}

// Whatever operation on files fails, once or from then on, or if the power goes: a run
// ends with its picture where it says, or with an error; inputs are what they were, no
// file is half, and nothing is left. After a loss of power the checkpoint, if it is
// there, leads to the picture of a run that was never stopped.
func TestPaintInjected(t *testing.T) {
	dir := samples(t)
	tmp := filepath.Join(dir, "tmp")
	t.Setenv("TMPDIR", tmp)
	args := []string{"../content.png", "../style.jpg", small, "-n=4", "--content-weight=0", "--style-weight=0", rnd, "-o", "out.png", "--trace", "t.csv", "--save-every", "2", "--checkpoint", "run.ckpt", "--checkpoint-every", "0", "--device", "cpu", "-q"}
	begin := func() {
		t.Helper()
		t.Chdir(dir)
		if err := errors.Join(os.RemoveAll("run"), os.RemoveAll(tmp), os.Mkdir("run", 0o777), os.Mkdir(tmp, 0o777)); err != nil {
			t.Fatal(err)
		}
		t.Chdir(filepath.Join(dir, "run"))
	}
	content, style := read(t, "content.png"), read(t, "style.jpg")
	begin()
	count := fault.New(0, fault.Once)
	if code, stderr := injected(t, count, args...); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	want := read(t, "out.png")
	last, tried, resumed := count.Count(), 0, 0
	for _, mode := range []fault.Mode{fault.Once, fault.Stays, fault.Power} {
		for n := 1; n <= last; n++ {
			if testing.Short() && (n+int(mode))%20 != 0 {
				continue
			}
			tried++
			begin()
			f := fault.New(n, mode)
			code, stderr := injected(t, f, args...)
			if mode == fault.Power { // also when all is done
				f.Lose()
			}
			at := fmt.Sprintf("operation %d of %d %v: exit %d, %s", n, last, mode, code, stderr)
			if !bytes.Equal(content, read(t, "../content.png")) || !bytes.Equal(style, read(t, "../style.jpg")) {
				t.Fatalf("%s: an input is another file now", at)
			}
			if code != 0 && code != exitFailed && code != exitUsage || strings.Contains(stderr, "goroutine") {
				t.Error(at)
			}
			names, _ := filepath.Glob("*.png")
			more, _ := filepath.Glob(filepath.Join(tmp, "*"))
			for _, name := range append(names, more...) {
				if _, err := picture.Open(name, 0); err != nil {
					t.Errorf("%s: half a file: %v", at, err)
				}
			}
			where := "out.png"
			if m := regexp.MustCompile(`is complete, in (\S+)`).FindStringSubmatch(stderr); m != nil {
				where = m[1]
			} else if code != 0 {
				where = ""
			}
			if where != "" && (mode != fault.Power || code == 0) && !bytes.Equal(want, read(t, where)) {
				t.Errorf("%s: another picture in %s", at, where)
			}
			if mode == fault.Once && code != exitUsage && where == "" {
				t.Errorf("%s: one failure lost the picture", at)
			}
			// The machine is well again: the next run, or its resumption, ends as it should.
			next := args
			if exists("run.ckpt") {
				next = []string{"resume", "run.ckpt", "-q"}
				resumed++
			}
			if code, stderr := injected(t, fault.New(0, fault.Once), next...); code != 0 {
				t.Errorf("%s\nand then %v: exit %d, %s", at, next, code, stderr)
			} else if !bytes.Equal(want, read(t, "out.png")) {
				t.Errorf("%s\nand then %v: another picture", at, next)
			}
			if left, _ := filepath.Glob(".stylize-*"); len(left) > 0 || exists("run.ckpt") {
				t.Errorf("%s\nand then: left %v", at, left)
			}
		}
	}
	t.Logf("%d failures injected into %d operations, %d went on from a checkpoint; all good", tried, last, resumed)
}

// A batch under the same faults: it ends with all results or says which it has not;
// each result is whole, the right one, and there when its line of the report says so.
// The same command, given again on a machine that is well, ends with all of them.
func TestBatchInjected(t *testing.T) {
	const n = 4
	dir := album(t, n)
	args := batchArgs("../in", "--style", "../style.jpg", "-o", "out/{content}.png", "--report", "r.jsonl", "-q")
	begin := func() {
		t.Helper()
		t.Chdir(dir)
		if err := errors.Join(os.RemoveAll("run"), os.Mkdir("run", 0o777)); err != nil {
			t.Fatal(err)
		}
		t.Chdir(filepath.Join(dir, "run"))
	}
	begin()
	count := fault.New(0, fault.Once)
	if code, stderr := injected(t, count, args...); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	want := map[string][]byte{}
	for _, f := range results(t, "out/*") {
		want[f] = read(t, f)
	}
	if len(want) != n {
		t.Fatalf("%d results", len(want))
	}
	last, tried, failed := count.Count(), 0, 0
	for _, mode := range []fault.Mode{fault.Once, fault.Stays, fault.Power} {
		for k := 1; k <= last; k++ {
			if testing.Short() && (k+int(mode))%10 != 0 {
				continue
			}
			tried++
			begin()
			f := fault.New(k, mode)
			code, stderr := injected(t, f, args...)
			if mode == fault.Power {
				f.Lose()
			}
			at := fmt.Sprintf("operation %d of %d %v: exit %d, %s", k, last, mode, code, stderr)
			switch code {
			case 0:
			case exitFailed, exitUsage, exitSome:
				failed++
			default:
				t.Error(at)
			}
			if strings.Contains(stderr, "goroutine") || code != 0 && stderr == "" {
				t.Error(at)
			}
			there := results(t, "out/*")
			for _, f := range there {
				if strings.HasPrefix(filepath.Base(f), ".") {
					continue // a temporary that could not be removed
				}
				if !bytes.Equal(read(t, f), want[f]) {
					t.Errorf("%s: %s is not what it is to be", at, f)
				}
			}
			if code == 0 && mode != fault.Power && len(there) != n {
				t.Errorf("%s: %d results", at, len(there))
			}
			if exists("r.jsonl") {
				for _, l := range reportLines(t, "r.jsonl") {
					if l.Status == batch.Painted && !exists(l.Output) {
						t.Errorf("%s: the report has %s, the disk has not", at, l.Output)
					}
				}
			}
			// The machine is well again.
			if code, stderr := injected(t, fault.New(0, fault.Once), append(args, "--retry-failed")...); code != 0 {
				t.Errorf("%s\nand then: exit %d, %s", at, code, stderr)
			}
			for f := range want {
				if !exists(f) || !bytes.Equal(read(t, f), want[f]) {
					t.Errorf("%s\nand then: %s is not what it is to be", at, f)
				}
			}
			if left := results(t, "out/.*"); len(left) > 0 {
				t.Errorf("%s\nand then: left %v", at, left)
			}
		}
	}
	t.Logf("%d failures injected into %d operations, %d ended with an error; all good", tried, last, failed)
}

// Memory of the device may be refused at any moment: then a run says so in a line and
// writes nothing, a batch goes on with fewer pictures at once or without those that do
// not fit, and both have the pictures that they have with all the memory.
func TestMemoryInjected(t *testing.T) {
	newCPU = cpu.New // which asks for the memory of the weights too
	defer func() { newCPU = packedOnce }()
	dir := album(t, 4)
	paint := []string{"content.png", "style.jpg", "--size=32", "--ladder=16,32", "-n=2", rnd, "-o", "out/x.png", "--device=cpu", "-q"}
	many := append([]string{"batch", "in", "--style", "style.jpg", "-o", "out/{content}.png", "--slots", "2", "-q", "--devices=cpu"}, "--size=16", "-n=2", rnd)
	for _, args := range [][]string{paint, many} {
		run := func(refuse func(n int) bool) (code int, stderr string, asked int) {
			t.Helper()
			t.Chdir(dir)
			if err := errors.Join(os.RemoveAll("out"), os.Mkdir("out", 0o777)); err != nil {
				t.Fatal(err)
			}
			defer loops.UseAlloc(func(n int, alloc func(int) []float32) []float32 {
				if asked++; refuse(asked) {
					return nil
				}
				return alloc(n)
			})()
			code, _, stderr = stylize(t.Context(), args...)
			return code, stderr, asked
		}
		code, stderr, last := run(func(int) bool { return false })
		if code != 0 {
			t.Fatalf("%v: exit %d: %s", args, code, stderr)
		}
		want := map[string][]byte{}
		for _, f := range results(t, "out/*") {
			want[f] = read(t, f)
		}
		tried, ended := 0, map[int]int{}
		for _, stays := range []bool{false, true} {
			for k := 1; k <= last; k++ {
				if testing.Short() && k%9 != 1 {
					continue
				}
				tried++
				code, stderr, _ := run(func(n int) bool { return n == k || stays && n > k })
				at := fmt.Sprintf("%s: allocation %d of %d refused (and those after it: %v): exit %d, %s", args[0], k, last, stays, code, stderr)
				ended[code]++
				if code != 0 && (!strings.Contains(stderr, gpu.ErrOutOfMemory.Error()) || strings.Contains(stderr, "goroutine")) {
					t.Error(at)
				}
				if code != 0 && code != exitFailed && code != exitSome {
					t.Error(at)
				}
				there := results(t, "out/*")
				for _, f := range there {
					if strings.Contains(stderr, " iterations is in "+f) { // what a smaller level of the ladder had
						if _, err := picture.Open(f, 0); err != nil {
							t.Errorf("%s: half a file: %v", at, err)
						}
					} else if !bytes.Equal(read(t, f), want[f]) {
						t.Errorf("%s: %s is not what it is to be", at, f)
					}
				}
				if left := results(t, "out/.*"); code == 0 && len(there) != len(want) || len(left) > 0 {
					t.Errorf("%s: %v, and left %v", at, there, left)
				}
			}
		}
		t.Logf("%s: %d refusals among %d allocations; exit codes %v", args[0], tried, last, ended)
	}
}
