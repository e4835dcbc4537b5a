// Package conform pins down what each instruction does: one small PTX file for
// every form of an instruction that the simulator knows, with inputs, and what
// must come out. Any device that loads PTX can run it: the simulator in every
// test run, a GPU when one is at hand.
//
//	for _, c := range conform.Cases() {
//		out, err := conform.Run(ctx, dev, c)
//		err = c.Check(out)
//	}
//
// What must come out is computed here, from the PTX ISA's text and arithmetic
// of any precision (oracle.go), not with the simulator's own functions. Where a
// GPU has been recorded (testdata/recorded), its results replace that
// expectation, and name and driver of the GPU stand in the file.
//
// A case compares exactly, within ulps (the .approx functions), or within a
// bound on sums (tensor cores with random inputs). Matrix and copy
// instructions get unique values, so that a wrong layout cannot pass.
//
// Imports gpu/sim, gpu/ptx and gpu/tensormap.
package conform
