package cpu

import (
	"os"
	"path/filepath"
	"testing"
)

// Each kind of limit counts, whoever sets it.
func TestMachineMemory(t *testing.T) {
	const (
		info   = "MemTotal:       1000 kB\nMemFree:   1 kB\nMemAvailable:    800 kB\n"
		v2     = "25 1 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
		v1     = "25 1 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n30 1 0:23 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"
		inside = "30 1 0:23 /docker/7 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	)
	for name, c := range map[string]struct {
		files map[string]string
		want  memInfo
	}{
		"no groups": {map[string]string{}, memInfo{1000 << 10, 800 << 10}},
		"v2 without a limit": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "5\n",
		}, memInfo{1000 << 10, 800 << 10}},
		"v2": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/b/memory.max": "500000\n", "sys/fs/cgroup/a/b/memory.current": "300000\n",
			"sys/fs/cgroup/a/b/memory.stat": "anon 1\ninactive_file 100000\n",
		}, memInfo{500000, 300000}},
		"v2, above it": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "1\n",
			"sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/memory.high": "400000\n", "sys/fs/cgroup/a/memory.current": "399999\n",
		}, memInfo{400000, 1}},
		"v2, more than full": {map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/memory.max": "10\n", "sys/fs/cgroup/memory.current": "20\n",
		}, memInfo{10, 1}},
		"v1": {map[string]string{
			"proc/self/cgroup": "7:cpu:/x\n3:memory:/y\n0::/z\n", "proc/self/mountinfo": v1,
			"sys/fs/cgroup/memory/y/memory.limit_in_bytes": "600000\n", "sys/fs/cgroup/memory/y/memory.usage_in_bytes": "100000\n",
			"sys/fs/cgroup/memory/y/memory.stat":         "total_inactive_file 50000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "5\n",
		}, memInfo{600000, 550000}},
		"v1 in a container": {map[string]string{
			"proc/self/cgroup": "3:memory:/docker/7/below\n", "proc/self/mountinfo": inside,
			"sys/fs/cgroup/memory/below/memory.limit_in_bytes": "600000\n", "sys/fs/cgroup/memory/below/memory.usage_in_bytes": "0\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "200000\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "100000\n",
		}, memInfo{200000, 100000}},
	} {
		root := t.TempDir()
		c.files["proc/meminfo"] = info
		for path, text := range c.files {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got := machineMemory(root); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	if m := memory(); m.total <= 0 || m.available <= 0 || m.available > m.total {
		t.Errorf("here: %+v", m)
	}
}
