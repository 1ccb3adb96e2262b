package config

import (
	"errors"
	"net/url"
	"time"
)

// Kinds is the part of a provider that says of which kind it is: exactly one
// field is set.
type Kinds struct {
	// OpenAI is any server that speaks OpenAI's chat completions.
	OpenAI *OpenAI `yaml:"openai,omitempty"`
	// Replay answers from a recording: for demos, tests and benchmarks.
	Replay *Replay `yaml:"replay,omitempty"`
}

// checker is the configuration of one kind of provider.
type checker interface{ Check() error }

// Config returns the key and the configuration of the one kind that is set.
func (k Kinds) Config() (string, checker, error) {
	switch {
	case k.OpenAI != nil && k.Replay != nil:
		return "", nil, errors.New("has both openai and replay; a provider is of one kind")
	case k.OpenAI != nil:
		return "openai", k.OpenAI, nil
	case k.Replay != nil:
		return "replay", k.Replay, nil
	}
	return "", nil, errors.New("says no kind; add one of openai, replay")
}

// OpenAI is a server that speaks OpenAI's protocol.
type OpenAI struct {
	// BaseURL is what comes before /chat/completions, usually ending in /v1.
	BaseURL string `yaml:"base_url" jsonschema:"required"`
	// APIKey is sent as the bearer token; none when left out.
	APIKey string `yaml:"api_key"`
	// Headers are sent with every call, such as api-key for Azure.
	Headers map[string]string `yaml:"headers"`
	// Timeout bounds one call; 60s when left out.
	Timeout time.Duration `yaml:"timeout"`
}

// Check says what is wrong with the configuration.
func (c OpenAI) Check() error {
	var faults []error
	u, err := url.Parse(c.BaseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		faults = append(faults, errors.New("base_url: must be a URL such as https://api.openai.com/v1"))
	}
	if c.Timeout < 0 {
		faults = append(faults, errors.New("timeout: must not be negative"))
	}
	return errors.Join(faults...)
}

// Replay answers from a recording.
type Replay struct {
	// File holds the answers: JSON lines of {"input": "…", "answer": "…"}.
	File string `yaml:"file" jsonschema:"required"`
	// Latency is how long every answer takes.
	Latency time.Duration `yaml:"latency"`
	// FailureRate is the share of calls that fail, from 0 to 1.
	FailureRate float64 `yaml:"failure_rate" jsonschema:"minimum=0,maximum=1"`
}

// Check says what is wrong with the configuration.
func (c Replay) Check() error {
	var faults []error
	if c.File == "" {
		faults = append(faults, errors.New("file: name the file with the recorded answers"))
	}
	if c.Latency < 0 {
		faults = append(faults, errors.New("latency: must not be negative"))
	}
	if c.FailureRate < 0 || c.FailureRate > 1 {
		faults = append(faults, errors.New("failure_rate: must be from 0 to 1"))
	}
	return errors.Join(faults...)
}

// families names the kinds of students there are, in the order in which they
// are trained.
func families() []string { return []string{"linear", "nearest"} }
