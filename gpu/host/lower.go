package host

import (
	"fmt"

	"github.com/stylize-gpu/stylize/gpu"
)

// step is what the device executes: one operation, or several fused.
type step struct {
	op      *gpu.Op
	how     string // the loop and its fusion, for reports
	relu    bool   // Conv3x3 with the ReLU behind it
	in, out []*gpu.Buffer
	scratch int64 // bytes of workspace during the step
	inPlace bool  // out[0] may take the memory of in[0] when that is dead afterwards
	flops   int64
}

// lower turns a program into steps. A convolution takes the ReLU behind it into
// its epilogue when nothing else reads its result.
func lower(p *gpu.Program, set string) []*step {
	uses := make([]int, len(p.Buffers))
	for _, op := range p.Ops {
		for _, b := range op.In {
			uses[b.ID]++
		}
	}
	var steps []*step
	for i := 0; i < len(p.Ops); i++ {
		op := p.Ops[i]
		s := &step{op: op, how: op.Kind.String(), in: op.In, out: op.Out, flops: op.FLOPs()}
		switch op.Kind {
		case gpu.Conv3x3:
			s.how = "direct " + set
			if y := op.Out[0]; i+1 < len(p.Ops) && uses[y.ID] == 1 && y.Role == gpu.Temp {
				if next := p.Ops[i+1]; next.Kind == gpu.ReLU && next.In[0] == y {
					s.relu, s.out, s.how = true, next.Out, s.how+" +bias +relu"
					i++
				}
			}
		case gpu.Conv3x3Dgrad:
			s.how = "direct " + set
		case gpu.ReLU, gpu.ReLUGrad, gpu.Add, gpu.NormalizeGrad:
			s.inPlace = true
		case gpu.Gram:
			f := op.In[0].Shape
			s.scratch = 4 * int64(gramSlices(f.Pixels())*f.C*f.C)
			s.how = fmt.Sprintf("triangle %s, %d slices", set, gramSlices(f.Pixels()))
		case gpu.GramGrad:
			c := op.In[1].Shape.C
			s.scratch = 4 * int64((c+63)/64*64*c) // PackMatrix, any panel width
			s.how = "gemm " + set
		default:
		}
		steps = append(steps, s)
	}
	return steps
}

// gramSlices cuts the pixels of a Gram sum into independent slices: enough to
// feed many threads, by the picture alone so that the bits do not change.
func gramSlices(pixels int) int { return min(max(pixels/4096, 1), 32) }
