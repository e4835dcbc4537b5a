package cpu

import (
	"bufio"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

type memInfo struct{ total, available int64 } // bytes; 0 when unknown

// What a run takes beyond its plan: of the address space Go and the stacks of threads
// reserve far more than they use, and where that ends Go crashes.
const (
	spareSpace = 512 << 20
	spareData  = 128 << 20
)

// memory is what the machine has and what is free of it, as far as this process may
// have it: the control groups that it is in and its resource limits bound both.
func memory() memInfo {
	m := machineMemory("/")
	for _, l := range []struct {
		resource int
		used     string // in /proc/self/status
		spare    int64
	}{{syscall.RLIMIT_AS, "VmSize", spareSpace}, {syscall.RLIMIT_DATA, "VmData", spareData}} {
		var r syscall.Rlimit
		if syscall.Getrlimit(l.resource, &r) == nil && r.Cur < math.MaxInt64 {
			m.bound(int64(r.Cur), numbers("/proc/self/status")[l.used]<<10+l.spare)
		}
	}
	return m
}

// bound takes a limit into account, of which some is used.
func (m *memInfo) bound(limit, used int64) {
	free := max(limit-used, 1) // 0 is unknown
	if m.total == 0 || limit < m.total {
		m.total = limit
	}
	if m.available == 0 || free < m.available {
		m.available = free
	}
}

// machineMemory reads meminfo and the control groups below a root folder.
func machineMemory(root string) (m memInfo) {
	info := numbers(filepath.Join(root, "proc/meminfo"))
	m = memInfo{info["MemTotal"] << 10, info["MemAvailable"] << 10}
	groups, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(groups)) { // hierarchy:controllers:path
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		v1 := strings.Contains(","+f[1]+",", ",memory,")
		if !v1 && f[1] != "" {
			continue
		}
		mount, below := mounted(root, v1, f[2])
		if mount == "" {
			continue
		}
		for ; ; below = path.Dir(below) { // a group is bound by those around it
			m.group(filepath.Join(root, mount, below), v1)
			if below == "/" {
				break
			}
		}
	}
	return m
}

// group takes the limits of one control group into account. What it uses for files
// that nobody has read lately is as good as free.
func (m *memInfo) group(dir string, v1 bool) {
	limits, used, cached := []string{"memory.max", "memory.high"}, "memory.current", "inactive_file"
	if v1 {
		limits, used, cached = []string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", "total_inactive_file"
	}
	in, ok := number(filepath.Join(dir, used))
	if !ok {
		return
	}
	in -= min(numbers(filepath.Join(dir, "memory.stat"))[cached], in)
	for _, name := range limits {
		if limit, ok := number(filepath.Join(dir, name)); ok && limit < math.MaxInt64/2 { // more is none, as is max
			m.bound(limit, in)
		}
	}
}

// mounted says where a group's folder is: the mount of its hierarchy, and the path below
// it. A container sees a part of the hierarchy only.
func mounted(root string, v1 bool, group string) (mount, below string) {
	f, err := os.Open(filepath.Join(root, "proc/self/mountinfo"))
	if err != nil {
		return "", ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); { // id parent device root mount options ... - type source options
		before, after, ok := strings.Cut(s.Text(), " - ")
		a, b := strings.Fields(before), strings.Fields(after)
		if !ok || len(a) < 5 || len(b) < 3 {
			continue
		}
		if !v1 && b[0] != "cgroup2" || v1 && (b[0] != "cgroup" || !strings.Contains(","+b[2]+",", ",memory,")) {
			continue
		}
		below = "/"
		if rest, ok := strings.CutPrefix(group, strings.TrimSuffix(a[3], "/")); ok {
			below = path.Clean("/" + rest)
		}
		return a[4], below
	}
	return "", ""
}

// number reads a file that has one.
func number(name string) (int64, bool) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

// numbers reads lines of a name and a number.
func numbers(name string) map[string]int64 {
	all := map[string]int64{}
	f, err := os.Open(name)
	if err != nil {
		return all
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			all[strings.TrimSuffix(fields[0], ":")] = n
		}
	}
	return all
}
