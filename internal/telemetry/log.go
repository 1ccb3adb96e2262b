package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
)

// NewLog makes the log of the process. It is the last guard against prompts
// and keys in logs: attributes with a telling name lose their value, and what
// looks like a key is blotted out of every text.
func NewLog(w io.Writer, level slog.Level, asJSON bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: redact}
	if asJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

const redacted = "[redacted]"

// keyLike matches API keys, bearer tokens and credentials in URLs.
var keyLike = regexp.MustCompile(`(?i)\b(sk|pk|rk|gsk|xai|key)-[a-z0-9_\-]{8,}|\bbearer\s+[^\s"',;]+|://[^/\s:@]+:[^/\s@]+@`)

// redact cleans one attribute.
func redact(_ []string, a slog.Attr) slog.Attr {
	if isSecret(a.Key) {
		return slog.String(a.Key, redacted)
	}
	switch a.Value.Kind() {
	case slog.KindString:
		if s := a.Value.String(); keyLike.MatchString(s) {
			a.Value = slog.StringValue(keyLike.ReplaceAllString(s, redacted))
		}
	case slog.KindAny:
		if s, ok := printed(a.Value.Any()); ok {
			a.Value = slog.StringValue(keyLike.ReplaceAllString(s, redacted))
		}
	default: // numbers, times and the like hold no secrets
	}
	return a
}

// printed is what a handler would print of a value that is text in the end.
func printed(v any) (string, bool) {
	switch v := v.(type) {
	case error:
		return v.Error(), true
	case fmt.Stringer:
		return v.String(), true
	case []byte:
		return string(v), true
	}
	return "", false
}

// isSecret tells names under which prompts and keys are found.
func isSecret(name string) bool {
	switch strings.ToLower(strings.NewReplacer("-", "_", " ", "_").Replace(name)) {
	case "authorization", "api_key", "apikey", "key", "token", "tokens", "api_token", "api_tokens", "secret", "password", "cookie",
		"prompt", "input", "inputs", "text", "messages", "content", "body":
		return true
	}
	return false
}
