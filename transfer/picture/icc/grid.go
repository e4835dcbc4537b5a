package icc

import "errors"

// grid is a table of 1, 3 or 4 inputs and 3 outputs. It interpolates as littleCMS
// does: along one input a line, in three a tetrahedron, and with a fourth, the
// first, a line between two tetrahedra.
type grid struct {
	n      []int // points along each input
	stride []int // values between neighbours
	v      []float32
}

func readGrid(t reader, off int, n []int, size int) (*grid, int, error) {
	total := 3
	g := &grid{n: n, stride: make([]int, len(n))}
	for i := len(n) - 1; i >= 0; i-- {
		if n[i] < 2 {
			return nil, 0, errors.New("a colour profile with an empty table")
		}
		g.stride[i] = total
		if total *= n[i]; total > len(t) {
			return nil, 0, errShort
		}
	}
	v, err := numbers(t, off, total, size)
	if err != nil {
		return nil, 0, err
	}
	g.v = v
	return g, total * size, nil
}

// cell finds where x lies along input i: the value before it, the step to the
// next and how far it is on the way.
func (g *grid) cell(i int, x float32) (at, next int, frac float32) {
	last := g.n[i] - 1
	p := clamp(x) * float32(last)
	k := min(int(p), last)
	if k == last {
		return k * g.stride[i], 0, 0
	}
	return k * g.stride[i], g.stride[i], p - float32(k)
}

func (g *grid) apply(v *[4]float32) {
	switch len(g.n) {
	case 1:
		at, next, f := g.cell(0, v[0])
		for c := range 3 {
			a := g.v[at+c]
			v[c] = a + (g.v[at+next+c]-a)*f
		}
	case 3:
		o := g.tetra(0, 0, v[0], v[1], v[2])
		v[0], v[1], v[2] = o[0], o[1], o[2]
	case 4:
		at, next, f := g.cell(0, v[0])
		o := g.tetra(1, at, v[1], v[2], v[3])
		if next != 0 {
			q := g.tetra(1, at+next, v[1], v[2], v[3])
			for c := range 3 {
				o[c] += (q[c] - o[c]) * f
			}
		}
		v[0], v[1], v[2] = o[0], o[1], o[2]
	}
}

// tetra interpolates along inputs i, i+1 and i+2: from the corner at 0 along the
// input that is farthest, then the next, then the last.
func (g *grid) tetra(i, base int, x, y, z float32) (o [3]float32) {
	ax, sx, fx := g.cell(i, x)
	ay, sy, fy := g.cell(i+1, y)
	az, sz, fz := g.cell(i+2, z)
	if fx < fy {
		sx, sy, fx, fy = sy, sx, fy, fx
	}
	if fy < fz {
		sy, sz, fy, fz = sz, sy, fz, fy
		if fx < fy {
			sx, sy, fx, fy = sy, sx, fy, fx
		}
	}
	p0 := base + ax + ay + az
	p1 := p0 + sx
	p2 := p1 + sy
	p3 := p2 + sz
	for c := range 3 {
		o[c] = g.v[p0+c]*(1-fx) + g.v[p1+c]*(fx-fy) + g.v[p2+c]*(fy-fz) + g.v[p3+c]*fz
	}
	return o
}
