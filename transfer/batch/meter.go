package batch

import (
	"context"
	"sync"
	"time"

	"github.com/stylize-gpu/stylize/gpu"
)

// clock measures how much of its time a device runs programs. What is between two runs,
// compiling and copying included, it idles.
type clock struct {
	mu          sync.Mutex
	start       time.Time
	first, last time.Time // of the runs
	busy        time.Duration
}

func (c *clock) now() float64 { return time.Since(c.start).Seconds() }

func (c *clock) ran(from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first.IsZero() {
		c.first = from
	}
	c.busy += to.Sub(from)
	c.last = to
}

// times are in seconds: from the first run to the last, and how much of that nothing ran.
func (c *clock) times() (spent, idle float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	spent = c.last.Sub(c.first).Seconds()
	return spent, spent - c.busy.Seconds()
}

// metered is a device whose runners say when they run.
type metered struct {
	gpu.Device
	clock *clock
}

func meter(dev gpu.Device) *metered { return &metered{dev, &clock{start: time.Now()}} }

// Compile wraps the runner.
func (d *metered) Compile(p *gpu.Program) (gpu.Runner, error) {
	r, err := d.Device.Compile(p)
	if err != nil {
		return nil, err
	}
	m := meteredRunner{r, d.clock}
	if k, ok := r.(gpu.Keeper); ok {
		return struct {
			meteredRunner
			gpu.Keeper
		}{m, k}, nil
	}
	return m, nil
}

type meteredRunner struct {
	gpu.Runner
	clock *clock
}

func (r meteredRunner) Run(ctx context.Context, n int) (int, error) {
	from := time.Now()
	done, err := r.Runner.Run(ctx, n)
	r.clock.ran(from, time.Now())
	return done, err
}
