package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is the release that this source tree leads to.
const version = "0.1.0-dev"

type versionCmd struct{ jsonFlag }

// Help implements kong.HelpProvider.
func (versionCmd) Help() string {
	return "Examples:\n  tandem version\n  tandem version --json"
}

// build describes this program.
type buildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source tree
	Modified bool   `json:"modified,omitempty"` // it had changes that were not committed
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() buildInfo {
	b := buildInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	return b
}

// Run prints the version.
func (c *versionCmd) Run(sys system) error {
	b := thisBuild()
	if c.JSON {
		return printJSON(sys.stdout, b)
	}
	line := "tandem " + b.Version
	if b.Revision != "" {
		line += " (" + b.Revision[:min(12, len(b.Revision))]
		if b.Modified {
			line += ", modified"
		}
		line += ")"
	}
	_, err := fmt.Fprintf(sys.stdout, "%s %s %s\n", line, b.Go, b.Platform)
	return err
}
