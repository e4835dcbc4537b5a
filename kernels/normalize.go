package kernels

// Launch computes y = (x - mean[c]) / std[c], the network's input from a picture:
// x fp32, Mean and Std (C).
func (a NormalizeFwdArgs) Launch(t Elem) (Launch, error) {
	return launch(a, t, Tile{}, linear(a.Elems, normalizeFwdThreads))
}

// Launch computes dx = dy / Scale / std[c], fp32, of each picture, of Elems values.
func (a NormalizeBwdArgs) Launch(t Elem, pictures int) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{ceil(a.Elems, normalizeBwdThreads), pictures, 1})
}
