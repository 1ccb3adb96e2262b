package provider

import (
	"bytes"
	"strings"
	"sync/atomic"
)

// Manner is in which way a model is asked a task's question: a format that
// holds it to the labels, counted from the most binding, and with or without a
// temperature. It remembers what the model's server does not take.
type Manner struct {
	format atomic.Int32
	warm   atomic.Bool
	last   int32 // the least binding format there is; the first when none may be given up
}

// Asked is the way in which one question was put.
type Asked struct {
	Format int
	Warm   bool // without a temperature
}

// NewManner begins with a format and may step down to last.
func NewManner(first, last int) *Manner {
	m := &Manner{last: int32(last)}
	m.format.Store(int32(first))
	return m
}

// Now is the way to ask.
func (m *Manner) Now() Asked { return Asked{Format: int(m.format.Load()), Warm: m.warm.Load()} }

// Learn notes of a refused question that the server did not take its
// temperature or its format, and says whether another way is left. body is the
// server's answer, param the field it names, "" when it names none; words are
// what speaks of the format.
func (m *Manner) Learn(body []byte, param string, how Asked, words ...string) bool {
	body = bytes.ToLower(body)
	about := func(words ...string) bool {
		for _, w := range words {
			if strings.HasPrefix(param, w) || param == "" && bytes.Contains(body, []byte(w)) {
				return true
			}
		}
		return false
	}
	if !how.Warm && about("temperature") {
		m.warm.Store(true)
		return true
	}
	if format := int32(how.Format); format < m.last && about(words...) {
		// Compare: another request may have learnt the same meanwhile.
		m.format.CompareAndSwap(format, format+1)
		return true
	}
	return false
}
