package kernels

// Launch computes y (N, H+2P, W+2P, C): x (N,H,W,C) continued beyond its border,
// mirrored or with Wrap as if pictures lay side by side.
func (a PadFwdArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{ceil((a.W+2*a.P)*a.C, padFwdThreads), a.H + 2*a.P, pictures}, below31("w+2p c", a.W+2*a.P, a.C))
}

// Launch computes dx (N,H,W,C): the sum of dy (N, H+2P, W+2P, C) over all places that
// read the pixel.
func (a PadBwdArgs) Launch(pictures int) (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{ceil(a.W*a.C, padBwdThreads), a.H, pictures}, below31("w+2p c", a.W+2*a.P, a.C))
}
