// Package plan decides what a CUDA device executes for a program, on any
// machine: it needs neither a GPU nor a driver. [New] goes four ways in turn:
//
//	infer.go       which buffers are stored in the precision's type, and which carry the loss scale
//	fuse.go        which operations a kernel does together: each fusion is a step type of its own (steps.go)
//	lower.go       which launches a step takes: kernels, grids, arguments, tables (candidates.go: of several that suit)
//	layout.go      where everything lies in one arena
//
// What comes out is a [Plan]: launches whose pointers are still names. The device
// gives them addresses. [Plan.Text] writes one down; the golden files in testdata
// are the programs of a style transfer, and show every fusion. go test -update
// writes them again.
//
// # What is fused
//
// Who alone reads a buffer may take the operation that writes it:
//
//   - A convolution takes the normalisation before it, and the ReLU and the pooling
//     behind it.
//   - A gradient takes what follows it: additions, the gradients of a pooling and of a
//     ReLU, the content's gradient. The style's gradient is a second product in the
//     same accumulators: the features times the symmetric error of the Gram matrix.
//   - Gram matrices take their losses and those errors, all layers in two launches.
//     That of relu1_1 is summed by the convolution that makes relu1_1.
//   - Total variation takes its gradient, and the last addition takes Adam and the
//     record.
//
// Where the way back wants no more of a ReLU than its sign, one bit for each value is
// kept: behind twelve of the thirteen. Four activations are never written.
//
// The tensor cores' convolutions share one epilogue (kernels/epilogue.cuh), which
// rounds before it fuses. So a fused program gives the bits of the list, but where
// fuse says otherwise; TestFusedIsUnfused in gpu/cuda compares them.
package plan
