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

// Launch computes da = K Scale (a - b), where b has the pictures of a or one for
// all: BElems says which.
func (a MSEBwdArgs) Launch(t Elem) (Launch, error) {
	return launch(a, t, Tile{}, linear(a.Elems, mseBwdThreads))
}
