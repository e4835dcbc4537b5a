package main

import (
	"strings"
	"testing"
)

func TestParseShard(t *testing.T) {
	env := func(kv ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(kv); i += 2 {
				if kv[i] == name {
					return kv[i+1]
				}
			}
			return ""
		}
	}
	slurm := func(id, count, first, last, step string) func(string) string {
		return env("SLURM_ARRAY_TASK_ID", id, "SLURM_ARRAY_TASK_COUNT", count, "SLURM_ARRAY_TASK_MIN", first, "SLURM_ARRAY_TASK_MAX", last, "SLURM_ARRAY_TASK_STEP", step)
	}
	for _, c := range []struct {
		flag string
		env  func(string) string
		want string
	}{
		{"", env(), "0/1"},
		{"3/4", env(), "3/4"},
		{"0/1", env("JOB_COMPLETION_INDEX", "7"), "0/1"}, // the flag says all
		{"3/4", slurm("1", "2", "1", "2", "1"), "3/4"},
		{"8", env("JOB_COMPLETION_INDEX", "7"), "7/8"},
		{"", env("JOB_COMPLETION_INDEX", "7", "STYLIZE_SHARDS", "8"), "7/8"},
		{"", env("STYLIZE_SHARDS", "8"), "0/1"}, // nothing says which: nobody shares
		{"8", slurm("3", "1", "3", "3", "1"), "3/8"},
		{"", slurm("3", "8", "0", "7", "1"), "3/8"},
		{"", slurm("3", "8", "1", "8", "1"), "2/8"},
		{"", slurm("30", "4", "10", "45", "10"), "2/4"},
		{"", env("SLURM_ARRAY_TASK_ID", "3", "STYLIZE_SHARDS", "16"), "3/16"},
		{"4/4", env(), "give I/N"},
		{"-1/4", env(), "give I/N"},
		{"a/b", env(), "give I/N"},
		{"/4", env(), "give I/N"},
		{"4", env(), "neither JOB_COMPLETION_INDEX nor SLURM_ARRAY_TASK_ID"},
		{"4", env("JOB_COMPLETION_INDEX", "4"), "JOB_COMPLETION_INDEX=4, --shard 4: give I/N"},
		{"", env("JOB_COMPLETION_INDEX", "4"), "nothing says of how many"},
		{"", env("JOB_COMPLETION_INDEX", "4", "STYLIZE_SHARDS", "x"), "STYLIZE_SHARDS=x: give I/N"},
		{"", slurm("7", "3", "1", "7", "1"), "with gaps"},
		{"", env("SLURM_ARRAY_TASK_ID", "3"), "SLURM_ARRAY_TASK_COUNT is \"\""},
	} {
		s, err := parseShard(c.flag, c.env)
		if got := s.String(); err == nil && got != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, %v; want %s", c.flag, s, err, c.want)
		}
	}
}
