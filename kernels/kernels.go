// Package kernels holds the CUDA kernels, and all that is known of them outside
// the GPU. A kernel is a source and its host half, side by side:
//
//	adam.cu      the kernel; its first lines say what it computes, and how
//	adam.go      its host half: shapes that it takes, grid, workspace, and the
//	             method Launch, which makes a checked [Launch] of arguments
//	args_gen.go  a struct of arguments for each family of entries, structs for
//	             rows of tables, and the constants of all sources
//	ptx          what the sources are compiled to, with a MANIFEST of hashes and
//	             of what ptxas says of every entry; [All] describes the entries
//
// tools/ptx writes args_gen.go and ptx from the sources. To add a kernel, write
// its .cu, run go generate, and give its arguments a Launch in a .go of the same
// name. A pointer that a launch may leave out is marked MAYBE_NULL in the source,
// an int that is 0 or 1 is called flag, and kShared is dynamic shared memory.
//
// ref, kerneltest and cpu are packages of their own: oracles, cases, and the loops
// of the CPU. This one imports nothing of the module.
package kernels

//go:generate go run ../tools/ptx

import (
	"embed"
	"fmt"
	"path"
	"strings"
)

//go:embed ptx
var files embed.FS

// Module is one PTX source.
type Module struct {
	Name string // "conv3x3_mma"; where each entry is a module, that entry's, "conv3x3_wgmma_f16_nhwc_128x256"
	PTX  string
}

// Modules returns the sources compiled for an architecture: "sm80"; "sm90", those
// of the first whose launches may overlap; "sm90a", which only Hopper has.
func Modules(arch string) ([]Module, error) {
	entries, err := files.ReadDir("ptx")
	if err != nil {
		return nil, err
	}
	var ms []Module
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), "."+arch+".ptx")
		if !ok {
			continue
		}
		b, err := files.ReadFile(path.Join("ptx", e.Name()))
		if err != nil {
			return nil, err
		}
		ms = append(ms, Module{name, string(b)})
	}
	if len(ms) == 0 {
		return nil, fmt.Errorf("kernels: nothing is compiled for %s", arch)
	}
	return ms, nil
}

// Figures are what ptxas made of each entry for each architecture: registers,
// static shared memory and how many of the instructions that it is about.
func Figures() map[string]map[string]string {
	all := map[string]map[string]string{}
	b, err := files.ReadFile("ptx/MANIFEST")
	if err != nil {
		return all
	}
	arch := ""
	for _, l := range strings.Split(string(b), "\n") {
		name, figures, _ := strings.Cut(strings.TrimPrefix(l, "  "), " ")
		if strings.HasPrefix(l, "  ") {
			all[arch][name] = figures
		} else if file, ok := strings.CutSuffix(name, ".ptx"); ok { // whose entries follow
			if _, arch, _ = strings.Cut(file, "."); all[arch] == nil {
				all[arch] = map[string]string{}
			}
		}
	}
	return all
}

// Spec is what a caller must know of an entry.
type Spec struct {
	Module  string
	Source  string // its file, without .cu
	Family  string // of the entries that differ in element type and tile only: "conv3x3_mma_share"
	Entry   string
	Arch    string // the oldest architecture whose Modules have it
	Elem    Elem
	Params  []Param
	Threads int // of a block
	Shared  int // bytes of dynamic shared memory
	Cluster int // blocks of a cluster; 0 without
	// Registers a thread must have, and no local memory, where warpgroups give registers
	// to others: with fewer they would wait for ever. 0 where it does not matter.
	Registers int
	// Overlaps says that the kernel, compiled for sm_90 or later, waits for the
	// launches before it itself (griddepcontrol.wait): it may be started before
	// they have ended.
	Overlaps bool
	// Tile and Stages of a convolution on tensor cores.
	Tile   Tile
	Stages int // that wait for each other in shared memory
}

// Tile is how a block divides a convolution.
type Tile struct {
	Channels, Pixels int  // of a block; pixels are 16 wide
	Multicast, Split int  // blocks of a cluster that share weights, or a tile; 1 without
	Pingpong         bool // each warpgroup of a block has tiles of its own
}

// All lists the entries, by name.
var All = func() map[string]*Spec {
	m := map[string]*Spec{}
	for _, f := range families {
		for _, e := range f.entries {
			m[e.name] = &Spec{
				Module: e.module, Source: f.source, Family: f.name, Entry: e.name, Arch: f.arch, Elem: e.elem,
				Params: of(f.params, e.elem), Threads: f.threads, Registers: f.registers, Shared: e.shared, Cluster: e.cluster, Overlaps: f.overlaps, Tile: e.tile, Stages: e.stages,
			}
		}
	}
	return m
}()
