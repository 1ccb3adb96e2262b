package provider

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"tandem"
)

// Policy says how patiently a question is asked.
type Policy struct {
	// Retries is how many more calls may follow a failed one, when its failure
	// is of a kind that passes.
	Retries int
	// Attempt bounds one call; 0 leaves it to the context's deadline.
	Attempt time.Duration
	// Backoff is the wait before the first retry; it doubles with each and is
	// drawn at random from its upper half. An upstream's Retry-After counts
	// when it is longer.
	Backoff time.Duration
	// MaxBackoff bounds one wait that the upstream did not ask for.
	MaxBackoff time.Duration
}

// DefaultPolicy is patient with hiccups and impatient with outages.
func DefaultPolicy() Policy {
	return Policy{Retries: 2, Backoff: 250 * time.Millisecond, MaxBackoff: 5 * time.Second}
}

// maxAdaptions bounds the calls that teach a model what its upstream takes.
const maxAdaptions = 4

// Outcome is what became of a question.
type Outcome struct {
	Label        string // a label of the task; the raw reply when OutsideSpace
	Raw          string // what the model said
	OutsideSpace bool   // the answer is no label of the task: never learn from it
	Model        string // as the upstream names itself
	Usage        tandem.Usage
	Calls        int // upstream calls made
	Recording    bool
}

// Ask puts a task's question to a model: the one way in which tandem does. It
// retries what may pass, waiting as long as the upstream asks for but never
// beyond ctx's deadline; an answer outside the task's space is asked for once
// more, telling the model what it said, and then returned as it is.
//
// Failures are of type *Error. Usage and Calls count every call, also when Ask
// fails.
func Ask(ctx context.Context, m Model, task *tandem.Task, in tandem.Input, p Policy) (Outcome, error) {
	a := asker{model: m, policy: p}
	q := Question{Task: task, Input: in}
	reply, err := a.ask(ctx, q)
	if err != nil {
		return a.outcome, err
	}
	if a.settle(task, reply) {
		return a.outcome, nil
	}
	q.Rejected = reply.Text
	if again, err := a.ask(ctx, q); err == nil {
		a.settle(task, again)
	} // otherwise the first answer stands, marked as outside the space
	return a.outcome, nil
}

// asker counts what one question costs.
type asker struct {
	model   Model
	policy  Policy
	outcome Outcome
}

// settle notes the reply as the outcome and says whether it is a label.
func (a *asker) settle(task *tandem.Task, r Reply) bool {
	label, ok := task.Resolve(r.Text)
	if !ok {
		label = r.Text
	}
	a.outcome.Label, a.outcome.Raw, a.outcome.OutsideSpace = label, r.Text, !ok
	a.outcome.Model, a.outcome.Recording = r.Model, r.Recording
	return ok
}

// ask calls the model until it replies, fails for good or patience ends.
func (a *asker) ask(ctx context.Context, q Question) (Reply, error) {
	retries, adaptions := 0, 0
	for {
		reply, err := a.call(ctx, q)
		if err == nil {
			return reply, nil
		}
		switch {
		case ctx.Err() != nil:
			return Reply{}, err
		case err.Adapted && adaptions < maxAdaptions:
			adaptions++
			continue
		case !err.Retryable || retries >= a.policy.Retries:
			return Reply{}, err
		}
		wait := max(a.policy.wait(retries), err.RetryAfter)
		retries++
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return Reply{}, err // waiting would only make the failure late
		}
		if !sleep(ctx, wait) {
			return Reply{}, err
		}
	}
}

// call makes one call within the attempt's deadline.
func (a *asker) call(ctx context.Context, q Question) (Reply, *Error) {
	if err := ctx.Err(); err != nil {
		return Reply{}, Failed(ctx, err)
	}
	if a.policy.Attempt > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.policy.Attempt)
		defer cancel()
	}
	a.outcome.Calls++
	reply, err := a.model.Ask(ctx, q)
	if err == nil {
		a.add(reply.Usage)
		return reply, nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = Failed(ctx, err)
	}
	a.add(e.Usage)
	return Reply{}, e
}

func (a *asker) add(u tandem.Usage) { a.outcome.Usage = a.outcome.Usage.Plus(u) }

// wait draws the pause before retry n, counted from 0.
func (p Policy) wait(n int) time.Duration {
	d := p.Backoff << min(n, 20)
	if p.MaxBackoff > 0 {
		d = min(d, p.MaxBackoff)
	}
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d/2)
}

// sleep waits and says whether ctx lasted that long.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Failed makes an Error of a call that ended without a response: a timeout
// when the deadline passed, a failure of the network otherwise. Either may
// pass, unless the caller has gone.
func Failed(ctx context.Context, err error) *Error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.Canceled) && !errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return &Error{Code: tandem.TeacherUnavailable, Message: "the call to the model was given up", Cause: err}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &Error{
			Code: tandem.TeacherTimeout, Retryable: true, Cause: err,
			Message: "the model did not answer in time; raise the timeout or the task's deadline if it is only slow",
		}
	}
	return &Error{
		Code: tandem.TeacherUnavailable, Retryable: true, Cause: err,
		Message: "the model could not be reached; check the provider's base_url and that it is running",
	}
}

// StatusError makes the error of a failed HTTP status. kind is the upstream's
// own code for it, "" when it gave none.
func StatusError(status int, retryAfter time.Duration, kind string) *Error {
	e := &Error{Code: tandem.TeacherUnavailable, Status: status, RetryAfter: retryAfter}
	what := fmt.Sprintf("the provider answered %d", status)
	if kind != "" {
		what += " (" + kind + ")"
	}
	switch {
	case status == 401 || status == 403:
		e.Message = what + "; check the provider's api_key and what it may use"
	case status == 404:
		e.Message = what + "; check the provider's base_url and the model's name"
	case status == 408 || status == 504:
		e.Code, e.Retryable, e.Message = tandem.TeacherTimeout, true, what+"; it is too slow at the moment"
	case status == 429 && kind == "insufficient_quota":
		e.Message = what + "; the account has no credit left"
	case status == 429:
		e.Retryable, e.Message = true, what+"; its rate limit or quota is used up"
	case status == 409 || status == 425 || status >= 500:
		e.Retryable, e.Message = true, what+"; it has a problem of its own"
	default:
		e.Message = what + "; it does not take the request"
	}
	return e
}
