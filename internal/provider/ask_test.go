package provider_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// script plays one step for each call.
type script struct {
	steps    []func(ctx context.Context) (provider.Reply, error)
	calls    int
	rejected []string
}

func (s *script) Ask(ctx context.Context, q provider.Question) (provider.Reply, error) {
	s.rejected = append(s.rejected, q.Rejected)
	step := s.steps[min(s.calls, len(s.steps)-1)]
	s.calls++
	return step(ctx)
}

func (s *script) Speaks(provider.Dialect) bool { return false }

func (s *script) Forward(context.Context, provider.Call) (*http.Response, error) {
	return nil, errors.ErrUnsupported
}

type step = func(context.Context) (provider.Reply, error)

func says(text string) step {
	return func(context.Context) (provider.Reply, error) {
		return provider.Reply{Text: text, Model: "m", Usage: tandem.Usage{InputTokens: 10, OutputTokens: 1, CachedTokens: 2}}, nil
	}
}

func fails(e provider.Error) step {
	return func(context.Context) (provider.Reply, error) { return provider.Reply{}, &e }
}

func hangs() step {
	return func(ctx context.Context) (provider.Reply, error) {
		<-ctx.Done()
		return provider.Reply{}, provider.Failed(ctx, ctx.Err())
	}
}

var task = &tandem.Task{Name: "t", Labels: []tandem.Label{{Name: "refund"}, {Name: "other"}}}

func TestAsk(t *testing.T) {
	busy := provider.Error{Code: tandem.TeacherUnavailable, Status: 503, Retryable: true}
	later := busy
	later.RetryAfter = 7 * time.Second
	no := provider.Error{Code: tandem.TeacherUnavailable, Message: "refused", Usage: tandem.Usage{InputTokens: 5}}
	adapted := provider.Error{Code: tandem.TeacherUnavailable, Status: 400, Adapted: true}
	policy := provider.Policy{Retries: 2, Backoff: time.Second, MaxBackoff: 4 * time.Second}

	for name, tc := range map[string]struct {
		steps    []step
		policy   provider.Policy
		deadline time.Duration
		want     provider.Outcome
		code     tandem.Code
		min, max time.Duration // the time it takes
	}{
		"a label": {
			steps: []step{says(" Refund. ")}, policy: policy,
			want: provider.Outcome{Label: "refund", Raw: " Refund. ", Model: "m", Usage: tandem.Usage{InputTokens: 10, OutputTokens: 1, CachedTokens: 2}, Calls: 1},
		},
		"retried with back-off": {
			steps: []step{fails(busy), fails(busy), says("other")}, policy: policy,
			want: provider.Outcome{Label: "other", Raw: "other", Model: "m", Usage: tandem.Usage{InputTokens: 10, OutputTokens: 1, CachedTokens: 2}, Calls: 3},
			min:  1500 * time.Millisecond, max: 3 * time.Second,
		},
		"patience ends": {
			steps: []step{fails(busy)}, policy: policy, code: tandem.TeacherUnavailable,
			want: provider.Outcome{Calls: 3}, min: 1500 * time.Millisecond, max: 3 * time.Second,
		},
		"Retry-After is honoured": {
			steps: []step{fails(later), says("other")}, policy: policy,
			want: provider.Outcome{Label: "other", Raw: "other", Model: "m", Usage: tandem.Usage{InputTokens: 10, OutputTokens: 1, CachedTokens: 2}, Calls: 2},
			min:  7 * time.Second, max: 7 * time.Second,
		},
		"Retry-After beyond the deadline is not waited for": {
			steps: []step{fails(later)}, policy: policy, deadline: 6 * time.Second, code: tandem.TeacherUnavailable,
			want: provider.Outcome{Calls: 1},
		},
		"what does not pass is not retried": {
			steps: []step{fails(no)}, policy: policy, code: tandem.TeacherUnavailable,
			want: provider.Outcome{Usage: tandem.Usage{InputTokens: 5}, Calls: 1},
		},
		"the attempt's deadline": {
			steps: []step{hangs(), says("other")}, policy: provider.Policy{Retries: 1, Attempt: 3 * time.Second},
			want: provider.Outcome{Label: "other", Raw: "other", Model: "m", Usage: tandem.Usage{InputTokens: 10, OutputTokens: 1, CachedTokens: 2}, Calls: 2},
			min:  3 * time.Second, max: 3 * time.Second,
		},
		"the request's deadline": {
			steps: []step{hangs()}, policy: provider.Policy{Retries: 5, Attempt: time.Minute}, deadline: 2 * time.Second, code: tandem.TeacherTimeout,
			want: provider.Outcome{Calls: 1}, min: 2 * time.Second, max: 2 * time.Second,
		},
		"adapting is no retry and does not wait": {
			steps: []step{fails(adapted), fails(adapted), says("other")},
			want:  provider.Outcome{Label: "other", Raw: "other", Model: "m", Usage: tandem.Usage{InputTokens: 10, OutputTokens: 1, CachedTokens: 2}, Calls: 3},
		},
		"adapting ends": {
			steps: []step{fails(adapted)}, code: tandem.TeacherUnavailable, want: provider.Outcome{Calls: 5},
		},
		"outside, then inside": {
			steps: []step{says("money"), says("refund")}, policy: policy,
			want: provider.Outcome{Label: "refund", Raw: "refund", Model: "m", Usage: tandem.Usage{InputTokens: 20, OutputTokens: 2, CachedTokens: 4}, Calls: 2},
		},
		"outside twice": {
			steps: []step{says("money"), says("cash")}, policy: policy,
			want: provider.Outcome{Label: "cash", Raw: "cash", OutsideSpace: true, Model: "m", Usage: tandem.Usage{InputTokens: 20, OutputTokens: 2, CachedTokens: 4}, Calls: 2},
		},
		"outside, then a failure": {
			steps: []step{says("money"), fails(no)}, policy: policy,
			want: provider.Outcome{Label: "money", Raw: "money", OutsideSpace: true, Model: "m", Usage: tandem.Usage{InputTokens: 15, OutputTokens: 1, CachedTokens: 2}, Calls: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, start := t.Context(), time.Now()
				if tc.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tc.deadline)
					defer cancel()
				}
				m := &script{steps: tc.steps}
				got, err := provider.Ask(ctx, m, task, tandem.TextInput("x"), tc.policy)
				if got != tc.want {
					t.Errorf("got  %+v\nwant %+v", got, tc.want)
				}
				e, ok := errors.AsType[*provider.Error](err)
				if ok != (tc.code != "") || ok && e.Code != tc.code {
					t.Errorf("got the error %v, want the code %q", err, tc.code)
				}
				if took := time.Since(start); took < tc.min || took > tc.max {
					t.Errorf("took %s, want %s to %s", took, tc.min, tc.max)
				}
				if m.calls != got.Calls {
					t.Errorf("%d calls made, %d counted", m.calls, got.Calls)
				}
			})
		})
	}
}

// TestAskTellsRejected tells the model what it said.
func TestAskTellsRejected(t *testing.T) {
	m := &script{steps: []step{says("money"), says("cash")}}
	if _, err := provider.Ask(t.Context(), m, task, tandem.TextInput("x"), provider.Policy{}); err != nil {
		t.Fatal(err)
	}
	if len(m.rejected) != 2 || m.rejected[0] != "" || m.rejected[1] != "money" {
		t.Errorf("the model was told %q", m.rejected)
	}
}

// TestAskCancelled stops waiting when the caller goes.
func TestAskCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		m := &script{steps: []step{fails(provider.Error{Retryable: true, RetryAfter: time.Hour})}}
		_, err := provider.Ask(ctx, m, task, tandem.TextInput("x"), provider.Policy{Retries: 9})
		if err == nil || time.Since(start) != time.Second || m.calls != 1 {
			t.Errorf("got %v after %s and %d calls", err, time.Since(start), m.calls)
		}
		_, err = provider.Ask(ctx, m, task, tandem.TextInput("x"), provider.Policy{Retries: 9})
		if !errors.Is(err, context.Canceled) || m.calls != 1 {
			t.Errorf("a call was made for nobody: %v", err)
		}
	})
}

func TestStatusError(t *testing.T) {
	for status, want := range map[int]struct {
		code      tandem.Code
		retryable bool
	}{
		400: {tandem.TeacherUnavailable, false}, 401: {tandem.TeacherUnavailable, false}, 403: {tandem.TeacherUnavailable, false},
		404: {tandem.TeacherUnavailable, false}, 408: {tandem.TeacherTimeout, true}, 409: {tandem.TeacherUnavailable, true},
		413: {tandem.TeacherUnavailable, false}, 429: {tandem.TeacherUnavailable, true}, 500: {tandem.TeacherUnavailable, true},
		502: {tandem.TeacherUnavailable, true}, 503: {tandem.TeacherUnavailable, true}, 504: {tandem.TeacherTimeout, true},
		529: {tandem.TeacherUnavailable, true},
	} {
		e := provider.StatusError(status, time.Second, "kind")
		if e.Code != want.code || e.Retryable != want.retryable || e.Status != status || e.RetryAfter != time.Second || e.Message == "" {
			t.Errorf("%d: got %+v, want %+v", status, e, want)
		}
	}
}
