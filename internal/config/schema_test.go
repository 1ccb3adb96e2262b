package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	variable = `\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}`
	root     = "../.."
)

// written lists the types that are written as text in the file.
func written(t reflect.Type) *jsonschema.Schema {
	pattern := func(p string) *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", Pattern: "^(" + p + ")$|" + variable}
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return pattern(`-?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+|0`)
	case reflect.TypeFor[Size]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "integer"}, pattern(`[0-9]+ *(B|KB|MB|GB)?`)}}
	case reflect.TypeFor[Share]():
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "number"}, pattern(`[0-9]+(\.[0-9]+)? *%?`)}}
	case reflect.TypeFor[Secret]():
		return &jsonschema.Schema{Type: "string"}
	}
	return nil
}

// makeSchema describes the file from the types and their comments.
func makeSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	r := &jsonschema.Reflector{FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true, Mapper: written, Namer: named, ExpandedStruct: true}
	t.Chdir(root) // comments are found by the path of their package
	for _, dir := range []string{"./internal/config", "./internal/provider"} {
		if err := r.AddGoComments("tandem", dir, jsonschema.WithFullComment()); err != nil {
			t.Fatal(err)
		}
	}
	s := r.Reflect(&Config{})
	s.ID, s.Title, s.Description = "", "tandem configuration", ""
	describeKeys(s, reflect.ValueOf(*Default()))
	for name, v := range map[string]any{
		"Limits": Default().Limits, "Log": Default().Log, "Learning": Default().Learning,
		"Task": DefaultTask(), "Guarantee": DefaultTask().Guarantee,
	} {
		describeKeys(s.Definitions[name], reflect.ValueOf(v))
	}
	for _, def := range s.Definitions {
		describeKeys(def, reflect.Value{})
	}
	s.Definitions["Label"] = &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}, s.Definitions["Label"]}}
	return s
}

// named tells the packages' Config types apart.
func named(t reflect.Type) string {
	if t.Name() == "Config" && t != reflect.TypeFor[Config]() {
		return t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:]
	}
	return t.Name()
}

// describeKeys names keys as the file does, lets every number and switch also
// be a variable, and adds the defaults that v holds.
func describeKeys(s *jsonschema.Schema, v reflect.Value) {
	if s.Properties == nil {
		return
	}
	said := "" // one comment may stand before several fields
	for pair := s.Properties.Oldest(); pair != nil; pair = pair.Next() {
		p := pair.Value
		words := strings.Fields(p.Description)
		for i := range words {
			for other := s.Properties.Oldest(); other != nil; other = other.Next() {
				if strings.EqualFold(words[i], strings.ReplaceAll(other.Key, "_", "")) && (i == 0 || strings.Contains(other.Key, "_")) {
					words[i] = other.Key
				}
			}
		}
		if len(words) == 0 {
			words = strings.Fields(said)
		}
		p.Description = strings.Join(words, " ")
		said = p.Description
		if p.Type == "integer" || p.Type == "number" || p.Type == "boolean" || p.Type == "string" && p.Enum != nil {
			inner := *p
			inner.Description = ""
			*p = jsonschema.Schema{Description: p.Description, OneOf: []*jsonschema.Schema{&inner, {Type: "string", Pattern: variable}}}
		}
		if !v.IsValid() {
			continue
		}
		switch d := v.FieldByIndex(fieldsOf(v.Type())[pair.Key]).Interface().(type) {
		case time.Duration:
			p.Default = shortDuration(d)
		case Size:
			p.Default = d.String()
		case string, bool, int, float64, Share, []string:
			if !reflect.ValueOf(d).IsZero() {
				p.Default = d
			}
		}
	}
}

func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	return strings.TrimSuffix(s, "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(s, "h0m")]
}

// golden compares with a file of the tree, or rewrites it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the types and comments say; run go generate ./internal/config", file)
	}
}

func TestSchema(t *testing.T) {
	data, err := json.MarshalIndent(makeSchema(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "internal/config/schema.json", append(data, '\n'))
}

// TestSchemaAgrees holds the schema and the decoder to each other: what one
// takes, the other takes, but for faults that a schema cannot see.
func TestSchemaAgrees(t *testing.T) {
	doc, err := validator.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("tandem.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("tandem.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, data []byte) error {
		t.Helper()
		text, err := yaml.YAMLToJSON(data)
		if err != nil {
			t.Fatal(err)
		}
		v, err := validator.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return compiled.Validate(v)
	}
	good, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(good) < 4 {
		t.Fatalf("%d good fixtures: %v", len(good), err)
	}
	for _, file := range append(good, filepath.Join(root, "examples/tandem.yaml")) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := check(t, data); err != nil {
			t.Errorf("%s: the schema refuses it: %v", file, err)
		}
		if _, err := Parse(file, data, env); err != nil {
			t.Errorf("%s: the decoder refuses it: %v", file, err)
		}
	}
	for _, name := range []string{"unknown-keys", "ranges", "secrets", "list"} {
		data, err := os.ReadFile("testdata/bad/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if check(t, data) == nil {
			t.Errorf("%s: the schema takes it", name)
		}
	}
}

const documentation = `# Configuration

<!-- Made from the types and comments of internal/config by "go generate ./internal/config"; a test keeps it so. -->

Tandem reads one YAML file, ` + "`tandem.yaml`" + ` or what ` + "`--config` or `TANDEM_CONFIG`" + ` names. ` + "`tandem config example`" + `
prints one to start from, ` + "`tandem config schema`" + ` a JSON Schema with which editors complete and check it, and
` + "`tandem check`" + ` reports every fault at once, with line and column.

- **Strict.** A key that is not listed here is a fault, not a silent nothing. So is a key given twice.
- **Variables.** ` + "`${NAME}`" + ` inside a value is replaced by the environment variable; an unset or empty one is a
  fault, unless it has a default: ` + "`${NAME:-default}`. `$${`" + ` stands for a literal ` + "`${`" + `. Values are replaced after
  the file has been parsed, so a variable can never add keys. Between ` + "`{ }` and `[ ]`" + ` put such a value in quotes.
- **Units.** Times are written ` + "`5s`, `1m30s`, `250ms`" + `; sizes ` + "`262144`, `256KB`, `10MB`" + ` (1 KB is 1024 bytes); shares
  ` + "`0.05` or `5%`" + `.
- **Anchors.** ` + "`&name`, `*name` and `<<: *name`" + ` work; tags and a second document do not.
- **Secrets** (tokens, keys, headers) are never shown in faults or logs.
- **Reload.** The file is read again on SIGHUP and when it changes, also when an editor or Kubernetes replaces it. A
  file with faults changes nothing; the log says what is wrong. What only takes effect at a start is reported as such:
  FROZEN. Tasks, providers and models change at once.
`

func TestDocumentation(t *testing.T) {
	frozen := (&Config{}).Frozen(&Config{
		Listen: "x", Data: "x", APITokens: []Secret{"x"}, Log: Log{Level: "x"}, Limits: Limits{Drain: 1}, Learning: Learning{Growth: 2},
	})
	var b strings.Builder
	b.WriteString(strings.Replace(documentation, "FROZEN", strings.Join(frozen, ", "), 1))
	s := makeSchema(t)
	for _, section := range []struct{ title, def string }{
		{"The file", ""},
		{"`limits`", "Limits"},
		{"`log`", "Log"},
		{"`providers: NAME:`", "Provider"},
		{"`providers: NAME: openai:`", s.Definitions["Provider"].Properties.Value("openai").Ref},
		{"`providers: NAME: anthropic:`", s.Definitions["Provider"].Properties.Value("anthropic").Ref},
		{"`providers: NAME: gemini:`", s.Definitions["Provider"].Properties.Value("gemini").Ref},
		{"`providers: NAME: ollama:`", s.Definitions["Provider"].Properties.Value("ollama").Ref},
		{"`providers: NAME: replay:`", s.Definitions["Provider"].Properties.Value("replay").Ref},
		{"`providers: NAME: models: ALIAS:`", "Model"},
		{"`providers: NAME: models: ALIAS: price:`", "Price"},
		{"`tasks: NAME:`", "Task"},
		{"`tasks: NAME: labels:`", "Label"},
		{"`tasks: NAME: guarantee:`", "Guarantee"},
		{"`learning`", "Learning"},
	} {
		def := s
		if section.def != "" {
			def = s.Definitions[strings.TrimPrefix(section.def, "#/$defs/")]
		}
		if def.OneOf != nil {
			def = def.OneOf[len(def.OneOf)-1]
		}
		fmt.Fprintf(&b, "\n## %s\n\n", section.title)
		switch about := strings.Join(strings.Fields(def.Description), " "); {
		case strings.HasPrefix(section.def, "#"): // a kind of provider describes itself where it is listed
			for pair := s.Definitions["Provider"].Properties.Oldest(); pair != nil; pair = pair.Next() {
				if pair.Value.Ref == section.def {
					fmt.Fprintf(&b, "%s\n\n", meaning(pair.Key, pair.Value.Description))
				}
			}
		case about != "":
			fmt.Fprintf(&b, "%s\n\n", about)
		}
		b.WriteString("| key | value | default | |\n|---|---|---|---|\n")
		for pair := def.Properties.Oldest(); pair != nil; pair = pair.Next() {
			fallback := "–"
			switch {
			case slices.Contains(def.Required, pair.Key):
				fallback = "**needed**"
			case pair.Value.Default != nil:
				data, err := json.Marshal(pair.Value.Default)
				if err != nil {
					t.Fatal(err)
				}
				fallback = "`" + strings.Trim(string(data), `"`) + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", pair.Key, kind(pair.Value), fallback, meaning(pair.Key, pair.Value.Description))
		}
	}
	golden(t, "docs/configuration.md", []byte(b.String()))
}

// kind says in words what a value looks like.
func kind(s *jsonschema.Schema) string {
	name := strings.TrimPrefix(s.Ref, "#/$defs/")
	switch {
	case s.Ref != "" && name == "Label":
		return "text, or keys (below)"
	case s.Ref != "":
		return "keys (below)"
	case s.Items != nil:
		return "list of " + kind(s.Items)
	case s.AdditionalProperties != nil && s.AdditionalProperties.Ref != "":
		return "names with keys (below)"
	case s.AdditionalProperties != nil:
		return "names with " + kind(s.AdditionalProperties)
	case s.Enum != nil:
		words := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			words[i] = fmt.Sprintf("`%v`", e)
		}
		return strings.Join(words, " or ")
	case s.OneOf != nil && s.OneOf[0].Type == "integer" && strings.Contains(s.OneOf[1].Pattern, "MB"):
		return "size"
	case s.OneOf != nil && s.OneOf[0].Type == "number" && strings.Contains(s.OneOf[1].Pattern, "%"):
		return "share"
	case s.OneOf != nil:
		return kind(s.OneOf[0])
	case s.Type == "integer":
		return "whole number"
	case s.Type == "boolean":
		return "`true` or `false`"
	case s.Type == "string" && s.Pattern != "":
		return "time"
	case s.Type == "string":
		return "text"
	}
	return s.Type
}

// meaning shortens "alpha is the share" to "The share".
func meaning(key, description string) string {
	for _, verb := range []string{" is ", " are "} {
		if rest, ok := strings.CutPrefix(description, key+verb); ok {
			return strings.ToUpper(rest[:1]) + rest[1:]
		}
	}
	if rest, ok := strings.CutPrefix(description, key+" "); ok {
		return "`" + key + "` " + rest
	}
	return strings.ToUpper(description[:1]) + description[1:]
}
