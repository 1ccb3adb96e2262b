package all_test

import (
	"reflect"
	"slices"
	"testing"

	"tandem/internal/provider"
	"tandem/internal/provider/all"
	"tandem/internal/provider/openai"
	"tandem/internal/provider/replay"
)

func TestKinds(t *testing.T) {
	if got := all.Names(); !slices.Equal(got, []string{"openai", "anthropic", "gemini", "ollama", "replay"}) {
		t.Errorf("the kinds are %v", got)
	}
	for f := range reflect.TypeFor[all.Kinds]().Fields() {
		if !f.Type.Implements(reflect.TypeFor[provider.Config]()) || f.Type.Kind() != reflect.Pointer {
			t.Errorf("%s is no pointer to a provider.Config", f.Name)
		}
	}
	name, c, err := all.Kinds{Replay: &replay.Config{Source: replay.Map{}}}.Config()
	if err != nil || name != "replay" || c.Check() != nil {
		t.Errorf("got %q %v %v", name, c, err)
	}
	if _, _, err := (all.Kinds{}).Config(); err == nil {
		t.Error("no kind was accepted")
	}
	if _, _, err := (all.Kinds{OpenAI: &openai.Config{}, Replay: &replay.Config{}}).Config(); err == nil {
		t.Error("two kinds were accepted")
	}
}
