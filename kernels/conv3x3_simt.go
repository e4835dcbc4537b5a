package kernels

// Launch computes a 3x3 convolution, stride 1, zero padding, without tensor cores:
//
//	y[p,k] = b[k] + sum_{tap,c} w[tap,c,k] x[p+tap,c]
//
// and then, each where it is given, adds Add, puts 0 where Mask is not above 0, and
// applies the ReLU. W (9,C,K) and Bias (K) are fp32. Pixels are those of all
// pictures.
func (a Conv3x3Args) Launch(t Elem) (Launch, error) {
	return launch(a, t, Tile{}, [3]int{ceil(a.Pixels, simtBM), ceil(a.K, simtBN), 1})
}
