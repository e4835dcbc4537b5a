package kernels

import "fmt"

// MaxLBFGSHistory is the most pairs that the kernels of L-BFGS remember.
const MaxLBFGSHistory = lbfgsMaxSlots - 1

// KnobColumns are the first columns of the knobs, in their order.
var KnobColumns = []int{controlLimit, controlRate, controlFinal, controlFrom, controlSpan, controlDecay, controlBegin}

// GiveUp is how many refusals in a row RecordArgs takes for no failure.
const GiveUp = controlGiveUp

// LBFGSColumns are the columns of the control that the kernels write, in their
// order; the curvature of each slot follows.
var LBFGSColumns = []int{controlAccepted, controlPairs, controlNext, controlLoss, controlMost, controlFactor, controlRefusals, controlStep, controlLongest, controlCurvature}

// LBFGSCoefs is how many values a picture has of Coef.
func LBFGSCoefs(slots int) int { return 2*slots + 2 }

// LBFGSShare is how many values of a picture a block of LBFGSProductsArgs has: whole
// tiles, so that there are enough blocks for every GPU and few sums for solve.
func LBFGSShare(elems int) int {
	const blocks = 256
	return max(ceil(ceil(elems, blocks), lbfgsTile)*lbfgsTile, 2*lbfgsTile)
}

// Blocks is how many share a picture.
func (a LBFGSProductsArgs) Blocks() int { return ceil(a.Elems, max(a.Share, 1)) }

// Workspace is the bytes of Parts.
func (a LBFGSProductsArgs) Workspace(pictures int) int64 {
	return int64(F32.Size()) * int64(pictures) * int64(a.Blocks()) * int64(ceil((2*a.Slots+1)*(a.Slots+1), 4)*4+lbfgsExtra)
}

// Launch leaves the products of the vectors of each picture, and writes the pair of
// the step to X into the slot that Control says.
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
