package picture

// Tiled is the picture so many times beside and below itself.
func (p *Picture) Tiled(across, down int) *Picture {
	out := &Picture{W: across * p.W, H: down * p.H}
	for y := range out.H {
		row := p.RGB[3*(y%p.H)*p.W:][:3*p.W]
		for range across {
			out.RGB = append(out.RGB, row...)
			if p.Alpha != nil {
				out.Alpha = append(out.Alpha, p.Alpha[(y%p.H)*p.W:][:p.W]...)
			}
		}
	}
	return out
}

// Crop is the part of w by h pixels that begins at (left, top).
func (p *Picture) Crop(left, top, w, h int) *Picture {
	out := &Picture{W: w, H: h}
	for y := top; y < top+h; y++ {
		out.RGB = append(out.RGB, p.RGB[3*(y*p.W+left):][:3*w]...)
		if p.Alpha != nil {
			out.Alpha = append(out.Alpha, p.Alpha[y*p.W+left:][:w]...)
		}
	}
	return out
}
