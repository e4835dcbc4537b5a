// Command samples renders the sample pictures of testdata: a landscape to repaint, a mask
// of its sky, a painting made of brush strokes that follow a swirling field, and a mosaic.
// The project has no photographs; these are formulas, so anyone may use them.
//
//	go run ./tools/samples -dir testdata
//	go run ./tools/samples -kinds -dir DIR
//
// With -kinds it renders one picture of each kind that presets are measured on.
package main

import (
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
)

const w, h = 640, 480

type rgb struct{ r, g, b float64 }

func (a rgb) mix(b rgb, t float64) rgb {
	t = min(max(t, 0), 1)
	return rgb{a.r + (b.r-a.r)*t, a.g + (b.g-a.g)*t, a.b + (b.b-a.b)*t}
}

func hex(v uint32) rgb {
	return rgb{float64(v>>16&255) / 255, float64(v>>8&255) / 255, float64(v&255) / 255}
}

func main() {
	dir := flag.String("dir", "testdata", "folder to write to")
	kinds := flag.Bool("kinds", false, "render a portrait, line art, flat colours, a texture and a night instead")
	flag.Parse()
	pictures := map[string]func(*canvas){"content.jpg": landscape, "style.jpg": strokes, "mosaic.jpg": pixel(mosaic), "sky.png": pixel(sky)}
	if *kinds {
		pictures = map[string]func(*canvas){
			"portrait.jpg": pixel(portrait), "lines.jpg": pixel(lines), "flat.jpg": pixel(flat), "texture.jpg": pixel(texture), "night.jpg": pixel(night),
		}
	}
	for name, render := range pictures {
		c := &canvas{}
		render(c)
		if err := c.save(filepath.Join(*dir, name)); err != nil {
			fmt.Fprintln(os.Stderr, "samples:", err)
			os.Exit(1)
		}
	}
}

type canvas [h][w]rgb

func (c *canvas) save(path string) error {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range c {
		for x, p := range c[y] {
			q := func(v float64) uint8 { return uint8(min(max(v, 0), 1)*255 + 0.5) }
			m.SetRGBA(x, y, color.RGBA{q(p.r), q(p.g), q(p.b), 255})
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if filepath.Ext(path) == ".png" {
		grey := image.NewGray(m.Bounds())
		draw.Draw(grey, m.Bounds(), m, image.Point{}, draw.Src)
		err = png.Encode(f, grey)
	} else {
		err = jpeg.Encode(f, m, &jpeg.Options{Quality: 88})
	}
	return errors.Join(err, f.Close())
}

// noise is value noise: a smooth random field in [0,1].
func noise(x, y float64, seed uint64) float64 {
	at := func(i, j int) float64 {
		z := uint64(int64(i))*0x9e3779b97f4a7c15 ^ uint64(int64(j))*0xc2b2ae3d27d4eb4f ^ seed*0x165667b19e3779f9
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return float64((z^z>>31)>>11) / (1 << 53)
	}
	i, j := int(math.Floor(x)), int(math.Floor(y))
	fade := func(t float64) float64 { return t * t * (3 - 2*t) }
	u, v := fade(x-math.Floor(x)), fade(y-math.Floor(y))
	a := at(i, j)*(1-u) + at(i+1, j)*u
	b := at(i, j+1)*(1-u) + at(i+1, j+1)*u
	return a*(1-v) + b*v
}

// fbm adds octaves of noise.
func fbm(x, y float64, octaves int, seed uint64) (sum float64) {
	amp, norm := 1.0, 0.0
	for i := range octaves {
		sum += amp * noise(x, y, seed+uint64(i))
		norm += amp
		amp, x, y = amp/2, 2*x, 2*y
	}
	return sum / norm
}

// pixel is a picture whose every pixel is a function of its place.
func pixel(f func(x, y float64) rgb) func(*canvas) {
	return func(c *canvas) {
		for y := range c {
			for x := range c[y] {
				c[y][x] = f(float64(x), float64(y))
			}
		}
	}
}

// portrait: a face before a soft background, lit from the left.
func portrait(x, y float64) rgb {
	p := hex(0x6b7f6a).mix(hex(0x2c3a35), fbm(x/220, y/220, 3, 100)+x/w*0.4)
	u, v := (x-320)/115, (y-225)/150
	face := u*u + v*v
	if s := (x - 320) / 210; y > 395-40*math.Cos(s*1.4)+60*s*s { // shoulders
		p = hex(0x7a2f3a).mix(hex(0x2a1016), (x-180)/330+0.3*fbm(x/7, y/23, 3, 101))
	}
	if math.Abs(x-320) < 52 && y > 320 && y < 410 {
		p = hex(0xc88e6d).mix(hex(0x8a5138), (x-270)/110)
	}
	if hair := u*u*0.72 + (v+0.28)*(v+0.28)*0.8; hair < 1.05+0.06*fbm(x/5, y/30, 2, 102) {
		p = hex(0x2b1a12).mix(hex(0x6d4630), fbm((x+y*0.2)/3, y/60, 3, 103)*1.2-0.2)
	}
	if face < 0.82 && v > -0.52+0.16*u*u {
		p = hex(0xeebf9b).mix(hex(0x9c5f42), max(u*0.75+0.25+face*0.25, 0)*0.9).mix(hex(0xd97f6c), 0.5*math.Exp(-((math.Abs(u)-0.42)*(math.Abs(u)-0.42)+(v-0.2)*(v-0.2))*18))
		eu, ev := (math.Abs(u)-0.36)/0.15, (v+0.08)/0.065
		switch eye := eu*eu + ev*ev; {
		case eye < 0.16:
			p = hex(0x10131a)
		case eye < 0.5:
			p = hex(0x49704f)
		case eye < 1 && math.Abs(ev) < 0.8:
			p = hex(0xf4efe8)
		}
		if math.Abs((math.Abs(u)-0.36)/0.2) < 1 && math.Abs(v+0.25+0.06*math.Cos((math.Abs(u)-0.36)*7)) < 0.025 {
			p = hex(0x3a241a)
		}
		p = p.mix(hex(0x8a4f38), 0.6*math.Exp(-((u-0.09)*(u-0.09)*90+(v-0.2)*(v-0.2)*40)))
		if m := (v - 0.5 + 0.03*math.Cos(u*9)) / 0.055; math.Abs(u) < 0.3 && math.Abs(m) < 1-u*u*8 {
			p = hex(0xb34a4a).mix(hex(0x6d2229), max(-m, 0))
		}
	}
	return p
}

// lines: ink on paper, hatched rings and a grid in perspective.
func lines(x, y float64) rgb {
	ink := 0.0
	line := func(d, width float64) { ink = max(ink, min(max(width-math.Abs(d), 0), 1)) }
	ring := math.Hypot(x-220, y-230) + 6*fbm(x/60, y/60, 2, 110)
	line(math.Mod(ring, 22)-11, 1.7)
	if a := math.Atan2(y-230, x-220); a > 0.3 && a < 1.9 && ring < 180 {
		line(math.Mod(x+y, 9)-4.5, 1.2)
	}
	if x > 400 {
		depth := 60 / (y + 20)
		line(math.Mod((x-400)*depth*4, 30)-15, 1.5*depth+0.8)
		line(math.Mod(1800*depth, 40)-20, 1.6)
	}
	line(x-400, 2.4)
	return hex(0xf7f3e8).mix(hex(0x15151b), ink)
}

// flat: shapes of one colour each, with hard edges.
func flat(x, y float64) rgb {
	p := hex(0xf2d8a7)
	for i, s := range []struct{ x, y, r float64 }{{160, 170, 120}, {430, 140, 90}, {330, 330, 140}, {560, 380, 70}, {90, 400, 60}} {
		if d := max(math.Abs(x-s.x), math.Abs(y-s.y)); i%2 == 0 && math.Hypot(x-s.x, y-s.y) < s.r || i%2 == 1 && d < s.r {
			p = []rgb{hex(0xd1495b), hex(0x00798c), hex(0xedae49), hex(0x30638e), hex(0x003d5b)}[i]
		}
	}
	if y > 300+x*0.2 && y < 330+x*0.2 {
		p = hex(0x2e4057)
	}
	return p
}

// texture: woven cloth with moss on it.
func texture(x, y float64) rgb {
	warp, weft := math.Sin(x*0.7), math.Sin(y*0.7+math.Pi*math.Floor(x/4.5))
	p := hex(0x8a6f4d).mix(hex(0xd9c39a), 0.5+0.25*warp+0.25*weft+(fbm(x/3, y/3, 2, 120)-0.5)*0.6)
	moss := fbm(x/60, y/60, 5, 121)
	return p.mix(hex(0x3c5a24).mix(hex(0x93ad4a), fbm(x/2.5, y/2.5, 2, 122)), (moss-0.5)*9)
}

// night: a dark town under a few stars, with lit windows and their glow.
func night(x, y float64) rgb {
	p := hex(0x05070f).mix(hex(0x1a2340), y/h).mix(hex(0x3a3550), max(fbm(x/160, y/60, 4, 130)-0.55, 0))
	if s := noise(x*0.9, y*0.9, 131); y < 300 && s > 0.985 {
		p = hex(0xe8ecff)
	}
	for i := range 14 {
		left, top := float64(i)*46, 210+150*noise(float64(i)*3.7, 0.5, 132)
		if x < left || x > left+44 || y < top {
			continue
		}
		p = hex(0x0a0c14).mix(hex(0x141a2a), noise(float64(i), 2, 133))
		wx, wy := math.Mod(x-left, 11), math.Mod(y-top, 15)
		if lit := noise(math.Floor((x-left)/11)+float64(i)*9, math.Floor((y-top)/15)*1.7, 134); lit > 0.55 && wx > 2 && wx < 8 && wy > 3 && wy < 11 {
			p = hex(0xffc766).mix(hex(0xffe9b8), lit)
		}
	}
	return p.mix(hex(0xffb347), 0.35*math.Exp(-(y-h)*(y-h)/9000)*fbm(x/90, 1, 2, 135))
}

// The landscape's lake begins at the horizon, and behind it are three ranges of hills.
const horizon = 290.0

var hills = []struct {
	base, amp, scale float64
	near, far        rgb
}{{215, 95, 210, hex(0x7b8fb5), hex(0xb3b8cf)}, {248, 70, 130, hex(0x4d6a7d), hex(0x7d90a0)}, {276, 45, 80, hex(0x2f5146), hex(0x56735a)}}

// ridge is where a range of hills ends above x.
func ridge(i int, x float64) float64 {
	r := hills[i]
	return r.base - r.amp*(fbm(x/r.scale, 0.5, 5, uint64(10+i))-0.35)
}

// sky: white where the landscape has its sky, black below.
func sky(x, y float64) rgb {
	for i := range hills {
		if y > ridge(i, x) {
			return rgb{}
		}
	}
	return rgb{1, 1, 1}
}

// landscape: evening sky, three ranges of hills, a lake that mirrors them, a
// house and two trees on the near shore.
func landscape(c *canvas) {
	sunX, sunY := 430.0, 170.0
	world := func(x, y float64) rgb { // everything above the water line
		sky := hex(0x2b4c8c).mix(hex(0xf6c48a), y/horizon)
		cloud := fbm(x/140, y/45, 5, 3)
		sky = sky.mix(hex(0xfff1dc), (cloud-0.52)*3*(1-y/horizon*0.5))
		d := math.Hypot(x-sunX, y-sunY)
		sky = sky.mix(hex(0xffe9b0), math.Exp(-d/60)*0.9)
		if d < 27 {
			sky = hex(0xfff6da)
		}
		col := sky
		for i, r := range hills {
			top := ridge(i, x)
			if y > top {
				lit := fbm(x/9, y/7, 3, uint64(20+i))
				col = r.far.mix(r.near, (y-top)/60).mix(hex(0xe8d6a0), max(lit-0.6, 0)*0.8)
			}
		}
		return col
	}
	for y := range c {
		for x := range c[y] {
			fx, fy := float64(x), float64(y)
			p := world(fx, fy)
			if fy > horizon { // the lake
				depth := (fy - horizon) / (h - horizon)
				wave := (fbm(fx/(30+90*depth), fy/(2+7*depth), 3, 40) - 0.5) * (6 + 40*depth)
				p = world(fx+wave, 2*horizon-fy-wave*0.4).mix(hex(0x1f3f5f), 0.25+0.35*depth)
				if g := fbm(fx/18, fy/2.2, 2, 41); g > 0.72 && math.Abs(fx-sunX) < 40+130*depth {
					p = p.mix(hex(0xffe2a8), 0.75)
				}
			}
			shore := 440 - 70*math.Exp(-(fx-90)*(fx-90)/(170*170)) + 12*fbm(fx/30, 0, 3, 50)
			if fy > shore { // the near shore
				grass := fbm(fx/3.5, fy/11, 3, 51)
				p = hex(0x27401f).mix(hex(0x86a03c), grass*1.4-0.3).mix(hex(0xd9b34a), max(fbm(fx/5, fy/5, 2, 52)-0.7, 0)*2.5)
			}
			c[y][x] = p
		}
	}
	house(c)
	tree(c, 225, 412, 92, 60)
	tree(c, 268, 424, 66, 61)
}

func house(c *canvas) {
	for y := 300; y < 395; y++ {
		for x := 40; x < 180; x++ {
			fx, fy := float64(x), float64(y)
			switch roof := 300 + math.Abs(fx-110)*0.62; {
			case fy < roof:
				continue
			case fy < 343:
				tile := math.Mod(fy, 7)/7*0.25 + 0.1*noise(fx/4, fy/7, 70)
				c[y][x] = hex(0xa8452c).mix(hex(0x5f2018), tile+0.2)
				continue
			}
			if x < 54 || x >= 166 {
				continue
			}
			wall := hex(0xefe0c0).mix(hex(0xb59a73), 0.5*fbm(fx/12, fy/5, 3, 71)+(fx-54)/300)
			switch {
			case x > 100 && x < 120 && y > 358:
				wall = hex(0x5a3a24)
			case (x > 66 && x < 86 || x > 134 && x < 154) && y > 354 && y < 374:
				wall = hex(0x86b3d1).mix(hex(0xffe9a8), float64(374-y)/24)
				if x == 76 || x == 144 || y == 364 {
					wall = hex(0xf5efe0)
				}
			}
			c[y][x] = wall
		}
	}
}

func tree(c *canvas, cx, foot, size int, seed uint64) {
	for y := foot - 2*size; y < foot+6; y++ {
		for x := cx - size; x < cx+size; x++ {
			if x < 0 || y < 0 || x >= w || y >= h {
				continue
			}
			fx, fy := float64(x-cx), float64(y-foot)
			if math.Abs(fx) < 5-fy*-0.02 && fy > -float64(size) && fy < 5 {
				c[y][x] = hex(0x4a2f1c).mix(hex(0x8a6038), (fx+5)/14)
			}
			dx, dy := fx/float64(size)*1.5, (fy+float64(size)*1.15)/float64(size)*1.35
			leaf := fbm(float64(x)/6, float64(y)/6, 4, seed)
			if r := dx*dx + dy*dy; r < 0.75+(leaf-0.5)*1.1 {
				c[y][x] = hex(0x1d3a1a).mix(hex(0x7fa83a), leaf*1.5-0.35-dy*0.25).mix(hex(0xe5c65a), max(-dx*0.3-dy*0.3+leaf-0.75, 0))
			}
		}
	}
}

// mosaic: tiles of red, orange and cream clay, each nearest to its own point, in dark mortar.
func mosaic(x, y float64) rgb {
	const tile = 22
	nearest, second, which := math.Inf(1), math.Inf(1), 0.0
	i, j := math.Floor(x/tile), math.Floor(y/tile)
	for v := j - 2; v <= j+2; v++ {
		for u := i - 2; u <= i+2; u++ {
			d := math.Hypot(x-tile*(u+noise(u, v, 140)), y-tile*(v+noise(u, v, 141)))
			if d < nearest {
				nearest, second, which = d, nearest, noise(u, v, 142)
			} else {
				second = min(second, d)
			}
		}
	}
	clay := []rgb{hex(0xb3261e), hex(0xd9541e), hex(0xeb8a2f), hex(0xf3e3c3), hex(0x7a1712), hex(0xf0b45a)}
	p := clay[int(which*float64(len(clay)))].mix(rgb{}, 0.25*fbm(x/4, y/4, 2, 143))
	return p.mix(hex(0x2a1a16), 2.5-(second-nearest))
}

// strokes: thousands of short curved brush strokes along a field of whirls, in
// blues with ochre and white, each with bristles and a ridge of paint.
func strokes(c *canvas) {
	r := rand.New(rand.NewPCG(5, 9))
	type whirl struct{ x, y, r, turn float64 }
	whirls := []whirl{{170, 150, 95, 1}, {420, 110, 80, -1}, {545, 300, 70, 1}, {300, 330, 100, -1}, {80, 380, 60, 1}}
	field := func(x, y float64) (float64, float64) {
		vx, vy := 1.0, 0.25*math.Sin(x/70)
		for _, k := range whirls {
			dx, dy := x-k.x, y-k.y
			g := 3.2 * math.Exp(-(dx*dx+dy*dy)/(2*k.r*k.r)) * k.turn / k.r
			vx, vy = vx-dy*g, vy+dx*g
		}
		n := math.Hypot(vx, vy) + 1e-9
		return vx / n, vy / n
	}
	palette := []rgb{hex(0x15264f), hex(0x1f3f86), hex(0x2f66b0), hex(0x5b94c9), hex(0x9cc3d9), hex(0x27506b), hex(0x0d1836)}
	warm := []rgb{hex(0xf2c541), hex(0xe39a2b), hex(0xfbe9a0), hex(0xf7f2dd)}
	for y := range c {
		for x := range c[y] {
			c[y][x] = hex(0x1a2c57)
		}
	}
	for pass, width := range []float64{7.5, 5, 3.2, 2.2} {
		for range 900 * (pass + 1) * (pass + 2) / 2 {
			x, y := r.Float64()*w, r.Float64()*h
			t := fbm(x/90, y/70, 3, 90)
			col := palette[int(t*1.6*float64(len(palette)))%len(palette)]
			for _, k := range whirls { // suns: warm paint in rings round the whirls
				d := math.Hypot(x-k.x, y-k.y) / k.r
				if ring := math.Sin(d*7 + k.x); d < 0.45 || d < 1.15 && ring > 0.35 {
					col = warm[r.IntN(len(warm))].mix(col, max(d-0.5, 0)*0.8)
				}
			}
			if r.IntN(24) == 0 {
				col = warm[r.IntN(len(warm))]
			}
			col = col.mix(rgb{1, 1, 1}, (r.Float64()-0.5)*0.3).mix(rgb{}, r.Float64()*0.15)
			stroke(c, r, x, y, width, 14+r.Float64()*26, col, field)
		}
	}
}

func stroke(c *canvas, r *rand.Rand, x, y, width, length float64, col rgb, field func(x, y float64) (float64, float64)) {
	seed := r.Uint64()
	for s := 0.0; s < length; s += 0.5 {
		vx, vy := field(x, y)
		taper := width * math.Sqrt(math.Sin(math.Pi*min(max(s/length, 0.02), 0.98)))
		for o := -taper; o <= taper; o += 0.5 {
			px, py := int(x-vy*o), int(y+vx*o)
			if px < 0 || py < 0 || px >= w || py >= h {
				continue
			}
			bristle := noise(o*1.3, s/26, seed) - 0.5
			ridge := 0.35 * o / width // light from one side
			p := col.mix(rgb{1, 1, 1}, max(bristle*0.5+ridge, 0)).mix(rgb{}, max(-bristle*0.5-ridge, 0))
			c[py][px] = c[py][px].mix(p, 0.85)
		}
		x, y = x+vx*0.5, y+vy*0.5
	}
}
