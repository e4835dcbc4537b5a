package cpu

// Tiles are the loops in bf16 (bf16.h): on AMX, or on its twin in C.
//
// A map holds the features of a picture in the storage of a []float32: (C/32, pixels,
// 32) values of 16 bits, with pads; C is a multiple of 32. Bits are 32 a word, (C/32,
// H, W). Every slice must come from [Alloc] and begin at a multiple of 64 bytes.
type Tiles struct {
	Name string // "amx", "twin of amx"
	AMX  bool
	c    cTiles
}

// mapPixels is how many pixels of 32 channels a block of a map has.
func mapPixels(h, w int) int { return (h+3)*(w+1) + 41 }

// MapLen is the length of a map of a picture.
func MapLen(h, w, c int) int { return mapPixels(h, w) * c / 2 }

// TilesWeights is the length of a convolution's packed weights, in values of a []float32
// as all lengths here.
func TilesWeights(c, k int) int { return (k + 31) / 32 * 32 * c * 9 / 2 }

// TilesFirstWeights is the length of the first layer's packed weights, which have 16 bits.
const TilesFirstWeights = 2 * 64 * 32 / 2

// TilesMatrix is the length of the second factor of a style gradient of c channels.
func TilesMatrix(c int) int { return c * c / 2 }

// TilesStrip is the scratch of a thread for rows of the first layer.
func TilesStrip(w, rows int) int { return (2*(rows+2)*(w+2)*3 + 63) / 64 * 32 }

// TilesGramLen is the scratch of [Pool.TilesGram].
func TilesGramLen(c, slices, threads int) int { return slices*c*c + threads*512*c }

// Unpool says how a gradient is spread over the windows of a pool.
type Unpool int

// The kinds of pool. Behind a maximum the gate says where it was.
const (
	UnpoolNone Unpool = iota
	UnpoolMean
	UnpoolMax
)

// TilesConv is a convolution in bf16 and what is fused with it.
//
//	fprop (Bias)   y = relu(conv(x) + bias), ybits = y > 0, ypool = pool(y); each of the three where it is not nil
//	dgrad          y = gate(unpool(conv(x) + f matrix + addends)); C may be 0: no convolution
//	Image          dgrad to three channels
type TilesConv struct {
	N, H, W, C, K int // pictures, extent of x and of the sums, channels in and out
	X, Weights    []float32
	Bias          []float32
	ReLU, MaxPool bool // MaxPool: of YPool, and of YBits, which say where the maximum is, if that is positive
	Y, YPool      []float32
	YBits         []float32
	F, Matrix     []float32   // features of the result and what they are multiplied with, from [Pool.TilesMatrix]
	Addends       [][]float32 // maps; MaxAddends at most
	Unpool        Unpool
	YH, YW        int // extent of y behind Unpool
	Gate          []float32
	Image         []float32 // (N,H,W,3) in fp32

	// How it is cut, and stored; no matter for the result.
	Strip   int  // rows, even
	Columns int  // pixels, a multiple of 16
	Group   int  // channels out, a multiple of 32
	Stream  bool // y is written around the caches
}

// MaxAddends is how many maps a convolution can add to its result.
const MaxAddends = 4
