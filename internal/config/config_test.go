package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tandem/examples"
)

// update rewrites golden files, the schema and the documentation:
// go test ./internal/config -update.
var update = flag.Bool("update", false, "rewrite golden files, schema.json and docs/configuration.md")

// env is the environment of the fixtures.
func env(name string) string {
	return map[string]string{
		"OPENAI_API_KEY": "sk-live-0123456789",
		"PORT":           "9090",
		"ALPHA":          "0.02",
		"INJECT":         "x\nlisten: 0.0.0.0:1",
		"WORDS":          "not a number",
	}[name]
}

func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d bad fixtures: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), data, env)
			if err == nil {
				t.Fatal("accepted")
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".txt"
			got := err.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("faults differ from %s (go test -update rewrites it)\ngot:\n%s\nwant:\n%s", golden, got, want)
			}
			if strings.Contains(got, "sk-") {
				t.Errorf("a secret is shown:\n%s", got)
			}
		})
	}
}

func TestExample(t *testing.T) {
	c, err := Parse("tandem.yaml", examples.Config(), env)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Providers["openai"].OpenAI.APIKey; got != "sk-live-0123456789" {
		t.Errorf("api_key is %q", got)
	}
	tasks := c.TandemTasks()
	if len(tasks) != 1 || tasks[0].Name != "support" || len(tasks[0].Labels) != 5 || tasks[0].Guarantee.Alpha != 0.05 {
		t.Errorf("tasks are %+v", tasks)
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/good/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Add(examples.Config())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("fuzz.yaml", data, env)
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v, error %v", c, err)
		}
		if err == nil {
			c.TandemTasks()
			c.Models()
			return
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || len(e.Faults) == 0 || e.Error() == "" {
			t.Fatalf("error %#v lists no faults", err)
		}
		for _, fault := range e.Faults {
			if fault.Line < 1 || fault.Column < 1 || fault.Message == "" {
				t.Fatalf("fault %+v has no place", fault)
			}
		}
	})
}
