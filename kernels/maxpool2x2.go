package kernels

// Launch computes y, the maxima of 2x2 windows of x; an odd last row or column is
// dropped. H, W and C are those of x.
func (a MaxPool2x2FwdArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{ceil(a.W/2*a.C, maxpool2x2FwdThreads), a.H / 2, pictures}, below31("w c", a.W, a.C))
}

// Launch computes dx: dy at the first maximum of each window of x, 0 elsewhere.
// H, W and C are those of x and dx.
func (a MaxPool2x2BwdArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{ceil(a.W*a.C, maxpool2x2BwdThreads), a.H, pictures}, below31("w c", a.W, a.C))
}
