package sim

import (
	"fmt"
	"io"
	"math/bits"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// opCount counts the executions of one instruction.
type opCount struct{ warps, lanes int64 }

// profile is what a group counts, by instruction.
type profile struct {
	global []traffic // 32-byte sectors of global requests
	shared []traffic // wavefronts of shared requests
}

type traffic struct{ requests, parts, ideal int64 }

func (p *profile) init(n int) { p.global, p.shared = make([]traffic, n), make([]traffic, n) }

// OpCount is the count of one opcode.
type OpCount struct {
	Name  string `json:"name"`
	Warps int64  `json:"warps"` // warp instructions
	Lanes int64  `json:"lanes"` // lane instructions
}

// Line is the traffic of one instruction.
type Line struct {
	Line     int     `json:"line"`
	Instr    string  `json:"instr"`
	CUDA     string  `json:"cuda,omitempty"`
	Requests int64   `json:"requests"`
	Parts    int64   `json:"parts"` // sectors, or wavefronts
	Ratio    float64 `json:"ratio"` // sectors per request, or wavefronts over ideal
}

// Occupancy says how many blocks fit a multiprocessor, and what limits them.
type Occupancy struct {
	Blocks    int     `json:"blocks"`
	Warps     int     `json:"warps"`
	Share     float64 `json:"share"` // of the multiprocessor's warps
	Limiter   string  `json:"limiter"`
	Registers int     `json:"registers"` // a thread, as assumed
	Assumed   bool    `json:"assumed"`   // registers unknown: left out of the limit
}

// Profile is what a launch did. It is counts and ratios, no time. Without
// Config.Profile only the launch's shape and occupancy are filled in.
type Profile struct {
	Kernel        string    `json:"kernel"`
	Grid          Dim       `json:"grid"`
	Block         Dim       `json:"block"`
	WarpInstrs    int64     `json:"warp_instrs"`
	LaneInstrs    int64     `json:"lane_instrs"`
	SIMD          float64   `json:"simd_efficiency"` // lanes of warp instructions that did something
	Diverged      int64     `json:"divergent_branches"`
	Opcodes       []OpCount `json:"opcodes"`
	Global        []Line    `json:"global"`
	Shared        []Line    `json:"shared"`
	SectorsPerReq float64   `json:"sectors_per_request"`
	Conflicts     float64   `json:"wavefronts_over_ideal"`
	Occupancy     Occupancy `json:"occupancy"`
	Warnings      []*Report `json:"warnings,omitempty"` // what is no error, but rests on no rule
}

// profileAccess counts a load, store or atomic.
func (w *warp) profileAccess(o *op, x *access, m uint32) {
	p := &w.g.prof
	if p.global == nil || m == 0 {
		return
	}
	space, base := x.space, uint64(0)
	if space == ptx.NoSpace {
		a := w.address(o, x, first(m))
		switch {
		case a >= globalBase:
			space = ptx.Global
		case a >= sharedBase && a < sharedBase+windowBytes:
			space, base = ptx.Shared, sharedBase
		}
	}
	switch space {
	case ptx.Global:
		p.sectors(o.pc, m, x.bytes, func(i int) uint64 { return w.address(o, x, i) })
	case ptx.Shared:
		p.wavefronts(o.pc, m, x.bytes, func(i int) uint64 { return w.address(o, x, i) - base })
	default: // neither goes through a bank or a sector
	}
}

// profileCopy counts the global side of cp.async.
func (w *warp) profileCopy(o *op, m uint32, n int, addr func(int) uint64) {
	if w.g.prof.global != nil && m != 0 {
		w.g.prof.sectors(o.pc, m, n, addr)
	}
}

func (p *profile) sectors(pc int32, m uint32, n int, addr func(int) uint64) {
	var seen [64]uint64
	k := 0
	for x := m; x != 0; x &= x - 1 {
		a := addr(bits.TrailingZeros32(x) & 31)
	next:
		for s := a>>5 + 1; s <= (a+uint64(n)-1)>>5+1; s++ {
			for j := k - 1; j >= 0; j-- {
				if seen[j] == s {
					continue next
				}
			}
			if k < len(seen) {
				seen[k] = s
				k++
			}
		}
	}
	t := &p.global[pc]
	t.requests++
	t.parts += int64(k)
	t.ideal += int64((bits.OnesCount32(m)*n + 31) / 32)
}

// wavefronts counts how often shared memory's 32 banks of 4 bytes are needed:
// wide accesses go in 2 or 4 phases, and in each phase a bank gives one word.
func (p *profile) wavefronts(pc int32, m uint32, n int, addr func(int) uint64) {
	lanes := 32
	if n > 4 {
		lanes = 128 / n
	}
	t := &p.shared[pc]
	t.requests++
	for lo := 0; lo < 32; lo += lanes {
		part := m >> lo & uint32(uint64(1)<<lanes-1)
		if part == 0 {
			continue
		}
		var words [32][]uint64
		most := 0
		for ; part != 0; part &= part - 1 {
			a := addr(lo + bits.TrailingZeros32(part)&31)
			for b := a &^ 3; b < a+uint64(n); b += 4 {
				bank := b >> 2 & 31
				dup := false
				for _, wd := range words[bank] {
					dup = dup || wd == b
				}
				if !dup {
					words[bank] = append(words[bank], b)
					most = max(most, len(words[bank]))
				}
			}
		}
		t.parts += int64(most)
		t.ideal++
	}
}

// profile sums the groups.
func (l *launch) profile(groups []*group) *Profile {
	k := l.Kernel
	p := &Profile{Kernel: k.Name, Grid: l.Grid, Block: l.Block, Occupancy: l.occupancy(), Warnings: warnings(groups)}
	byName := map[string]*OpCount{}
	for pc := range k.code {
		in := k.code[pc].in
		var n opCount
		var g, s traffic
		for _, gr := range groups {
			if gr.counts == nil {
				continue
			}
			n.warps += gr.counts[pc].warps
			n.lanes += gr.counts[pc].lanes
			g = g.plus(gr.prof.global[pc])
			s = s.plus(gr.prof.shared[pc])
		}
		if n.warps == 0 {
			continue
		}
		c := byName[in.Name]
		if c == nil {
			c = &OpCount{Name: in.Name}
			byName[in.Name] = c
		}
		c.Warps += n.warps
		c.Lanes += n.lanes
		p.WarpInstrs += n.warps
		p.LaneInstrs += n.lanes
		line := Line{Line: in.Pos.Line, Instr: in.String(), CUDA: k.cuda(in)}
		if g.requests > 0 {
			line.Requests, line.Parts, line.Ratio = g.requests, g.parts, float64(g.parts)/float64(g.requests)
			p.Global = append(p.Global, line)
		}
		if s.requests > 0 {
			line.Requests, line.Parts, line.Ratio = s.requests, s.parts, float64(s.parts)/float64(max(s.ideal, 1))
			p.Shared = append(p.Shared, line)
			p.Conflicts += float64(s.ideal)
		}
	}
	for _, g := range groups {
		p.Diverged += g.diverged
	}
	for _, c := range byName {
		p.Opcodes = append(p.Opcodes, *c)
	}
	sort.Slice(p.Opcodes, func(i, j int) bool {
		if p.Opcodes[i].Warps != p.Opcodes[j].Warps {
			return p.Opcodes[i].Warps > p.Opcodes[j].Warps
		}
		return p.Opcodes[i].Name < p.Opcodes[j].Name
	})
	if p.WarpInstrs > 0 {
		p.SIMD = float64(p.LaneInstrs) / float64(32*p.WarpInstrs)
	}
	p.SectorsPerReq, _ = total(p.Global)
	_, parts := total(p.Shared)
	if ideal := p.Conflicts; ideal > 0 {
		p.Conflicts = float64(parts) / ideal
	}
	return p
}

func (t traffic) plus(u traffic) traffic {
	return traffic{t.requests + u.requests, t.parts + u.parts, t.ideal + u.ideal}
}

func total(lines []Line) (ratio float64, parts int64) {
	var req int64
	for _, l := range lines {
		req += l.Requests
		parts += l.Parts
	}
	if req > 0 {
		ratio = float64(parts) / float64(req)
	}
	return ratio, parts
}

// occupancy follows the CUDA occupancy calculator: registers are given to warps
// in units of 256, shared memory to blocks in units of 128 bytes plus 1 KiB.
func (l *launch) occupancy() Occupancy {
	warpsPerSM, sharedPerSM, blocksPerSM := 64, 228<<10, 32
	switch {
	case l.dev.cc == 80:
		sharedPerSM = 164 << 10
	case l.dev.cc > 80 && l.dev.cc < 90:
		warpsPerSM, sharedPerSM, blocksPerSM = 48, 100<<10, 24
	}
	o := Occupancy{Blocks: blocksPerSM, Limiter: "blocks", Registers: l.Registers, Assumed: l.Registers == 0}
	limit := func(n int, by string) {
		if n < o.Blocks {
			o.Blocks, o.Limiter = n, by
		}
	}
	limit(warpsPerSM/l.warps, "warps")
	shared := (l.Kernel.StaticShared()+l.SharedBytes+127)/128*128 + 1<<10
	limit(sharedPerSM/shared, "shared memory")
	if l.Registers > 0 {
		perWarp := (l.Registers*32 + 255) / 256 * 256
		limit(65536/perWarp/l.warps, "registers")
	}
	o.Warps = o.Blocks * l.warps
	o.Share = float64(o.Warps) / float64(warpsPerSM)
	return o
}

// Print writes the profile as tables.
func (p *Profile) Print(w io.Writer) {
	fmt.Fprintf(w, "%s  grid %v  block %v\n", p.Kernel, p.Grid, p.Block)
	o := p.Occupancy
	regs := fmt.Sprintf("%d registers", o.Registers)
	if o.Assumed {
		regs = "registers unknown"
	}
	fmt.Fprintf(w, "occupancy %d blocks, %d warps, %.0f%%, limited by %s (%s)\n", o.Blocks, o.Warps, 100*o.Share, o.Limiter, regs)
	if p.WarpInstrs == 0 {
		return
	}
	fmt.Fprintf(w, "%d warp instructions, %d lane instructions, SIMD efficiency %.3f, %d divergent branches\n",
		p.WarpInstrs, p.LaneInstrs, p.SIMD, p.Diverged)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "warps\tshare\tlanes/warp\t  opcode\n")
	for _, c := range p.Opcodes {
		fmt.Fprintf(t, "%d\t%.1f%%\t%.1f\t  %s\n", c.Warps, 100*float64(c.Warps)/float64(p.WarpInstrs), float64(c.Lanes)/float64(c.Warps), c.Name)
	}
	_ = t.Flush()
	table := func(title, parts, ratio string, lines []Line) {
		if len(lines) == 0 {
			return
		}
		fmt.Fprintf(w, "%s\n", title)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(t, "line\trequests\t%s\t%s\t  instruction\n", parts, ratio)
		for _, l := range lines {
			instr := l.Instr
			if n := strings.IndexByte(instr, ' '); n > 0 {
				instr = instr[:n]
			}
			if l.CUDA != "" {
				instr += "  " + l.CUDA
			}
			fmt.Fprintf(t, "%d\t%d\t%d\t%.2f\t  %s\n", l.Line, l.Requests, l.Parts, l.Ratio, instr)
		}
		_ = t.Flush()
	}
	table(fmt.Sprintf("global memory: %.2f sectors of 32 bytes a request", p.SectorsPerReq), "sectors", "per request", p.Global)
	table(fmt.Sprintf("shared memory: %.2f wavefronts over ideal", p.Conflicts), "wavefronts", "over ideal", p.Shared)
}
