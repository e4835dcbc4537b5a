package cpu

import (
	"github.com/stylize-gpu/stylize/gpu"
	loops "github.com/stylize-gpu/stylize/kernels/cpu"
)

// algo is how a convolution is computed.
type algo uint8

const (
	direct   algo = iota // register tiles over the nine taps; any channels
	f4                   // Winograd F(4x4,3x3)
	f6                   // Winograd F(6x6,3x3)
	first                // conv1_1, three channels on one side
	implicit             // bf16 on tiles, an implicit matrix product
)

func (a algo) String() string {
	return [...]string{"direct", "winograd 4x4", "winograd 6x6", "direct 3-channel", "implicit gemm bf16"}[a]
}

func (a algo) tile() int { return map[algo]int{f4: 4, f6: 6}[a] }

// choose is the one place that decides how a convolution of a picture of h x w
// from c to k channels is computed. Multiplications per output and channel
// pair: 9 direct, 36/16 in F(4), 64/36 in F(6); but tiles cover edges too, and
// transformed weights take 36 or 64 values for every 9.
//
//   - Winograd needs channels in chunks of 64.
//   - Up to two tiles of F(4), reading the transformed weights from memory takes
//     longer than the multiplications they save: direct.
//   - F(6) where it saves more than 8 % of the products after edge waste and its
//     weights stay small (up to 256 channels): 3 to 16 % a layer at 512x512,
//     nothing or worse in the layers of 512 channels.
//   - How many pictures a program has plays no part: it would change their bits.
//   - lowMemory asks for direct where transformed weights are large against the
//     picture (see Options.LowMemory).
func choose(h, w, c, k int, lowMemory bool) algo {
	if !loops.HasWinograd {
		return direct
	}
	if c == 3 && k == 64 || c == 64 && k == 3 {
		return first
	}
	if c%64 != 0 || k%64 != 0 {
		return direct
	}
	t4, t6 := loops.WinoTiles(4, 1, h, w), loops.WinoTiles(6, 1, h, w)
	switch {
	case t4 <= 2:
		return direct
	case lowMemory && c*k >= 256*256:
		return direct
	case max(c, k) <= 256 && 100*64*t6 < 92*36*t4:
		return f6
	}
	return f4
}

// blocking says how a Winograd convolution is cut.
type blocking struct {
	tiles  int  // in all
	size   int  // tiles of a block
	blocks int  // of a thread's own V; 1 when shared
	shared bool // one V for all threads, who then take channel panels
}

// block chooses the block size so that V and M stay in the L2 and the weights,
// read once a block, do not dominate (measured: flat around these values), and
// the number of blocks so that every thread gets the same. When there are too
// few tiles for that, the threads share V and divide the output channels.
func block(a algo, g gpu.Shape, c, k, threads, rows int) blocking {
	nt := loops.WinoTiles(a.tile(), g.N, g.H, g.W)
	size := 128
	switch {
	case c <= 64:
		size = 28
	case c <= 128:
		size = map[algo]int{f4: 42, f6: 28}[a]
	case c <= 256:
		size = map[algo]int{f4: 96, f6: 56}[a]
	case a == f6:
		size = 64
	}
	b := blocking{tiles: nt}
	perThread := (nt + threads - 1) / threads
	v := 4 * int64(nt) * int64(c) * int64((a.tile()+2)*(a.tile()+2))
	if threads > 1 && v <= 64<<20 && (nt <= 32 && c*k >= 256*256 || perThread < rows && c*k >= 128*128) {
		b.size, b.blocks, b.shared = nt, 1, true
		return b
	}
	size = max(min(size, perThread), 1)
	b.blocks = (nt + size - 1) / size
	b.blocks = (b.blocks + threads - 1) / threads * threads
	b.size = (nt + b.blocks - 1) / b.blocks
	b.blocks = (nt + b.size - 1) / b.size
	return b
}
