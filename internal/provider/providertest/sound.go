package providertest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"tandem"
	"tandem/internal/provider"
)

// Sound holds whatever a decoder made of an upstream's bytes to what the
// gateway relies on.
func Sound(t *testing.T, c *provider.Completion, err error) {
	t.Helper()
	if err != nil {
		if _, ok := errors.AsType[*provider.Error](err); !ok {
			t.Errorf("an error of the type %T", err)
		}
		return
	}
	usage(t, c.Usage)
}

func usage(t *testing.T, u tandem.Usage) {
	t.Helper()
	if min(u.InputTokens, u.OutputTokens, u.CachedTokens, u.CacheWriteTokens, u.ReasoningTokens) < 0 ||
		u.CachedTokens+u.CacheWriteTokens > u.InputTokens || u.ReasoningTokens > u.OutputTokens {
		t.Errorf("the parts are more than the whole: %+v", u)
	}
}

// SoundStream reads a stream and sees that its events come in order: a
// beginning, blocks that are opened and closed one after the other, an end.
func SoundStream(t *testing.T, body []byte, sse bool, d provider.Decoder) {
	t.Helper()
	res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}
	s, err := provider.NewStream(t.Context(), res, sse, d)
	if err != nil {
		t.Fatal(err)
	}
	began, open, ended := false, false, false
	for {
		e, err := s.Next()
		if errors.Is(err, io.EOF) {
			if !ended {
				t.Error("the stream has no end")
			}
			return
		}
		if err != nil {
			Sound(t, nil, err)
			return
		}
		ok := began && !ended
		switch e.Kind {
		case provider.Began:
			ok, began = !began, true
		case provider.Opened:
			ok, open = ok && !open, true
		case provider.Grew, provider.Signed:
			ok = ok && open
		case provider.Closed:
			ok, open = ok && open, false
		case provider.Ended:
			ok, ended = ok && !open, true
			usage(t, e.Usage)
		}
		if !ok {
			t.Fatalf("event %d is out of order", e.Kind)
		}
	}
}
