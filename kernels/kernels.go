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

// Modules returns the sources compiled for an architecture: "sm80", "sm90a".
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

// Arg is the type of a kernel's parameter.
type Arg uint8

// The types: a device address, and scalars.
const (
	Ptr Arg = iota
	U32
	U64
	F32
)

// Spec is what a caller must know of an entry.
type Spec struct {
	Module  string
	Entry   string
	Threads int   // of a block
	Args    []Arg // in order
}

// epilogue is the parameters of EPILOGUE_PARAMS (epilogue.cuh).
var epilogue = []Arg{Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, F32, U32, U32, U32, U32}

// All lists the entries, by name.
var All = func() map[string]*Spec {
	m := map[string]*Spec{}
	add := func(module, entry string, threads int, args ...Arg) {
		m[entry] = &Spec{module, entry, threads, args}
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
		add("gram_mma", "gram_style_"+t, 256, Ptr, Ptr, Ptr, Ptr, Ptr, F32, F32, U32, U32, U32)
		add("losses", "mse_fwd_"+t, 256, Ptr, Ptr, Ptr, U64, U32)
	}
	for _, e := range []string{"tf32", "f16", "bf16"} { // of the tensor cores
		for _, n := range []string{"64", "128"} {
			add("conv3x3_mma", "conv3x3_mma_"+e+"_nhwc_128x"+n, 128, append([]Arg{Ptr, Ptr, Ptr, Ptr, U32, U32, U32, U32, U32}, epilogue...)...)
		}
		add("conv3x3_first", "conv3x3_first_fprop_"+e+"_nhwc_128x64", 128, append([]Arg{Ptr, Ptr, Ptr, Ptr, U32, U32, U32}, epilogue...)...)
		add("conv3x3_first", "conv3x3_first_dgrad_"+e+"_nhwc_128x3", 128, Ptr, Ptr, Ptr, Ptr, Ptr, U32, U32, U32)
		add("gram_mma", "gram_fwd_mma_"+e+"_64x64x32", 128, Ptr, Ptr, U32, U32, U32, U32)
	}
	add("gram", "gram_sum_f32", 256, Ptr, Ptr, F32, U32, U32)
	add("losses", "tv_fwd_f32", 256, Ptr, Ptr, U32, U32, U32)
	add("losses", "tv_bwd_f32", 256, Ptr, Ptr, F32, U32, U32, U32)
	add("losses", "sum_parts_f32", 256, Ptr, Ptr, F32, U32)
	add("losses", "tv_f32", 256, Ptr, Ptr, Ptr, F32, U32, U32, U32)
	add("losses", "total_f32", 256, Ptr, Ptr, U32, U32)
	add("adam", "adam_f32", 256, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, U32, U32)
	add("adam", "stats_f32", 256, Ptr, Ptr, Ptr, U32, U32)
	add("adam", "update_f32", 256, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, Ptr, U32, U32)
	add("adam", "record_f32", 256, Ptr, Ptr, Ptr, Ptr, U32, U32, U32, Ptr, U32)
	return m
}()
