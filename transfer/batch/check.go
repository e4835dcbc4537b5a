package batch

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/transfer/stylefile"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// Checks are what Check is told.
type Checks struct {
	Also    []string // files that are read besides: the manifest, weights
	Written []string // files that are written besides: the report
	Shard   Shard
	Output  Output
	Devices []gpu.Device
	Snap    int
	Limits  func() picture.Limits // of a mask that is decoded; nil is none
	Dry     bool                  // make no folders
	Tick    func(done, total int) // now and then, from several goroutines; may be nil
}

// Check looks at everything that can be known before anything is painted: two results of
// one name, results that would overwrite what is read, folders that cannot be written,
// pictures that cannot be opened, extents and memory. It leaves the shard's items, in the
// order in which they are to be painted, and moves those that cannot be to Problems. An
// error is a mistake in the whole list. Every later run with the same list finds the
// same.
func (l *List) Check(c Checks) error {
	if c.Tick == nil {
		c.Tick = func(int, int) {}
	}
	if err := l.checkNames(c); err != nil {
		return err
	}
	l.Items = slices.DeleteFunc(l.Items, func(it *Item) bool { return !c.Shard.Has(it) })
	l.checkFolders(c.Dry)
	l.checkExtents(c)
	l.checkControls(c)
	l.checkMemory(c)
	l.leaveOutProblems()
	l.order()
	return nil
}

// CheckWeights moves items to Problems whose style files were made with other weights. It
// is for after Check, which can then run while weights are read.
func (l *List) CheckWeights(w *vgg.Weights) {
	for _, it := range l.Items {
		it.draft.Weights = w
		it.problem = it.draft.CheckStyles()
	}
	l.leaveOutProblems()
}

// leaveOutProblems moves items that have one to Problems.
func (l *List) leaveOutProblems() {
	l.Items = slices.DeleteFunc(l.Items, func(it *Item) bool {
		if it.problem != nil {
			l.Problems = append(l.Problems, Problem{What: it.Content, Err: it.problem, Item: it})
		}
		return it.problem != nil
	})
}

// checkNames compares all names with each other.
func (l *List) checkNames(c Checks) error {
	read := map[string]string{} // of a file, what reads it
	named := map[string]bool{}  // contents that were not only found in a folder
	resolved := map[string]string{}
	resolve := func(path string) string { // which file it is, through links, also if it is not there yet
		f, ok := resolved[path]
		if !ok {
			var err error
			if f, err = atomicfile.Resolve(path); err != nil { // links in a circle, which nobody can open
				f = path
			}
			resolved[path] = f
		}
		return f
	}
	for _, f := range c.Also {
		read[resolve(f)] = "the batch itself"
	}
	for _, it := range l.Items {
		if !it.Found {
			named[resolve(it.Content)] = true
		}
	}
	l.leaveOutResults(resolve, named)
	note := func(path, what string) {
		if f := resolve(path); read[f] == "" {
			read[f] = what
		}
	}
	for _, it := range l.Items {
		note(it.Content, "a content")
		it.inputs(func(what, path string) { note(path, what) })
		if i := it.Options.Init; it.Options.InitPicture() {
			note(i, "an initial picture")
		}
	}
	for _, w := range c.Written {
		if what := read[resolve(w)]; what != "" {
			return fmt.Errorf("%s: would be overwritten, and is read as %s; choose another name", w, what)
		}
	}
	writes := map[string]*Item{}
	for _, w := range c.Written {
		writes[resolve(w)] = nil
	}
	twice := map[*Item]bool{}
	var errs []error
	for _, it := range l.Items {
		if _, err := picture.FormatOf(it.Output); err != nil {
			return err
		}
		out := resolve(it.Output)
		if strings.ContainsRune(it.Output, 0) {
			return fmt.Errorf("%q: has a zero byte in it; choose another name", it.Output)
		}
		if what, ok := read[out]; ok {
			errs = append(errs, fmt.Errorf("%s: the result of %s would overwrite it, and it is read as %s; choose another name", it.Output, it.Content, what))
		}
		switch other, ok := writes[out]; {
		case !ok:
			writes[out] = it
		case other == nil:
			errs = append(errs, fmt.Errorf("%s: is the report, and the result of %s; choose another name", it.Output, it.Content))
		case strings.Contains(it.Output, keyHole): // only a result of the same key has the same name
			if other.same(it) {
				twice[it] = true
			}
		case other.same(it):
			twice[it] = true
		case isDevice(out): // as /dev/null, which any number may be written to
		default:
			errs = append(errs, fmt.Errorf("%s: would be the result of %s and of %s%s", it.Output, other.says(it), it.says(other), hint(other, it)))
		}
		if len(errs) == 10 {
			errs = append(errs, errors.New("and perhaps more"))
			break
		}
	}
	if len(twice) > 0 {
		l.Notes = append(l.Notes, fmt.Sprintf("%d items are in the list twice; each is painted once", len(twice)))
		l.Items = slices.DeleteFunc(l.Items, func(it *Item) bool { return twice[it] })
	}
	return errors.Join(errs...)
}

func isDevice(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&os.ModeDevice != 0
}

// leaveOutResults takes out contents that were found in a folder, and are results of
// this very list: those of an earlier run, which wrote beside its contents.
func (l *List) leaveOutResults(resolve func(string) string, named map[string]bool) {
	var outs map[string]bool
	results := map[string]bool{}
	before := len(l.Items)
	l.Items = slices.DeleteFunc(l.Items, func(it *Item) bool {
		if !it.Found || named[resolve(it.Content)] {
			return false
		}
		if outs == nil { // most lists need none of this, as nothing is found where results go
			outs = map[string]bool{}
			for _, it := range l.Items {
				if it != nil {
					outs[resolve(filepath.Dir(it.Output))+"/"+filepath.Base(it.Output)] = true
				}
			}
		}
		f := resolve(it.Content)
		is, ok := results[f]
		if !ok {
			for _, n := range holed(filepath.Base(f)) {
				is = is || outs[filepath.Dir(f)+"/"+n]
			}
			if is {
				key, err := picture.ReadKey(f)
				is = err == nil && key != ""
			}
			results[f] = is
		}
		return is
	})
	if n := before - len(l.Items); n > 0 {
		l.Notes = append(l.Notes, fmt.Sprintf("%d items are left out whose contents are results of this batch", n))
	}
}

// same reports whether two items ask for one picture in the same words.
func (it *Item) same(b *Item) bool {
	return it.Content == b.Content && slices.Equal(it.Styles, b.Styles) && it.ContentMask == b.ContentMask && (it.Options == b.Options || string(canonical(*it.Options)) == string(canonical(*b.Options)) && it.Options.Init == b.Options.Init)
}

// says names an item beside another.
func (it *Item) says(b *Item) string {
	text := it.Content
	if it.Content == b.Content {
		text += " in the style " + it.StyleNames()
	}
	if it.Line > 0 {
		text += fmt.Sprintf(" (line %d)", it.Line)
	}
	return text
}

// hint is the placeholder that would tell two items apart.
func hint(a, b *Item) string {
	what := "{key}"
	switch {
	case a.Content == b.Content && a.styleStem() != b.styleStem():
		what = "{style}"
	case a.Content != b.Content && stem(a.Content) != stem(b.Content):
		what = "{content}"
	case a.Content != b.Content && a.Dir != b.Dir:
		what = "{dir}"
	case a.Options.Seed != b.Options.Seed:
		what = "{seed}"
	}
	return "; put " + what + " into the names of results"
}

// checkFolders makes the folders of results, and tries whether they can be written.
func (l *List) checkFolders(dry bool) {
	tried := map[string]error{}
	for _, it := range l.Items {
		dir := filepath.Dir(it.Output)
		if strings.Contains(dir, keyHole) {
			continue // made when the key is known
		}
		err, ok := tried[dir]
		if !ok {
			err = writable(dir, it.Output, dry)
			tried[dir] = err
		}
		if err != nil {
			it.problem = err
			continue
		}
		if !strings.Contains(it.Output, keyHole) {
			st, err := os.Stat(it.Output)
			it.present = err == nil
			if err == nil && st.IsDir() {
				it.problem = fmt.Errorf("%s: is a folder; choose another name", it.Output)
			}
		}
	}
}

func writable(dir, output string, dry bool) error {
	if dry {
		for {
			st, err := os.Stat(dir)
			if err == nil && !st.IsDir() {
				return fmt.Errorf("%s: is no folder; choose another one", dir)
			}
			if up := filepath.Dir(dir); err != nil && up != dir {
				dir = up
				continue
			}
			return nil
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return atomicfile.Explain(dir, err)
	}
	if err := atomicfile.Check(filepath.Join(dir, ".stylize-batch")); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%s: no permission to write into the folder %s; choose another one", output, dir)
		}
		return err
	}
	return nil
}

// extent is of a file, or why there is none.
type extent struct {
	src   *picture.Source // nil of a style file
	style bool            // it may be a style file
	file  *stylefile.File // which it is
	err   error
}

// heads is how many files are read at a time: they wait for a disk, or a network.
const heads = 16

// checkExtents reads the head of every picture.
func (l *List) checkExtents(c Checks) {
	all := map[string]*extent{}
	var paths []string
	want := func(path string) *extent {
		if all[path] == nil {
			all[path] = &extent{}
			paths = append(paths, path)
		}
		return all[path]
	}
	for _, it := range l.Items {
		want(it.Content)
		for _, s := range it.Styles {
			want(s.Path).style = true
		}
		it.inputs(func(_, path string) { want(path) })
		if it.Options.InitPicture() {
			want(it.Options.Init)
		}
	}
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range min(heads, len(paths)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(paths) {
					return
				}
				e := all[paths[i]]
				if e.style && stylefile.IsFile(paths[i]) {
					e.file, e.err = stylefile.Read(paths[i])
				} else {
					src := &picture.Source{Path: paths[i]}
					src.W, src.H, e.err = picture.Extent(paths[i])
					e.src = src
				}
				c.Tick(int(done.Add(1)), len(paths))
			}
		})
	}
	wg.Wait()
	costs := costs{}
	for _, it := range l.Items {
		err := it.sketch(all)
		if err == nil {
			err = it.measure(c.Snap, costs)
		}
		if err != nil {
			it.problem = cmp.Or(it.problem, err)
		}
	}
}

// sketch makes the item's draft.
func (it *Item) sketch(all map[string]*extent) error {
	picture := func(path string) *picture.Source {
		if path == "" {
			return nil
		}
		return all[path].src
	}
	var err error
	fails := func(path string) { err = cmp.Or(err, all[path].err) }
	fails(it.Content)
	it.inputs(func(_, path string) { fails(path) })
	if it.Options.InitPicture() {
		fails(it.Options.Init)
	}
	switch {
	case err != nil:
		return err
	case all[it.Content].file != nil:
		return fmt.Errorf("%s: is a style file, and no picture", it.Content)
	}
	it.draft = transfer.Work{Options: *it.Options, Content: picture(it.Content), ContentMask: picture(it.ContentMask)}
	for _, s := range it.Styles {
		style := transfer.Style{Picture: picture(s.Path), Mask: picture(s.Mask), Look: picture(s.Look)}
		if style.File = all[s.Path].file; style.File != nil {
			style.Path = s.Path
		}
		it.draft.Styles = append(it.draft.Styles, style)
	}
	return nil
}

// checkControls looks for what the pictures of an item make impossible, as masks that
// overlap or cover nothing, which takes decoding those.
func (l *List) checkControls(c Checks) {
	var src sources
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(l.Items)) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(l.Items) {
					return
				}
				if it := l.Items[i]; it.problem == nil {
					it.problem = it.check(&src, c)
				}
			}
		})
	}
	wg.Wait()
}

// check is transfer.Work's, with masks that are decoded and styles that are not. Whether a
// content has transparent pixels is known when it is decoded.
func (it *Item) check(src *sources, c Checks) (err error) {
	w := it.draft
	w.Options.MaskAlpha = false
	w.Styles = slices.Clone(w.Styles)
	limits := picture.Limits{}
	if c.Limits != nil {
		limits = c.Limits()
	}
	for i, s := range it.Styles {
		style := &w.Styles[i]
		if style.Mask, err = src.mask(s.Mask, limits); err != nil {
			return err
		}
		if style.Look, err = src.mask(s.Look, limits); err != nil {
			return err
		}
		if len(it.Styles) > 1 && style.Picture != nil { // the same one twice is a mistake
			p := *style.Picture
			if p.SHA256, err = src.hash(s.Path); err != nil {
				return err
			}
			style.Picture = &p
		}
	}
	if w.ContentMask, err = src.mask(it.ContentMask, limits); err != nil {
		return err
	}
	return w.Check()
}

// stages are the levels of an item, from what its files say of themselves.
func (it *Item) stages(snap int) []transfer.Stage {
	w := it.draft
	w.Content = it.content(snap)
	return w.Stages()
}

// content is that of the draft as it is cropped.
func (it *Item) content(snap int) *picture.Source {
	was, o := it.draft.Content, it.draft.Options
	c := picture.Source{HasAlpha: o.MaskAlpha} // else it cannot be painted
	c.W, c.H = snapped(was.W, was.H, o.Size, it.snap(snap))
	return &c
}

// measure finds the group of an item and what it costs.
func (it *Item) measure(snap int, known costs) error {
	levels := it.stages(snap)
	last := levels[len(levels)-1]
	it.group = last.Kind()
	var err error
	it.flops, err = known.of(levels)
	return err
}

// costs are FLOPs a pixel of levels that were measured. The arithmetic grows as the
// pixels do, but for a little at their edges: good enough for a bar.
type costs map[costKey]float64

type costKey struct {
	program transfer.Kind // without an extent
	size    int
}

func (c costs) of(levels []transfer.Stage) (flops float64, err error) {
	for _, st := range levels {
		key := costKey{st.Kind().Anywhere(), st.Options.Size}
		perPixel, ok := c[key]
		if !ok {
			_, _, loop, err := st.Programs(vgg.Shapes())
			if err != nil {
				return 0, err
			}
			perPixel = float64(loop.FLOPs()) / float64(st.W*st.H)
			c[key] = perPixel
		}
		flops += perPixel * float64(st.W*st.H) * float64(max(st.Options.Iterations, 1)+1)
	}
	return flops, nil
}

// area stands for the memory of a stage: its picture's and half of the largest of its styles',
// which are looked at one after the other.
func area(st transfer.Stage) int {
	style := 0
	for _, e := range st.Styles {
		style = max(style, e.W*e.H)
	}
	return st.W*st.H + style/2
}

// checkMemory plans the largest items, until one fits everywhere: then the smaller ones do.
// Styles that do not fit at their full size are looked at smaller, where that helps.
func (l *List) checkMemory(c Checks) {
	bySize := slices.DeleteFunc(slices.Clone(l.Items), func(it *Item) bool { return it.problem != nil })
	areas := map[*Item]int{}
	for _, it := range bySize {
		levels := it.stages(c.Snap)
		areas[it] = area(levels[len(levels)-1])
	}
	slices.SortStableFunc(bySize, func(a, b *Item) int { return areas[b] - areas[a] })
	type outcome struct {
		err   error
		style int // the size at which styles fit; 0: as they are, or at none
	}
	planned, smaller := map[string]outcome{}, map[int]int{}
	for _, it := range bySize {
		levels := it.stages(c.Snap)
		last := levels[len(levels)-1]
		key := fmt.Sprint(last.Kind(), last.Styles)
		o, ok := planned[key]
		if !ok {
			if o.err = fits(c.Devices, last); errors.Is(o.err, gpu.ErrOutOfMemory) {
				o.style = it.smallerStyles(c)
			}
			planned[key] = o
		}
		switch {
		case o.err == nil:
			l.noteStyles(smaller)
			return
		case o.style > 0:
			options := it.Options.StylesAt(o.style)
			it.Options, it.draft.Options = &options, options
			if err := it.measure(c.Snap, costs{}); err != nil {
				it.problem = err
			}
			smaller[o.style]++
		default:
			it.problem = fmt.Errorf("%s: %w", it.Content, o.err)
		}
	}
	l.noteStyles(smaller)
}

// noteStyles says of how many items styles are looked at smaller.
func (l *List) noteStyles(smaller map[int]int) {
	for _, size := range slices.Sorted(maps.Keys(smaller)) {
		l.Notes = append(l.Notes, fmt.Sprintf("styles of %d items are looked at with %d pixels along the longest side: at their full size they need more memory than there is", smaller[size], size))
	}
}

// smallerStyles is the size at which the item's styles fit on all devices; 0 for none.
func (it *Item) smallerStyles(c Checks) int {
	w := it.draft
	w.Content = it.content(c.Snap)
	size, err := w.SmallerStyles(func(st transfer.Stage) (bool, error) { return fits(c.Devices, st) == nil, nil })
	if err != nil {
		return 0
	}
	return size
}

// Arena is the memory on a device that the largest picture of the list, or its styles, take,
// without weights.
func (l *List) Arena(dev gpu.Device, snap int) (int64, error) {
	var largest transfer.Stage
	most := 0
	for _, it := range l.Items {
		levels := it.stages(snap)
		st := levels[len(levels)-1]
		if a := area(st); a > most {
			largest, most = st, a
		}
	}
	if most == 0 {
		return 0, nil
	}
	features, _, err := largest.Memory(dev.Plan)
	return features, err
}

// fits compares the plan of a level with the memory of each device.
func fits(devices []gpu.Device, st transfer.Stage) error {
	for _, dev := range devices {
		info := dev.Info()
		limit := info.Memory
		if info.Free > 0 && info.Free < limit {
			limit = info.Free
		}
		features, weights, err := st.Memory(dev.Plan)
		if err != nil {
			return err
		}
		if need := features + weights; limit > 0 && need > limit {
			return fmt.Errorf("painting at %dx%d needs %s, the %s has %s: %w",
				st.W, st.H, gpu.BytesText(need), info.Kind, gpu.BytesText(limit), gpu.ErrOutOfMemory)
		}
	}
	return nil
}

// order puts items of a group beside each other, groups as they come first in the list,
// so that what was compiled for one serves the next.
func (l *List) order() {
	first := map[transfer.Kind]int{}
	for i, it := range l.Items {
		if _, ok := first[it.group]; !ok {
			first[it.group] = i
		}
	}
	slices.SortStableFunc(l.Items, func(a, b *Item) int { return cmp.Compare(first[a.group], first[b.group]) })
}

// FLOPs is the arithmetic of all items, those with a result left out.
func (l *List) FLOPs() (flops float64) {
	for _, it := range l.Items {
		if !it.present {
			flops += it.flops
		}
	}
	return flops
}
