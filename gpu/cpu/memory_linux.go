package cpu

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

type memInfo struct{ total, available int64 } // bytes; 0 when unknown

// memory reads /proc/meminfo.
func memory() (m memInfo) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return m
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 {
			continue
		}
		kb, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			continue
		}
		switch fields[0] {
		case "MemTotal:":
			m.total = kb << 10
		case "MemAvailable:":
			m.available = kb << 10
		}
	}
	return m
}
