package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tandem"
)

// Bounds on what is read of an upstream's response.
const (
	MaxAnswer = 1 << 20  // to a task's question
	MaxReply  = 64 << 20 // to a client's conversation
	MaxError  = 64 << 10 // when it failed
)

// Word is a short code of the upstream that is safe to show: upstreams put
// prompts and keys into their messages, but not into codes. Anything else
// becomes "".
type Word string

// UnmarshalJSON never fails: an odd code must not hide the error it is in.
func (w *Word) UnmarshalJSON(data []byte) error {
	s := strings.Trim(string(data), `"`)
	if len(s) > 64 || s == "null" || strings.ContainsFunc(s, func(r rune) bool {
		return r != '_' && r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) || strings.HasPrefix(s, "sk-") {
		return nil
	}
	*w = Word(s)
	return nil
}

// Body reads a successful response, at most limit bytes of it. Failures are
// of type *Error.
func Body(ctx context.Context, res *http.Response, limit int64) ([]byte, error) {
	body, err := readAll(res.Body, limit)
	switch {
	case err == nil:
		return body, nil
	case errors.Is(err, errTooLarge):
		return nil, Garbage(res, fmt.Sprintf("more than %d bytes", limit), err)
	case ctx.Err() != nil:
		return nil, Failed(ctx, ctx.Err())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return nil, Failed(ctx, context.DeadlineExceeded) // given up for its silence
	}
	return nil, Garbage(res, "a reply that broke off", err)
}

// FailureBody reads what it can of a failed response; the error is of type
// *Error and means that the caller has gone or waited too long.
func FailureBody(ctx context.Context, res *http.Response) ([]byte, error) {
	body, err := readAll(res.Body, MaxError)
	if err != nil && !errors.Is(err, errTooLarge) {
		if ctx.Err() != nil {
			return nil, Failed(ctx, ctx.Err())
		}
		return nil, nil // the status says enough
	}
	return body, nil
}

// Garbage is a response that cannot be used; another try may give a better
// one. what completes "the provider sent …".
func Garbage(res *http.Response, what string, cause error) *Error {
	message := "the provider sent " + what
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err == nil && kind != "application/json" {
		message += fmt.Sprintf(" (content type %s); check its base_url", clip(kind))
	}
	return &Error{Code: tandem.TeacherUnavailable, Status: res.StatusCode, Message: message, Retryable: true, Cause: cause}
}

func clip(s string) string { return s[:min(len(s), 64)] }

// Refusal is the model's own decision: asking again would not change it.
func Refusal(message string, u tandem.Usage) *Error {
	return &Error{Code: tandem.TeacherUnavailable, Status: http.StatusOK, Message: message, Usage: u}
}

// Paren is s in brackets after a space, or nothing.
func Paren(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// maxRetryAfter bounds how long an upstream can ask us to wait.
const maxRetryAfter = time.Hour

// RetryAfter reads how long the upstream wants to be left alone.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil {
		return Wait(ms / 1000)
	}
	if s, err := strconv.ParseFloat(h.Get("Retry-After"), 64); err == nil {
		return Wait(s)
	}
	if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		return Wait(at.Sub(now).Seconds())
	}
	return 0
}

// Wait is a number of seconds as a duration that a provider may ask for.
func Wait(seconds float64) time.Duration {
	if !(seconds > 0) { // NaN too
		return 0
	}
	return time.Duration(min(seconds, maxRetryAfter.Seconds()) * float64(time.Second))
}

var errTooLarge = errors.New("response too large")

// readAll reads at most limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		return body[:limit], errTooLarge
	}
	return body, err
}
