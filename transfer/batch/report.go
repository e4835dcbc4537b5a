package batch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// Statuses of an item in a report.
const (
	Painted = "painted"
	Skipped = "skipped" // it was done already
	Failed  = "failed"
)

// Line is what a report says of an item. A file has one a line, as JSON.
type Line struct {
	Time    time.Time `json:"time"`
	Status  string    `json:"status"`
	Key     Key       `json:"key,omitempty"` // empty where a file of the item could not be read
	Content string    `json:"content"`
	Style   string    `json:"style,omitempty"`
	Output  string    `json:"output,omitempty"`
	Row     int       `json:"line,omitempty"` // of the manifest

	Device      string  `json:"device,omitempty"`
	Seconds     float64 `json:"seconds,omitempty"`      // in the hands of the device
	IdleSeconds float64 `json:"idle_seconds,omitempty"` // that the device did nothing, in them and just before
	Iterations  int     `json:"iterations,omitempty"`
	Losses      *Losses `json:"losses,omitempty"` // the last

	Error  string `json:"error,omitempty"`
	Before bool   `json:"before,omitempty"` // it failed in an earlier run, and was not tried
	// Fleeting is a failure that is none of the item's, as a full disk: it is tried
	// again without being asked.
	Fleeting bool `json:"fleeting,omitempty"`
}

// Losses are weighted, as in the record of a result.
type Losses struct {
	Content float64 `json:"content"`
	Style   float64 `json:"style"`
	TV      float64 `json:"tv"`
	Total   float64 `json:"total"`
}

// finite reports whether JSON can say them.
func (l Losses) finite() bool {
	for _, v := range []float64{l.Content, l.Style, l.TV, l.Total} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}

// Report is a file that grows by a line an item. Several processes may write to one
// file: each line is written at once.
type Report struct {
	mu     sync.Mutex
	f      atomicfile.File
	path   string
	failed map[Key]string // what failed by its own fault, by earlier runs, and was not painted since
}

// OpenReport opens a report, makes its folder, and reads what earlier runs wrote to it. A last line that is
// torn, as a process that was killed leaves it, is ignored.
func OpenReport(path string) (*Report, error) {
	r := &Report{path: path, failed: map[Key]string{}}
	torn, err := r.read()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, atomicfile.Explain(path, err)
	}
	if r.f, err = atomicfile.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o666); err != nil {
		return nil, atomicfile.Explain(path, err)
	}
	if torn { // what comes now begins its own line
		if _, err := r.f.Write([]byte{'\n'}); err != nil {
			return nil, errors.Join(atomicfile.Explain(path, err), r.f.Close())
		}
	}
	return r, nil
}

// read collects what failed.
func (r *Report) read() (torn bool, err error) {
	f, err := os.Open(r.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%s: cannot be read: %w", r.path, err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && !st.Mode().IsRegular() {
		if st.IsDir() {
			return false, fmt.Errorf("%s: is a folder; give the report a name in it", r.path)
		}
		return false, nil // a pipe or a device has nothing to read
	}
	torn, err = readLines(f, func(l Line) {
		switch {
		case l.Key == "":
		case l.Status == Failed && !l.Fleeting:
			r.failed[l.Key] = l.Error
		default:
			delete(r.failed, l.Key)
		}
	})
	if err != nil {
		return torn, fmt.Errorf("%s: %w", r.path, err)
	}
	return torn, nil
}

// readLines hands over each line. One that begins as a line of a report does and is cut
// off is left out; torn says that the last one is. Anything else belongs to somebody
// else's file.
func readLines(src io.Reader, each func(Line)) (torn bool, err error) {
	r := bufio.NewReader(src)
	for n := 1; ; n++ {
		text, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("cannot be read: %w", err)
		}
		end := errors.Is(err, io.EOF)
		torn = end && len(text) > 0
		text = bytes.TrimSpace(text)
		var l Line
		switch whole := json.Unmarshal(text, &l) == nil; {
		case len(text) == 0, !whole && cutOff(text):
		case whole && l.Status != "":
			each(l)
		default:
			return false, fmt.Errorf("line %d is none of a report of stylize batch; give another name", n)
		}
		if end {
			return torn, nil
		}
	}
}

// lineStart is what every line begins with.
const lineStart = `{"time":"`

// cutOff reports whether a text that is no JSON is the beginning of a line.
func cutOff(text []byte) bool {
	n := min(len(text), len(lineStart))
	return string(text[:n]) == lineStart[:n]
}

// Add appends a line and waits until it is on the disk.
func (r *Report) Add(l Line) error {
	if r == nil {
		return nil
	}
	if l.Losses != nil && !l.Losses.finite() {
		l.Losses = nil
	}
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.f.Write(append(b, '\n')); err != nil {
		return atomicfile.Explain(r.path, err)
	}
	if err := r.f.Sync(); err != nil && !special(r.f) {
		return atomicfile.Explain(r.path, err)
	}
	return nil
}

// special reports whether there is no disk behind a file, as behind a pipe.
func special(f atomicfile.File) bool {
	st, err := f.Stat()
	return err == nil && !st.Mode().IsRegular()
}

// FailedBefore says why an earlier run could not paint a key.
func (r *Report) FailedBefore(k Key) (why string, failed bool) {
	if r == nil {
		return "", false
	}
	why, failed = r.failed[k]
	return why, failed
}

// Close closes the file.
func (r *Report) Close() error {
	if r == nil || r.f == nil {
		return nil
	}
	return r.f.Close()
}

// ReadReport reads a report that nothing is to be added to.
func ReadReport(path string) (*Report, error) {
	r := &Report{path: path, failed: map[Key]string{}}
	if _, err := r.read(); err != nil {
		return nil, err
	}
	return r, nil
}
