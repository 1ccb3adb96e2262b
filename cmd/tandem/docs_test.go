package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

//go:generate go test -run TestDocumentation . -update

var update = flag.Bool("update", false, "rewrite docs/cli.md")

const documentation = `# Command line

<!-- Made from the commands' own help by "go generate ./cmd/tandem"; a test keeps it so. -->

One program does everything; ` + "`tandem COMMAND --help`" + ` explains each command. Common to all:

- **Exit status**: 0 done, 1 failed, 2 the command line is wrong.
- ` + "`--json`" + ` prints JSON on standard output; messages and progress go to standard error.
- ` + "`--config FILE` or `TANDEM_CONFIG`" + ` names the configuration, ` + "`TANDEM_TOKEN`" + ` the API token.
- Colours and progress bars appear on terminals only; ` + "`NO_COLOR`" + ` turns colours off.
- Commands about tasks, students, events and traces ask the running server that holds the data folder, over the loopback
  address it listens on; when none runs they open the folder themselves.
`

// TestDocumentation holds docs/cli.md to the commands' help, and every command
// to having examples.
func TestDocumentation(t *testing.T) {
	t.Setenv("COLUMNS", "")
	k, err := parser(system{getenv: func(string) string { return "" }, stdout: io.Discard, stderr: io.Discard}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(documentation)
	fmt.Fprintf(&b, "\n```\n%s```\n", page(t, "--help"))
	for _, leaf := range k.Model.Leaves(true) {
		path := words(leaf)
		help := page(t, append(path, "--help")...)
		if !strings.Contains(help, "Examples:") {
			t.Errorf("%v has no examples", path)
		}
		fmt.Fprintf(&b, "\n## tandem %s\n\n```\n%s```\n", strings.Join(path, " "), help)
	}
	const file = "../../docs/cli.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s is not what the commands say; run go generate ./cmd/tandem", file)
	}
}

// words are the names that lead to a command.
func words(n *kong.Node) []string {
	if n.Parent == nil {
		return nil
	}
	return append(words(n.Parent), n.Name)
}
