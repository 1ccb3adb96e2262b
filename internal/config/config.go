// Package config reads tandem's one YAML file: it is strict, reports every
// fault at once with its place, and keeps watch on the file while tandem runs.
package config

import (
	"errors"
	"fmt"
	"os"
	"time"

	"tandem/internal/provider/all"
	students "tandem/internal/student/all"
)

// MaxBytes bounds the size of a configuration file.
const MaxBytes = 1 << 20

// Config is the whole configuration file.
type Config struct {
	// Listen is the address to serve on, host:port. An address that other
	// machines can reach needs api_tokens.
	Listen string `yaml:"listen"`
	// Data is the folder of the database, students and keys. It is created
	// when missing; one tandem at a time uses it.
	Data string `yaml:"data"`
	// ModelsDir is the folder of the files of pre-trained models, a folder each;
	// tandem models pull fills it. TANDEM_MODELS in the environment goes before
	// it; without either it is a folder in the user's cache.
	ModelsDir string `yaml:"models_dir"`
	// APITokens are the bearer tokens that clients may present, each of at
	// least 8 characters. Without any, whoever reaches the address may ask.
	APITokens []Secret `yaml:"api_tokens"`
	// Limits bound what a client can make the server do.
	Limits Limits `yaml:"limits"`
	// Log says what is written to standard error.
	Log Log `yaml:"log"`
	// Providers are the large models, by a name of your choice.
	Providers map[string]Provider `yaml:"providers"`
	// Tasks are the questions asked again and again. The name of a task is
	// what clients send as "model": letters, digits, "-", "_" and ".".
	Tasks map[string]Task `yaml:"tasks"`
	// Learning governs the training of students.
	Learning Learning `yaml:"learning"`
}

// Limits bound what a client can make the server do.
type Limits struct {
	// BodyBytes is the largest request body.
	BodyBytes Size `yaml:"body_bytes"`
	// HeaderBytes is the largest request header.
	HeaderBytes Size `yaml:"header_bytes"`
	// InputBytes is the largest input of a task.
	InputBytes Size `yaml:"input_bytes"`
	// Concurrent is the number of requests in flight; more are refused with
	// the code overloaded.
	Concurrent int `yaml:"concurrent" jsonschema:"minimum=1"`
	// Batch is the number of lines of one batch answered at the same time.
	Batch int `yaml:"batch" jsonschema:"minimum=1"`
	// ReadTimeout bounds the time a client may take to send a body, the next
	// line of a batch, or the next piece of an import.
	ReadTimeout time.Duration `yaml:"read_timeout"`
	// Drain is how long a stopping server waits for requests in flight.
	Drain time.Duration `yaml:"drain"`
}

// Log says what is written to standard error.
type Log struct {
	// Level is the least important kind of message that is written.
	Level string `yaml:"level" jsonschema:"enum=debug,enum=info,enum=warn,enum=error"`
	// Format is text for people or json for machines.
	Format string `yaml:"format" jsonschema:"enum=text,enum=json"`
}

// Provider is one place where large models are asked. It is of exactly one
// kind, whose key it has beside models.
type Provider struct {
	all.Kinds `yaml:",inline"`
	// Models are the provider's models, by the alias that tasks and clients
	// use.
	Models map[string]Model `yaml:"models"`
}

// Model is one model of a provider.
type Model struct {
	// Model is the provider's own name for it; the alias when left out.
	Model string `yaml:"model"`
	// Price is what it costs, for the accounting of costs and savings.
	Price Price `yaml:"price"`
}

// Price is in US dollars per million tokens.
type Price struct {
	// Input is the price of a million tokens sent.
	Input float64 `yaml:"input" jsonschema:"minimum=0"`
	// Output is the price of a million tokens received.
	Output float64 `yaml:"output" jsonschema:"minimum=0"`
	// Cached is the price of a million tokens read from the provider's cache;
	// as input when 0.
	Cached float64 `yaml:"cached" jsonschema:"minimum=0"`
}

// Task is a question asked again and again with a closed set of answers.
type Task struct {
	// Description is for people.
	Description string `yaml:"description"`
	// Instructions tell the teacher what to decide.
	Instructions string `yaml:"instructions"`
	// Teacher is the alias of the model that answers what the students cannot.
	Teacher string `yaml:"teacher" jsonschema:"required"`
	// Takes lists the kinds of input.
	Takes []string `yaml:"takes" jsonschema:"enum=text,enum=image,enum=audio"`
	// Labels are the possible answers, each a name or a name with a
	// description that the teacher is shown. Left out, they are discovered
	// from the teacher's answers.
	Labels []Label `yaml:"labels"`
	// MaxLabels bounds how many labels are discovered.
	MaxLabels int `yaml:"max_labels" jsonschema:"minimum=2,maximum=10000"`
	// NeverServe lists labels that only the teacher may give.
	NeverServe []string `yaml:"never_serve"`
	// Guarantee is the promise about answers that students give.
	Guarantee Guarantee `yaml:"guarantee"`
	// AuditRate is the share of students' answers checked with the teacher,
	// from 0.001 to 1.
	AuditRate Share `yaml:"audit_rate"`
	// RepeatRate is the share of the teacher's answers asked twice, to measure
	// how often it agrees with itself.
	RepeatRate Share `yaml:"repeat_rate"`
	// Fallback says what to answer when the teacher cannot: error returns its
	// failure, best returns the student's answer marked as uncertified.
	Fallback string `yaml:"fallback" jsonschema:"enum=error,enum=best"`
	// Deadline bounds a whole request, at most one hour.
	Deadline time.Duration `yaml:"deadline"`
	// Families are the kinds of students to train.
	Families []string `yaml:"families"`
	// StoreInputs keeps the text of inputs in the traces. Without it nothing
	// can be learnt.
	StoreInputs bool `yaml:"store_inputs"`
	// RetentionDays is the age at which traces are deleted; 0 keeps them.
	RetentionDays int `yaml:"retention_days" jsonschema:"minimum=0"`
}

// Guarantee is the promise about answers that students give: at most a share
// alpha differs from the teacher's, and that is wrong with probability delta
// at most.
type Guarantee struct {
	// Alpha is the share of students' answers that may differ from the
	// teacher's, between 0 and 1. Lower is safer and serves less.
	Alpha Share `yaml:"alpha"`
	// Delta is the probability that the promise is wrong, between 0 and 1.
	Delta Share `yaml:"delta"`
}

// Learning governs the training of students.
type Learning struct {
	// Threads is the share of the processors that training may use, over 0 and
	// at most 1.
	Threads Share `yaml:"threads"`
	// FirstFitRows is how many labelled requests a task collects before its
	// first student is trained.
	FirstFitRows int `yaml:"first_fit_rows" jsonschema:"minimum=20"`
	// Growth is the factor by which the labelled requests of a task must have
	// grown since its last training to start another, from 1.01 to 10.
	Growth float64 `yaml:"growth" jsonschema:"minimum=1.01,maximum=10"`
	// TraceQueue is how many traces may wait to be stored; what does not fit
	// is dropped and counted, never waited for.
	TraceQueue int `yaml:"trace_queue" jsonschema:"minimum=1"`
	// AuditQueue is how many audits may wait for the teacher.
	AuditQueue int `yaml:"audit_queue" jsonschema:"minimum=1"`
	// SampleServed is the share of unaudited students' answers whose traces
	// are stored.
	SampleServed Share `yaml:"sample_served"`
	// Paraphrases is how often one training may ask the teacher to put an
	// example of a rare label in other words; 0 is never. It costs calls.
	Paraphrases int `yaml:"paraphrases" jsonschema:"minimum=0"`
	// Encoder is the text encoder that students may build on: a model fetched
	// by tandem models pull, a folder (with a slash in its name), or none.
	// While its files are not there, students do without.
	Encoder string `yaml:"encoder"`
	// EncoderInt8 keeps the encoder's weights in eight-bit integers: a quarter
	// of the memory and about half the time for slightly different vectors.
	EncoderInt8 bool `yaml:"encoder_int8"`
}

// Default returns the configuration of an empty file.
func Default() *Config {
	return &Config{
		Listen: "127.0.0.1:8080",
		Data:   "./tandem-data",
		Limits: Limits{
			BodyBytes: 10 << 20, HeaderBytes: 64 << 10, InputBytes: 256 << 10,
			Concurrent: 1024, Batch: 16, ReadTimeout: 30 * time.Second, Drain: 15 * time.Second,
		},
		Log: Log{Level: "info", Format: "text"},
		Learning: Learning{
			Threads: 0.5, FirstFitRows: 200, Growth: 1.3,
			TraceQueue: 8192, AuditQueue: 256, SampleServed: 1,
			Encoder: "all-minilm-l6-v2",
		},
	}
}

// DefaultTask returns a task for which the file says nothing.
func DefaultTask() Task {
	return Task{
		Takes: []string{"text"}, MaxLabels: 200,
		Guarantee: Guarantee{Alpha: 0.05, Delta: 0.1},
		AuditRate: 0.05, RepeatRate: 0.01,
		Fallback: "error", Deadline: 30 * time.Second,
		Families: students.Default(), StoreInputs: true,
	}
}

// Load reads the file at path. Every fault in it is reported, in one *Error.
// getenv gives the environment variables that the file names; an empty one
// counts as missing.
func Load(path string, getenv func(string) string) (*Config, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read configuration: %w; write one with: tandem config example > %s", err, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if info.Size() > MaxBytes {
		return nil, fmt.Errorf("read configuration: %s has %d bytes; at most %d are read", path, info.Size(), MaxBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data, getenv)
}

// Parse reads a configuration from data; name stands for the file in faults.
func Parse(name string, data []byte, getenv func(string) string) (*Config, error) {
	d := newDecoder(name, data, getenv)
	c := Default()
	if d.parse(c) {
		c.validate(&d.faults)
	}
	if err := d.faults.err(); err != nil {
		return nil, err
	}
	return c, nil
}
