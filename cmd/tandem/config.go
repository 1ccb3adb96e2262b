package main

import (
	"tandem/examples"
	"tandem/internal/config"
)

type configCmd struct {
	Schema  configSchemaCmd  `cmd:"" help:"Print the JSON Schema of the configuration, for editors."`
	Example configExampleCmd `cmd:"" help:"Print a commented configuration to start from."`
}

type configSchemaCmd struct{}

// Help implements kong.HelpProvider.
func (configSchemaCmd) Help() string {
	return "Editors with a YAML language server complete and check the file when its first line is " +
		"\"# yaml-language-server: $schema=./tandem.schema.json\".\n\n" +
		"Examples:\n  tandem config schema > tandem.schema.json"
}

// Run prints the schema.
func (configSchemaCmd) Run(sys system) error {
	_, err := sys.stdout.Write(config.Schema())
	return err
}

type configExampleCmd struct{}

// Help implements kong.HelpProvider.
func (configExampleCmd) Help() string {
	return "Examples:\n  tandem config example > tandem.yaml\n  tandem check"
}

// Run prints the example.
func (configExampleCmd) Run(sys system) error {
	_, err := sys.stdout.Write(examples.Config())
	return err
}
