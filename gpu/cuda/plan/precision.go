package plan

import (
	"fmt"

	"github.com/stylize-gpu/stylize/kernels"
)

// Precision is how feature maps, their gradients and weights are stored and
// multiplied. Sums, Gram matrices, losses, the picture and Adam are fp32 in all.
type Precision uint8

// The precisions. FP16 scales its gradients; see kernels/adam.cu.
const (
	FP16 Precision = iota // fp16 storage, tensor cores
	BF16                  // bfloat16 storage, tensor cores: fp32's range, 8 bits of fraction
	TF32                  // fp32 storage, tensor cores with 10 bits of fraction
	FP32                  // fp32, no tensor cores: the oracle
)

var precisions = [...]struct {
	name    string
	element kernels.Elem // of the operands of products
}{{"fp16", kernels.F16}, {"bf16", kernels.BF16}, {"tf32", kernels.TF32}, {"fp32", kernels.F32}}

func (p Precision) String() string { return precisions[p].name }

// ParsePrecision reads fp16, bf16, tf32 or fp32; the empty string is fp16.
func ParsePrecision(s string) (Precision, error) {
	for i, p := range precisions {
		if s == p.name || s == "" {
			return Precision(i), nil
		}
	}
	return 0, fmt.Errorf("precision %q: want fp16, bf16, tf32 or fp32", s)
}
