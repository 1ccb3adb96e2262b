package config

import "time"

// OpenAI is a server that speaks OpenAI's protocol.
type OpenAI struct {
	// BaseURL is what comes before /chat/completions, usually ending in /v1.
	BaseURL string `yaml:"base_url" jsonschema:"required"`
	// APIKey is sent as the bearer token; none when left out.
	APIKey Secret `yaml:"api_key"`
	// Timeout bounds one call.
	Timeout time.Duration `yaml:"timeout"`
	// Headers are sent with every call.
	Headers map[string]string `yaml:"headers"`
}

// Replay answers from a recording.
type Replay struct {
	// File is the recording, JSON lines of {"input": …, "answer": …}.
	File string `yaml:"file" jsonschema:"required"`
	// Latency is how long an answer takes.
	Latency time.Duration `yaml:"latency"`
	// FailureRate is the share of calls that fail.
	FailureRate Share `yaml:"failure_rate"`
}

// families names the kinds of students there are, in the order in which they
// are trained.
func families() []string { return []string{"linear", "nearest"} }
