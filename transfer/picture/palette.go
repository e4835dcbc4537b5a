package picture

import "slices"

// Palette is the main colours of a picture, at most n, in sRGB from 0 to 1, the most
// frequent first. They are the means that k-means finds in OKLab. It starts from the colour
// that most pixels have, and then again and again from what is farthest from those chosen,
// weighted by how much there is of it, so that the result is always the same. A pixel
// counts by its alpha; of a picture of which nothing is visible there are none, and of one
// of fewer colours there are fewer.
func (p *Picture) Palette(n int) [][3]float32 {
	points := p.colours()
	centres := chosen(points, n)
	if len(centres) == 0 {
		return nil
	}
	of := make([]int, len(points)) // the centre of each
	var weight []float64
	for range 50 {
		var sum []lab
		sum, weight = make([]lab, len(centres)), make([]float64, len(centres))
		changed := false
		for i, q := range points {
			k := nearest(centres, q.lab)
			changed = changed || k != of[i]
			of[i] = k
			weight[k] += q.weight
			for c := range 3 {
				sum[k][c] += q.weight * q.lab[c]
			}
		}
		for k := range centres {
			if weight[k] > 0 {
				centres[k] = sum[k].over(weight[k])
			}
		}
		if !changed {
			break
		}
	}
	order := make([]int, len(centres))
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case weight[a] > weight[b]:
			return -1
		case weight[a] < weight[b]:
			return 1
		}
		return 0
	})
	var out [][3]float32
	for _, k := range order {
		out = append(out, centres[k].toRGB())
	}
	return out
}

// portion is a colour and how much there is of it.
type portion struct {
	lab
	weight float64
}

// colours are those of a picture, those that agree in five bits a channel as their mean.
func (p *Picture) colours() []portion {
	const bits = 5
	at := func(v float32) int { return min(int(unit(v)*(1<<bits)), 1<<bits-1) }
	bins := make([]portion, 1<<(3*bits))
	for i := range p.W * p.H {
		a := 1.0
		if p.Alpha != nil {
			a = unit(p.Alpha[i])
		}
		if a == 0 {
			continue
		}
		rgb := p.RGB[3*i : 3*i+3]
		b, v := &bins[at(rgb[0])<<(2*bits)|at(rgb[1])<<bits|at(rgb[2])], toLab(rgb)
		b.weight += a
		for c := range 3 {
			b.lab[c] += a * v[c]
		}
	}
	var some []portion
	for _, b := range bins {
		if b.weight > 0 {
			some = append(some, portion{b.over(b.weight), b.weight})
		}
	}
	return some
}

// chosen are the colours to start from.
func chosen(points []portion, n int) (centres []lab) {
	const same = 1e-4 // squared: colours that the eye does not tell apart are 0.01 to 0.02 apart
	for len(centres) < n {
		best, most := -1, 0.0
		for i, q := range points {
			far := 1.0
			if len(centres) > 0 {
				if far = q.distance(centres[nearest(centres, q.lab)]); far < same {
					continue
				}
			}
			if q.weight*far > most {
				best, most = i, q.weight*far
			}
		}
		if best < 0 {
			break
		}
		centres = append(centres, points[best].lab)
	}
	return centres
}

func nearest(centres []lab, c lab) (best int) {
	least := c.distance(centres[0])
	for k, m := range centres {
		if d := c.distance(m); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is squared.
func (c lab) distance(d lab) float64 {
	x, y, z := c[0]-d[0], c[1]-d[1], c[2]-d[2]
	return x*x + y*y + z*z
}

func (c lab) over(w float64) lab { return lab{c[0] / w, c[1] / w, c[2] / w} }
