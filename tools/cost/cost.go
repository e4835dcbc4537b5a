// Package cost measures what a call takes in heap and time, for tests that hold
// parsers of foreign files to bounds.
//
// It imports nothing of this module.
package cost

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What a file of up to 10 MB may cost above what its honest content does.
const (
	Memory = 256 << 20 // bytes
	Time   = 5 * time.Second
)

// Of is the largest heap while f runs, above that before, in bytes, and its time. The
// garbage collector runs ten times as often as it does by itself.
func Of(f func()) (peak int64, took time.Duration) {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			runtime.ReadMemStats(&now)
			peak = max(peak, int64(now.HeapAlloc)-int64(before.HeapAlloc))
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	start := time.Now()
	f()
	took = time.Since(start)
	close(stop)
	<-done
	return peak, took
}

// Allocated is how many bytes this process has ever taken from the heap: cheap
// enough to ask for at every input that is fuzzed.
func Allocated() uint64 {
	m := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(m)
	return m[0].Value.Uint64()
}
