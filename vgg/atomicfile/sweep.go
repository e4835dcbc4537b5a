package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

var temporary = regexp.MustCompile(`^(.+)\.([0-9]+)-[0-9]+\.tmp$`)

// Sweep removes the temporaries of a folder that processes left when they were killed:
// those of files that mine names, whose process is gone. It is called before this
// process writes there. A process of another machine that writes the same files at this
// very time loses its temporary, and Write says so with [fs.ErrNotExist].
func Sweep(dir string, mine func(base string) bool) (removed int, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	var errs []error
	if err != nil {
		errs = append(errs, err)
	}
	for _, e := range entries {
		m := temporary.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() || !mine(m[1]) {
			continue
		}
		pid, err := strconv.Atoi(m[2])
		if err != nil || pid != os.Getpid() && running(pid) { // in a container, every process has the same number
			continue
		}
		switch err := os.Remove(filepath.Join(dir, e.Name())); {
		case err == nil:
			removed++
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, err)
		}
	}
	return removed, errors.Join(errs...)
}
