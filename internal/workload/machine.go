package workload

import (
	"fmt"
	"runtime"
	"strings"
)

// Machine is what figures depend on, without what names the machine.
type Machine struct {
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Kernel     string `json:"kernel,omitempty"`
	CPU        string `json:"cpu,omitempty"`
	Cores      int    `json:"cores"`
	Memory     uint64 `json:"memoryBytes,omitempty"`
	FileSystem string `json:"fileSystem,omitempty"`
	Go         string `json:"go"`
	MaxProcs   int    `json:"gomaxprocs"`
}

func machineOf(dir string) Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(), MaxProcs: runtime.GOMAXPROCS(0)}
	m.look(dir)
	return m
}

// String is one line.
func (m Machine) String() string {
	facts := []string{fmt.Sprintf("%d cores", m.Cores)}
	if m.MaxProcs != m.Cores {
		facts = append(facts, fmt.Sprintf("GOMAXPROCS %d", m.MaxProcs))
	}
	if m.CPU != "" {
		facts = append(facts, m.CPU)
	}
	if m.Memory > 0 {
		facts = append(facts, fmt.Sprintf("%.0f GiB", float64(m.Memory)/(1<<30)))
	}
	facts = append(facts, strings.TrimSpace(m.OS+"/"+m.Arch+" "+m.Kernel))
	if m.FileSystem != "" {
		facts = append(facts, m.FileSystem)
	}
	return strings.Join(append(facts, m.Go), ", ") + "."
}
