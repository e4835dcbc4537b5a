package host

import (
	"fmt"
	"testing"

	"github.com/stylize-gpu/stylize/kernels/kerneltest"

	loops "github.com/stylize-gpu/stylize/kernels/host"
)

// Every operation, every size, on every instruction set of this machine, with
// fences around the buffers and NaN in fresh memory.
func TestOperations(t *testing.T) {
	for _, set := range loops.Sets() {
		t.Run(set.Name, func(t *testing.T) {
			t.Parallel()
			d, err := New(Options{Set: set.Name, Threads: 3, Check: true})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			kerneltest.Run(t, d, nil)
		})
	}
}

func TestUnknownSet(t *testing.T) {
	if d, err := New(Options{Set: "mmx"}); err == nil {
		t.Fatalf("got device %v for an instruction set that does not exist", d.Info())
	} else {
		t.Log(err)
	}
	if _, err := New(Options{Threads: -1}); err == nil {
		t.Fatal(fmt.Errorf("-1 threads accepted"))
	}
}
