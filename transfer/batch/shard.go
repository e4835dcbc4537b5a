package batch

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Shard is a part of a list: number I of N, from 0.
type Shard struct{ I, N int }

// Whole reports whether it is everything.
func (s Shard) Whole() bool { return s.N <= 1 }

func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.I, s.N) }

// Environment variables that say which shard a process is.
const (
	EnvShards = "STYLIZE_SHARDS"       // how many there are, where the flag does not say it
	EnvIndex  = "JOB_COMPLETION_INDEX" // of a Kubernetes Indexed Job, from 0
	EnvTask   = "SLURM_ARRAY_TASK_ID"  // of a Slurm array, with _COUNT, _MIN and _STEP
)

// ParseShard reads I/N, or N, which leaves I to the environment. With nothing given,
// the environment may still say both:
//
//   - JOB_COMPLETION_INDEX is I, STYLIZE_SHARDS is N. Kubernetes does not tell a pod N:
//     where nobody else does, that is an error.
//   - SLURM_ARRAY_TASK_ID is I and STYLIZE_SHARDS is N; or, without the latter, an array
//     of equal steps is counted from its first task, and SLURM_ARRAY_TASK_COUNT is N.
func ParseShard(flag string, getenv func(string) string) (Shard, error) {
	if i, n, ok := strings.Cut(flag, "/"); ok {
		return newShard("--shard "+flag, i, n)
	}
	n, from := flag, "--shard "+flag
	if flag == "" {
		n, from = getenv(EnvShards), EnvShards+"="+getenv(EnvShards)
	}
	if index := getenv(EnvIndex); index != "" {
		if n == "" {
			return Shard{}, fmt.Errorf("%s is %s, and nothing says of how many: give --shard N or set %s (--shard 0/1 paints everything)", EnvIndex, index, EnvShards)
		}
		return newShard(fmt.Sprintf("%s=%s, %s", EnvIndex, index, from), index, n)
	}
	task := getenv(EnvTask)
	switch {
	case task != "" && n != "":
		return newShard(fmt.Sprintf("%s=%s, %s", EnvTask, task, from), task, n)
	case task != "":
		return slurmShard(getenv)
	case flag != "":
		return Shard{}, fmt.Errorf("--shard %s: neither %s nor %s says which one this is; give I/N, as in 0/%s", flag, EnvIndex, EnvTask, flag)
	}
	return Shard{0, 1}, nil
}

func newShard(from, i, n string) (Shard, error) {
	s := Shard{}
	var e1, e2 error
	s.I, e1 = strconv.Atoi(i)
	s.N, e2 = strconv.Atoi(n)
	if errors.Join(e1, e2) != nil || s.N < 1 || s.I < 0 || s.I >= s.N {
		return s, fmt.Errorf("%s: give I/N with I from 0 to N-1, as in 0/4 to 3/4", from)
	}
	return s, nil
}

// slurmShard counts the tasks of an array. A list with gaps does not say which of them
// this one is.
func slurmShard(getenv func(string) string) (Shard, error) {
	var v [5]int
	for i, name := range []string{EnvTask, "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"} {
		text := getenv(name)
		if name == "SLURM_ARRAY_TASK_STEP" && text == "" {
			text = "1"
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return Shard{}, fmt.Errorf("%s is %s, and %s is %q: say with --shard I/N which part this is", EnvTask, getenv(EnvTask), name, text)
		}
		v[i] = n
	}
	task, count, first, last, step := v[0], v[1], v[2], v[3], max(v[4], 1)
	if (last-first)/step+1 != count || (task-first)%step != 0 || task < first || task > last {
		return Shard{}, fmt.Errorf("%s is %d of %d tasks from %d to %d, with gaps: give --shard I/N", EnvTask, task, count, first, last)
	}
	return Shard{(task - first) / step, count}, nil
}

// Has reports whether an item belongs to it. Items are split by what the list says of
// them, not by their place in it: the parts stay the same when others come or go. It is
// not the key, for which every shard would have to read every picture, and which differs
// between devices of different precision.
func (s Shard) Has(it *Item) bool {
	if s.Whole() {
		return true
	}
	b, err := json.Marshal([]any{it.Content, it.Style, it.Options.Init, canonical(*it.Options), it.Output})
	if err != nil {
		return s.I == 0
	}
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:8])%uint64(s.N) == uint64(s.I)
}
