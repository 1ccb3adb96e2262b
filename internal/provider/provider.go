// Package provider is the contract of large models behind an API, and the one
// way tandem asks them a task's question.
package provider

import (
	"context"
	"net/http"
	"time"

	"tandem"
)

// Model is one model of a provider. It is safe for concurrent use.
type Model interface {
	// Ask puts a task's question. It makes exactly one call upstream and
	// returns a *Error for every failure.
	Ask(ctx context.Context, q Question) (Reply, error)
	// Speaks says whether the provider takes calls in a dialect as they are.
	Speaks(d Dialect) bool
	// Forward sends a client's own call, in a dialect that the model speaks,
	// on and returns the upstream's response, body unread, whatever its
	// status. The body bytes are sent unchanged but for the model's name where
	// it is an alias. The caller closes the response's body.
	Forward(ctx context.Context, c Call) (*http.Response, error)
}

// Endpoint is one configured place where models are asked. Its models share
// connections.
type Endpoint interface {
	// Model returns the model that the endpoint calls name. It does not check
	// that there is one: that takes a call.
	Model(name string) Model
	// Policy is how the endpoint's models are to be asked.
	Policy() Policy
	// Close lets go of idle connections. Calls under way go on.
	Close() error
}

// Config is what a kind of provider is configured with: one struct per folder,
// whose exported fields are the keys of the configuration file.
type Config interface {
	// Check says what is wrong with the configuration, naming the keys.
	Check() error
	// Open makes the endpoint without calling it.
	Open() (Endpoint, error)
}

// Question is a task's question to the teacher.
type Question struct {
	Task  *tandem.Task
	Input tandem.Input
	// Rejected is the previous reply to the same question when it lay outside
	// the answer space; the model is told so.
	Rejected string
}

// Reply is what the model said.
type Reply struct {
	Text      string // the answer, unwrapped from the response format
	Model     string // as the upstream names itself
	Usage     tandem.Usage
	Recording bool // true for recorded answers
}

// Call is a client's request to pass through.
type Call struct {
	Dialect Dialect
	Query   string // of the URL, encoded
	Header  http.Header
	Body    []byte
	Alias   string // the model name in Body
}

// Error is a failed call to a provider.
type Error struct {
	Code       tandem.Code   // TeacherUnavailable or TeacherTimeout
	Status     int           // HTTP status, 0 when there was none
	Message    string        // for people; no prompts, no keys
	Retryable  bool          // another try may succeed
	RetryAfter time.Duration // asked for by the upstream, 0 when not
	// Adapted says that the model has learnt from this failure what the
	// upstream does not take and will ask differently: try again at once.
	Adapted bool
	Usage   tandem.Usage // what the failed call cost all the same
	// Detail is the upstream's own message about a client's own conversation.
	// It may quote the prompt: it goes back to that client and nowhere else.
	Detail string
	Cause  error
}

// Error formats the failure and its cause.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }
