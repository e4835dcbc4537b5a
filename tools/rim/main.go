// Command rim measures what a border does to a picture and to the network's features.
//
//	go run ./tools/rim -pixels 16               # features, against those with the true surroundings
//	go run ./tools/rim zero-1.png zero-2.png    # results: is there a frame?
//	go run ./tools/rim -tiles OUT.jpg zero.png wrap.png    # each laid two by two: are there seams?
//
// The table of features takes a window out of the middle of larger pictures. It compares
// the features of the window alone, continued in each way beyond its border, with those
// that it has in the larger picture: the relative L2 error, by distance from the edge. The
// table of results has luma and gradient by distance from the edge, against the interior.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"io"
	"math"
	"os"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/cpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

const (
	side   = 256 // of the window
	margin = 96  // around it: more than relu5_1 looks (78), and a multiple of 16, so that the poolings agree
)

var (
	rows   = []int{0, 1, 2, 4, 8, 16, 32, 64} // a row of a table is the pixels from this distance up to the next
	layers = []string{"relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"}
	files  = []string{"testdata/content.jpg", "testdata/style.jpg", "testdata/mosaic.jpg"}
)

func main() {
	pixels := flag.Int("pixels", 16, "by how many a window is continued: a multiple of 16, or the poolings of the deepest layers fall elsewhere")
	tiles := flag.String("tiles", "", "lay each picture two by two, side by side, and write a JPEG")
	flag.Parse()
	var err error
	if *tiles != "" {
		err = tile(*tiles, flag.Args())
	} else if flag.NArg() > 0 {
		err = frame(os.Stdout, flag.Args())
	} else {
		err = features(os.Stdout, *pixels)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rim:", err)
		os.Exit(1)
	}
}

// row is that of a distance from the edge.
func row(distance int) int {
	r := len(rows) - 1
	for distance < rows[r] {
		r--
	}
	return r
}

// edge is the distance of (x,y) from the nearest edge.
func edge(x, y, w, h int) int { return min(x, y, w-1-x, h-1-y) }

// ways of continuing a window.
var ways = []struct {
	name string
	pad  *gpu.PadMode
}{{"zero", nil}, {"reflect", new(gpu.Reflect)}, {"wrap", new(gpu.Wrap)}}

// features prints the errors of features.
func features(w io.Writer, pixels int) error {
	device, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	random := weights.Random(0)
	errs := make([][][]ratio, len(ways)) // by way, row, layer
	for i := range errs {
		errs[i] = make([][]ratio, len(rows))
		for r := range errs[i] {
			errs[i][r] = make([]ratio, len(layers))
		}
	}
	for _, file := range files {
		src, err := picture.Open(file, 0)
		if err != nil {
			return err
		}
		const all = side + 2*margin
		left, top := (src.W-all)/2, (src.H-all)/2
		if left < 0 || top < 0 {
			return fmt.Errorf("%s: smaller than %d by %d", file, all, all)
		}
		large := src.Crop(left, top, all, all).Resize(all, all, picture.Bicubic)
		window := src.Crop(left+margin, top+margin, side, side).Resize(side, side, picture.Bicubic)
		want, err := look(device, random, large, nil, 0)
		if err != nil {
			return err
		}
		for i, way := range ways {
			p := pixels
			if way.pad == nil {
				p = 0
			}
			got, err := look(device, random, window, way.pad, p)
			if err != nil {
				return err
			}
			for l := range layers {
				compare(errs[i], l, got[l], want[l], p)
			}
		}
	}
	fmt.Fprint(w, "| pixels from the edge |")
	for _, l := range layers {
		fmt.Fprintf(w, " %s |", l)
	}
	fmt.Fprint(w, "\n| --- |", strings.Repeat(" --- |", len(layers)), "\n")
	for r := range rows {
		fmt.Fprintf(w, "| %s |", span(r))
		for l := range layers {
			if errs[0][r][l].of == 0 {
				fmt.Fprint(w, " |")
				continue
			}
			fmt.Fprintf(w, " %.1f / %.1f / %.1f |", 100*errs[0][r][l].root(), 100*errs[1][r][l].root(), 100*errs[2][r][l].root())
		}
		fmt.Fprintln(w)
	}
	return nil
}

// ratio of two sums of squares.
type ratio struct{ sum, of float64 }

func (r ratio) root() float64 { return math.Sqrt(r.sum / r.of) }

// compare adds the errors of a layer inside the window. The window's first pixel lies pad
// pixels inside got, and margin inside want.
func compare(errs [][]ratio, layer int, got, want feature, pad int) {
	stride := (side + 2*margin) / want.shape.W
	n := side / stride
	for y := range n {
		for x := range n {
			e := &errs[row(stride*edge(x, y, n, n))][layer]
			g, t := got.at(x+pad/stride, y+pad/stride), want.at(x+margin/stride, y+margin/stride)
			for c := range t {
				d := float64(g[c] - t[c])
				e.sum += d * d
				e.of += float64(t[c]) * float64(t[c])
			}
		}
	}
}

// feature is what a layer gives: (1,H,W,C).
type feature struct {
	shape gpu.Shape
	v     []float32
}

func (f feature) at(x, y int) []float32 {
	return f.v[(y*f.shape.W+x)*f.shape.C:][:f.shape.C]
}

// look runs the network on a picture that is continued by so many pixels.
func look(d gpu.Device, w *vgg.Weights, pic *picture.Picture, mode *gpu.PadMode, pixels int) ([]feature, error) {
	p := &gpu.Program{}
	in := p.NewBuffer("image", gpu.Input, gpu.Shape{N: 1, H: pic.H, W: pic.W, C: 3})
	x := in
	if mode != nil {
		x = p.PadFwd("border", x, gpu.PadParams{Pixels: pixels, Mode: *mode})
	}
	net := vgg.Forward(p, x, w, vgg.AvgPool, vgg.Index(layers[len(layers)-1]))
	var outs []*gpu.Buffer
	for _, l := range layers {
		out := net.Out[vgg.Index(l)]
		p.Output(out)
		outs = append(outs, out)
	}
	run, err := d.Compile(p)
	if err != nil {
		return nil, err
	}
	defer run.Close()
	if err := run.Write(in, pic.RGB); err != nil {
		return nil, err
	}
	if _, err := run.Run(context.Background(), 1); err != nil {
		return nil, err
	}
	var all []feature
	for _, b := range outs {
		f := feature{b.Shape, make([]float32, b.Shape.Elems())}
		if err := run.Read(b, f.v); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// stat is the sums over the pixels of a row.
type stat struct{ n, luma, square, gradient float64 }

// frame prints luma and gradient of results by distance from the edge. The interior is the
// last row: what it has is taken from the others, or divides them.
func frame(w io.Writer, paths []string) error {
	sums := make([]stat, len(rows))
	for _, path := range paths {
		src, err := picture.Open(path, 0)
		if err != nil {
			return err
		}
		p := src.Resize(src.W, src.H, picture.Bicubic)
		luma := func(x, y int) float64 {
			v := p.RGB[3*(y*p.W+x):]
			return 255 * (0.2126*float64(v[0]) + 0.7152*float64(v[1]) + 0.0722*float64(v[2]))
		}
		inward := func(v, n int) int { // the neighbour of v that is nearer to the middle
			if v < n/2 {
				return v + 1
			}
			return max(v-1, 0)
		}
		for y := range p.H {
			for x := range p.W {
				s := &sums[row(edge(x, y, p.W, p.H))]
				v := luma(x, y)
				s.n++
				s.luma += v
				s.square += v * v
				s.gradient += math.Hypot(luma(inward(x, p.W), y)-v, luma(x, inward(y, p.H))-v)
			}
		}
	}
	inside := sums[len(sums)-1]
	if inside.n == 0 {
		return fmt.Errorf("the pictures have nothing that is %d pixels from their edges", rows[len(rows)-1])
	}
	fmt.Fprint(w, "| pixels from the edge | luma | its deviation | gradient |\n| --- | --- | --- | --- |\n")
	for r, s := range sums {
		fmt.Fprintf(w, "| %s | %+.0f | %.2f | %.2f |\n", span(r), s.mean()-inside.mean(), s.deviation()/inside.deviation(), s.gradient/s.n/(inside.gradient/inside.n))
	}
	return nil
}

func (s stat) mean() float64      { return s.luma / s.n }
func (s stat) deviation() float64 { return math.Sqrt(s.square/s.n - s.mean()*s.mean()) }

// span names a row.
func span(r int) string {
	switch {
	case r == len(rows)-1:
		return fmt.Sprintf("%d and more", rows[r])
	case rows[r+1] == rows[r]+1:
		return fmt.Sprint(rows[r])
	}
	return fmt.Sprintf("%d to %d", rows[r], rows[r+1]-1)
}

// tile lays pictures two by two, one pattern beside the other.
func tile(out string, paths []string) error {
	const height, gap = 144, 8
	var all *image.RGBA
	for i, path := range paths {
		src, err := picture.Open(path, 0)
		if err != nil {
			return err
		}
		width := src.W * height / src.H
		p := src.Resize(width, height, picture.Bicubic)
		step := 2*width + gap
		if all == nil {
			all = image.NewRGBA(image.Rect(0, 0, len(paths)*step-gap, 2*height))
			draw.Draw(all, all.Bounds(), image.White, image.Point{}, draw.Src)
		}
		for y := range 2 * height {
			for x := range 2 * width {
				v := p.RGB[3*(y%height*width+x%width):]
				level := func(v float32) uint8 { return uint8(min(max(v, 0), 1)*255 + 0.5) }
				all.SetRGBA(i*step+x, y, color.RGBA{level(v[0]), level(v[1]), level(v[2]), 255})
			}
		}
	}
	if all == nil {
		return errors.New("-tiles needs pictures")
	}
	return atomicfile.Write(out, func(w io.Writer) error {
		return jpeg.Encode(w, all, &jpeg.Options{Quality: 85})
	})
}
