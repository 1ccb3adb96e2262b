package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tandem"
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

func TestGood(t *testing.T) {
	load := func(name string) *Config {
		t.Helper()
		c, err := Load("testdata/good/"+name+".yaml", env)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	t.Run("defaults", func(t *testing.T) {
		c, want := load("smallest"), Default()
		if c.Listen != want.Listen || c.Limits != want.Limits || c.Learning != want.Learning || c.Log != want.Log {
			t.Errorf("got %+v", c)
		}
		got := c.TandemTasks()[0]
		if got.Deadline != 30*time.Second || got.InputBytes != 256<<10 || got.AuditRate != 0.05 || !got.StoreInputs ||
			got.Guarantee != (tandem.Guarantee{Alpha: 0.05, Delta: 0.1}) || got.Fallback != tandem.FallbackError {
			t.Errorf("task %+v", got)
		}
		if m := c.Models(); len(m) != 1 || m[0] != (NamedModel{Alias: "large", Provider: "up", Model: "large"}) {
			t.Errorf("models %+v", m)
		}
	})

	t.Run("everything", func(t *testing.T) {
		c := load("everything")
		if c.Listen != "[::1]:9090" || c.Limits.BodyBytes != 20<<20 || c.Limits.ReadTimeout != 90*time.Second || c.Learning.Threads != 0.25 {
			t.Errorf("got %+v", c)
		}
		near := c.Providers["near"].OpenAI
		if near.APIKey != "literal ${NOT_A_VARIABLE}" || near.Headers["X-Team"] != "support" || *near.MaxRetries != 0 {
			t.Errorf("provider %+v", near)
		}
		if r := c.Providers["recorded"].Replay; r.Latency != 250*time.Millisecond || r.FailureRate != 0.5 || r.Seed != 7 {
			t.Errorf("replay %+v", r)
		}
		tasks := c.TandemTasks()
		if tasks[0].Name != "Triage_1" || !tasks[0].Open() || tasks[0].MaxLabels != 40 {
			t.Errorf("open task %+v", tasks[0])
		}
		labels := []tandem.Label{{Name: "refund"}, {Name: "legal", Description: "court and police"}, {Name: "7"}, {Name: "true"}}
		if got := tasks[1]; !slices.Equal(got.Labels, labels) || got.Guarantee.Alpha != 0.02 || got.StoreInputs ||
			got.Instructions != "Answer with the queue.\nNothing else.\n" || !slices.Equal(got.Families, []string{"nearest"}) {
			t.Errorf("task %+v", got)
		}
		want := NamedModel{Alias: "org/model-7b", Provider: "near", Model: "other", Price: tandem.Price{Input: 0.1, Output: 0.4, Cached: 0.05}}
		if m := c.Models(); len(m) != 3 || m[1] != want {
			t.Errorf("models %+v", m)
		}
	})

	t.Run("variables never add structure", func(t *testing.T) {
		c := load("variables")
		if c.Listen != "127.0.0.1:9090" || c.Data != "./there" || c.Limits.Concurrent != 7 {
			t.Errorf("got %+v", c)
		}
		got := c.Tasks["support"]
		if got.Description != env("INJECT") || got.Guarantee.Alpha != 0.02 || got.StoreInputs {
			t.Errorf("task %+v", got)
		}
	})

	t.Run("anchors", func(t *testing.T) {
		c := load("anchors")
		first, second, third := c.Tasks["first"], c.Tasks["second"], c.Tasks["third"]
		if second.Deadline != 9*time.Second || first.Deadline != 3*time.Second || second.Guarantee.Alpha != 0.01 ||
			len(third.Labels) != 2 || third.Guarantee != (Guarantee{Alpha: 0.01, Delta: 0.2}) {
			t.Errorf("tasks %+v", c.Tasks)
		}
	})
}

func TestLoadFailures(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.yaml"), env); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "tandem config example >") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(dir, env); err == nil {
		t.Error("a folder was accepted")
	}
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, make([]byte, MaxBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big, env); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("big file: %v", err)
	}
}

func TestSecretsStayHidden(t *testing.T) {
	s := Secret("tk-0123456789")
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", s, "all", []Secret{s})
	data, err := json.Marshal(map[string]any{"t": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprintf("%v %s %q %#v %+v", s, s, s, s, []Secret{s}), log.String(), string(data)} {
		if strings.Contains(shown, "0123") {
			t.Errorf("shown: %s", shown)
		}
	}
	if s.Reveal() != "tk-0123456789" {
		t.Error("Reveal hides it too")
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1024": 1024, "1KB": 1024, "10 MB": 10 << 20, "2GB": 2 << 30, "7B": 7} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
		var again Size
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s becomes %s", text, s)
		}
	}
	for _, text := range []string{"", "-1", "1.5MB", "MB", "9223372036854775807KB", "1TB", "1e3"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q accepted as %d", text, s)
		}
	}
}
