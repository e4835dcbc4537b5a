package host

import (
	"sync"
	"sync/atomic"
)

// Each calls f(0) .. f(n-1), in any order, on as many goroutines as the pool
// has threads: for the loops that move more than they compute. A goroutine
// takes the next index when it is done with the last.
func (p *Pool) Each(n int, f func(i int)) {
	workers := min(p.threads, n)
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			f(i)
		}
	}
	var wg sync.WaitGroup
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
