package batch

import (
	"math"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
)

// snapped is the extent to which a picture of w x h pixels is cropped, so that the
// shorter side becomes a multiple of n where the longer one is size: the nearest one, so
// that at most n/2 pixels of it are lost, or as much of the longer side. With n below 2,
// and where the side is one already, nothing is cropped.
func snapped(w, h, size, n int) (int, int) {
	if n < 2 || w < 1 || h < 1 {
		return w, h
	}
	fw, fh := picture.Fit(w, h, size, vgg.MinSide)
	short := min(fw, fh)
	to := max(int(math.Round(float64(short)/float64(n)))*n, vgg.MinSide)
	if to > size {
		to = size
	}
	if to == short {
		return w, h
	}
	long := max(w, h)
	small := min(w, h)
	// The crop has the aspect to/size.
	if s := int(math.Round(float64(long) * float64(to) / float64(size))); s <= small {
		small = max(s, 1)
	} else {
		long = max(min(int(math.Round(float64(small)*float64(size)/float64(to))), long), small)
	}
	if w >= h {
		return long, small
	}
	return small, long
}

// snap is the multiple to which the item is cropped. A mask has the shape of the whole
// content, so what has one is not.
func (it *Item) snap(n int) int {
	if it.masked() {
		return 0
	}
	return n
}

// snap crops the middle out of a picture. The crop is nil where nothing is cropped.
func snap(s *picture.Source, size, n int) (*picture.Source, *transfer.Crop) {
	w, h := snapped(s.W, s.H, size, n)
	if w == s.W && h == s.H {
		return s, nil
	}
	c := &transfer.Crop{Left: (s.W - w) / 2, Top: (s.H - h) / 2, Width: w, Height: h}
	return s.Crop(c.Left, c.Top, w, h), c
}
