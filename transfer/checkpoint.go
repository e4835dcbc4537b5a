package transfer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/transfer/picture"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/openfile"
	"github.com/stylize-gpu/stylize/vgg/safetensors"
)

// Arithmetic names what the bits of a whole run depend on in this module, beside
// the device: the hash of the recorded runs in kernels/kerneltest/testdata/bits. A
// painting goes on only where it is the same.
const Arithmetic = "6f28141e52c3"

// checkpointFormat is raised when an older reader would misunderstand.
const checkpointFormat = 1

// Checkpoint is a painting on its way: NewPainting goes on from it with the bits
// that the painting would have had without a stop.
//
// As a file it is a safetensors file: the State buffers of the level by name, and as
// metadata a JSON of everything else, with the hash of the values.
type Checkpoint struct {
	Record  Record          // what it is made of and how
	Seconds float64         // that it has taken
	Tool    json.RawMessage // what the program that wrote it wants to know again

	position
}

// Names of what is no State buffer in the file.
const (
	tensorKept = "device.kept"    // State.Kept
	tensorGood = "rollback.image" // position.Good
	metaKey    = "stylize_checkpoint"
)

// inFile is the JSON in the file.
type inFile struct {
	Format     int             `json:"format"`
	Arithmetic string          `json:"arithmetic"`
	SHA256     string          `json:"sha256"` // of the tensors, in the order of their names
	Record     Record          `json:"record"`
	Seconds    float64         `json:"seconds"`
	Tool       json.RawMessage `json:"tool,omitempty"`
	Position   position        `json:"position"`
}

// Checkpoint copies where the painting is.
func (p *Painting) Checkpoint() (*Checkpoint, error) {
	if p.lost && !p.whole {
		return nil, errors.New("painting: the device was lost, and its copy is of the picture alone")
	}
	at, err := p.position()
	if err != nil {
		return nil, err
	}
	if at.State == nil {
		return nil, errors.New("painting: nothing has been painted yet")
	}
	return &Checkpoint{Record: p.Record(), Seconds: p.clock(), position: at}, nil
}

// Iterations is how many are complete, those of all levels together.
func (p *position) Iterations() int {
	n := 0
	for _, d := range p.Done {
		n += d
	}
	return n
}

// tensors are everything in it that is not JSON, by name.
func (c *Checkpoint) tensors() map[string][]float32 {
	all := maps.Clone(c.State.Buffers)
	if c.State.Kept != nil {
		all[tensorKept] = c.State.Kept
	}
	if c.Good != nil {
		all[tensorGood] = c.Good
	}
	return all
}

// Write writes the file.
func (c *Checkpoint) Write(w io.Writer) error {
	all := c.tensors()
	f := inFile{Format: checkpointFormat, Arithmetic: Arithmetic, SHA256: digest(all), Record: c.Record, Seconds: c.Seconds, Tool: c.Tool, Position: c.position}
	f.Position.Last.Row, f.Position.Losses = f.Position.Last.finite(), f.Position.Losses.finite()
	js, err := json.Marshal(f)
	if err != nil {
		return err
	}
	var list []safetensors.Tensor
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, safetensors.Tensor{Name: name, Shape: []int{len(all[name])}, Values: func() []float32 { return all[name] }})
	}
	return safetensors.Write(w, map[string]string{metaKey: string(js)}, list)
}

// finite puts -1 in the place of losses that are not, which JSON does not know.
func (r Row) finite() Row {
	for _, v := range []*float64{&r.Content, &r.Style, &r.TV, &r.Total, &r.Mean, &r.Std, &r.Step} {
		if *v-*v != 0 {
			*v = -1
		}
	}
	if slices.ContainsFunc(r.Terms, func(v float64) bool { return v-v != 0 }) {
		r.Terms = nil
	}
	return r
}

// digest is the SHA-256 of tensors: of each its name, its length and its values.
func digest(all map[string][]float32) string {
	h := sha256.New()
	buf := make([]byte, 0, 1<<16)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(h, "%s %d\n", name, len(all[name]))
		for v := range slices.Chunk(all[name], cap(buf)/4) {
			buf = buf[:0]
			for _, x := range v {
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
			}
			h.Write(buf)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ReadCheckpoint reads a file of size bytes, and checks all that can be checked
// without the pictures. It takes no more memory than the file is long.
func ReadCheckpoint(r io.ReaderAt, size int64) (*Checkpoint, error) {
	st, err := safetensors.Open(r, size)
	if err != nil {
		return nil, fmt.Errorf("no usable checkpoint: %w", err)
	}
	text, ok := st.Metadata[metaKey]
	if !ok {
		return nil, errors.New("no checkpoint of stylize")
	}
	var f inFile
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return nil, fmt.Errorf("the checkpoint is damaged (%w)", err)
	}
	switch {
	case f.Format != checkpointFormat:
		return nil, fmt.Errorf("the checkpoint was written by another version, in format %d; this one reads %d", f.Format, checkpointFormat)
	case f.Arithmetic != Arithmetic:
		return nil, &MismatchError{"version", f.Record.Version + " (" + f.Arithmetic + ")", Arithmetic}
	case f.Record.Program != "stylize":
		return nil, errors.New("the checkpoint belongs to another program")
	}
	if err := f.Record.Options.Validate(); err != nil {
		return nil, fmt.Errorf("the checkpoint is damaged (%w)", err)
	}
	c := &Checkpoint{Record: f.Record, Seconds: f.Seconds, Tool: f.Tool, position: f.Position}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("the checkpoint is damaged (%w)", err)
	}
	c.State = &State{Done: c.Done[c.Level], Buffers: map[string][]float32{}}
	for name, e := range st.Tensors {
		v, err := values(st, e)
		if err != nil {
			return nil, fmt.Errorf("the checkpoint is damaged (%s: %w)", name, err)
		}
		switch name {
		case tensorKept:
			c.State.Kept = v
		case tensorGood:
			c.Good = v
		default:
			c.State.Buffers[name] = v
		}
	}
	if digest(c.tensors()) != f.SHA256 {
		return nil, errors.New("the checkpoint is damaged (its hash differs)")
	}
	return c, nil
}

// values reads a tensor of fp32; every value must be finite.
func values(f *safetensors.File, e safetensors.Entry) ([]float32, error) {
	if e.DType != "F32" || len(e.Shape) != 1 || e.Shape[0] < 0 || e.Shape[0] > math.MaxInt32 {
		return nil, fmt.Errorf("%s of shape %v, want a list of F32", e.DType, e.Shape)
	}
	b, err := f.Bytes(e, 4*int64(e.Shape[0]))
	if err != nil {
		return nil, err
	}
	v := make([]float32, e.Shape[0])
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		if v[i]-v[i] != 0 {
			return nil, fmt.Errorf("value %d is %v", i, v[i])
		}
	}
	return v, nil
}

// check verifies the numbers against the options.
func (c *Checkpoint) check() error {
	levels := c.Record.Options.Levels()
	bad := func(what string, v any) error { return fmt.Errorf("%s %v cannot be", what, v) }
	switch {
	case len(c.Done) != len(levels):
		return bad("the number of levels", len(c.Done))
	case c.Level < 0 || c.Level >= len(levels):
		return bad("level", c.Level)
	case c.Evaluations < 0 || c.Evaluations > maxIterations*len(levels):
		return bad("evaluation", c.Evaluations)
	case c.Halved < 0 || c.Halved > maxHalvings:
		return bad("the number of halvings", c.Halved)
	case c.GoodAt < 0 || c.GoodAt > c.Done[c.Level]:
		return bad("the iteration to go back to", c.GoodAt)
	case !(c.FLOPs >= 0) || math.IsInf(c.FLOPs, 0):
		return bad("the arithmetic", c.FLOPs)
	case !(c.Seconds >= 0) || math.IsInf(c.Seconds, 0):
		return bad("the time", c.Seconds)
	case len(c.Recent) > 2*plateauWindow:
		return bad("the number of recent losses", len(c.Recent))
	}
	for i, n := range c.Done {
		most := levels[i].Iterations
		if c.Record.Options.Budget != "" {
			most = maxIterations
		}
		if n < 0 || n > most || i > c.Level && n > 0 {
			return bad("the iterations of a level", n)
		}
	}
	return nil
}

// MismatchError says that a painting cannot go on from a checkpoint, because
// something else is at hand than it was begun with.
type MismatchError struct {
	What    string // as in [Record.Inputs], "weights", "device", "version" or "options"
	Was, Is string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("the %s differs: it was begun with %s, this is %s", e.What, e.Was, e.Is)
}

// suits checks a checkpoint against what a painting would go on with.
func (c *Checkpoint) suits(p *Painting) error {
	was, is := c.Record, p.Record()
	dev := func(i gpu.Info) string { return i.Kind + " " + i.Bits }
	differences := []MismatchError{}
	before, now := was.Inputs(), is.Inputs()
	for i := range max(len(before), len(now)) {
		d := MismatchError{Was: "none", Is: "none"}
		if i < len(now) {
			d.What, d.Is = now[i].What, now[i].Input.SHA256
		}
		if i < len(before) {
			d.What, d.Was = before[i].What, before[i].Input.SHA256
		}
		differences = append(differences, d)
	}
	for _, d := range append(differences, []MismatchError{
		{"weights", was.Weights.SHA256, is.Weights.SHA256},
		{"device", dev(was.Device), dev(is.Device)},
	}...) {
		if d.Was != d.Is {
			return &d
		}
	}
	a, b := was.Options, is.Options
	b.Bits, b.OutputSize, b.Init = a.Bits, a.OutputSize, a.Init // decided when the result is written; checked above
	if !reflect.DeepEqual(a, b) {
		return &MismatchError{"options", fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", b)}
	}
	return c.fits(p.stages[c.Level])
}

// fits checks the State buffers against those of the stage.
func (c *Checkpoint) fits(st Stage) error {
	loop, err := LoopProgram(st.Options, vgg.Shapes(), 1, st.H, st.W)
	if err != nil {
		return err
	}
	image := loop.Named(BufImage).Shape.Elems()
	if len(c.State.Buffers[BufImage]) == 0 || c.Good != nil && len(c.Good) != image {
		return errors.New("the checkpoint is damaged (it has no picture of the right extent)")
	}
	for name, v := range c.State.Buffers {
		b := loop.Named(name)
		if b == nil || b.Role != gpu.State || b.Shape.Elems() != len(v) {
			return fmt.Errorf("the checkpoint is damaged (%s of %d values does not belong to a painting at %dx%d)", name, len(v), st.W, st.H)
		}
	}
	if s := c.State.Buffers[BufStep]; s != nil && (s[0] < 0 || s[0] > 1<<24 || s[0] != float32(int(s[0]))) {
		return fmt.Errorf("the checkpoint is damaged (step %v cannot be)", s[0])
	}
	return nil
}

// IsCheckpoint reports whether a file is one, as far as its head says.
func IsCheckpoint(path string) bool {
	f, size, err := openfile.Regular(path)
	if err != nil {
		return false
	}
	defer f.Close()
	st, err := safetensors.Open(f, size)
	return err == nil && st.Metadata[metaKey] != ""
}

// Picture is what had been painted, at the extent of its level, clamped.
func (c *Checkpoint) Picture() (*picture.Picture, error) {
	v := slices.Clone(c.State.picture(c.Record.Options))
	o, in := c.Record.Options, c.Record.Content
	o.Size = o.Levels()[c.Level].Size
	if in.Width < 1 || in.Height < 1 {
		return nil, errors.New("the checkpoint does not say how large its content is")
	}
	w, h := o.Extent(&picture.Source{W: in.Width, H: in.Height})
	if len(v) != 3*w*h {
		return nil, fmt.Errorf("the checkpoint's picture is not of %dx%d pixels, which its content has at that level", w, h)
	}
	return clamped(v, w, h), nil
}
