//go:build cuda

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cuda"
)

// On the simulated device there are profiles of every kernel, and it says so.
func TestProfiles(t *testing.T) {
	out, err := run("run", "--device", "sim", "--size", "16", "--every", "--match", "conv4_1|gram_style|update")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"no times", "conv3x3_wgmma_f16_nhwc_128x128_split4", "gram_style_f16", "update_f32", "HGMMA"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "conv3_2") {
		t.Errorf("--match is ignored:\n%s", out)
	}
	out, err = run("--device", "sim", "--size", "512", "--plan")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"nothing is run", "34 launches", "conv3x3_wgmma_f16_nhwc_64x256_pingpong", "19.33"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for _, args := range [][]string{{"--device", "sim", "--bench"}, {"--device", "sim", "--size", "16", "--match", "("}, {"--device", "sim", "--size", "16", "--plan", "--match", "nothing at all"}} {
		if _, err := run(args...); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// Two measurements are compared launch by launch.
func TestCompare(t *testing.T) {
	write := func(name string, us float64, kernel string) string {
		m := cuda.Measured{Iteration: []float64{10 * us}, Launches: []cuda.Measurement{{Layer: "conv1_1", Kernel: kernel, Chosen: true, FLOPs: 1, Hot: []float64{us, us, us}}}}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	out, err := run("compare", write("old.json", 10, "a"), write("new.json", 5, "b"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(out, "0.500") != 2 || !strings.Contains(out, "iteration") {
		t.Errorf("half the time twice:\n%s", out)
	}
}

// The README's table is made of what --json prints and of PyTorch's files.
func TestTable(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3, which makes the table")
	}
	dir := t.TempDir()
	write := func(name string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ours-fp16.json", cuda.Measured{
		Device: gpu.Info{Name: "a GPU", Detail: "sm_90"}, CopyRate: 4e12, MathRate: 8e14, ClockMHz: 1700, Iteration: []float64{800, 790, 810},
		Launches: []cuda.Measurement{
			{Layer: "conv3x3_fprop conv3_2 (n=1) … relu_fwd", Kernel: "k", Chosen: true, FLOPs: 1, Hot: []float64{31, 30, 32}},
			{Layer: "conv3x3_dgrad conv3_2 (n=1) … relu_bwd", Kernel: "k", Chosen: true, FLOPs: 1, Hot: []float64{33, 33, 33}},
		},
	})
	type o = map[string]any
	write("torch.json", o{"iterations": []o{
		{"precision": "fp16", "ms_median": 1.6, "finite": true},
		{"precision": "fp16", "ms_median": 1.2, "finite": true},
		{"precision": "fp16", "ms_median": 0.1, "finite": false},
		{"precision": "article", "ms_median": 4.0, "finite": true},
	}})
	write("layers-fp16.json", o{"layers": []o{{"layer": "conv3_2", "fprop_us": 35.0, "dgrad_us": 36.5}}})
	write("shell.json", o{"size": 512, "iterations": 500, "weights": "random", "first_s": []float64{0.5, 0.4, 0.6}, "all_s": []float64{1, 1.1, 1.3}, "cold_s": 9.0})
	out, err := exec.Command(python, "../../tools/baseline/table.py", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"| 512x512 fp16 | 0.800 | 1.200 | 1.50x | 4.000 | 5.00x |", "| conv3_2 | 31.0 | 35.0 | 33.0 | 36.5 |", "a GPU (sm_90), 1700 MHz", "0.50 s for one iteration with the picture written, 1.10 s for 500"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
