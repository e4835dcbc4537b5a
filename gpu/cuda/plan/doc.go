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
// are the programs of a style transfer, and show every fusion.
//
// The package imports gpu, gpu/half and kernels.
package plan
