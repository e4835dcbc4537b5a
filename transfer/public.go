package transfer

import (
	"path"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
)

// public is what a picture may tell everybody who gets it: names and hashes of its
// inputs, and the kind of device with what its bits depend on; not the folders of a disk, nor the machine.
func (r Record) public() Record {
	name := func(s *string) { *s = path.Base(strings.ReplaceAll(*s, `\`, "/")) }
	r = r.clone()
	for _, in := range r.Inputs() {
		name(&in.Input.Path)
	}
	if r.Init != nil {
		name(&r.Options.Init)
	}
	name(&r.Weights.Source)
	r.Device = gpu.Info{Kind: r.Device.Kind, Bits: r.Device.Bits}
	r.Result.MemoryBytes = 0
	return r
}

// clone copies what Inputs points to.
func (r Record) clone() Record {
	copied := func(in *Input) *Input {
		if in == nil {
			return nil
		}
		c := *in
		return &c
	}
	whole := func(in *Input) { in.Mask, in.Look = copied(in.Mask), copied(in.Look) }
	r.Init, r.ContentMask, r.MoreStyles = copied(r.Init), copied(r.ContentMask), slices.Clone(r.MoreStyles)
	whole(&r.Style)
	for i := range r.MoreStyles {
		whole(&r.MoreStyles[i])
	}
	return r
}
