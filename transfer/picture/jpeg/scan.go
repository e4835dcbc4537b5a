package jpeg

import (
	"context"
	"errors"
)

// scan is one pass over one or more components.
type scan struct {
	*decoder
	r          bitReader
	in         []scanned
	ss, se     int
	ah, al     int
	eobRun     int32
	block      [64]int16
	sequential bool
}

// A scan of a progressive file takes a few bytes and visits every block, so their
// number is bounded by the blocks: cameras write ten scans, and optimisers thirty. A
// file that is not progressive has each component once; some broken ones have it again.
const (
	maxVisits   = 48      // of each block of a progressive file
	maxRepeats  = 4       // of each block of another one
	freeVisits  = 1 << 24 // of all, whatever the size: a fifth of a second
	freeRepeats = 1 << 20
)

// bounded counts the visits of a scan, and refuses too many.
func (d *decoder) bounded(visits int64) error {
	blocks := int64(0)
	for _, c := range d.comp {
		blocks += int64(c.bw) * int64(c.bh)
	}
	most := maxVisits*blocks + freeVisits
	if !d.progressive {
		most = maxRepeats*blocks + freeRepeats
	}
	if d.visits += visits; d.visits > most {
		return errors.New("it has more scans than any program writes")
	}
	return nil
}

type scanned struct {
	*component
	dc, ac *huffman
	pred   int32
}

func (d *decoder) sos(ctx context.Context, seg []byte) error {
	if d.comp == nil {
		return errNoFrame
	}
	if len(seg) < 1 || len(seg) < 4+2*int(seg[0]) {
		return errCut
	}
	n := int(seg[0])
	if n < 1 || n > len(d.comp) {
		return errors.New("a scan of impossible components")
	}
	s := &scan{decoder: d, sequential: !d.progressive}
	end := seg[1+2*n:]
	s.ss, s.se, s.ah, s.al = int(end[0]), int(end[1]), int(end[2]>>4), int(end[2]&15)
	if s.sequential {
		s.ss, s.se, s.ah, s.al = 0, 63, 0, 0
	} else if s.ss > s.se || s.se > 63 || s.al > 13 || s.ss == 0 && s.se != 0 || s.ss > 0 && n > 1 || s.ah > 0 && s.ah != s.al+1 {
		return errors.New("a scan of impossible coefficients")
	}
	blocks := 0
	for i := range n {
		var c *component
		for j := range d.comp {
			if d.comp[j].id == int(seg[1+2*i]) {
				c = &d.comp[j]
			}
		}
		if c == nil {
			return errors.New("a scan of impossible components")
		}
		for _, o := range s.in {
			if o.component == c {
				return errors.New("a scan has a component twice")
			}
		}
		td, ta := seg[2+2*i]>>4, seg[2+2*i]&15
		if td > 3 || ta > 3 {
			return errors.New("a scan of impossible codes")
		}
		in := scanned{component: c, dc: d.dc[td], ac: d.ac[ta]}
		if s.ss == 0 && s.ah == 0 && in.dc == nil || s.se > 0 && in.ac == nil {
			return errors.New("a scan without its table of codes")
		}
		if c.quant == nil {
			if c.quant = d.quant[c.tq]; c.quant == nil {
				return errors.New("a component without its quantisation table")
			}
		}
		if s.sequential && c.plane == nil {
			c.plane = make([]byte, 64*c.bw*c.bh)
		}
		if !s.sequential && c.coef == nil {
			c.coef = make([]int16, 64*c.bw*c.bh)
		}
		s.in = append(s.in, in)
		blocks += c.h * c.v
	}
	if n > 1 && blocks > 10 {
		return errors.New("a scan of more than ten blocks at a time")
	}
	s.r = bitReader{b: d.b, pos: d.pos}
	visits := int64(s.mcux) * int64(s.mcuy) * int64(blocks)
	if n == 1 {
		visits = int64(ceil(s.in[0].w, 8)) * int64(ceil(s.in[0].rows, 8))
	}
	if err := d.bounded(visits); err != nil {
		return err
	}
	err := s.run(ctx)
	d.pos = s.r.pos // never beyond a marker
	d.scans++
	return err
}

// run decodes all blocks. One component alone comes in rows of its own blocks,
// several in MCUs.
func (s *scan) run(ctx context.Context) error {
	cols, rows := s.mcux, s.mcuy
	alone := len(s.in) == 1
	if alone {
		cols, rows = ceil(s.in[0].w, 8), ceil(s.in[0].rows, 8)
	}
	left := s.restart
	for y := range rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		for x := range cols {
			if s.restart > 0 && left == 0 {
				if err := s.r.next(); err != nil {
					return err
				}
				left, s.eobRun = s.restart, 0
				for i := range s.in {
					s.in[i].pred = 0
				}
			}
			left--
			if alone {
				s.one(&s.in[0], x, y)
			} else {
				for i := range s.in {
					c := &s.in[i]
					for v := range c.v {
						for h := range c.h {
							s.one(c, x*c.h+h, y*c.v+v)
						}
					}
				}
			}
			if s.r.padded > 0 && s.r.cut() {
				return errCut
			}
		}
	}
	return nil
}

// one decodes one block.
func (s *scan) one(c *scanned, x, y int) {
	if s.sequential {
		clear(s.block[:])
		s.baseline(c)
		idct(&s.block, c.quant, c.plane[8*(y*c.stride()+x):], c.stride())
		return
	}
	b := (*[64]int16)(c.coef[64*(y*c.bw+x):])
	switch {
	case s.ss == 0 && s.ah == 0:
		s.r.fill()
		t := int(s.r.symbol(c.dc) & 15)
		c.pred += extend(s.r.get(t), t)
		b[0] = int16(c.pred << s.al)
	case s.ss == 0:
		s.r.fill()
		b[0] |= int16(s.r.get(1) << s.al)
	case s.ah == 0:
		s.acFirst(c, b)
	default:
		s.acRefine(c, b)
	}
}

func (s *scan) baseline(c *scanned) {
	r := &s.r
	r.fill()
	t := int(r.symbol(c.dc) & 15)
	c.pred += extend(r.get(t), t)
	s.block[0] = int16(c.pred)
	for k := 1; k < 64; k++ {
		r.fill()
		rs := r.symbol(c.ac)
		n := int(rs & 15)
		if n == 0 {
			if rs != 0xf0 {
				return
			}
			k += 15
			continue
		}
		k += int(rs >> 4)
		s.block[natural[k]] = int16(extend(r.get(n), n))
	}
}

func (s *scan) acFirst(c *scanned, b *[64]int16) {
	if s.eobRun > 0 {
		s.eobRun--
		return
	}
	r := &s.r
	for k := s.ss; k <= s.se; k++ {
		r.fill()
		rs := r.symbol(c.ac)
		run, n := int(rs>>4), int(rs&15)
		if n == 0 {
			if run != 15 {
				s.eobRun = 1<<run - 1 + r.get(run)
				return
			}
			k += 15
			continue
		}
		k += run
		b[natural[min(k, 63)]] = int16(extend(r.get(n), n) << s.al)
	}
}

// acRefine adds one bit to coefficients that are there, and new ones of one bit
// (G.1.2.3).
func (s *scan) acRefine(c *scanned, b *[64]int16) {
	r := &s.r
	plus, minus := int16(1)<<s.al, int16(-1)<<s.al
	more := func(v *int16) {
		r.fill()
		if r.get(1) == 0 || *v&plus != 0 {
			return
		}
		if *v >= 0 {
			*v += plus
		} else {
			*v += minus
		}
	}
	k := s.ss
	for s.eobRun == 0 && k <= s.se {
		r.fill()
		rs := r.symbol(c.ac)
		run, n := int(rs>>4), int(rs&15)
		var v int16
		if n == 0 {
			if run != 15 {
				s.eobRun = 1<<run + r.get(run)
				break
			}
		} else if v = minus; r.get(1) == 1 {
			v = plus
		}
		for ; k <= s.se; k++ {
			if p := &b[natural[k]]; *p != 0 {
				more(p)
			} else if run == 0 {
				*p = v
				k++
				break
			} else {
				run--
			}
		}
	}
	if s.eobRun > 0 {
		for ; k <= s.se; k++ {
			if p := &b[natural[k]]; *p != 0 {
				more(p)
			}
		}
		s.eobRun--
	}
}
