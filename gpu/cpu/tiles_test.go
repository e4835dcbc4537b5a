package cpu

import (
	"testing"

	loops "github.com/stylize-gpu/stylize/kernels/cpu"

	"github.com/stylize-gpu/stylize/kernels/kerneltest"
)

// tolBF16 is the largest relative L2 error of a result in bf16: what a GPU is allowed.
const tolBF16 = 1e-2

// Every operation and size in bf16, on the twin of each instruction set and on AMX where
// it is there.
func TestOperationsBF16(t *testing.T) {
	for _, set := range loops.Sets() {
		t.Run(set.Name, func(t *testing.T) {
			t.Parallel()
			d, err := New(Options{Set: set.Name, Threads: 3, Check: true, Precision: BF16})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			kerneltest.Suite{Tol: tolBF16}.Run(t, d)
		})
	}
}
