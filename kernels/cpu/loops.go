package cpu

// Loop is an operation that moves more than it computes, the same on every
// instruction set. It goes over the units of each picture in blocks, on all
// threads.
type Loop struct {
	name string // as the operation's and, behind cpu_, the C function's
	cut  cut    // what its units are
	sums int    // how many sums a block leaves
	twin loopFunc
	c    cLoop // the C function; nothing in a build without C
}

// loopFunc computes the units [i0,i1) of one picture and stores what they add to
// the loop's sums, which are zero before.
type loopFunc func(a *Args, i0, i1 int, sums []float64)

// table lists the loops in the order of their rows.
var table []*Loop

func newLoop(name string, cut cut, sums int, twin loopFunc) *Loop {
	l := &Loop{name, cut, sums, twin, cLoopNamed(name)}
	table = append(table, l)
	return l
}

func (l *Loop) String() string { return l.name }

// Args are the operands of a loop on one picture, under the names that they have
// in the operation; a loop ignores the others. All slices but Mean
// and Std must come from [Alloc].
type Args struct {
	X, Y, DX, DY []float32
	A, B         []float32 // summands
	Target       []float32
	Mask         []float32 // one value a pixel
	Gradient     []float32 // of the picture X
	M, V         []float32 // its running means: of the gradient and of its square
	Average      []float32 // of the iterates of X
	Mean, Std    []float32 // C values each
	H, W, C      int       // extent of X and DX, or of Y where there is neither
	Pad          int       // how far Y or DY goes beyond every border
	Wrap         bool      // what lies there: false mirrored, true the picture again
	Scale        float32
	Adam         AdamStep
}

// cut says what a loop counts. Results do not depend on where blocks begin; sums
// do, hence blocks follow from the extent alone.
type cut uint8

const (
	values     cut = iota // every value by itself
	pixels                // C values
	rows                  // W pixels
	rowPairs              // two rows, an odd last row dropped
	paddedRows            // W+2Pad pixels, of H+2Pad rows
)

// units returns how many units a picture has and how many values one of them is.
func (c cut) units(a *Args) (n, size int) {
	switch c {
	case pixels:
		return a.H * a.W, a.C
	case rows:
		return a.H, a.W * a.C
	case paddedRows:
		return a.H + 2*a.Pad, (a.W + 2*a.Pad) * a.C
	case rowPairs:
		return a.H / 2, 2 * a.W * a.C
	default:
		return a.H * a.W * a.C, 1
	}
}

// A block is this many values, or one unit that has more.
const block = 1 << 15

// Loop runs a loop on pictures of the same extent. It returns the sums of the
// first picture, then those of the second and so on; blocks are added in order.
func (p *Pool) Loop(l *Loop, pictures ...Args) []float64 {
	if len(pictures) == 0 {
		return nil
	}
	n, values := l.cut.units(&pictures[0])
	size := max(block/values, 1)
	blocks := (n + size - 1) / size
	parts := make([]float64, len(pictures)*blocks*l.sums)
	p.loop(l, pictures, n, size, parts)
	total := make([]float64, len(pictures)*l.sums)
	for i, v := range parts {
		total[i/(blocks*l.sums)*l.sums+i%l.sums] += v
	}
	return total
}
