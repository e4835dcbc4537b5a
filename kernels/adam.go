package kernels

// When Adam clamps a pixel to [0, 1].
const (
	ClampAfter  = adamClampAfter
	ClampBefore = adamClampBefore
	ClampNone   = adamClampNone
)

// Launch makes a step of Adam, of Elems values a picture: m, v and x; none of a
// picture that is at its limit or whose total is not finite, and none of a value whose g*g is not.
func (a AdamArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{ceil(a.Elems, adamThreads), pictures, 1})
}

// StatsShare is how many values of a picture a block of StatsArgs has.
func StatsShare(elems int) int { return ceil(elems, ReduceBlocks(elems)) }

// Blocks is how many of them share a picture.
func (a StatsArgs) Blocks() int { return ceil(a.Elems, max(a.Share, 1)) }

// Workspace is the bytes of Parts.
func (a StatsArgs) Workspace(pictures int) int64 { return seenBytes(a.Blocks(), pictures) }

// Launch leaves what each block has seen of its Share of x and g: Parts
// (N, Blocks, 5), for RecordArgs.
func (a StatsArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{a.Blocks(), pictures, 1})
}

func seenBytes(blocks, pictures int) int64 {
	return int64(adamSeen*F32.Size()) * int64(blocks) * int64(pictures)
}

// Blocks is how many share a picture.
func (a UpdateArgs) Blocks() int { return ceil(a.Elems, adamUpdate*reduceThreads) }

// Workspace is the bytes of Parts.
func (a UpdateArgs) Workspace(pictures int) int64 { return seenBytes(a.Blocks(), pictures) }

// Launch does AdamArgs and StatsArgs in one pass, with the gradient dx + dtv, or dx
// alone; g keeps it, where it is given.
func (a UpdateArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{a.Blocks(), pictures, 1}, below31("elems", a.Elems))
}

// Launch takes x into avg, of Elems values a picture: the mean of its iterates.
func (a AverageArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{ceil(a.Elems, adamUpdate*averageThreads), pictures, 1}, below31("elems", a.Elems))
}

// Launch writes a row of the ring, (total, mean, std, finite), of each picture that
// is not at its limit, and counts its step; Dynamic lets it move the picture's loss
// scale. Blocks are those that have left Parts for a picture.
func (a RecordArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{pictures, 1, 1})
}
