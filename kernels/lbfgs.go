package kernels

import "fmt"

// MaxLBFGSHistory is the most pairs that the kernels of L-BFGS remember.
const MaxLBFGSHistory = lbfgsMaxSlots - 1

// KnobColumns are the first columns of the knobs, in their order.
var KnobColumns = []int{controlLimit, controlRate, controlFinal, controlFrom, controlSpan, controlDecay, controlBegin}

// GiveUp is how many refusals in a row RecordArgs takes for no failure.
const GiveUp = controlGiveUp

// LBFGSColumns are the columns of the control that the kernels write, in their
// order; the products follow.
var LBFGSColumns = []int{controlAccepted, controlPairs, controlNext, controlLoss, controlMost, controlFactor, controlRefusals, controlStep, controlLongest, controlSmooth, controlProducts}

// LBFGSCoefs is how many values a picture has of Coef.
func LBFGSCoefs(slots int) int { return 2*slots + 3 }

// Tiles is how many a picture has.
func (a LBFGSPairArgs) Tiles() int {
	row := 3 * max(a.Width, 1)
	return ceil(row, lbfgsWide) * ceil(ceil(a.Elems, row), lbfgsRows)
}

// Workspace is the bytes of Seen.
func (a LBFGSPairArgs) Workspace(pictures int) int64 {
	return int64(F32.Size()) * int64(pictures) * int64(a.Tiles()) * lbfgsExtra
}

// Launch writes the pair of the step to X into the slot that Control says, and Z.
func (a LBFGSPairArgs) Launch(pictures int) (Launch, error) {
	var rows error
	if a.Width < 1 || a.Elems%(3*a.Width) != 0 {
		rows = fmt.Errorf("%d values are no rows of %d pixels: %w", a.Elems, a.Width, ErrShape)
	}
	return launch(a, F32, Tile{}, [3]int{a.Tiles(), pictures, 1}, slots(a.Slots), rows, below31("elems", a.Elems))
}

// Blocks is how many share a picture.
func (a LBFGSProductsArgs) Blocks() int { return ceil(a.Elems, lbfgsShare) }

// Workspace is the bytes of Parts.
func (a LBFGSProductsArgs) Workspace(pictures int) int64 {
	return int64(F32.Size()) * int64(pictures) * int64(a.Blocks()) * int64(4*a.Slots+lbfgsExtra)
}

// Launch leaves the products of each picture.
func (a LBFGSProductsArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{a.Blocks(), pictures, 1}, slots(a.Slots), below31("elems", a.Elems))
}

// Launch decides, and leaves the coefficients of the direction in Coef.
func (a LBFGSSolveArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{pictures, 1, 1}, slots(a.History+1))
}

// Blocks is how many share a picture.
func (a LBFGSDirectionArgs) Blocks() int { return ceil(a.Elems, lbfgsElements*reduceThreads) }

// Launch accepts X where solve did, and makes the direction D.
func (a LBFGSDirectionArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{a.Blocks(), pictures, 1}, slots(a.Slots), below31("elems", a.Elems))
}

// Launch goes from A along D.
func (a LBFGSStepArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{ceil(a.Elems, lbfgsElements*reduceThreads), pictures, 1}, slots(a.Slots), below31("elems", a.Elems))
}

func slots(n int) error {
	if n < 2 || n > lbfgsMaxSlots {
		return fmt.Errorf("slots is %d, and must be from 2 to %d: %w", n, lbfgsMaxSlots, ErrShape)
	}
	return nil
}
