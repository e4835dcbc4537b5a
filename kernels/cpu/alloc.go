package cpu

// Alloc returns n zeroed values, aligned to a page or better and outside Go's heap
// where the build has C, or nil when there is no memory. Free gives them back.
func Alloc(n int) []float32 { return allocator(n) }

var allocator = alloc

// UseAlloc puts another function in the place of Alloc, for tests of what happens when
// memory is refused, and returns what puts it back. It may not be called while a device
// works. What the function returns comes from alloc.
func UseAlloc(other func(n int, alloc func(n int) []float32) []float32) (restore func()) {
	before := allocator
	allocator = func(n int) []float32 { return other(n, before) }
	return func() { allocator = before }
}
