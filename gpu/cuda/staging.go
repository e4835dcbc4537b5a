//go:build cuda

package cuda

import (
	"unsafe"

	"gorgonia.org/cu"
)

// stagingBytes is the pinned memory of a device, two halves of which one is
// filled or emptied by the host while the other travels.
const stagingBytes = 8 << 20

// staging carries bytes between the host and the device through pinned memory,
// in the stream that computes: nothing here needs the default stream, and what is
// enqueued behind an upload finds it done.
type staging struct {
	host   []byte // pinned
	events [2]cu.Event
	stream cu.Stream
	turn   int
}

func newStaging(s cu.Stream) (*staging, error) {
	st := &staging{stream: s}
	var err error
	if st.host, err = allocPinned(stagingBytes); err != nil {
		return nil, err
	}
	for i := range st.events {
		if st.events[i], err = cu.MakeEvent(cu.DisableTiming); err != nil {
			return nil, wrap("make an event", err)
		}
		if err := wrap("record an event", st.events[i].Record(s)); err != nil { // free from the start
			return nil, err
		}
	}
	return st, nil
}

func (st *staging) half(i int) []byte { return st.host[i*stagingBytes/2 : (i+1)*stagingBytes/2] }

// upload copies b to p. b may change when it returns; the device has it when the
// stream comes to it.
func (st *staging) upload(p cu.DevicePtr, b []byte) error {
	for len(b) > 0 {
		i := st.turn
		st.turn ^= 1
		if err := wrap("wait for a copy", st.events[i].Synchronize()); err != nil {
			return err
		}
		n := copy(st.half(i), b)
		if err := wrap("upload", cu.MemcpyHtoDAsync(p, unsafe.Pointer(&st.half(i)[0]), int64(n), st.stream)); err != nil {
			return err
		}
		if err := wrap("record an event", st.events[i].Record(st.stream)); err != nil {
			return err
		}
		p, b = p+cu.DevicePtr(n), b[n:]
	}
	return nil
}

// download copies from p to b, which is complete when it returns.
func (st *staging) download(b []byte, p cu.DevicePtr) error {
	var waiting []byte // what half i^1 holds and b does not yet
	take := func(i int) error {
		if err := wrap("wait for a copy", st.events[i].Synchronize()); err != nil {
			return err
		}
		copy(waiting, st.half(i))
		return nil
	}
	for len(b) > 0 {
		i := st.turn
		st.turn ^= 1
		n := min(len(b), stagingBytes/2)
		if err := wrap("download", cu.MemcpyDtoHAsync(unsafe.Pointer(&st.half(i)[0]), p, int64(n), st.stream)); err != nil {
			return err
		}
		if err := wrap("record an event", st.events[i].Record(st.stream)); err != nil {
			return err
		}
		if waiting != nil {
			if err := take(i ^ 1); err != nil {
				return err
			}
		}
		waiting, p, b = b[:n], p+cu.DevicePtr(n), b[n:]
	}
	if waiting == nil {
		return nil
	}
	return take(st.turn ^ 1)
}

func (st *staging) close() []error {
	errs := []error{wrap("free pinned memory", cu.MemFreeHost(unsafe.Pointer(&st.host[0])))}
	for i := range st.events {
		if st.events[i] != (cu.Event{}) {
			errs = append(errs, wrap("destroy an event", cu.DestroyEvent(&st.events[i])))
		}
	}
	return errs
}
