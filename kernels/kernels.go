// Package kernels holds the CUDA kernels: one .cu for each group of operations,
// the PTX that tools/ptx compiled them to, and [All], which says of every entry
// what it takes and how it is launched. Its folders ref, kerneltest and host are
// packages of their own.
//
// Imports nothing of this module.
package kernels

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
	Name string // "conv3x3_f32"
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
		} else if _, of, ok := strings.Cut(strings.TrimSuffix(name, ".ptx"), "."); ok { // a file, whose entries follow
			if arch = of; all[arch] == nil {
				all[arch] = map[string]string{}
			}
		}
	}
	return all
}

// Arg is the type of a kernel's parameter.
type Arg uint8

// The types: a device address, scalars, a tensor map by value.
const (
	Ptr Arg = iota
	U32
	U64
	F32
	Map
)

// Bytes is the size of a parameter.
func (a Arg) Bytes() int { return [...]int{8, 4, 8, 4, 128}[a] }

// Spec is what a caller must know of an entry.
type Spec struct {
	Module  string
	Entry   string
	Arch    string // the oldest architecture whose Modules have it
	Threads int    // of a block
	Args    []Arg  // in order
	Shared  int    // bytes of dynamic shared memory
	Cluster int    // blocks of a cluster; 0 without
	// Overlaps says that the kernel, compiled for sm_90 or later, waits for the
	// launches before it itself (griddepcontrol.wait): it may be started before
	// they have ended.
	Overlaps bool
	// Tile of a conv3x3_wgmma entry.
	Tile Tile
}

// Tile is how conv3x3_wgmma divides a convolution.
type Tile struct {
	Channels, Pixels int // of a block; pixels are 16 wide
	Multicast, Split int // blocks of a cluster that share weights, or a tile; 1 without
}

// epilogue is the parameters of EPILOGUE_PARAMS (epilogue.cuh).
var epilogue = []Arg{Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, F32, U32, U32, U32, U32}

// Wgmma is the entry of conv3x3_wgmma with this tile, for an element type.
func (t Tile) Wgmma(element string) string {
	s := fmt.Sprintf("conv3x3_wgmma_%s_nhwc_%dx%d", element, t.Channels, t.Pixels)
	if t.Multicast > 1 {
		s += fmt.Sprintf("_multicast%d", t.Multicast)
	}
	if t.Split > 1 {
		s += fmt.Sprintf("_split%d", t.Split)
	}
	return s
}

// Tiles lists those that conv3x3_wgmma is compiled for.
var Tiles = []Tile{
	{64, 512, 1, 1},
	{64, 256, 1, 1},
	{128, 256, 1, 1},
	{128, 256, 2, 1},
	{128, 128, 2, 1},
	{128, 128, 1, 2},
	{128, 128, 1, 4},
}

// shared is the dynamic shared memory of conv3x3_wgmma: as many stages as fit, up
// to three, two staged tiles and the alignment of the first stage.
func (t Tile) shared(elem int) int {
	const most = 227 << 10 // of a block on sm_90
	rest := 2*32*64*elem + 1024
	stage := (t.Pixels/16+2)*2048 + t.Channels*384
	return min(3, (most-rest)/stage)*stage + rest
}

// All lists the entries, by name.
var All = func() map[string]*Spec {
	m := map[string]*Spec{}
	add := func(module, entry string, threads int, args ...Arg) *Spec {
		m[entry] = &Spec{Module: module, Entry: entry, Arch: "sm80", Threads: threads, Args: args}
		return m[entry]
	}
	for _, t := range []string{"f32", "f16", "bf16"} { // storage types
		add("elementwise", "relu_fwd_"+t, 256, Ptr, Ptr, U64)
		add("elementwise", "relu_bwd_"+t, 256, Ptr, Ptr, Ptr, U64)
		add("elementwise", "add_"+t, 256, Ptr, Ptr, Ptr, U64)
		add("elementwise", "mse_bwd_"+t, 256, Ptr, Ptr, Ptr, Ptr, F32, U64, U64)
		add("normalize", "normalize_fwd_"+t, 256, Ptr, Ptr, Ptr, Ptr, U32, U32)
		add("normalize", "normalize_bwd_"+t, 256, Ptr, Ptr, Ptr, Ptr, U32, U32)
		add("avgpool2x2", "avgpool2x2_fwd_"+t, 256, Ptr, Ptr, U32, U32, U32)
		add("avgpool2x2", "avgpool2x2_bwd_"+t, 256, Ptr, Ptr, U32, U32, U32)
		add("conv3x3_simt", "conv3x3_"+t+"_nhwc_64x64x16", 256, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, U32, U32, U32, U32, U32, U32)
		add("gram", "gram_fwd_"+t+"_64x64x16", 256, Ptr, Ptr, U32, U32, U32, U32)
		add("gram", "gram_bwd_"+t+"_64x64x16", 256, Ptr, Ptr, Ptr, Ptr, F32, U32, U32)
		add("gram_mma", "gram_coef_"+t, 256, Ptr, Ptr, Ptr, F32, U32)
		add("gram_mma", "gram_style_"+t, 256, Ptr, U32, Ptr).Overlaps = true
		add("losses", "mse_fwd_"+t, 256, Ptr, Ptr, Ptr, U64, U32).Overlaps = true
	}
	for _, e := range []string{"tf32", "f16", "bf16"} { // of the tensor cores
		for _, n := range []string{"64", "128"} {
			add("conv3x3_mma", "conv3x3_mma_"+e+"_nhwc_128x"+n, 128, append([]Arg{Ptr, Ptr, Ptr, Ptr, U32, U32, U32, U32, U32}, epilogue...)...)
		}
		add("conv3x3_mma", "conv3x3_mma_"+e+"_nhwc_128x64_share", 128, Ptr, U32, Ptr, Ptr, Ptr, Ptr, U32, U32, U32, U32, U32)
		add("conv3x3_mma", "conv3x3_mma_"+e+"_nhwc_128x64_sum", 128, append([]Arg{Ptr, U32, U32, U32, U32}, epilogue...)...)
		add("conv3x3_first", "conv3x3_first_fprop_"+e+"_nhwc_128x64", 256, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, U32, U32, U32, U32, U32).Overlaps = true
		add("conv3x3_first", "conv3x3_first_dgrad_"+e+"_nhwc_128x3", 128, Ptr, Ptr, Ptr, Ptr, Ptr, U32, U32, U32).Overlaps = true
		add("gram_mma", "gram_fwd_mma_"+e+"_64x64x32", 128, Ptr, U32, U32).Overlaps = true
	}
	for _, e := range []string{"f16", "bf16", "tf32"} {
		for _, t := range Tiles {
			s := add("conv3x3_wgmma_"+e, t.Wgmma(e), 384, append([]Arg{Map, Map, Map, Map, U32, U32, U32, U32, U32, U32}, epilogue...)...)
			s.Arch, s.Tile, s.Overlaps, s.Cluster, s.Shared = "sm90a", t, true, t.Multicast*t.Split, t.shared(2)
			if e == "tf32" {
				s.Shared = t.shared(4)
			}
		}
	}
	add("probe", "probe_copy_f32", 256, Ptr, Ptr, U64)
	add("probe", "probe_mma_f16", 128, Ptr, Ptr, Ptr, U32)
	probe := add("probe_wgmma", "probe_wgmma_f16", 256, Ptr, Ptr, U32)
	probe.Arch, probe.Shared = "sm90a", 49<<10
	add("gram", "gram_sum_f32", 256, Ptr, Ptr, F32, U32, U32)
	add("losses", "tv_fwd_f32", 256, Ptr, Ptr, U32, U32, U32)
	add("losses", "tv_bwd_f32", 256, Ptr, Ptr, F32, U32, U32, U32)
	add("losses", "sum_parts_f32", 256, Ptr, Ptr, F32, U32)
	add("losses", "tv_f32", 256, Ptr, Ptr, Ptr, F32, U32, U32, U32).Overlaps = true
	add("losses", "total_f32", 256, Ptr, Ptr, U32, U32).Overlaps = true
	add("adam", "adam_f32", 256, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, U32, U32)
	add("adam", "stats_f32", 256, Ptr, Ptr, Ptr, U32, U32)
	add("adam", "update_f32", 256, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, U32, U32).Overlaps = true
	add("adam", "record_f32", 256, Ptr, Ptr, Ptr, Ptr, U32, U32, U32, Ptr, U32).Overlaps = true
	return m
}()
