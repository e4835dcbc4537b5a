package kernels

import "fmt"

// ReduceBlocks is how many blocks share a picture of a reduction: enough to fill a
// GPU, few enough for one block to add. Each leaves one part, an fp32.
func ReduceBlocks(elems int) int { return min(max(elems/(16*reduceThreads), 1), 512) }

// TVBlocks is how many blocks share the rows of a picture, for its variation.
func TVBlocks(h int) int { return min(h, 512) }

// Launch adds (a - b)^2 up: Parts (pictures, ReduceBlocks). Elems are a picture's.
func (a MSEFwdArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{ReduceBlocks(a.Elems), pictures, 1})
}

// Launch adds the absolute differences of neighbours up: Parts (pictures, TVBlocks).
func (a TVFwdArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{TVBlocks(a.H), pictures, 1})
}

// Launch computes dx = K Weight times the signs of the differences to all neighbours.
func (a TVBwdArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{ceil(a.W*a.C, tvBwdThreads), a.H, pictures})
}

// Launch does what TVFwdArgs and TVBwdArgs do, in one pass.
func (a TVFwdBwdArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{TVBlocks(a.H), pictures, 1})
}

// Launch computes l[n] = Scale Weight times the sum of picture n's parts, Blocks of them.
func (a SumPartsArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{pictures, 1, 1})
}

// Launch computes l[n] = (content, sum of styles, tv, all) of a table of LossTerms:
// Contents of them, Styles, and one of the variation. A block has a thread to read
// each.
func (a TotalArgs) Launch(pictures int) (Launch, error) {
	var err error
	if n := a.Contents + a.Styles + 1; n > reduceThreads {
		err = fmt.Errorf("%d terms of a loss, at most %d: %w", n, reduceThreads, ErrShape)
	}
	return launch(a, F32, Tile{}, [3]int{pictures, 1, 1}, err)
}
