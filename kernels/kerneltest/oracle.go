package kerneltest

import (
	"context"
	"runtime"
	"sync"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/kernels/ref"
)

// Oracle is the interpreter as a device: whole runs without rounding when T is
// float64, but where the host reads and writes, which is in float32. Convolutions
// take all processors; 0.2e9 multiplications a second on each.
type Oracle[T ref.Float] struct{}

// Info implements gpu.Device.
func (Oracle[T]) Info() gpu.Info { return gpu.Info{Kind: "oracle", Name: "kernels/ref"} }

// Plan implements gpu.Device; the oracles plan nothing.
func (Oracle[T]) Plan(*gpu.Program) (*gpu.Plan, error) { return &gpu.Plan{}, nil }

// Rate implements gpu.Device.
func (Oracle[T]) Rate(context.Context) (float64, error) { return 4e8, nil }

// Close implements gpu.Device.
func (Oracle[T]) Close() error { return nil }

// Compile implements gpu.Device.
func (Oracle[T]) Compile(p *gpu.Program) (gpu.Runner, error) {
	ip := NewInterp[T](p)
	ip.spread = true
	return oracleRunner[T]{ip}, nil
}

type oracleRunner[T ref.Float] struct{ ip *Interp[T] }

func (r oracleRunner[T]) Plan() *gpu.Plan { return &gpu.Plan{} }
func (r oracleRunner[T]) Close() error    { return nil }

func (r oracleRunner[T]) Write(b *gpu.Buffer, data []float32) error {
	if err := gpu.CheckIO(b, len(data), true); err != nil {
		return err
	}
	r.ip.Write(b, data)
	return nil
}

func (r oracleRunner[T]) Read(b *gpu.Buffer, dst []float32) error {
	if err := gpu.CheckIO(b, len(dst), false); err != nil {
		return err
	}
	for i, v := range r.ip.Values[b] {
		dst[i] = float32(v)
	}
	return nil
}

func (r oracleRunner[T]) WriteAt(b *gpu.Buffer, n int, data []float32) error {
	if err := gpu.CheckPart(b, n, len(data)); err != nil {
		return err
	}
	for i, v := range data {
		picture(r.ip.Values[b], b.Shape.N, n)[i] = T(v)
	}
	return nil
}

func (r oracleRunner[T]) ReadAt(b *gpu.Buffer, n int, dst []float32) error {
	if err := gpu.CheckPart(b, n, len(dst)); err != nil {
		return err
	}
	for i, v := range picture(r.ip.Values[b], b.Shape.N, n) {
		dst[i] = float32(v)
	}
	return nil
}

func (r oracleRunner[T]) Reset(n int) error {
	for _, b := range r.ip.Program.Buffers {
		if b.Role == gpu.State {
			clear(picture(r.ip.Values[b], b.Shape.N, n))
		}
	}
	return nil
}

func (r oracleRunner[T]) Run(ctx context.Context, n int) (done int, err error) {
	for ; done < n; done++ {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		if err := r.ip.Run(); err != nil {
			return done, err
		}
	}
	return done, nil
}

// inBands computes a 3x3 operation from x, of extent d, to y, of k channels, in
// bands of rows on all processors. A band is given the rows around it; what comes
// out of those is dropped.
func inBands[T ref.Float](y, x []T, d ref.Dim, k int, f func(y, x []T, d ref.Dim)) {
	type band struct{ n, from, to int }
	bands := make(chan band)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for b := range bands {
				first, last := max(b.from-1, 0), min(b.to+1, d.H)
				part := ref.Dim{N: 1, H: last - first, W: d.W, C: d.C}
				out := make([]T, part.H*d.W*k)
				f(out, x[(b.n*d.H+first)*d.W*d.C:][:part.H*d.W*d.C], part)
				copy(y[(b.n*d.H+b.from)*d.W*k:(b.n*d.H+b.to)*d.W*k], out[(b.from-first)*d.W*k:])
			}
		})
	}
	for n := range d.N {
		for h := 0; h < d.H; h += 4 {
			bands <- band{n, h, min(h+4, d.H)}
		}
	}
	close(bands)
	wg.Wait()
}
