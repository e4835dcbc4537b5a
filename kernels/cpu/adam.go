package cpu

import "math"

// AdamStep holds the constants of one step, rounded once.
type AdamStep struct {
	OneMinusBeta1, Beta2, OneMinusBeta2, StepSize, SqrtC2, Eps float32
	Clamp                                                      int // 0 after, 1 before, 2 never
}

// NewAdamStep computes the bias corrections of step t+1 in float64.
func NewAdamStep(lr, beta1, beta2, eps float64, t, clamp int) AdamStep {
	return AdamStep{
		OneMinusBeta1: float32(1 - beta1),
		Beta2:         float32(beta2),
		OneMinusBeta2: float32(1 - beta2),
		StepSize:      float32(lr / (1 - math.Pow(beta1, float64(t+1)))),
		SqrtC2:        float32(math.Sqrt(1 - math.Pow(beta2, float64(t+1)))),
		Eps:           float32(eps),
		Clamp:         clamp,
	}
}
