package kernels

// Launch copies Elems fp32, a multiple of four.
func (a ProbeCopyArgs) Launch() (Launch, error) {
	return launch(a, F32, Tile{}, [3]int{ceil(a.Elems, probeCopy), 1, 1})
}

// Launch makes blocks blocks multiply on the tensor cores, Rounds times: 32768 FLOP
// a warp and round. Y has a value for each thread; Clocks take the cycles and the
// nanoseconds of block 0.
func (a ProbeMMAArgs) Launch(blocks int) (Launch, error) {
	return launch(a, F16, Tile{}, [3]int{blocks, 1, 1})
}
