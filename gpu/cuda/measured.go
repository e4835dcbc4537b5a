package cuda

import (
	"regexp"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// Measured is what Measure found out about one iteration. Times are in
// microseconds, one for each round. A simulated device has profiles and no times,
// but in a dry run.
type Measured struct {
	Device    gpu.Info `json:"device"`
	Precision string   `json:"precision"`
	// What the device does at most, measured by probes at the same time: memory
	// traffic of a copy (read and written), fp16 products of the tensor cores, and
	// the clock under them.
	CopyRate float64 `json:"copy_bytes_per_second,omitempty"`
	MathRate float64 `json:"math_flop_per_second,omitempty"`
	ClockMHz float64 `json:"clock_mhz,omitempty"`
	// An iteration by its graph, as a run has it; the sum of the launches is longer
	// by the gaps that a graph and overlapping launches save.
	Iteration []float64     `json:"iteration_us,omitempty"`
	Launches  []Measurement `json:"launches"`
}

// Measurement is one launch of an iteration.
type Measurement struct {
	Layer   string `json:"layer"` // the operations that it does, or are done with it
	Kernel  string `json:"kernel"`
	Arch    string `json:"compiled_for"` // which of its versions: "sm90"
	Chosen  bool   `json:"chosen"`       // the one that a run uses, of several that suit the layer
	Grid    [3]int `json:"grid"`
	Threads int    `json:"threads"`
	Shared  int    `json:"dynamic_shared"`
	FLOPs   int64  `json:"flop"`  // of the operations; 0 for a launch that prepares or ends them
	Bytes   int64  `json:"bytes"` // every array that it is given, once
	// In its place between the others; again and again, caches as it leaves them;
	// and with caches full of something else.
	InOrder []float64    `json:"in_order_us,omitempty"`
	Hot     []float64    `json:"hot_us,omitempty"`
	Cold    []float64    `json:"cold_us,omitempty"`
	Profile *sim.Profile `json:"profile,omitempty"`
}

// MeasureOptions says what to measure.
type MeasureOptions struct {
	Rounds int
	Plan   bool           // nothing is run: launches, FLOPs and bytes alone
	Dry    bool           // a simulated device is timed too, to try what a GPU will be measured with: times mean nothing
	Every  bool           // every kernel that suits a layer, not only the one in use
	Match  *regexp.Regexp // layers and kernels that interest; nil for all
}
