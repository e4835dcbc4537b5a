//go:build cgo

package cpu

/*
// With the tag sanitize the loops are built for the sanitizers (make sanitize-c), with less
// optimisation: at -O3 the compiler takes ten minutes.
#cgo CFLAGS: -std=gnu11 -Wall -Wno-psabi
#cgo !sanitize CFLAGS: -O3
#cgo sanitize CFLAGS: -O1 -fsanitize=undefined
#cgo LDFLAGS: -lm
#cgo sanitize LDFLAGS: -fsanitize=undefined
#include <stdlib.h>
#include "cpu.h"
static const char *compiler(void) { return __VERSION__; }
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// Loops is one instruction set's version of the convolutions and products.
type Loops struct {
	Name string // "avx512", "avx2", "base"
	isa  *C.cpu_isa
	nr   int // output channels of a weight panel
	mr   int // tiles of a panel of V
}

// HasWinograd says whether the build has the Winograd loops and those of the
// first layer; without them every convolution is direct.
const HasWinograd = true

// Compiler names what the loops were compiled with: with another one a sum may
// be contracted elsewhere, and the last bits of results differ.
func Compiler() string {
	name := "C " + C.GoString(C.compiler()) + " " + runtime.GOARCH
	if Fences() {
		name += ", with sanitizers"
	}
	return name
}

// Names of the instruction sets, best first.
var names = []string{"avx512", "avx2", "base"}

// Sets returns the versions that this processor can run, the best first.
func Sets() []*Loops {
	var all []*Loops
	for _, name := range names {
		c := C.CString(name)
		if isa := C.cpu_isa_named(c); isa != nil {
			all = append(all, &Loops{Name: name, isa: isa, nr: int(isa.nr), mr: int(isa.mr)})
		}
		C.free(unsafe.Pointer(c))
	}
	return all
}

func alloc(n int) []float32 {
	p := C.cpu_alloc(C.size_t(4 * n))
	if p == nil {
		return nil
	}
	return unsafe.Slice((*float32)(p), n)
}

// Free releases what Alloc returned; the slice must not be used afterwards.
func Free(s []float32) {
	if len(s) > 0 {
		C.cpu_free(unsafe.Pointer(&s[0]), C.size_t(4*len(s)))
	}
}

// Fences says whether the build has AddressSanitizer (go test -asan), which enforces Fence.
func Fences() bool { return bool(C.cpu_fences()) }

// Fence shuts memory of Alloc to every access, or opens it again. Without Fences it
// does nothing.
func Fence(s []float32, shut bool) {
	if len(s) > 0 {
		C.cpu_fence(unsafe.Pointer(&s[0]), C.size_t(4*len(s)), C.bool(shut))
	}
}

func ptr(s []float32) *C.float {
	if len(s) == 0 {
		return nil
	}
	return (*C.float)(unsafe.Pointer(&s[0]))
}

func boolInt(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
