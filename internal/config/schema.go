package config

import (
	_ "embed"
	"slices"
)

//go:generate go test -run "TestSchema|TestDocumentation" . -update

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (2020-12) of the configuration file, for
// editors. It is made from the types and comments of this package; a test
// keeps it so.
func Schema() []byte { return slices.Clone(schema) }
