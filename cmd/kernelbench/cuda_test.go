//go:build cuda

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/cuda"
)

// On the simulated device there are profiles of every kernel, and it says so.
func TestProfiles(t *testing.T) {
	out, err := run("run", "--device", "sim", "--size", "16", "--every", "--match", "conv4_|gram_style|update")
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
	for _, args := range [][]string{{"--device", "sim", "--bench"}, {"--device", "sim", "--size", "16", "--match", "("}, {"--device", "sim", "--size", "16", "--match", "nothing at all"}} {
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
