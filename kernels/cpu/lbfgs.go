package cpu

import "math"

// LBFGS is projected L-BFGS on one picture of n values, three channels:
// gpu.LBFGSParams says what it does, and names its vectors and the columns of its
// control.
//
// The direction is a combination of the 2 slots + 1 vectors s, Py and z = P f g, and the
// recursion asks of them for nothing but products ("Large-scale L-BFGS using MapReduce",
// Chen, Wang and Zhou, NIPS 2014). Those of the new y and of f g with all s and Py are
// made, the others are in the control. So a step is one pass that makes the new pair and
// these products, a recursion on coefficients, one pass that combines, and a short one
// that goes there. A block of a pass is whole rows.
type LBFGS struct {
	X, G, A, GA, D    []float32 // n values each
	S, Y              []float32 // slots*n
	Z                 []float32 // n values
	Control           []float32
	Width, History    int
	First, Most, Rise float64

	next   int     // what the passes are told
	smooth float32 // P = 1 - smooth B
	accept bool
	coef   []float32 // of s, Py and z
	slope  float32   // of the gradient itself
	by     float32
}

// Columns of the control, as gpu.CtlAccepted and so on.
const (
	ctlAccepted = iota
	ctlPairs
	ctlNext
	ctlLoss
	ctlMost
	ctlFactor
	ctlRefusals
	ctlStep
	ctlLongest
	ctlSmooth
	ctlProducts
)

const (
	retries = 8   // refusals in a row for a loss that rose; what comes then is taken
	shrink  = 0.3 // of the step, by a refusal
)

// Sums behind the products.
const (
	sumBad    = iota // squares of g that are not finite
	sumMost          // the largest |g|
	sumFree          // squares of f g
	sumSmooth        // products of f g and B f g
	extraSums
)

func (l *LBFGS) slots() int { return l.History + 1 }

// products is how many there are: s and Py with y and f g.
func (l *LBFGS) products() int { return 2 * l.slots() * 2 }

// block is how many values a block of a pass has: whole rows, and enough to be worth a
// thread's while.
func (l *LBFGS) block() int {
	row := 3 * l.Width
	return (1<<14 + row - 1) / row * row
}

// LBFGS takes a step; loss is that of X.
func (p *Pool) LBFGS(l *LBFGS, loss float32) {
	size := l.block()
	blocks, width := (len(l.X)+size-1)/size, l.products()+extraSums
	out := make([]float64, blocks*width)
	l.next = int(l.Control[ctlNext])
	l.smooth = l.Control[ctlSmooth]
	p.lbfgs(l, lbfgsProducts, size, out, width)
	sums, most := out[:width], width-extraSums+sumMost
	for b := 1; b < blocks; b++ {
		for i, v := range out[b*width:][:width] {
			if i == most {
				sums[i] = max(sums[i], v)
			} else {
				sums[i] += v
			}
		}
	}
	c := l.Control
	again := l.decide(loss, sums[:l.products()], sums[l.products():])
	if c[ctlAccepted] == 0 { // nowhere to go back to: the next evaluation is of the same x
		c[ctlStep] = 0
		return
	}
	if again {
		out = out[:blocks]
		clear(out)
		p.lbfgs(l, lbfgsDirection, size, out, 1)
		c[ctlLongest] = 0
		for _, v := range out {
			c[ctlLongest] = max(c[ctlLongest], float32(v))
		}
	}
	by := float64(c[ctlFactor])
	if longest := float64(c[ctlLongest]); longest > l.Most {
		by *= l.Most / longest
	}
	c[ctlStep] = float32(by * float64(c[ctlLongest]))
	l.by = float32(by)
	p.lbfgs(l, lbfgsStep, size, nil, 0)
}

// decide accepts or refuses the evaluation, and reports whether a direction is to be
// made anew, of l.coef and l.slope.
func (l *LBFGS) decide(loss float32, products, extra []float64) (again bool) {
	c := l.Control
	ok := extra[sumBad] == 0 && loss-loss == 0
	was := float64(c[ctlLoss])
	rose := c[ctlAccepted] > 0 && c[ctlRefusals] < retries && float64(loss) > was+l.Rise*math.Abs(was)
	l.coef, l.slope = make([]float32, 2*l.slots()+1), 0
	if l.accept = ok && !rose; !l.accept {
		c[ctlRefusals]++
		c[ctlFactor] = float32(shrink * float64(c[ctlFactor]))
		if c[ctlRefusals] < 2 {
			return false
		}
		c[ctlPairs] = 0
		l.alongGradient()
		return true
	}
	m, made := l.slots(), -1
	withY := func(row int) float64 { return products[2*row] }
	if sy, yy := withY(l.next), withY(m+l.next); c[ctlAccepted] > 0 && sy > 1e-10*yy {
		made = l.next
		matrix := c[ctlProducts:]
		for row := range 2 * m {
			matrix[row*m+l.next] = float32(withY(row))
		}
		for i := range m { // y.Py is symmetric
			matrix[(m+l.next)*m+i] = matrix[(m+i)*m+l.next]
		}
		c[ctlPairs] = min(c[ctlPairs]+1, float32(l.History))
		c[ctlNext] = float32((l.next + 1) % m)
	}
	c[ctlAccepted]++
	c[ctlLoss], c[ctlFactor], c[ctlRefusals], c[ctlMost] = loss, 1, 0, float32(extra[sumMost])
	square, smooth := extra[sumFree], extra[sumSmooth]
	if !l.recursion(products, made, square-float64(l.smooth)*smooth) {
		c[ctlPairs], c[ctlSmooth] = 0, 0
		if r := smooth / square; r > 0 {
			c[ctlSmooth] = float32(min(max((4*r-1)/3, 0), 0.9))
		}
		l.alongGradient()
	}
	return true
}

// alongGradient makes the direction that of the gradient.
func (l *LBFGS) alongGradient() {
	clear(l.coef)
	if most := l.Control[ctlMost]; most > 0 {
		l.slope = float32(l.First / float64(most))
	}
}

// recursion is the two loops on coefficients of s, Py and z; false without a pair, or
// where the result does not descend. It is given the products of this evaluation, the
// slot whose y they are of, if it was kept, and the product of f g and z.
func (l *LBFGS) recursion(products []float64, made int, gz float64) bool {
	m := l.slots()
	count, head := int(l.Control[ctlPairs]), int(l.Control[ctlNext])-1
	if count == 0 {
		return false
	}
	// The product of s of slot i, or of Py if i is m more, and y of slot j, which for s is
	// not older. What the control has is rounded.
	sy := func(i, j int) float64 {
		if j == made {
			return products[2*i]
		}
		return float64(l.Control[ctlProducts+i*m+j])
	}
	yy := func(i, j int) float64 {
		if i == made {
			i, j = j, i
		}
		return sy(m+i, j)
	}
	slot := func(age int) int { return (head - age + 2*m) % m } // age 0 is the newest
	alpha, delta := make([]float64, count), make([]float64, count)
	for age := range count {
		i := slot(age)
		sq := products[2*i+1]
		for newer := range age {
			sq -= alpha[newer] * sy(i, slot(newer))
		}
		alpha[age] = sq / sy(i, i)
	}
	newest := slot(0)
	h := max(sy(newest, newest)/max(yy(newest, newest), 1e-30), 1e-12)
	for age := count - 1; age >= 0; age-- {
		i := slot(age)
		yq := products[2*(m+i)+1]
		for other := range count {
			yq -= alpha[other] * yy(i, slot(other))
		}
		yq *= h
		for older := age + 1; older < count; older++ {
			yq += delta[older] * sy(slot(older), i)
		}
		delta[age] = alpha[age] - yq/sy(i, i)
	}
	descent := h * gz
	for age := range count {
		i := slot(age)
		descent += delta[age]*products[2*i+1] - h*alpha[age]*products[2*(m+i)+1]
	}
	if !(descent > 0) {
		return false
	}
	for age := range count {
		i := slot(age)
		l.coef[i], l.coef[m+i] = float32(delta[age]), float32(-h*alpha[age])
	}
	l.coef[2*m] = float32(h)
	return true
}

type lbfgsPass int

const (
	lbfgsProducts lbfgsPass = iota
	lbfgsDirection
	lbfgsStep
)

// pass is the twin of the passes in lbfgs.c: values [i0,i1), and what they add to
// out.
func (l *LBFGS) pass(which lbfgsPass, i0, i1 int, out []float64) {
	n, m := len(l.X), l.slots()
	vector := func(row int) []float32 { // s, Py, z, from i0 to i1
		switch {
		case row < m:
			return l.S[row*n+i0 : row*n+i1]
		case row < 2*m:
			return l.Y[(row-m)*n+i0 : (row-m)*n+i1]
		}
		return l.Z[i0:i1]
	}
	switch which {
	case lbfgsProducts:
		s, u, z := vector(l.next), vector(m+l.next), vector(2*m)
		extra := out[l.products():]
		y, down := make([]float32, n), make([]float32, n) // of the rows next to these too
		for i, v := range l.G {
			y[i], down[i] = v-l.GA[i], isFree(l.X[i], v)*v
		}
		for i, v := range l.G[i0:i1] {
			s[i] = l.X[i0+i] - l.A[i0+i]
			u[i] = y[i0+i] - float32(l.smooth*l.smoothed(y, i0+i))
			f, b := down[i0+i], l.smoothed(down, i0+i)
			z[i] = f - float32(l.smooth*b)
			extra[sumFree] += float64(float64(f) * float64(f))
			extra[sumSmooth] += float64(float64(f) * float64(b))
			if sq := v * v; sq-sq != 0 {
				extra[sumBad]++
			}
			extra[sumMost] = max(extra[sumMost], math.Abs(float64(v)))
		}
		for row := range 2 * m {
			for i, v := range vector(row) {
				out[2*row] += float64(float64(v) * float64(y[i0+i]))
				out[2*row+1] += float64(float64(v) * float64(down[i0+i]))
			}
		}
	case lbfgsDirection:
		if l.accept {
			copy(l.A[i0:i1], l.X[i0:i1])
			copy(l.GA[i0:i1], l.G[i0:i1])
		}
		d := l.D[i0:i1]
		for i, v := range l.GA[i0:i1] {
			d[i] = l.slope * v
		}
		for row, c := range l.coef {
			if c == 0 {
				continue
			}
			for i, v := range vector(row) {
				d[i] += float32(c * v)
			}
		}
		for i := range d {
			d[i] *= -isFree(l.A[i0+i], l.GA[i0+i])
			out[0] = max(out[0], math.Abs(float64(d[i])))
		}
	case lbfgsStep:
		for i := i0; i < i1; i++ {
			l.X[i] = min(max(l.A[i]+float32(l.by*l.D[i]), 0), 1)
		}
	}
}

// smoothed is B v at i: the mean over 3x3 pixels with weights 1 2 1 down and across,
// beyond the border 0.
func (l *LBFGS) smoothed(v []float32, i int) float32 {
	column := i / 3 % l.Width
	down := func(i int) float32 {
		sum := 2 * v[i]
		if i >= 3*l.Width {
			sum += v[i-3*l.Width]
		}
		if i+3*l.Width < len(v) {
			sum += v[i+3*l.Width]
		}
		return sum
	}
	sum := 2 * down(i)
	if column > 0 {
		sum += down(i - 3)
	}
	if column < l.Width-1 {
		sum += down(i + 3)
	}
	return sum / 16
}

// isFree is 0 where a value is at its bound and would leave it, else 1.
func isFree(x, g float32) float32 {
	if x <= 0 && g > 0 || x >= 1 && g < 0 {
		return 0
	}
	return 1
}
