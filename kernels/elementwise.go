package kernels

// Launch computes y = x < 0 ? 0 : x.
func (a ReLUFwdArgs) Launch(t Elem) (Launch, error) {
	return launch(a, t, Tile{}, linear(a.Elems, reluFwdThreads))
}

// Launch computes dx = y > 0 ? dy : 0.
func (a ReLUBwdArgs) Launch(t Elem) (Launch, error) {
	return launch(a, t, Tile{}, linear(a.Elems, reluBwdThreads))
}

// Launch computes y = a + b.
func (a AddArgs) Launch(t Elem) (Launch, error) {
	return launch(a, t, Tile{}, linear(a.Elems, addThreads))
}

// Launch computes y = x Mask, one value of which a pixel of C channels has.
func (a MulArgs) Launch(t Elem) (Launch, error) {
	return launch(a, t, Tile{}, linear(a.Elems, mulThreads))
}

// Launch computes da = K Weight Scale (a - b) of each picture, of Elems values; b has
// as many pictures, or one for all.
func (a MSEBwdArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{ceil(a.Elems, mseBwdThreads), pictures, 1})
}
