package transfer

import (
	"path"
	"strings"

	"github.com/stylize-gpu/stylize/gpu"
)

// public is what a picture may tell everybody who gets it: names and hashes of its
// inputs, and the kind of device with what its bits depend on; not the folders of a disk, nor the machine.
func (r Record) public() Record {
	name := func(s *string) { *s = path.Base(strings.ReplaceAll(*s, `\`, "/")) }
	name(&r.Content.Path)
	name(&r.Style.Path)
	if r.Init != nil {
		i := *r.Init
		name(&i.Path)
		r.Init = &i
		name(&r.Options.Init)
	}
	name(&r.Weights.Source)
	r.Device = gpu.Info{Kind: r.Device.Kind, Bits: r.Device.Bits}
	r.Result.MemoryBytes = 0
	return r
}
