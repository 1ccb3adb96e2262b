// Package replay answers from recorded answers, with the latency and failures
// it is told to have: for demos, tests and benchmarks. It always says that it
// is a recording.
package replay

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// Source is where recorded answers come from. It is safe for concurrent use.
type Source interface {
	// Answer returns the recorded answer to an input.
	Answer(in tandem.Input) (answer string, ok bool)
}

// Func is a Source made of a function.
type Func func(in tandem.Input) (string, bool)

// Answer calls f.
func (f Func) Answer(in tandem.Input) (string, bool) { return f(in) }

// Map holds answers by the text of the input.
type Map map[string]string

// Answer looks the input's text up.
func (m Map) Answer(in tandem.Input) (string, bool) {
	answer, ok := m[in.Text()]
	return answer, ok
}

// Options are what the recorded model is like.
type Options struct {
	// Latency of every answer and the most that chance adds to it.
	Latency       time.Duration
	LatencyJitter time.Duration
	// FailureRate is the share of calls that fail as an overloaded provider
	// would, in [0, 1].
	FailureRate float64
	// Seed of jitter and failures. The n-th call fares the same in every run.
	Seed uint64
	// InputTokens and OutputTokens are what one answer costs; 0 estimates four
	// bytes to a token, counting instructions, labels and input.
	InputTokens  int
	OutputTokens int
}

// Endpoint answers for any model name from one source.
type Endpoint struct {
	source Source
	opt    Options
	calls  atomic.Uint64
}

// New makes an endpoint.
func New(source Source, opt Options) *Endpoint { return &Endpoint{source: source, opt: opt} }

// Model returns the recording under a name; replies carry it as
// "recording:name".
func (e *Endpoint) Model(name string) provider.Model { return &model{Endpoint: e, name: prefix + name} }

// Policy is the default one.
func (e *Endpoint) Policy() provider.Policy { return provider.DefaultPolicy() }

// Close does nothing: there are no connections.
func (e *Endpoint) Close() error { return nil }

const prefix = "recording:"

// model is the endpoint under a name.
type model struct {
	*Endpoint
	name string
}

// Ask looks a task's question up.
func (m *model) Ask(ctx context.Context, q provider.Question) (provider.Reply, error) {
	if err := m.wait(ctx); err != nil {
		return provider.Reply{}, err
	}
	answer, ok := m.source.Answer(q.Input)
	if !ok {
		return provider.Reply{}, unknown()
	}
	prompt := len(q.Task.Instructions) + len(q.Input.Text()) + len(q.Rejected)
	for i := range q.Task.Labels {
		prompt += len(q.Task.Labels[i].Name) + len(q.Task.Labels[i].Description) + 4
	}
	return provider.Reply{Text: answer, Model: m.name, Usage: m.usage(prompt, len(answer)), Recording: true}, nil
}

func unknown() *provider.Error {
	return &provider.Error{
		Code: tandem.TeacherUnavailable, Status: 404,
		Message: "the recording holds no answer to this input; add it to the recording or use a live provider",
	}
}

// usage estimates the tokens of a call by the bytes sent and received.
func (e *Endpoint) usage(prompt, answer int) tandem.Usage {
	u := tandem.Usage{InputTokens: e.opt.InputTokens, OutputTokens: e.opt.OutputTokens}
	if u.InputTokens == 0 {
		u.InputTokens = (prompt + 3) / 4
	}
	if u.OutputTokens == 0 {
		u.OutputTokens = (answer + 3) / 4
	}
	return u
}

// wait takes the time an answer takes and fails as often as it should.
func (e *Endpoint) wait(ctx context.Context) error {
	chance := draw(e.opt.Seed, e.calls.Add(1))
	latency := e.opt.Latency
	if e.opt.LatencyJitter > 0 {
		latency += time.Duration(chance.Float64() * float64(e.opt.LatencyJitter))
	}
	fails := chance.Float64() < e.opt.FailureRate
	if latency > 0 {
		t := time.NewTimer(latency)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	if err := ctx.Err(); err != nil {
		return provider.Failed(ctx, err)
	}
	if fails {
		return provider.StatusError(503, 0, "recorded_failure")
	}
	return nil
}

// draw makes the chances of the n-th call.
func draw(seed, n uint64) *rand.Rand {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, [2]uint64{seed, n}) // a hash takes all writes
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// Config describes a recording.
type Config struct {
	// File holds the answers: JSON lines of {"input": "…", "answer": "…"}.
	File string `yaml:"file" jsonschema:"required"`
	// Latency is how long every answer takes.
	Latency time.Duration `yaml:"latency"`
	// LatencyJitter is the most that chance adds to it.
	LatencyJitter time.Duration `yaml:"latency_jitter"`
	// FailureRate is the share of calls that fail, from 0 to 1.
	FailureRate float64 `yaml:"failure_rate" jsonschema:"minimum=0,maximum=1"`
	// Seed of jitter and failures.
	Seed uint64 `yaml:"seed"`
	// InputTokens and OutputTokens are what one answer is said to cost;
	// estimated from its length when left out.
	InputTokens  int `yaml:"input_tokens" jsonschema:"minimum=0"`
	OutputTokens int `yaml:"output_tokens" jsonschema:"minimum=0"`
	// Source takes the place of File in a program that holds the answers.
	Source Source `yaml:"-" json:"-"`
}

// Check says what is wrong with the configuration.
func (c Config) Check() error {
	var faults []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	want(c.File != "" || c.Source != nil, "file: name the file with the recorded answers")
	want(c.Latency >= 0, "latency: must not be negative")
	want(c.LatencyJitter >= 0, "latency_jitter: must not be negative")
	want(c.FailureRate >= 0 && c.FailureRate <= 1, "failure_rate: %g is outside [0, 1]", c.FailureRate)
	want(c.InputTokens >= 0, "input_tokens: must not be negative")
	want(c.OutputTokens >= 0, "output_tokens: must not be negative")
	return errors.Join(faults...)
}

// Open reads the recording.
func (c Config) Open() (provider.Endpoint, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	source := c.Source
	if source == nil {
		var err error
		if source, err = ReadFile(c.File); err != nil {
			return nil, err
		}
	}
	return New(source, Options{
		Latency: c.Latency, LatencyJitter: c.LatencyJitter, FailureRate: c.FailureRate, Seed: c.Seed,
		InputTokens: c.InputTokens, OutputTokens: c.OutputTokens,
	}), nil
}
