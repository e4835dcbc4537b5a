package main

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"
)

func run(args ...string) (string, error) {
	var out bytes.Buffer
	app := newApp()
	app.Writer = &out
	err := app.RunContext(context.Background(), append([]string{"kernelbench"}, args...))
	return out.String(), err
}

func TestTableAndBenchFormat(t *testing.T) {
	out, err := run("--size", "32", "--rounds", "2")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GFLOP/s", "conv5_1", "relu3_1", "iteration: median", "of peak"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out, err = run("--size", "32", "--rounds", "2", "--bench")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
		if f := strings.Fields(l); len(f) != 4 || !strings.HasPrefix(f[0], "BenchmarkStep/size=32/") || f[3] != "ns/op" {
			t.Fatalf("benchstat would not read %q", l)
		}
	}
}

// bf16 on the CPU has a peak of its own, which the layers on the tiles are held against.
func TestTiles(t *testing.T) {
	out, err := run("--size", "32", "--rounds", "1", "--precision", "bf16")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`peak measured now: \d+ GFLOP/s, of the tiles \d+\n`).MatchString(out) || !regexp.MustCompile(`conv3_2 .* bf16 `).MatchString(out) {
		t.Error(out)
	}
	if out, err = run("--size", "32", "--rounds", "1", "--precision", "fp32"); err != nil || strings.Contains(out, "bf16") || strings.Contains(out, "of the tiles") {
		t.Errorf("fp32: %v\n%s", err, out)
	}
}

func TestBadUsage(t *testing.T) {
	for _, args := range [][]string{{"--size", "8"}, {"--rounds", "0"}, {"--threads", "-1"}, {"--device", "gpu"}, {"--device", "cuda:x"}, {"--device", "sim", "--threads", "2"}, {"--device", "sim", "--pin"}, {"--precision", "fp16"}, {"--precision", "bf16", "--low-memory"}, {"--json"}, {"compare", "a"}, {"compare", "main.go", "main.go"}, {"list", "x"}, {"x"}, {"--nope"}} {
		if _, err := run(args...); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestList(t *testing.T) {
	out, err := run("list")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"conv3x3_wgmma_f16_nhwc_128x256", "UTMALDG", "HMMA", "registers"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if !regexp.MustCompile(`conv3x3_mma_f16_nhwc_128x64 +conv3x3_mma\.cu`).MatchString(out) {
		t.Errorf("not every kernel has its own source:\n%s", out)
	}
}
