package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/transfer/batch"
)

// Environment variables that say which shard a process is.
const (
	envShards = "STYLIZE_SHARDS"       // how many there are, where the flag does not say it
	envIndex  = "JOB_COMPLETION_INDEX" // of a Kubernetes Indexed Job, from 0
	envTask   = "SLURM_ARRAY_TASK_ID"  // of a Slurm array, with _COUNT, _MIN and _STEP
)

// parseShard reads I/N, or N, which leaves I to the environment. With nothing given,
// the environment may still say both:
//
//   - JOB_COMPLETION_INDEX is I, STYLIZE_SHARDS is N. Kubernetes does not tell a pod N:
//     where nobody else does, that is an error.
//   - SLURM_ARRAY_TASK_ID is I and STYLIZE_SHARDS is N; or, without the latter, an array
//     of equal steps is counted from its first task, and SLURM_ARRAY_TASK_COUNT is N.
func parseShard(flag string, getenv func(string) string) (batch.Shard, error) {
	if i, n, ok := strings.Cut(flag, "/"); ok {
		return newShard("--shard "+flag, i, n)
	}
	n, from := flag, "--shard "+flag
	if flag == "" {
		n, from = getenv(envShards), envShards+"="+getenv(envShards)
	}
	if index := getenv(envIndex); index != "" {
		if n == "" {
			return batch.Shard{}, fmt.Errorf("%s is %s, and nothing says of how many: give --shard N or set %s (--shard 0/1 paints everything)", envIndex, index, envShards)
		}
		return newShard(fmt.Sprintf("%s=%s, %s", envIndex, index, from), index, n)
	}
	task := getenv(envTask)
	switch {
	case task != "" && n != "":
		return newShard(fmt.Sprintf("%s=%s, %s", envTask, task, from), task, n)
	case task != "":
		return slurmShard(getenv)
	case flag != "":
		return batch.Shard{}, fmt.Errorf("--shard %s: neither %s nor %s says which one this is; give I/N, as in 0/%s", flag, envIndex, envTask, flag)
	}
	return batch.Shard{I: 0, N: 1}, nil
}

func newShard(from, i, n string) (batch.Shard, error) {
	s := batch.Shard{}
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
func slurmShard(getenv func(string) string) (batch.Shard, error) {
	var v [5]int
	for i, name := range []string{envTask, "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_STEP"} {
		text := getenv(name)
		if name == "SLURM_ARRAY_TASK_STEP" && text == "" {
			text = "1"
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return batch.Shard{}, fmt.Errorf("%s is %s, and %s is %q: say with --shard I/N which part this is", envTask, getenv(envTask), name, text)
		}
		v[i] = n
	}
	task, count, first, last, step := v[0], v[1], v[2], v[3], max(v[4], 1)
	if (last-first)/step+1 != count || (task-first)%step != 0 || task < first || task > last {
		return batch.Shard{}, fmt.Errorf("%s is %d of %d tasks from %d to %d, with gaps: give --shard I/N", envTask, task, count, first, last)
	}
	return batch.Shard{I: (task - first) / step, N: count}, nil
}
