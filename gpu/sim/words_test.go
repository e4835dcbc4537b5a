package sim

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// The hot paths of loads and stores leave the same shadow and say the same as
// word after word and lane after lane does, whatever warps have done before: two
// blocks do the same, one by either.
func TestHotPaths(t *testing.T) {
	const most = 150 // accesses, each with an instruction of its own
	body := ".shared .align 16 .b8 buf[512];\n" + strings.Repeat("mov.u32 %r1, buf;\n", most)
	r := newRig(t, Config{}, "tiny.ptx", tiny("sm_80", body))
	mem := r.bytes("A", make([]byte, 4096))
	k := r.mod.Kernels[0]
	buf := uint32(k.sharedAt[k.entry.Vars[0]])
	l := &launch{Launch: Launch{Kernel: k, Block: Dim{64, 1, 1}, Grid: Dim{1, 1, 1}, Cluster: Dim{1, 1, 1}}, dev: r.dev, warps: 2}
	l.agents = l.agentsPerCTA()
	const data, addr32, addr64 = 0, 5, 1 // registers
	reports, shapes := map[string]int{}, map[string]int{}
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		hot, plain := l.newGroup(), l.newGroup()
		hot.reset()
		plain.reset()
		both := func(f func(g *group)) { f(hot); f(plain) }
		type instr struct {
			x     *access
			o     *op
			at    [32]uint32
			m     uint32
			shape int
		}
		var loop []instr     // those that may come again
		if rnd.IntN(4) > 0 { // else most is uninitialised
			both(func(g *group) {
				c := g.ctas[0]
				c.memory.wrote(0, uint32(len(c.init)))
				fill(c.init, 1)
				for i := range c.quads {
					c.quads[i].w = makeTag(c.warps[0].agent, 0, 0, 0, 15)
				}
			})
		}
	steps:
		for step := range most {
			i := rnd.IntN(2)
			switch rnd.IntN(5) {
			case 0:
				both(func(g *group) { g.ctas[0].warps[i].tick() })
				continue
			case 1:
				both(func(g *group) {
					s := g.newClocks()
					for _, w := range g.ctas[0].warps {
						w.release(&s)
					}
					for _, w := range g.ctas[0].warps {
						w.acquire(&s)
					}
				})
				continue
			}
			run := func(g *group, f func(*warp)) (rep *Report) {
				defer func() {
					if e := recover(); e != nil {
						rep = e.(*Report)
					}
				}()
				f(g.ctas[0].warps[i])
				return nil
			}
			same := func(what string, got, want *Report) (more bool) {
				if want != nil {
					reports[string(want.Kind)]++
				}
				if !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d, step %d: %s: %v\nwant %v", seed, step, what, got, want)
				}
				for key, p := range plain.pages {
					if want == nil && (hot.pages[key] == nil || !slices.Equal(hot.pages[key].seen(), p.seen())) {
						g, w := hot.pages[key].seen(), p.seen()
						for i := range g {
							if g[i] != w[i] {
								t.Fatalf("seed %d, step %d: %s: word %d is %x, want %x", seed, step, what, i, g[i], w[i])
							}
						}
					}
				}
				return want == nil
			}
			if rnd.IntN(8) == 0 { // a run of one lane, as bulk copies have it
				addr := uint64(mem) + uint64(4*rnd.IntN(64))
				n, lane, write := 16*(1+rnd.IntN(100)), rnd.IntN(32), rnd.IntN(2) == 0
				o := &op{pc: int32(1 + step), in: k.code[0].in}
				a := r.dev.mem.find(addr)
				got := run(hot, func(w *warp) { w.noteGlobal(o, a, addr, addr-a.base, n, lane, write, false, w.how(o, lane, false)) })
				want := run(plain, func(w *warp) {
					for at := addr; at < addr+uint64(n); at += 4 {
						w.noteWord(o, w.g.cellAt(at), at, lane, write, false, w.how(o, lane, false), 15)
					}
				})
				if !same("run", got, want) {
					break steps
				}
				continue
			}
			fresh := func() instr {
				x := &access{space: ptx.Shared, n: 1 << rnd.IntN(3), elem: 4, store: rnd.IntN(2) == 0, strong: rnd.IntN(8) == 0, regs: [8]int32{data, data + 1, data + 2, data + 3}}
				x.bytes = 4 * x.n
				if rnd.IntN(2) == 0 {
					x.space, x.base64, x.strong = ptx.Global, true, false
					x.nc = !x.store && rnd.IntN(4) == 0
				}
				o := &op{pc: int32(1 + step), in: k.code[0].in, ext: x, a: addr32}
				shape := rnd.IntN(6)
				from, turn := rnd.IntN(4), rnd.IntN(32)
				if x.space == ptx.Global && rnd.IntN(16) > 0 { // whole lines, for long
					shape = 0
					if rnd.IntN(3) == 0 {
						shape = 5
					}
					from = lineWords * rnd.IntN(3) / x.n
					if rnd.IntN(4) == 0 { // across the end of a page
						from = pageWords/x.n - 1 - rnd.IntN(31)
					}
				}
				var at [32]uint32
				for lane := range at {
					switch shape {
					case 0: // side by side
						at[lane] = uint32(from + lane)
					case 1: // in turn
						at[lane] = uint32((lane*5 + turn) % 32)
					case 2: // all the same
						at[lane] = uint32(turn)
					case 3: // some the same
						at[lane] = uint32(lane / 4)
					case 5: // side by side in lines that are apart
						lanes := lineWords / x.n
						at[lane] = uint32((lane/lanes*3+turn)%16*lanes + lane%lanes)
					default:
						at[lane] = uint32(rnd.IntN(16) + rnd.IntN(2)*32)
					}
					at[lane] *= uint32(x.bytes)
					if x.space == ptx.Shared {
						at[lane] = buf + at[lane]%512
					}
				}
				m := full
				if rnd.IntN(2) == 0 && (x.space != ptx.Global || rnd.IntN(8) == 0) {
					m = rnd.Uint32() | 1<<turn
				}
				return instr{x, o, at, m, shape}
			}
			var in instr
			if n := len(loop); n > 0 && rnd.IntN(3) == 0 {
				in = loop[rnd.IntN(n)]
				if in.x.space == ptx.Shared { // a little further on, where some may come round
					by := uint32(16 * rnd.IntN(8))
					for lane, a := range in.at {
						in.at[lane] = buf + (a-buf+by)%512
					}
					if rnd.IntN(4) == 0 {
						in.at[rnd.IntN(32)] = in.at[rnd.IntN(32)]
					}
				}
			} else {
				in = fresh()
				loop = append(loop, in)
			}
			x, o, at, m, shape, turn := in.x, in.o, in.at, in.m, in.shape, rnd.IntN(32)
			value := rnd.Uint32()
			both(func(g *group) {
				w := g.ctas[0].warps[i]
				for lane := range 32 {
					if w.r[addr32][lane] = at[lane]; x.base64 {
						w.q[addr64][lane] = uint64(mem) + uint64(at[lane])
					}
					for j := range x.n {
						if x.store {
							w.r[data+j][lane] = value
						}
					}
				}
				if x.base64 {
					o.a = addr64
				}
				if x.store && rnd.IntN(16) == 0 { // of different values
					w.r[data][turn] = ^value
				}
			})
			both(func(g *group) { g.ctas[0].warps[i].r[data] = hot.ctas[0].warps[i].r[data] })
			fast := execShared
			if x.space == ptx.Global {
				fast = execGlobal
			}
			got, want := run(hot, func(w *warp) { fast(w, o, m) }), run(plain, func(w *warp) { byWord(w, o, m) })
			shapes[fmt.Sprint(x.space, x.store, shape)]++
			if !same(fmt.Sprintf("%+v", x), got, want) {
				break steps
			}
			a, b := hot.ctas[0], plain.ctas[0]
			for off := uint32(0); off < uint32(len(a.init)); off += 4 {
				got, _ := a.cellAt(off)
				want, _ := b.cellAt(off)
				if *got != *want {
					t.Fatalf("seed %d, step %d: %+v at %s: %x, want %x", seed, step, x, a.where(off), *got, *want)
				}
			}
			if !reflect.DeepEqual(a.warps[i].r[data:data+x.n], b.warps[i].r[data:data+x.n]) {
				t.Fatalf("seed %d, step %d: %+v: registers", seed, step, x)
			}
		}
	}
	t.Log(reports, shapes)
	if reports[string(Race)] < 500 || reports[string(Uninitialised)] < 300 {
		t.Errorf("only %v", reports)
	}
}

// Blocks that meet in lines leave the marks and reports that they leave when they meet
// word by word.
func TestMergeLines(t *testing.T) {
	r := newRig(t, Config{}, "tiny.ptx", tiny("sm_80", strings.Repeat("mov.u32 %r1, 0;\n", 40)))
	mem := r.bytes("A", make([]byte, 4096))
	k := r.mod.Kernels[0]
	const data, addr = 0, 1 // registers
	reports := 0
	for seed := range uint64(800) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var shadows [2]*globalShadow
		var launches [2]*launch
		for i := range launches {
			shadows[i] = newGlobalShadow()
			launches[i] = &launch{
				Launch: Launch{Kernel: k, Block: Dim{32, 1, 1}, Grid: Dim{4, 1, 1}, Cluster: Dim{1, 1, 1}}, dev: r.dev, warps: 1, shadow: shadows[i],
			}
			launches[i].agents = launches[i].agentsPerCTA()
		}
		for cluster := range 4 {
			var groups [2]*group
			for i, l := range launches {
				groups[i] = l.newGroup()
				groups[i].assign(cluster)
				groups[i].reset()
			}
			for step := range 1 + rnd.IntN(4) {
				x := &access{space: ptx.Global, n: 1 << rnd.IntN(3), elem: 4, base64: true, store: rnd.IntN(12) == 0, regs: [8]int32{data, data, data, data}}
				x.bytes = 4 * x.n
				o := &op{pc: int32(1 + 10*cluster + step), in: k.code[0].in, ext: x, a: addr}
				from := lineBytes * rnd.IntN(30)
				if rnd.IntN(4) == 0 {
					from += x.bytes * rnd.IntN(4)
				}
				for _, g := range groups {
					w := g.ctas[0].warps[0]
					for lane := range 32 {
						w.q[addr][lane] = uint64(mem) + uint64(from+lane*x.bytes)
					}
					w.tick()
					execGlobal(w, o, full)
				}
			}
			for _, p := range groups[1].pages {
				p.words(0, pageWords)
			}
			got, want := groups[0].flush(), groups[1].flush()
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: %v\nwant %v", seed, got, want)
			}
			if want != nil {
				reports++
			}
		}
		lines, words := history{}, history{}
		lines.add(shadows[0])
		words.add(shadows[1])
		if !reflect.DeepEqual(lines, words) {
			t.Fatalf("seed %d: of lines and of words launches before have touched other words", seed)
		}
		for range 20 {
			at, n, write := uint64(mem)+uint64(4*rnd.IntN(900)), uint64(4*(1+rnd.IntN(100))), rnd.IntN(2) == 0
			clean := true
			for a := at; a < at+n; a += 4 {
				written, read := words.of(a)
				clean = clean && !written && (!write || !read)
			}
			if got := words.clean(at, n, write); got != clean {
				t.Fatalf("seed %d: %d bytes at %#x are clean: %v, want %v", seed, n, at, got, clean)
			}
		}
		for key, q := range shadows[1].pages {
			p := shadows[0].pages[key]
			if q.lines == nil {
				if !slices.Equal(p.page.seen(), q.page.seen()) {
					t.Fatalf("seed %d: page %d differs", seed, key)
				}
				continue
			}
			for i := range pageWords {
				if got, want := *p.lines.cell(i), *q.lines.cell(i); got != want {
					t.Fatalf("seed %d: page %d, word %d is %x, want %x", seed, key, i, got, want)
				}
			}
		}
	}
	if reports < 200 {
		t.Errorf("only %d reports", reports)
	}
}

// seen returns the words of a page, and leaves it as it is.
func (p *page) seen() []cell {
	q := *p
	if q.cells != nil {
		cells := *q.cells
		q.cells = &cells
	}
	return q.words(0, pageWords)
}

// byWord is a load or store as the hot paths do it, without what makes them hot.
func byWord(w *warp, o *op, m uint32) {
	x := o.ext.(*access)
	if x.store {
		w.storeConflict(o, x, m)
	}
	for ; m != 0; m &= m - 1 {
		i := bits.TrailingZeros32(m) & 31
		addr := w.address(o, x, i)
		h := w.how(o, i, x.strong)
		var b []byte
		if x.space == ptx.Global {
			a, off := w.global(o, addr, x.bytes, x.bytes, i, x.store)
			for k := addr; k < addr+uint64(x.bytes); k += 4 {
				w.noteWord(o, w.g.cellAt(k), k, i, x.store, x.nc, h, 15)
			}
			b = a.data[off:]
		} else {
			off := uint32(addr)
			for k := off; k < off+uint32(x.bytes); k += 4 {
				cl := &w.c.words(k, 1)[0]
				var t tag
				what := "read"
				if x.store {
					what = "write"
					w.c.memory.wrote(k, 4)
					fill(w.c.init[k:k+4], 1)
					t = w.write(cl, h, 15)
				} else {
					if strings.Contains(string(w.c.init[k:k+4]), "\x00") {
						w.trap(Uninitialised, o, i, "%s was never written", w.c.where(k))
					}
					t = w.read(cl, h, 15)
				}
				if t != 0 {
					w.sharedConflict(o, w.c, k, i, h, what, cl, t)
				}
			}
			b = w.c.smem[off:]
		}
		if x.store {
			w.put(x, b, i)
		} else {
			w.load(x, b, i)
		}
	}
}
