// Package gpu describes what a device computes: a [Program] is a straight list
// of operations over buffers whose shapes are all known. Nothing in it depends
// on a device, on a precision or on memory; a [Device] decides how a program
// runs (fusion, layout, kernel variant, placement) and returns a [Runner].
//
// From the one list come the exact bytes before anything is allocated
// ([Place]), the FLOPs ([Op.FLOPs]), the launches, and the test that runs each
// operation alone on every device (kernels/kerneltest).
//
// Invariants:
//   - tensors are fp32, NHWC, dense; every operation takes N >= 1 pictures;
//   - a [Temp] buffer is written once and before it is read, so its lifetime
//     is an interval of the list and buffers can share memory;
//   - per-picture results (Grams, losses, moments) never mix pictures.
//
// The package imports nothing from this module. Devices live in gpu/cpu (CPU)
// and beside it; programs are built by vgg and transfer.
package gpu
