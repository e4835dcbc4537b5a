package kernels

// Launch computes y, the means of 2x2 windows of x; an odd last row or column is
// dropped. H, W and C are those of x.
func (a AvgPool2x2FwdArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{ceil(a.W/2*a.C, avgpool2x2FwdThreads), a.H / 2, pictures}, below31("w c", a.W, a.C))
}

// Launch computes dx: a quarter of dy inside the windows, 0 in a dropped row or
// column. H, W and C are those of dx.
func (a AvgPool2x2BwdArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{ceil(a.W*a.C, avgpool2x2BwdThreads), a.H, pictures}, below31("w c", a.W, a.C))
}
