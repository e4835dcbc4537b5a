package plan

import (
	"fmt"
	"strings"

	"github.com/stylize-gpu/stylize/kernels"
)

// Target is what a program is planned for.
type Target struct {
	Precision Precision
	Hopper    bool // the kernels for sm_90a
	SMs       int  // multiprocessors, which the choice of tiles looks at
	Few       bool // of the tiles of Hopper's kernel those alone that a rule chooses
	Unfused   bool // one step for each operation: what fusions are checked against
	// Tuned, if not nil, is the kernel that timing chose for a layer, or empty.
	Tuned func(layer string) (entry string)
	// Only, if it is one, is the tile of Hopper's kernel for every product that it
	// suits: for tests.
	Only kernels.Tile
}

// Tiles are those of Hopper's kernel that a plan may have.
func (t Target) Tiles() []kernels.Tile {
	if t.Few {
		return []kernels.Tile{half256, pingpong, twoPart, threePart, fourPart}
	}
	return kernels.Tiles
}

// GPU is a kind of GPU that a plan can be made for without having one.
type GPU struct {
	Name       string // as a person writes it: "h100"
	Title      string // "NVIDIA H100 SXM"
	Capability int    // 90 for compute capability 9.0
	SMs        int
	Memory     int64 // bytes
}

// GPUs are those whose figures are known, from NVIDIA's data sheets and white
// papers of each architecture.
var GPUs = []GPU{
	{"h100", "NVIDIA H100 SXM", 90, 132, 80e9},
	{"h200", "NVIDIA H200", 90, 132, 141e9},
	{"a100", "NVIDIA A100", 80, 108, 80e9},
	{"4090", "NVIDIA GeForce RTX 4090", 89, 128, 24e9},
	{"l4", "NVIDIA L4", 89, 58, 24e9},
}

// GPUNames are the names of GPUs.
func GPUNames() []string {
	var names []string
	for _, g := range GPUs {
		names = append(names, g.Name)
	}
	return names
}

// FindGPU is the one of a name.
func FindGPU(name string) (GPU, error) {
	for _, g := range GPUs {
		if strings.EqualFold(g.Name, name) {
			return g, nil
		}
	}
	return GPU{}, fmt.Errorf("no figures of a GPU %q: there are those of %s", name, strings.Join(GPUNames(), ", "))
}

// Target is the target of a precision on such a GPU.
func (g GPU) Target(p Precision) Target {
	return Target{Precision: p, Hopper: g.Capability == 90 && p != FP32, SMs: g.SMs}
}
