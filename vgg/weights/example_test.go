package weights_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// Weights are written as safetensors, with the names that PyTorch's VGG19 has. The
// hash is that of the values: it says whether two files of any format are the same.
func Example() {
	dir, err := os.MkdirTemp("", "weights")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "vgg19.safetensors")

	random := weights.Random(1) // by seed: it takes no download to paint
	if err := weights.Save(path, random); err != nil {
		log.Fatal(err)
	}
	loaded, err := weights.Load(path)
	if err != nil {
		log.Fatal(err)
	}

	first := loaded.Conv[0]
	fmt.Println(vgg.Layers[first.Layer].Name, len(first.W), "weights,", len(first.B), "biases")
	fmt.Println("the same values:", loaded.SHA256 == random.SHA256)

	// Output:
	// conv1_1 1728 weights, 64 biases
	// the same values: true
}
