// Package all is the table of the kinds of providers.
package all

import (
	"errors"
	"reflect"
	"strings"

	"tandem/internal/provider"
	"tandem/internal/provider/anthropic"
	"tandem/internal/provider/gemini"
	"tandem/internal/provider/ollama"
	"tandem/internal/provider/openai"
	"tandem/internal/provider/replay"
)

// Kinds is the part of a provider's configuration that says of which kind it
// is: exactly one field is set. A new kind is its folder and one line here.
type Kinds struct {
	// OpenAI is any server that speaks OpenAI's chat completions.
	OpenAI *openai.Config `yaml:"openai,omitempty"`
	// Anthropic is Anthropic's Messages API.
	Anthropic *anthropic.Config `yaml:"anthropic,omitempty"`
	// Gemini is Google's Gemini API.
	Gemini *gemini.Config `yaml:"gemini,omitempty"`
	// Ollama is Ollama's own chat API.
	Ollama *ollama.Config `yaml:"ollama,omitempty"`
	// Replay answers from a recording: for demos, tests and benchmarks.
	Replay *replay.Config `yaml:"replay,omitempty"`
}

// Names lists the kinds by their keys.
func Names() []string {
	t := reflect.TypeFor[Kinds]()
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
	}
	return names
}

// Config returns the key and the configuration of the one kind that is set.
func (k Kinds) Config() (string, provider.Config, error) {
	v, names := reflect.ValueOf(k), Names()
	at := -1
	for i := range names {
		if v.Field(i).IsNil() {
			continue
		}
		if at >= 0 {
			return "", nil, errors.New("has both " + names[at] + " and " + names[i] + "; a provider is of one kind")
		}
		at = i
	}
	if at < 0 {
		return "", nil, errors.New("says no kind; add one of " + strings.Join(names, ", "))
	}
	c, ok := v.Field(at).Interface().(provider.Config)
	if !ok {
		return "", nil, errors.New(names[at] + " is no provider") // TestKinds holds the table to this
	}
	return names[at], c, nil
}
