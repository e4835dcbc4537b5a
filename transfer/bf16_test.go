package transfer

import (
	"path/filepath"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// Every control in bf16 against PyTorch in float64.
func TestControlsBF16(t *testing.T) {
	dev, err := cpu.New(cpu.Options{Precision: cpu.BF16})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	fix, err := weights.ReadTensors(filepath.Join("..", "testdata", "parity", "controls_64x48.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for name, work := range controls(fix, 64, 48) {
		work.Options.Iterations = 4
		t.Run(name, func(t *testing.T) {
			grad, loss, _ := againstPyTorch(t, dev, work, fix, name)
			t.Logf("gradient %.2g, losses %.2g", grad, loss)
		})
	}
}
