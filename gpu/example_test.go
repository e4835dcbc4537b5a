package gpu_test

import (
	"context"
	"fmt"
	"log"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
)

// A program of one operation, its cost, and its run on the CPU. Any other device
// takes the same program.
func Example() {
	p := &gpu.Program{}
	x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: 1, H: 2, W: 2, C: 1})
	y := p.Output(p.ReLUFwd("relu", x))
	if err := p.Err(); err != nil {
		log.Fatal(err)
	}

	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	plan, err := dev.Plan(p) // takes no memory yet
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Ops[0], "takes", plan.Total(), "bytes")

	r, err := dev.Compile(p)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	if err := r.Write(x, []float32{-1, 2, -3, 4}); err != nil {
		log.Fatal(err)
	}
	if _, err := r.Run(context.Background(), 1); err != nil {
		log.Fatal(err)
	}
	result := make([]float32, y.Shape.Elems())
	if err := r.Read(y, result); err != nil {
		log.Fatal(err)
	}
	fmt.Println(result)

	// Output:
	// relu_fwd relu (n=1 h=2 w=2 c=1) takes 512 bytes
	// [0 2 0 4]
}

// Shapes are checked while a program is built; the first mistake is kept, so that
// a builder reads as straight as its program.
func ExampleProgram_Err() {
	p := &gpu.Program{}
	x := p.NewBuffer("x", gpu.Input, gpu.Shape{N: 1, H: 8, W: 8, C: 3})
	w := p.NewConst("w", gpu.Shape{N: 16, H: 3, W: 3, C: 4}, make([]float32, 16*3*3*4))
	b := p.NewConst("b", gpu.Shape{N: 1, H: 1, W: 1, C: 16}, make([]float32, 16))
	p.Output(p.ReLUFwd("relu", p.Conv3x3Fprop("conv", x, w, b)))
	fmt.Println(p.Err())

	// Output: program: conv3x3_fprop conv (n=1 h=8 w=8 c=3): w is n=16 h=3 w=3 c=4, want n=16 h=3 w=3 c=3
}

// Three blocks fit where two would: the first and the last are never alive together.
func ExamplePlace() {
	p, err := gpu.Place([]gpu.Span{
		{Name: "x", Bytes: 4096, First: 0, Last: 1},
		{Name: "relu", Bytes: 4096, First: 1, Last: 2},
		{Name: "pool", Bytes: 1024, First: 2, Last: 3},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Offsets, p.Bytes)

	// Output: [0 4096 0] 8192
}
