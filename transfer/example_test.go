package transfer_test

import (
	"context"
	"fmt"
	"log"

	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// Two iterations on two small pictures, on the CPU and with random weights. For
// files there are picture.Open, Options.Extent and Options.Load before, and
// Options.Finish and Picture.Save behind it.
func Example() {
	options, err := transfer.Preset("default")
	if err != nil {
		log.Fatal(err)
	}
	options.Iterations = 2

	dev, err := cpu.New(cpu.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()

	ctx := context.Background()
	session, err := transfer.NewSession(ctx, dev, transfer.Job{
		Options:  options,
		Contents: []*picture.Picture{gradient(32, 32)},
		Style:    checkers(32, 32),
		Weights:  weights.Random(0),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()

	var style []float64
	report := func(rows []transfer.Row) error { // one for each picture
		style = append(style, rows[0].Style)
		return nil
	}
	if err := session.Run(ctx, report, 0, nil); err != nil {
		log.Fatal(err)
	}
	result, err := session.Picture(0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%dx%d after %d iterations\n", result.W, result.H, session.Done(0))
	fmt.Println("closer to the style:", style[1] < style[0])

	// Output:
	// 32x32 after 2 iterations
	// closer to the style: true
}

// gradient is dark on the left and light on the right.
func gradient(w, h int) *picture.Picture {
	p := &picture.Picture{W: w, H: h}
	for range h {
		for x := range w {
			v := float32(x) / float32(w-1)
			p.RGB = append(p.RGB, v, v, v)
		}
	}
	return p
}

// checkers are red and blue, four pixels wide.
func checkers(w, h int) *picture.Picture {
	p := &picture.Picture{W: w, H: h}
	for y := range h {
		for x := range w {
			if (x/4+y/4)%2 == 0 {
				p.RGB = append(p.RGB, 0.9, 0.2, 0.1)
			} else {
				p.RGB = append(p.RGB, 0.1, 0.2, 0.9)
			}
		}
	}
	return p
}

// A mistake names its field; the zero value of Options is not complete, a preset is.
func ExampleOptions_Validate() {
	options, err := transfer.Preset("article")
	if err != nil {
		log.Fatal(err)
	}
	options.Bits = 12
	fmt.Println(options.Validate())

	// Output: Bits 12: give 8 or 16
}
