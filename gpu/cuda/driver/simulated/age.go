package simulated

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
)

// Age is what a driver of another age does, or one whose compiler is no good: what
// tests want to see survived. The zero value is this driver.
type Age struct {
	Version int // what cuDriverGetVersion gives, as 12040; 0 is Version
	// PTX is the newest .version that it reads, as 80 for 8.0; if 0, what drivers of that
	// Version read, and with both 0 any.
	PTX int
	// Allot, if not nil, says how many registers the compiler gives an entry, and how
	// many bytes of local memory.
	Allot func(entry string) (registers, local int)
	// NoOverlap refuses programmatic launches while a stream is captured.
	NoOverlap bool
	// Alone is a compiler that only the first thread finds that has loaded a module.
	Alone bool
}

// Pretend makes the driver act its age. It is called before anything else.
func (d *Driver) Pretend(a Age) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.age = a
}

// DriverVersion is cuDriverGetVersion.
func (d *Driver) DriverVersion() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.age.Version != 0 {
		return d.age.Version
	}
	return Version
}

// reads is the newest .version of PTX that drivers read, as 80 for 8.0, by the CUDA
// that they came with (PTX ISA manual, release notes); those of 11.x read 7.x.
var reads = []struct{ cuda, ptx int }{
	{12000, 80}, {12010, 81}, {12020, 82}, {12030, 83}, {12040, 84}, {12050, 85}, {12070, 86}, {12080, 87}, {12090, 88},
}

var versionLine = regexp.MustCompile(`(?m)^\s*\.version\s+(\d)\.(\d)`)

// tooNew says that an image is of a newer .version than the driver reads.
func (d *Driver) tooNew(image []byte) (log string, r Result) {
	m := versionLine.FindSubmatch(bytes.TrimSpace(image))
	if d.age.Version == 0 && d.age.PTX == 0 || m == nil {
		return "", Success
	}
	want, _ := strconv.Atoi(string(m[1]) + string(m[2]))
	most := d.age.PTX
	if most == 0 {
		most = 70 + d.age.Version%1000/10
		for _, v := range reads {
			if d.age.Version >= v.cuda {
				most = v.ptx
			}
		}
	}
	if want <= most {
		return "", Success
	}
	return fmt.Sprintf("ptxas fatal   : Unsupported .version %d.%d; current version is '%d.%d'", want/10, want%10, most/10, most%10), UnsupportedPTX
}

// allotted are a kernel's registers and local memory. No compiler has given it
// registers: it gets as many as its threads can have, as a kernel must that moves them
// between warpgroups.
func (d *Driver) allotted(f *cuFunction) (registers, local int) {
	if d.age.Allot != nil {
		return d.age.Allot(f.kernel.Name)
	}
	const ofMultiprocessor, ofThread, unit = 65536, 255, 8
	return min(ofMultiprocessor/f.kernel.MaxThreads()/unit*unit, ofThread), f.kernel.LocalBytes()
}
