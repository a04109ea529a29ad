package workload

import (
	"os"
	"strconv"
	"strings"
)

// deviceBytesRead is how much this process has had read from devices, if the system tells.
func deviceBytesRead() (n int64, ok bool) { return procField("/proc/self/io", "read_bytes") }

// residentBytes is how much memory this process has, if the system tells.
func residentBytes() (n int64, ok bool) {
	n, ok = procField("/proc/self/status", "VmRSS")
	return n << 10, ok // it is told in KiB
}

func procField(file, name string) (n int64, ok bool) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		if f := strings.Fields(value); key == name && len(f) > 0 {
			n, err = strconv.ParseInt(f[0], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
