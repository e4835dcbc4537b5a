package batch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/stylize-gpu/stylize/gpu"
)

// reusing is a device whose runners are not closed but kept, and lent again when the same
// program is compiled: compiling takes longer than painting where a GPU paints small
// pictures. Those that were used last are kept, as many as fit into a bound of memory. It
// is used by one goroutine.
type reusing struct {
	gpu.Device
	most int64 // bytes of runners that nobody uses
	idle []*kept
}

// kept is a runner with the program that it was compiled from.
type kept struct {
	runner  gpu.Runner
	program *gpu.Program
	id      [32]byte
	bytes   int64
	failed  bool
	fresh   []float32 // what the device kept beside the buffers when it was compiled, see gpu.Keeper
}

const (
	// idleShare is the part of a device's memory that idle runners may take: one in so many.
	idleShare = 8
	// maxIdle is how many there are at most: those of one extent, with its ladder, and of
	// another. Items of an extent stand together.
	maxIdle = 32
)

func reuse(dev gpu.Device) *reusing {
	info := dev.Info()
	most := info.Memory
	if info.Free > 0 && info.Free < most {
		most = info.Free
	}
	return &reusing{Device: dev, most: most / idleShare}
}

// Compile lends a runner of the same program, as if it were fresh: its caller writes all
// inputs and all state, as after any Compile.
func (d *reusing) Compile(p *gpu.Program) (gpu.Runner, error) {
	id := identity(p)
	if i := slices.IndexFunc(d.idle, func(k *kept) bool { return k.id == id }); i >= 0 {
		k := d.idle[i]
		d.idle = slices.Delete(d.idle, i, i+1)
		if keeper, ok := k.runner.(gpu.Keeper); ok && k.fresh != nil {
			if err := keeper.Restore(k.fresh); err != nil {
				return nil, errors.Join(err, k.runner.Close())
			}
		}
		return d.lend(k), nil
	}
	r, err := d.Device.Compile(p)
	if errors.Is(err, gpu.ErrOutOfMemory) && len(d.idle) > 0 {
		if err := d.shrink(0); err != nil {
			return nil, err
		}
		r, err = d.Device.Compile(p)
	}
	if err != nil {
		return nil, err
	}
	k := &kept{runner: r, program: p, id: id, bytes: r.Plan().Arena}
	if keeper, ok := r.(gpu.Keeper); ok {
		if k.fresh, err = keeper.Keep(); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return d.lend(k), nil
}

func (d *reusing) lend(k *kept) gpu.Runner {
	l := &lent{k, d}
	if keeper, ok := k.runner.(gpu.Keeper); ok {
		return struct {
			*lent
			gpu.Keeper
		}{l, keeper}
	}
	return l
}

// shrink closes idle runners, those that were used longest ago first.
func (d *reusing) shrink(to int64) error {
	sum := int64(0)
	for _, k := range d.idle {
		sum += k.bytes
	}
	var errs []error
	for len(d.idle) > 0 && (sum > to || len(d.idle) > maxIdle) {
		sum -= d.idle[0].bytes
		errs = append(errs, d.idle[0].runner.Close())
		d.idle = slices.Delete(d.idle, 0, 1)
	}
	return errors.Join(errs...)
}

// Close closes what is kept. The device is its owner's to close.
func (d *reusing) Close() error { return d.shrink(-1) }

// lent is a runner in use. Its caller knows the buffers of its own program, which is the
// same as the one that was compiled.
type lent struct {
	*kept
	dev *reusing
}

// Write writes to the buffer of that number.
func (l *lent) Write(b *gpu.Buffer, data []float32) error {
	return l.runner.Write(l.program.Buffers[b.ID], data)
}

// Read reads the buffer of that number.
func (l *lent) Read(b *gpu.Buffer, dst []float32) error {
	return l.runner.Read(l.program.Buffers[b.ID], dst)
}

// Plan is what compiling took.
func (l *lent) Plan() *gpu.Plan { return l.runner.Plan() }

// Run runs it, and remembers if that went wrong.
func (l *lent) Run(ctx context.Context, n int) (int, error) {
	done, err := l.runner.Run(ctx, n)
	l.failed = l.failed || err != nil
	return done, err
}

// Close gives the runner back, unless something went wrong with it.
func (l *lent) Close() error {
	if l.failed {
		return l.runner.Close()
	}
	l.dev.idle = append(l.dev.idle, l.kept)
	return l.dev.shrink(l.dev.most)
}

// identity is a hash of everything that a program says. Constants count by where they
// are: the weights of a batch are the same for all its programs.
func identity(p *gpu.Program) (id [32]byte) {
	h := sha256.New()
	for _, b := range p.Buffers {
		var data *float32
		if len(b.Data) > 0 {
			data = &b.Data[0]
		}
		fmt.Fprintf(h, "%q %d %v %p %d\n", b.Name, b.Role, b.Shape, data, len(b.Data))
	}
	for _, op := range p.Ops {
		o := *op
		o.In, o.Out = nil, nil
		fmt.Fprintf(h, "%+v", o)
		for _, b := range op.In {
			fmt.Fprintf(h, " %d", bufferID(b))
		}
		fmt.Fprint(h, " >")
		for _, b := range op.Out {
			fmt.Fprintf(h, " %d", bufferID(b))
		}
		fmt.Fprintln(h)
	}
	h.Sum(id[:0])
	return id
}

// bufferID is -1 where an operation goes without.
func bufferID(b *gpu.Buffer) int {
	if b == nil {
		return -1
	}
	return b.ID
}
