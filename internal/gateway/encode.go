package gateway

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"tandem"
)

// Replies are encoded by hand: encoding/json takes a large part of the time
// that an answer of a student takes as a whole. The tests hold every function
// here to what encoding/json writes (with EscapeHTML off).

// appendReply encodes the native reply to an answered request.
func appendReply(b []byte, d *tandem.Decision) []byte {
	b = append(b, `{"answer":`...)
	b = appendString(b, d.Answer)
	b = append(b, `,"tandem":`...)
	b = appendDecision(b, d)
	return append(b, '}')
}

// appendDecision encodes a decision as encoding/json does.
func appendDecision(b []byte, d *tandem.Decision) []byte {
	b = append(b, `{"trace_id":`...)
	b = appendString(b, d.TraceID)
	b = append(b, `,"task":`...)
	b = appendString(b, d.Task)
	b = append(b, `,"answer":`...)
	b = appendString(b, d.Answer)
	b = append(b, `,"step":`...)
	b = appendString(b, string(d.Step))
	b = append(b, `,"model":`...)
	b = appendString(b, d.Model)
	b = append(b, `,"score":`...)
	b = appendFloat(b, d.Score)
	b = append(b, `,"certified":`...)
	b = strconv.AppendBool(b, d.Certified)
	b = append(b, `,"reason":`...)
	b = appendString(b, string(d.Reason))
	b = append(b, `,"why":`...)
	b = appendString(b, d.Why)
	if d.Recording {
		b = append(b, `,"recording":true`...)
	}
	b = append(b, `,"propensity":`...)
	b = appendFloat(b, d.Propensity)
	if d.Usage != (tandem.Usage{}) {
		b = append(b, `,"usage":`...)
		b = appendUsage(b, d.Usage)
	}
	b = append(b, `,"cost_usd":`...)
	b = appendFloat(b, d.CostUSD)
	b = append(b, `,"saved_usd":`...)
	b = appendFloat(b, d.SavedUSD)
	b = append(b, `,"recorded":`...)
	b = appendString(b, string(d.Recorded))
	b = append(b, `,"took_ns":`...)
	b = strconv.AppendInt(b, int64(d.Took), 10)
	if len(d.Attempts) > 0 {
		b = append(b, `,"attempts":[`...)
		for i := range d.Attempts {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendAttempt(b, &d.Attempts[i])
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendAttempt(b []byte, a *tandem.Attempt) []byte {
	b = append(b, `{"step":`...)
	b = appendString(b, string(a.Step))
	b = append(b, `,"model":`...)
	b = appendString(b, a.Model)
	if a.Label != "" {
		b = append(b, `,"label":`...)
		b = appendString(b, a.Label)
	}
	if a.Score != 0 {
		b = append(b, `,"score":`...)
		b = appendFloat(b, a.Score)
	}
	b = append(b, `,"reason":`...)
	b = appendString(b, string(a.Reason))
	if a.Error != "" {
		b = append(b, `,"error":`...)
		b = appendString(b, string(a.Error))
	}
	if a.Usage != (tandem.Usage{}) {
		b = append(b, `,"usage":`...)
		b = appendUsage(b, a.Usage)
	}
	if a.CostUSD != 0 {
		b = append(b, `,"cost_usd":`...)
		b = appendFloat(b, a.CostUSD)
	}
	b = append(b, `,"took_ns":`...)
	b = strconv.AppendInt(b, int64(a.Took), 10)
	return append(b, '}')
}

func appendUsage(b []byte, u tandem.Usage) []byte {
	b = append(b, `{"input_tokens":`...)
	b = strconv.AppendInt(b, int64(u.InputTokens), 10)
	b = append(b, `,"output_tokens":`...)
	b = strconv.AppendInt(b, int64(u.OutputTokens), 10)
	b = appendCount(b, `,"cached_tokens":`, u.CachedTokens)
	b = appendCount(b, `,"cache_write_tokens":`, u.CacheWriteTokens)
	b = appendCount(b, `,"reasoning_tokens":`, u.ReasoningTokens)
	return append(b, '}')
}

// appendCount writes a field, key and all, unless it is 0.
func appendCount(b []byte, key string, n int) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, key...), int64(n), 10)
}

// appendFloat writes the shortest number that reads back the same. JSON knows
// no NaN or infinity; they become null.
func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	form, abs := byte('f'), math.Abs(f)
	if abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		form = 'e'
	}
	b = strconv.AppendFloat(b, f, form, -1, 64)
	if n := len(b); form == 'e' && n >= 4 && b[n-4] == 'e' && b[n-2] == '0' { // e-09 is written e-9
		b[n-2] = b[n-1]
		b = b[:n-1]
	}
	return b
}

// appendString writes a JSON string. Most strings need no escape.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return append(b, `""`...) // a string cannot fail
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}
