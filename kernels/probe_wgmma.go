package kernels

// Launch makes blocks blocks multiply on Hopper's tensor cores, Rounds times:
// 4194304 FLOP a block and round. Y has a value for each thread.
func (a ProbeWGMMAArgs) Launch(blocks int) (Launch, error) {
	return launch(a, F16, Tile{}, [3]int{blocks, 1, 1})
}
