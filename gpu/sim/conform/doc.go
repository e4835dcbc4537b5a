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
// of any precision (oracle.go), not with the simulator's own functions. What the ISA
// leaves open is what a GPU gave. Recordings of GPUs (testdata/*.json.zst, with name,
// driver and date) are held against these expectations and against the simulator. A
// case that changes, in source or inputs, is not compared until a GPU is recorded
// again (make test-gpu); TestRecorded lists such cases.
//
// testdata/forms.txt lists forms by group, that programs are likely to hold: a test counts
// those that load, and holds each to a case.
//
// A case compares exactly, within the ISA's bounds (the .approx functions), or within
// a bound on sums (tensor cores with random inputs). Matrix and copy
// instructions get unique values, so that a wrong layout cannot pass.
//
// Imports gpu/sim, gpu/ptx and gpu/tensormap.
package conform
