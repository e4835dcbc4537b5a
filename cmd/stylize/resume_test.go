package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stylize-gpu/stylize/transfer"
)

// interrupted runs the program until its trace has some rows, then ends it.
func interrupted(t *testing.T, rows int, args ...string) (stderr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			if b, err := os.ReadFile("t.csv"); err == nil && bytes.Count(b, []byte("\n")) > rows {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	code, _, stderr := stylize(ctx, args...)
	if code != exitInterrupted {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	return stderr
}

// untimed is a trace without the seconds, which no two runs share.
func untimed(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		f := strings.Split(line, ",")
		out = append(out, strings.Join(slices.Delete(f, 8, 9), ","))
	}
	return strings.Join(out, "")
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var ladder = []string{small, "--ladder=16:15,24:15", "-n=25", rnd, "--save-every=25", "--output-size=original"}

// Stopped and resumed, a run writes the files of one that was not.
func TestResumeCommand(t *testing.T) {
	samples(t)
	run := func(args ...string) []string {
		return append(append([]string{"content.png", "style.jpg"}, ladder...), args...)
	}
	mustRun(t, run("-o", "whole.png", "--trace", "whole.csv", "-q")...)

	stderr := interrupted(t, 20, run("-o", "out.png", "--trace", "t.csv", "--checkpoint", "run.ckpt")...)
	if !strings.Contains(stderr, "the picture so far is in out.png; stylize resume run.ckpt goes on") {
		t.Errorf("interrupted: %s", stderr)
	}
	// Another stop, from another folder: rows behind the checkpoint are cut off.
	f, err := os.OpenFile("t.csv", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("99,24x17,1,2,3,6,0,0,1,2,,,,,,\n100,24x1"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("elsewhere", 0o777); err != nil {
		t.Fatal(err)
	}
	t.Chdir("elsewhere")
	mustRun(t, "resume", filepath.Join(dir, "run.ckpt"), "-q")
	t.Chdir(dir)
	if !bytes.Equal(read(t, "out.png"), read(t, "whole.png")) {
		t.Error("the resumed run wrote another picture")
	}
	if !bytes.Equal(read(t, "out-000050.png"), read(t, "whole-000050.png")) {
		t.Error("the resumed run saved another picture on the way")
	}
	if a, b := untimed(t, "t.csv"), untimed(t, "whole.csv"); a != b {
		t.Errorf("the trace is\n%s, want\n%s", a, b)
	}
	if exists("run.ckpt") {
		t.Error("the checkpoint is still there")
	}
	// What it wrote says how to make it again, and what was interrupted does too.
	mustRun(t, "rerun", "out.png", "-o", "again.png", "-q")
	if !bytes.Equal(read(t, "again.png"), read(t, "whole.png")) {
		t.Error("rerun wrote another picture")
	}
	interrupted(t, 5, run("-o", "out.png", "--trace", "t.csv", "-q")...)
	_, stderr = mustRun(t, "rerun", "out.png", "-o", "again.png")
	if !strings.Contains(stderr, "the same picture, to the bit") {
		t.Errorf("rerun of what was interrupted on the first level: %s", stderr)
	}
}

// A checkpoint that cannot be gone on with: one line, exit 2, nothing written.
func TestResumeMistakes(t *testing.T) {
	samples(t)
	interrupted(t, 20, append([]string{"content.png", "style.jpg", "-o", "out.png", "--trace", "t.csv", "--checkpoint", "run.ckpt"}, ladder...)...)
	ck := read(t, "run.ckpt")
	write := func(name string, b []byte) {
		if err := os.WriteFile(name, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("cut.ckpt", ck[:len(ck)/2])
	write("empty.ckpt", nil)
	write("huge.ckpt", bytes.Replace(ck, []byte(`\"size\":32,`), []byte(`\"size\":9999,`), 1)) // and a header of another length
	nan := slices.Clone(ck)
	copy(nan[len(nan)-4:], []byte{0, 0, 0xc0, 0x7f})
	write("nan.ckpt", nan)
	write("other.csv", []byte("a,b\n"))
	write("vast.ckpt", vast(t))
	before := ls(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "give one file that --checkpoint wrote"},
		{[]string{"none.ckpt"}, "none.ckpt: there is no such file"},
		{[]string{"."}, "is a folder"},
		{[]string{"content.png"}, "content.png: no usable checkpoint"},
		{[]string{"cut.ckpt"}, "cut off"},
		{[]string{"empty.ckpt"}, "cut off"},
		{[]string{"huge.ckpt"}, "huge.ckpt: "},
		{[]string{"nan.ckpt"}, "NaN"},
		{[]string{"vast.ckpt"}, "out of memory"},
		{[]string{"run.ckpt", "--style", "content.png"}, "content.png: not the style that run.ckpt was begun with (its hash differs); name the right one with --style"},
		{[]string{"run.ckpt", "--content", "none.png"}, "none.png: there is no such file"},
		{[]string{"run.ckpt", "--init", "style.jpg"}, "--init has no effect"},
		{[]string{"run.ckpt", "--weights", "random:2"}, "not the weights that run.ckpt was begun with"},
		{[]string{"run.ckpt", "--low-memory"}, "the bits would differ"},
		{[]string{"run.ckpt", "--precision", "fp16"}, "the CPU computes in fp32"},
		{[]string{"run.ckpt", "-o", "style.jpg"}, "overwrite its own input"},
		{[]string{"run.ckpt", "--trace", "other.csv"}, "is not the trace of this painting"},
	} {
		code, _, stderr := stylize(t.Context(), append([]string{"resume"}, c.args...)...)
		if code != exitUsage || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 && !strings.Contains(stderr, "cpu: ") {
			t.Errorf("resume %v: exit %d, %q, want %q", c.args, code, stderr, c.want)
		}
	}
	if after := ls(t); !slices.Equal(before, after) || !bytes.Equal(ck, read(t, "run.ckpt")) {
		t.Errorf("files before %v\nand after %v", before, after)
	}
}

// vast is the checkpoint run.ckpt as if it were of a picture that no machine holds.
func vast(t *testing.T) []byte {
	t.Helper()
	c, err := readCheckpoint("run.ckpt")
	if err != nil {
		t.Fatal(err)
	}
	c.Record.Options.Size = transfer.MaxSize
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var (
	killTimes = flag.Int("kills", 0, "how often TestKilled kills and resumes; 0: 10 times with -short, else 50 times")
	killSeed  = flag.Uint64("kill-seed", 0, "of the moments; 0: of the clock")
)

// The program is killed at any moment, and what is resumed ends with the picture and
// the trace that it would have had. A kill before the first checkpoint is a run
// anew, one after the last row may be of a run that is complete.
func TestKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("processes cannot be killed in this way there")
	}
	dir := samples(t)
	kills, random := killing(t, *killTimes, 10, 50)
	// begin starts a process in a folder of its own; the pictures are one above.
	begin := func(folder string, args ...string) (*exec.Cmd, *bytes.Buffer) {
		return process(t, folder, append(args, "-q")...)
	}
	// One in ten runs has the whole network, the others only the smoothness, which
	// takes a hundredth of the time.
	runs := [][]string{
		{"--content-weight=0", "--style-weight=0", small, "--ladder=16:60,24:60", "-n=60"},
		{small, "--ladder=16:3,24:3", "-n=3"},
	}
	var want [2][]byte
	var traces [2]string
	var lasts [2]time.Duration
	for i, run := range runs {
		runs[i] = append(run, "../content.png", "../style.jpg", "-o", "out.png", "--trace", "t.csv", rnd, "--checkpoint", "run.ckpt", "--checkpoint-every", "0s", "--device", "cpu")
		folder := filepath.Join(dir, "whole")
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		cmd, stderr := begin(folder, runs[i]...)
		wasKilled(t, cmd, stderr)
		lasts[i] = time.Since(start)
		want[i], traces[i] = read(t, filepath.Join(folder, "out.png")), untimed(t, filepath.Join(folder, "t.csv"))
	}
	tried, resumed, anew, complete, late, pictures := 0, 0, 0, 0, 0, 0
	for resumed < kills {
		which := 0
		if tried%10 == 9 {
			which = 1
		}
		folder, err := os.MkdirTemp(dir, "run")
		if err != nil {
			t.Fatal(err)
		}
		checkpoint, picture := filepath.Join(folder, "run.ckpt"), filepath.Join(folder, "out.png")
		args := runs[which]
		for first := true; ; first = false {
			cmd, stderr := begin(folder, args...)
			// The first process is killed, and one in three of those that go on: one in
			// ten at any moment, the others at any after the first checkpoint.
			if first || random.IntN(3) == 0 && resumed < kills {
				wait, moment := random.IntN(10) > 0, random.Float64()
				for start := time.Now(); wait && !exists(checkpoint) && time.Since(start) < 2*lasts[which]; {
					time.Sleep(time.Millisecond)
				}
				if wait {
					moment /= 3 // what is left then
				}
				time.Sleep(time.Duration(moment * float64(lasts[which])))
				_ = cmd.Process.Kill()
			}
			if !wasKilled(t, cmd, stderr) {
				if first {
					late++ // it was faster than the kill
				}
				break
			}
			tried++
			if exists(checkpoint) {
				args = []string{"resume", "run.ckpt"}
				resumed++
			} else if exists(picture) { // killed when all was done
				complete++
				break
			} else {
				args = runs[which]
				anew++
			}
		}
		if !bytes.Equal(read(t, picture), want[which]) {
			t.Fatalf("kill %d: another picture in %s", tried, folder)
		}
		if got := untimed(t, filepath.Join(folder, "t.csv")); got != traces[which] {
			t.Fatalf("kill %d: another trace:\n%s", tried, got)
		}
		pictures++
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills: %d resumed, %d begun anew for want of a checkpoint, %d when all was done; %d more came too late. All %d pictures and traces that they led to are the same",
		tried, resumed, anew, complete, late, pictures)
}

// HUP, which a terminal sends when it is closed, stops a run as Ctrl-C does.
func TestHangUp(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no HUP there")
	}
	samples(t)
	// Under nohup HUP is ignored, and a child would inherit that: not what is caught here.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	cmd, stderr := process(t, "", "content.png", "style.jpg", "-o", "out.png", small, "-n", "100000", rnd, "--trace", "t.csv", "--checkpoint", "run.ckpt")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile("t.csv"); err == nil && bytes.Count(b, []byte("\n")) > 3 {
			break
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			t.Fatalf("no iterations in a minute:\n%s", stderr.String())
		}
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !exists("out.png") || !exists("run.ckpt") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
}

// A disk that fills up elsewhere takes neither the picture nor the checkpoint along: the
// painting goes on, and exit 1 says in the end what is missing.
func TestFullDiskElsewhere(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	samples(t)
	if err := os.Symlink("/dev/full", "out-000002.png"); err != nil {
		t.Fatal(err)
	}
	args := []string{"content.png", "style.jpg", small, quick, rnd}
	mustRun(t, append(args, "-o", "whole.png")...)
	code, _, stderr := stylize(t.Context(), append(args, "-o", "out.png", "--save-every", "2", "-q")...)
	if code != exitFailed || stderr != "stylize: out-000002.png: the disk is full; free some space or write elsewhere: no space left on device; the picture is complete, in out.png\n" {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if !bytes.Equal(read(t, "out.png"), read(t, "whole.png")) {
		t.Error("another picture after the disk was full")
	}
	// A checkpoint that cannot be written does not stop the painting.
	if err := os.Symlink("/dev/full", "full.ckpt"); err != nil {
		t.Fatal(err)
	}
	_, stderr = mustRun(t, append(args, "-o", "out2.png", "--checkpoint", "full.ckpt", "--checkpoint-every", "0")...)
	if !regexp.MustCompile(`no checkpoint: full.ckpt: the disk is full`).MatchString(stderr) {
		t.Errorf("no word about the checkpoint:\n%s", stderr)
	}
	if _, err := os.Lstat("out2.png"); err != nil {
		t.Error(err)
	}
}
