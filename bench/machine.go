package bench

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"strings"
)

// Machine is the class of machine a figure was measured on: enough to judge
// the figure by, nothing that names the machine.
type Machine struct {
	Processors int    `json:"processors"`
	CPU        string `json:"cpu"`
	OS         string `json:"os"`
	Go         string `json:"go"`
}

// ThisMachine describes the machine the program runs on.
func ThisMachine() Machine {
	m := Machine{Processors: runtime.GOMAXPROCS(0), CPU: runtime.GOARCH, OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	// Absent on other systems, where the architecture has to do.
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if name := cpuName(data); name != "" {
			m.CPU = name
		}
	}
	return m
}

// cpuName is the processor's model in Linux's description of it, "" when it
// does not say.
func cpuName(cpuinfo []byte) string {
	lines := bufio.NewScanner(bytes.NewReader(cpuinfo))
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(key) == "model name" {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}
