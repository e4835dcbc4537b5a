// Package batch paints many pictures, each alone, and leaves exactly one result for
// each however often it is stopped and started again.
//
// [Inputs.List] makes the list of items, [List.Check] looks at names, folders and extents
// before anything is painted, and [Batch.Run] works it off: loaders read and decode ahead,
// one goroutine a device owns a [transfer.Studio], savers encode behind, with bounded queues
// between them, so that a device need not wait.
//
// The results are the ledger. An item has a [Key], the hash of everything that decides
// its pixels, which is stored in its result. A result that carries the wanted key is
// done; any other is painted again and replaced, whole or not at all.
//
// It imports transfer, transfer/picture, gpu, vgg and vgg/atomicfile.
package batch
