// Hostile tries what nobody should do to stylize: thousands of mutated pictures and
// weights, records of PNGs, answers of servers. It prints for each kind how many were
// tried and how many were good: an error of one line or a result, in bounded memory and
// time, with nothing lost, no half file and no panic. The first bad ones are shown, and
// kept with -keep.
//
//	go run ./tools/hostile -n 10000 pictures
//	go run ./tools/hostile -n 10000 weights
//	go run ./tools/hostile -n 2000 -stylize bin/stylize records
//	go run ./tools/hostile -n 500 server
//
// Kills are those of go test ./cmd/stylize -run TestKilled -kills 1000, failures of
// disks those of TestPaintInjected and TestFetchInjected.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stylize-gpu/stylize/tools/cost"
)

// trial is what one kind of attack is made of.
type trial struct {
	random *rand.Rand
	dir    string // to work in; nothing of it stays
	bin    string // of stylize
}

var kinds = map[string]func(t *trial) (try func() (what string, input []byte, err error), err error){
	"pictures": pictures, "weights": files, "records": records, "server": server,
}

func main() {
	n := flag.Int("n", 1000, "how many to try")
	seed := flag.Uint64("seed", 1, "of the mutations")
	keep := flag.String("keep", "", "put bad inputs into this folder")
	bin := flag.String("stylize", "bin/stylize", "the program, for records")
	flag.Parse()
	begin := kinds[flag.Arg(0)]
	if begin == nil || flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "hostile: say what to try: pictures, weights, records or server")
		os.Exit(2)
	}
	if err := run(begin, flag.Arg(0), *n, *seed, *keep, *bin); err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}

func run(begin func(*trial) (func() (string, []byte, error), error), kind string, n int, seed uint64, keep, bin string) error {
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	try, err := begin(&trial{random: rand.New(rand.NewPCG(seed, 0)), dir: dir, bin: bin})
	if err != nil {
		return err
	}
	start, good, shown := time.Now(), 0, 0
	outcomes := map[string]int{}
	for i := range n {
		what, input, err := try()
		outcomes[what]++
		if err == nil {
			good++
			continue
		}
		if shown++; shown <= 10 {
			fmt.Fprintf(os.Stderr, "bad, number %d of seed %d: %.500q\n", i, seed, err.Error())
		}
		if keep != "" {
			if err := os.WriteFile(filepath.Join(keep, fmt.Sprintf("%s-%d-%d", kind, seed, i)), input, 0o666); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(os.Stdout, "%s: %d tried, %d good (%v), in %.0f s\n", kind, n, good, outcomes, time.Since(start).Seconds())
	if good < n {
		return errors.New("not all are good")
	}
	return nil
}

// bounded runs f, and says what it took too much of. honest is what the content is worth,
// in bytes of memory.
func bounded(honest int64, f func() error) (what string, bad error) {
	before, start := cost.Allocated(), time.Now()
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("panic: %v", r)
			}
		}()
		return f()
	}()
	took, allocated := time.Since(start), int64(cost.Allocated()-before)
	what = "read"
	if err != nil {
		what = "refused"
	}
	switch {
	case allocated > cost.Memory+4*honest:
		return what, fmt.Errorf("took %d MB (%w)", allocated>>20, err)
	case took > cost.Time+time.Duration(honest)*20*time.Nanosecond:
		return what, fmt.Errorf("took %v (%w)", took, err)
	case err != nil && (strings.HasPrefix(err.Error(), "panic") || strings.Contains(err.Error(), "runtime error")):
		return what, err
	case err != nil && len(err.Error()) > 4000:
		return what, fmt.Errorf("a message of %d bytes", len(err.Error()))
	}
	return what, nil
}

// mutate changes a file in a few places, as bits rot and as attackers do.
func (t *trial) mutate(b []byte, others [][]byte) []byte {
	r := t.random
	b = append([]byte(nil), b...)
	at := func() int { return r.IntN(len(b)) }
	for range 1 + r.IntN(6) {
		if len(b) == 0 {
			return b
		}
		switch r.IntN(8) {
		case 0:
			b[at()] ^= 1 << r.IntN(8)
		case 1:
			b[at()] = byte(r.Uint32())
		case 2: // a number that is often a limit, of 1, 2, 4 or 8 bytes
			v := []uint64{0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff, 1 << 62, ^uint64(0)}[r.IntN(10)]
			i, n, big := at(), 1<<r.IntN(4), r.IntN(2) == 0
			for k := range n {
				if j := i + k; j < len(b) {
					if big {
						b[j] = byte(v >> (8 * (n - 1 - k)))
					} else {
						b[j] = byte(v >> (8 * k))
					}
				}
			}
		case 3: // cut off
			b = b[:at()]
		case 4: // a piece again
			i := at()
			j := i + r.IntN(min(len(b)-i, 4096))
			b = append(b[:j:j], b[i:]...)
		case 5: // a piece missing
			i := at()
			j := i + r.IntN(min(len(b)-i, 4096))
			b = append(b[:i:i], b[j:]...)
		case 6: // a piece of another file
			if o := others[r.IntN(len(others))]; len(o) > 0 {
				i, j := at(), r.IntN(len(o))
				b = append(b[:i:i], append(append([]byte(nil), o[j:j+r.IntN(min(len(o)-j, 4096))]...), b[i:]...)...)
			}
		default: // noise
			i := at()
			for k := range r.IntN(64) {
				if i+k < len(b) {
					b[i+k] = byte(r.Uint32())
				}
			}
		}
	}
	return b
}

// seeds are the files of folders.
func seeds(folders ...string) (all [][]byte, err error) {
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return nil, fmt.Errorf("%w; run it in the repository", err)
		}
		for _, e := range entries {
			if !e.Type().IsRegular() {
				continue
			}
			b, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if err != nil {
				return nil, err
			}
			all = append(all, b)
		}
	}
	return all, nil
}
