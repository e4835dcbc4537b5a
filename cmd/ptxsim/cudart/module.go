//go:build cudart && cgo && linux

package main

// #include "sim.h"
import "C"

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unsafe"

	"github.com/stylize-gpu/stylize/cmd/internal/fatbin"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// image is a module of the program: a fat binary that it registers when it starts, or
// what it loads. It is decoded when the first of it is used.
type image struct {
	at   unsafe.Pointer
	n    int // of those loaded, for its name
	mod  *sim.Module
	arch int // of the PTX, as 80
	err  error
	code C.int
	vars []*variable
}

// function is a kernel that the program has asked for.
type function struct {
	handle  uint64
	name    string
	image   *image
	kernel  *sim.Kernel
	refused error // why the simulator cannot run it
	dynamic int   // what it may have of dynamic shared memory, once that was set
}

// stub names a kernel or variable by where the host code has its stand-in.
type stub struct {
	image *image
	name  string
}

type variable struct {
	name    string
	managed *unsafe.Pointer // where the host looks for its address
}

type modules struct {
	images    map[uint64]*image
	functions map[uint64]*function // by handle
	byName    map[stub]*function
	stubs     map[uint64]stub // of kernels, by host address
	variables map[uint64]stub
	next      uint64
	loaded    int
	workspace uint64 // of grids that synchronise
}

func (m *modules) init() {
	m.images, m.functions, m.byName = map[uint64]*image{}, map[uint64]*function{}, map[stub]*function{}
	m.stubs, m.variables = map[uint64]stub{}, map[uint64]stub{}
	m.next = 0x7051_0000
}

func (m *modules) handle() uint64 {
	m.next += 16
	return m.next
}

const (
	fatbinMagic  = 0xBA55ED50
	wrapperMagic = 0x466243B1 // struct { int magic, version; void *fatbin, *unused; }

	noBinary = 209 // NO_BINARY_FOR_GPU
	badPTX   = 218 // INVALID_PTX
)

// text returns the PTX of an image.
func (i *image) text() ([]byte, C.int, error) {
	at := i.at
	switch *(*uint32)(at) {
	case wrapperMagic:
		at = *(*unsafe.Pointer)(unsafe.Add(at, 8))
	case 0x464c457f: // "\x7fELF"
		return nil, noBinary, fmt.Errorf("it is a cubin, machine code: the simulator runs PTX")
	}
	if *(*uint32)(at) != fatbinMagic {
		n := 0
		for *(*byte)(unsafe.Add(at, n)) != 0 {
			n++
		}
		return unsafe.Slice((*byte)(at), n), 0, nil
	}
	n, err := fatbin.Size(unsafe.Slice((*byte)(at), 16))
	if err != nil {
		return nil, noBinary, err
	}
	images, err := fatbin.Parse(unsafe.Slice((*byte)(at), int(n)))
	if err != nil {
		return nil, noBinary, err
	}
	best, err := fatbin.Choose(images, state.dev.Config().Arch)
	if err != nil {
		return nil, noBinary, err
	}
	return best.PTX, 0, nil
}

// envreg is where cooperative groups finds the workspace of a grid: the high and low half
// of its address. A driver fills these registers at a launch; here launches follow each
// other, one workspace serves all, and so its address can stand in the text.
var envreg = regexp.MustCompile(`%envreg([12])\b`)

// managed variables are like others to a kernel.
var managedAttribute = []byte(".attribute(.managed)")

// load decodes the image, once.
func (i *image) load() error {
	if i.mod != nil || i.err != nil {
		return i.err
	}
	i.err = func() error {
		text, code, err := i.text()
		if err != nil {
			i.code = code
			return err
		}
		i.code = badPTX
		state.loaded++
		program, _ := os.Executable()
		file := fmt.Sprintf("%s.%d.ptx", filepath.Base(program), state.loaded)
		if dir := state.settings.PTX; dir != "" {
			if err := os.WriteFile(filepath.Join(dir, file), text, 0o644); err != nil { //nolint:gosec // for the user to read
				say("%v", err)
			}
		}
		i.arch, _ = strconv.Atoi(strings.Trim(fatbin.Target(text), "sm_af"))
		text = bytes.ReplaceAll(text, managedAttribute, nil)
		if envreg.Match(text) {
			if err := grow(); err != nil {
				return err
			}
			text = envreg.ReplaceAllFunc(text, func(r []byte) []byte {
				half := uint32(state.workspace)
				if r[len(r)-1] == '1' {
					half = uint32(state.workspace >> 32)
				}
				return fmt.Append(nil, half)
			})
		}
		i.mod, err = state.dev.LoadSome(file, text)
		return err
	}()
	if i.err != nil {
		return i.err
	}
	for _, v := range i.vars {
		if v.managed == nil {
			continue
		}
		p, n, err := i.mod.Global(v.name)
		if err == nil {
			err = state.share(uint64(p), n)
		}
		if err != nil {
			return err
		}
		*v.managed = pointer(uint64(p)) // the device's address is one of the host too
	}
	return nil
}

// grow makes the workspace of grids that synchronise. Cooperative groups keeps the
// barrier in its first 64 bytes; they begin as zero.
func grow() error {
	if state.workspace != 0 {
		return nil
	}
	const bytes = 4096
	p, err := state.dev.Alloc("the workspace of cooperative groups", bytes)
	if err != nil {
		return err
	}
	state.workspace = uint64(p)
	head := make([]byte, bytes)
	binary.LittleEndian.PutUint32(head, bytes) // its size comes first
	return state.dev.Write(p, head)
}

// find returns a kernel of an image.
func (i *image) find(name string) (*function, C.int, error) {
	if err := i.load(); err != nil {
		return nil, i.code, err
	}
	key := stub{i, name}
	if f := state.byName[key]; f != nil {
		return f, 0, nil
	}
	f := &function{handle: state.handle(), name: name, image: i}
	f.kernel, f.refused = i.mod.Kernel(name)
	if f.kernel == nil {
		known := false
		for _, e := range i.mod.Refused {
			known = known || e.Entry == name
		}
		if !known {
			return nil, C.SIM_NOT_FOUND, f.refused
		}
	}
	state.byName[key], state.functions[f.handle] = f, f
	return f, 0, nil
}

// function finds a kernel by handle or by its stub in the host's code.
func (m *modules) function(h uint64) (*function, C.int, error) {
	if f := m.functions[h]; f != nil {
		return f, 0, nil
	}
	s, ok := m.stubs[h]
	if !ok {
		return nil, C.SIM_INVALID_FUNCTION, fmt.Errorf("%#x is no kernel of this program", h)
	}
	return s.image.find(s.name)
}

//export simLoad
func simLoad(call *C.char, at unsafe.Pointer, module *C.uint64_t, log *C.char, size C.size_t) C.int {
	return in(C.GoString(call), func() C.int {
		i := &image{at: at}
		if err := i.load(); err != nil {
			complain(C.GoString(call), err)
			if log != nil && size > 0 {
				b := unsafe.Slice((*byte)(unsafe.Pointer(log)), int(size))
				b[copy(b[:size-1], err.Error())] = 0
			}
			return i.code
		}
		h := state.handle()
		state.images[h] = i
		*module = C.uint64_t(h)
		return 0
	})
}

//export simUnload
func simUnload(module C.uint64_t) C.int {
	return in("cuModuleUnload", func() C.int {
		i := state.images[uint64(module)]
		if i == nil {
			return C.SIM_INVALID_HANDLE
		}
		delete(state.images, uint64(module))
		for k, f := range state.byName {
			if k.image == i {
				delete(state.functions, f.handle)
				delete(state.byName, k)
			}
		}
		if i.mod == nil {
			return 0
		}
		return result("cuModuleUnload", i.mod.Unload())
	})
}

//export simFunction
func simFunction(module C.uint64_t, name *C.char, out *C.uint64_t) C.int {
	return in("cuModuleGetFunction", func() C.int {
		i := state.images[uint64(module)]
		if i == nil {
			return C.SIM_INVALID_HANDLE
		}
		f, code, err := i.find(C.GoString(name))
		if err != nil {
			complain("cuModuleGetFunction", err)
			return code
		}
		*out = C.uint64_t(f.handle)
		return 0
	})
}

//export simGlobal
func simGlobal(module C.uint64_t, name *C.char, at *C.uint64_t, n *C.size_t) C.int {
	return in("cuModuleGetGlobal", func() C.int {
		i := state.images[uint64(module)]
		if i == nil {
			return C.SIM_INVALID_HANDLE
		}
		return i.global("cuModuleGetGlobal", C.GoString(name), C.SIM_NOT_FOUND, at, n)
	})
}

func (i *image) global(call, name string, missing C.int, at *C.uint64_t, n *C.size_t) C.int {
	if err := i.load(); err != nil {
		complain(call, err)
		return i.code
	}
	p, size, err := i.mod.Global(name)
	if err != nil {
		complain(call, err)
		return missing
	}
	*at, *n = C.uint64_t(p), C.size_t(size)
	return 0
}

//export simRegister
func simRegister(at unsafe.Pointer) C.uint64_t {
	var h uint64
	in("__cudaRegisterFatBinary", func() C.int {
		h = state.handle()
		state.images[h] = &image{at: at}
		return 0
	})
	return C.uint64_t(h)
}

//export simRegisterFunction
func simRegisterFunction(module, host C.uint64_t, name *C.char) {
	in("__cudaRegisterFunction", func() C.int {
		if i := state.images[uint64(module)]; i != nil {
			state.stubs[uint64(host)] = stub{i, C.GoString(name)}
		}
		return 0
	})
}

//export simRegisterVariable
func simRegisterVariable(module, host C.uint64_t, name *C.char, n C.size_t, managed *unsafe.Pointer) {
	in("__cudaRegisterVar", func() C.int {
		if i := state.images[uint64(module)]; i != nil {
			s := C.GoString(name)
			state.variables[uint64(host)] = stub{i, s}
			i.vars = append(i.vars, &variable{s, managed})
		}
		return 0
	})
}

//export simManaged
func simManaged(module C.uint64_t) {
	in("__cudaInitModule", func() C.int {
		i := state.images[uint64(module)]
		if i == nil {
			return 0
		}
		for _, v := range i.vars {
			if v.managed != nil {
				if err := i.load(); err != nil {
					complain("__cudaInitModule", err)
				}
				break
			}
		}
		return 0
	})
}

//export simSymbol
func simSymbol(host C.uint64_t, at *C.uint64_t, n *C.size_t) C.int {
	return in("cudaGetSymbolAddress", func() C.int {
		s, ok := state.variables[uint64(host)]
		if !ok {
			complain("cudaGetSymbolAddress", fmt.Errorf("%#x is no variable of the device", uint64(host)))
			return C.SIM_INVALID_SYMBOL
		}
		return s.image.global("cudaGetSymbolAddress", s.name, C.SIM_INVALID_SYMBOL, at, n)
	})
}

//export simFunctionName
func simFunctionName(h C.uint64_t) *C.char {
	var name *C.char
	in("cuFuncGetName", func() C.int {
		if f := state.functions[uint64(h)]; f != nil {
			name = kept(f.name)
		} else if s, ok := state.stubs[uint64(h)]; ok {
			name = kept(s.name)
		}
		return 0
	})
	return name
}
