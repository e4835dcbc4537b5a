package cpu

import "math"

// LBFGS is projected L-BFGS on one picture of n values: gpu.LBFGSParams says what
// it does, and names its vectors and the columns of its control.
//
// The direction is a combination of the 2 slots + 1 vectors s, y and ga, and the
// recursion asks of them for nothing but their products on free values ("Large-scale
// L-BFGS using MapReduce", Chen, Wang and Zhou, NIPS 2014). So a step is one pass
// that makes all products, a recursion on coefficients, one pass that combines, and
// a short one that goes there.
type LBFGS struct {
	X, G, A, GA, D    []float32 // n values each
	S, Y              []float32 // slots*n
	Control           []float32
	History           int
	First, Most, Rise float64

	next   int // what the passes are told
	accept bool
	coef   []float32
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
	ctlCurvature
)

const (
	retries = 8   // refusals in a row for a loss that rose; what comes then is taken
	shrink  = 0.3 // of the step, by a refusal
)

// Sums of the products behind those of the vectors.
const (
	sumSY = iota
	sumYY
	sumBad  // squares of g that are not finite
	sumMost // the largest |g|
	extraSums
)

func (l *LBFGS) slots() int { return l.History + 1 }

// products is how many there are of the vectors: s, y and g with y and g.
func (l *LBFGS) products() int { return (2*l.slots() + 1) * (l.slots() + 1) }

// LBFGS takes a step; loss is that of X.
func (p *Pool) LBFGS(l *LBFGS, loss float32) {
	const size = 1 << 14
	blocks, width := (len(l.X)+size-1)/size, l.products()+extraSums
	out := make([]float64, blocks*width)
	l.next = int(l.Control[ctlNext])
	p.lbfgs(l, lbfgsProducts, size, out, width)
	sums := out[:width]
	for b := 1; b < blocks; b++ {
		for i, v := range out[b*width:][:width] {
			if i == width-extraSums+sumMost {
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
// made anew, of l.coef.
func (l *LBFGS) decide(loss float32, g, extra []float64) (again bool) {
	c := l.Control
	ok := extra[sumBad] == 0 && loss-loss == 0
	was := float64(c[ctlLoss])
	rose := c[ctlAccepted] > 0 && c[ctlRefusals] < retries && float64(loss) > was+l.Rise*math.Abs(was)
	l.coef = make([]float32, 2*l.slots()+1)
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
	if sy := extra[sumSY]; c[ctlAccepted] > 0 && sy > 1e-10*extra[sumYY] {
		c[ctlCurvature+l.next] = float32(sy)
		c[ctlPairs] = min(c[ctlPairs]+1, float32(l.History))
		c[ctlNext] = float32((l.next + 1) % l.slots())
	}
	c[ctlAccepted]++
	c[ctlLoss], c[ctlFactor], c[ctlRefusals], c[ctlMost] = loss, 1, 0, float32(extra[sumMost])
	if !l.recursion(g) {
		c[ctlPairs] = 0
		l.alongGradient()
	}
	return true
}

// alongGradient makes the direction that of the gradient.
func (l *LBFGS) alongGradient() {
	clear(l.coef)
	if most := l.Control[ctlMost]; most > 0 {
		l.coef[2*l.slots()] = float32(l.First / float64(most))
	}
}

// recursion is the two loops on coefficients of s, y and g, whose products are given;
// false without a pair, or where the result does not descend.
func (l *LBFGS) recursion(products []float64) bool {
	m := l.slots()
	count, head := int(l.Control[ctlPairs]), int(l.Control[ctlNext])-1
	if count == 0 {
		return false
	}
	// A vector is a row: s of slot i is i, its y m+i, and g 2m. A column is y of a slot,
	// or m for g. The products of two s are not needed: q has no s in the first loop, and
	// the second takes those with y.
	product := func(row, column int) float64 { return products[row*(m+1)+column] }
	slot := func(age int) int { return (head - age + 2*m) % m } // age 0 is the newest
	q := make([]float64, 2*m+1)
	q[2*m] = 1
	alpha := make([]float64, count)
	for age := range count {
		i := slot(age)
		var sq float64
		for j := range m {
			if v := q[m+j]; v != 0 { // a slot without a pair may hold anything
				sq += v * product(i, j)
			}
		}
		sq += q[2*m] * product(i, m)
		alpha[age] = sq / float64(l.Control[ctlCurvature+i])
		q[m+i] -= alpha[age]
	}
	newest := slot(0)
	h := max(product(newest, newest)/max(product(m+newest, newest), 1e-30), 1e-12)
	for i := range q {
		q[i] *= h
	}
	for age := count - 1; age >= 0; age-- {
		i := slot(age)
		var yq float64
		for j := range 2 * m { // y.s of all s, then y.y
			if v := q[j]; v != 0 {
				yq += v * product(j, i)
			}
		}
		yq += q[2*m] * product(m+i, m)
		q[i] += alpha[age] - yq/float64(l.Control[ctlCurvature+i])
	}
	var descent float64
	for j, v := range q {
		if v != 0 {
			descent -= v * product(j, m)
		}
	}
	if !(descent < 0) {
		return false
	}
	for i, v := range q {
		l.coef[i] = float32(v)
	}
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
	vector := func(row int) []float32 { // s, y, g, from i0 to i1
		switch {
		case row < m:
			return l.S[row*n+i0 : row*n+i1]
		case row < 2*m:
			return l.Y[(row-m)*n+i0 : (row-m)*n+i1]
		}
		return l.G[i0:i1]
	}
	switch which {
	case lbfgsProducts:
		s, y, g := vector(l.next), vector(m+l.next), l.G[i0:i1]
		mask := make([]float32, i1-i0)
		extra := out[l.products():]
		for i, v := range g {
			s[i], y[i] = l.X[i0+i]-l.A[i0+i], v-l.GA[i0+i]
			mask[i] = isFree(l.X[i0+i], v)
			extra[sumSY] += float64(float64(s[i]) * float64(y[i]))
			extra[sumYY] += float64(float64(y[i]) * float64(y[i]))
			if sq := v * v; sq-sq != 0 {
				extra[sumBad]++
			}
			extra[sumMost] = max(extra[sumMost], math.Abs(float64(v)))
		}
		masked := make([]float32, i1-i0)
		for column := range m + 1 {
			for i, v := range vector(m + column) {
				masked[i] = mask[i] * v
			}
			for row := range 2*m + 1 {
				var sum float64
				for i, v := range vector(row) {
					sum += float64(float64(v) * float64(masked[i]))
				}
				out[row*(m+1)+column] += sum
			}
		}
	case lbfgsDirection:
		if l.accept {
			copy(l.A[i0:i1], l.X[i0:i1])
			copy(l.GA[i0:i1], l.G[i0:i1])
		}
		d := l.D[i0:i1]
		clear(d)
		for row, c := range l.coef {
			if c == 0 {
				continue
			}
			v := vector(row)
			if row == 2*m {
				v = l.GA[i0:i1]
			}
			for i, v := range v {
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

// isFree is 0 where a value is at its bound and would leave it, else 1.
func isFree(x, g float32) float32 {
	if x <= 0 && g > 0 || x >= 1 && g < 0 {
		return 0
	}
	return 1
}
