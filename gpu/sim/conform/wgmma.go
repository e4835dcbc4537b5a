package conform

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// wgmmaForms: D = A*B with A 64 x K and B N x K of small whole numbers, in every
// layout. The shared memory images are made here, byte for byte.
func wgmmaForms() []hand {
	var hs []hand
	type layout struct {
		span    int
		mnMajor bool
	}
	type types struct {
		a, b, d ptx.Type // B1: bytes of bits
		sat     bool
	}
	addTypes := func(t types, n int, a, b layout, regsA bool, neg bool) {
		size := max(t.a.Bits()/8, 1)
		k := 32 / size
		// Four steps along k where rows are 128 bytes long, else one.
		steps := 1
		if a.span == 128 && b.span == 128 && !a.mnMajor && !b.mnMajor && !regsA {
			steps = 4
		}
		K := k * steps
		r := rand.New(rand.NewPCG(uint64(n), uint64(t.a)))
		A, B := make([]int, 64*K), make([]int, n*K)
		elem := map[int]ptx.Type{0: t.a, 1: t.b}
		for j, m := range [][]int{A, B} {
			for i := range m {
				switch elem[j] {
				case ptx.S8:
					m[i] = r.IntN(256) - 128
				case ptx.U8, ptx.B1:
					m[i] = r.IntN(256)
				default:
					m[i] = r.IntN(7) - 3
				}
			}
		}
		encode := func(t ptx.Type, v int) uint64 {
			if t == ptx.B1 {
				return uint64(v)
			}
			return number64(t, v)
		}
		// image lays a matrix of rows x K out; it returns the leading and stride
		// byte offsets of its descriptor.
		image := func(m []int, t ptx.Type, rows int, l layout) (img []byte, lbo, sbo int) {
			switch {
			case !l.mnMajor && l.span > 0: // groups of 8 rows of span bytes
				sbo, lbo = 8*l.span, 16
				img = make([]byte, (rows+7)/8*sbo)
			case !l.mnMajor: // 8x16-byte cores: along k, then along rows
				lbo, sbo = 128, 256
				img = make([]byte, (rows+7)/8*sbo)
			case l.span > 0: // span bytes along mn, 8 of them along k; then mn, then k
				perRow := (2*rows + l.span - 1) / l.span
				lbo = 8 * l.span
				sbo = perRow * lbo
				img = make([]byte, 2*sbo)
			default: // cores of 8 (k) x 16 bytes (mn)
				sbo = 128
				lbo = (2*rows + 15) / 16 * 128
				img = make([]byte, 2*lbo)
			}
			for row := range rows {
				for kk := range K {
					v := m[row*K+kk]
					kb, mb := kk*size, row*size
					var at int
					switch {
					case !l.mnMajor && l.span > 0:
						at = row/8*sbo + row%8*l.span + kb
					case !l.mnMajor:
						at = row/8*sbo + row%8*16 + kb/16*lbo + kb%16
					case l.span > 0:
						at = mb/l.span*lbo + mb%l.span + kk%8*l.span + kk/8*sbo
					default:
						at = mb/16*sbo + mb%16 + kk%8*16 + kk/8*lbo
					}
					copy(img[swizzled(at, l.span):][:size], le.AppendUint64(nil, encode(t, v)))
				}
			}
			return img, lbo, sbo
		}
		mode := map[int]uint64{0: 0, 128: 1, 64: 2, 32: 3}
		desc := func(l layout, lbo, sbo int) uint64 { return uint64(lbo/16)<<16 | uint64(sbo/16)<<32 | mode[l.span]<<62 }
		imgA, lboA, sboA := image(A, t.a, 64, a)
		imgB, lboB, sboB := image(B, t.b, n, b)
		pad := func(x []byte) []byte { return append(x, make([]byte, (1024-len(x)%1024)%1024)...) }
		imgA, imgB = pad(imgA), pad(imgB)
		img := append(slices.Clone(imgA), imgB...)
		// A in registers: per warp as mma's A
		var frag []byte
		if regsA {
			per := 4 / size
			for i := range 128 {
				w, g, tt := i/32, i%32/4, i%4
				for q := range 4 {
					v := pack(per, 8*size, func(e int) uint64 { return encode(t.a, A[(16*w+g+8*(q%2))*K+per*tt+e+4*per*(q/2)]) })
					frag = le.AppendUint32(frag, uint32(v))
				}
			}
		}
		sign := 1
		if neg {
			sign = -1
		}
		var want []byte
		for i := range 128 {
			for e := range n / 2 {
				row, col := 16*(i/32)+i%32/4+8*(e/2%2), 8*(e/4)+2*(i%4)+e%2
				s := 0
				if t.sat {
					s = almostMost
				}
				for kk := range K {
					if x, y := A[row*K+kk], B[col*K+kk]; t.a == ptx.B1 {
						s += bits.OnesCount(uint(x & y))
					} else {
						s += x * y
					}
					if t.sat && kk%k == k-1 { // at the end of each step
						s = min(max(s, math.MinInt32), math.MaxInt32)
					}
				}
				want = append(want, le.AppendUint64(nil, encode(t.d, sign*s))[:t.d.Bits()/8]...)
			}
		}
		var regs []string
		for i := range n * t.d.Bits() / 64 {
			regs = append(regs, fmt.Sprintf("%%d%d", i))
		}
		D := "{" + strings.Join(regs, ", ") + "}"
		form := fmt.Sprintf("wgmma.mma_async.sync.aligned.m64n%dk%d.%v.%v.%v", n, k, t.d, t.a, t.b)
		if t.a == ptx.B1 {
			form = strings.Replace(form, "k32", "k256", 1) + ".and.popc"
		}
		if t.sat {
			form += ".satfinite"
		}
		reg := map[bool]string{true: "f32", false: "b32"}[t.d == ptx.F32]
		var body strings.Builder
		body.WriteString(loadBuf(128, len(img)))
		fmt.Fprintf(&body, `shr.u32 %%r0, %%r30, 4;
			cvt.u64.u32 %%q0, %%r0;
			or.b64 %%q1, %%q0, %d;
			add.u64 %%q0, %%q0, %d;
			or.b64 %%q2, %%q0, %d;
			`, desc(a, lboA, sboA), len(imgA)/16, desc(b, lboB, sboB))
		ins := [][]byte{img}
		opA := "%q1"
		if regsA {
			ins = append(ins, frag)
			body.WriteString("mad.wide.u32 %q3, %t, 16, %in1;\nld.global.v4.u32 {%r10, %r11, %r12, %r13}, [%q3];\n")
			opA = "{%r10, %r11, %r12, %r13}"
		}
		for _, d := range regs {
			start := map[bool]string{true: "0f7FC00000", false: "0x7FC00000"}[t.d == ptx.F32] // a NaN that scale-d false must not read
			if t.sat {
				start = fmt.Sprint(almostMost)
			}
			fmt.Fprintf(&body, "mov.%s %s, %s;\n", reg, d, start)
		}
		body.WriteString("setp.ne.u32 %p0, %t, %t;\nsetp.eq.u32 %p1, %t, %t;\nwgmma.fence.sync.aligned;\n")
		for s := range steps {
			tail := ", 1, 1"
			if neg {
				tail = ", -1, 1"
			}
			if size == 2 {
				if !regsA {
					tail += fmt.Sprintf(", %d", one(a.mnMajor))
				}
				tail += fmt.Sprintf(", %d", one(b.mnMajor))
			}
			if t.d == ptx.S32 {
				tail = ""
			}
			scale := min(s, 1)
			if t.sat {
				scale = 1
			}
			fmt.Fprintf(&body, "%s %s, %s, %%q2, %%p%d%s;\n", form, D, opA, scale, tail)
			if s < steps-1 {
				body.WriteString("add.u64 %q1, %q1, 2;\nadd.u64 %q2, %q2, 2;\n")
			}
		}
		fmt.Fprintf(&body, "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\nmad.wide.u32 %%q5, %%t, %d, %%out;\n", 4*len(regs))
		for i, d := range regs {
			fmt.Fprintf(&body, "st.global.%s [%%q5+%d], %s;\n", reg, 4*i, d)
		}
		isa := ""
		switch {
		case t.a != t.b:
			isa = "8.4"
		case t.a.Float() && size == 1:
			isa = "8.1"
		}
		name := fmt.Sprintf("%s.a%d%s.b%d%s", form, a.span, major(a.mnMajor), b.span, major(b.mnMajor))
		if regsA {
			name = fmt.Sprintf("%s.aregs.b%d%s", form, b.span, major(b.mnMajor))
		}
		if neg {
			name += ".neg"
		}
		hs = append(hs, hand{
			name: name, covers: []string{form, "wgmma.fence.sync.aligned", "wgmma.commit_group.sync.aligned", "wgmma.wait_group.sync.aligned"},
			block: 128, in: ins, want: want, elem: t.d, isa: isa,
			local: fmt.Sprintf(".shared .align 1024 .b8 buf[%d];\n.reg .%s %%d<%d>;", len(img), reg, len(regs)), body: body.String(),
		})
	}
	add := func(t ptx.Type, n int, a, b layout, regsA bool, neg bool) {
		addTypes(types{a: t, b: t, d: ptx.F32}, n, a, b, regsA, neg)
	}
	k128 := layout{128, false}
	for _, t := range []ptx.Type{ptx.F16, ptx.BF16, ptx.TF32} {
		for n := 8; n <= 256; n += 8 {
			add(t, n, k128, k128, false, false)
		}
		for _, span := range []int{0, 32, 64} {
			add(t, 64, layout{span, false}, layout{span, false}, false, false)
		}
		add(t, 64, k128, k128, true, false)
		add(t, 32, k128, k128, false, true)
	}
	for _, span := range []int{0, 32, 64, 128} {
		mn := layout{span, true}
		for _, n := range []int{8, 64, 128} {
			add(ptx.F16, n, mn, mn, false, false)
			add(ptx.F16, n, k128, mn, false, false)
			add(ptx.BF16, n, mn, k128, false, false)
			add(ptx.BF16, n, layout{}, mn, true, false)
		}
	}
	for _, n := range []int{8, 16, 40, 64, 248, 256} { // fp16 sums
		t := types{a: ptx.F16, b: ptx.F16, d: ptx.F16}
		addTypes(t, n, k128, k128, false, false)
		if n == 64 {
			addTypes(t, n, layout{64, true}, layout{32, true}, false, true)
			addTypes(t, n, layout{}, layout{128, true}, true, false)
		}
	}
	for i := range 4 {
		for _, n := range []int{8, 24, 64, 96, 256} {
			ints := types{a: []ptx.Type{ptx.S8, ptx.U8}[i/2], b: []ptx.Type{ptx.S8, ptx.U8}[i%2], d: ptx.S32}
			addTypes(ints, n, k128, k128, false, false)
			floats := types{a: []ptx.Type{ptx.E4M3, ptx.E5M2}[i/2], b: []ptx.Type{ptx.E4M3, ptx.E5M2}[i%2], d: ptx.F32}
			addTypes(floats, n, k128, k128, false, n == 24)
			if n == 64 {
				for _, span := range []int{0, 32, 64} {
					addTypes(ints, n, layout{span, false}, layout{span, false}, false, false)
					addTypes(floats, n, layout{span, false}, layout{span, false}, false, false)
				}
				addTypes(ints, n, k128, k128, true, false)
				addTypes(floats, n, k128, k128, true, i == 1)
				floats.d, ints.sat = ptx.F16, true
				addTypes(floats, 8, k128, k128, false, false)
				addTypes(ints, 8, k128, k128, false, false)
				addTypes(floats, n, k128, k128, false, false)
				addTypes(ints, n, k128, k128, false, false)
			}
		}
	}
	for _, n := range []int{8, 48, 256} {
		bits := types{a: ptx.B1, b: ptx.B1, d: ptx.S32}
		addTypes(bits, n, k128, k128, false, false)
		addTypes(bits, n, k128, layout{64, false}, true, false)
	}
	return hs
}

// almostMost is where sums begin that .satfinite ends.
const almostMost = math.MaxInt32 - 1000
