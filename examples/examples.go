// Package examples holds the configuration to start from.
package examples

import _ "embed"

//go:embed tandem.yaml
var config []byte

// Config returns a commented configuration file.
func Config() []byte { return append([]byte(nil), config...) }
