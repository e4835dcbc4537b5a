package transfer

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Arithmetic is what the recorded bits of whole runs say. Where they change on
// purpose, paintings that were begun before cannot go on.
func TestArithmetic(t *testing.T) {
	files, err := filepath.Glob("../kernels/kerneltest/testdata/bits/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	h := sha256.New()
	// Raised by hand where bits change that no recorded run has. 1: CUDA multiplies weights
	// on the device, which shows where a picture's values are no power of two. 2: a level
	// begins with the details of the start, and automatic ladders have thirds. 3: L-BFGS works
	// on Haar coefficients.
	fmt.Fprintln(h, "generation 3")
	for _, f := range files { // in the order of their names
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "transfer ") {
				fmt.Fprint(h, filepath.Base(f), " ", line)
			}
		}
	}
	if got := fmt.Sprintf("%.6x", h.Sum(nil)); got != Arithmetic {
		t.Errorf("the recorded runs hash to %s, Arithmetic is %s: set it to that", got, Arithmetic)
	}
}
