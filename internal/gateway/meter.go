package gateway

import (
	"bytes"
	"encoding/json"

	"tandem"
	"tandem/internal/provider"
)

// meter reads the usage out of a response that passes by.
type meter struct {
	dialect provider.Dialect
	events  bool
	kept    []byte // of a plain response: its end; of a stream: the line under way
	first   []byte // of a stream: the first line that spoke of usage
	last    []byte // and the last one
	lost    bool   // it was too long to keep
}

// Bounds on what a meter keeps.
const (
	maxMetered = 1 << 20
	tail       = 64 << 10 // of a longer response: usage comes at its end
)

// see takes the next piece.
func (m *meter) see(p []byte) {
	if !m.events {
		if m.kept = append(m.kept, p...); len(m.kept) > maxMetered {
			n := copy(m.kept, m.kept[len(m.kept)-tail:])
			m.kept, m.lost = m.kept[:n], true
		}
		return
	}
	for {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			m.keep(p)
			return
		}
		m.keep(p[:end])
		if !m.lost && bytes.Contains(m.kept, []byte(`"usage"`)) {
			if m.first == nil {
				m.first = bytes.Clone(m.kept)
			}
			m.last = append(m.last[:0], m.kept...)
		}
		m.kept, m.lost = m.kept[:0], false
		p = p[end+1:]
	}
}

func (m *meter) keep(p []byte) {
	if m.lost || len(m.kept)+len(p) > maxMetered {
		m.lost, m.kept = true, m.kept[:0]
		return
	}
	m.kept = append(m.kept, p...)
}

// usage is what the upstream reported; zero when it did not.
func (m *meter) usage() tandem.Usage {
	var w wireUsage
	if !m.events {
		if i := bytes.LastIndex(m.kept, []byte(`"usage"`)); m.lost && i >= 0 {
			rest := bytes.TrimLeft(m.kept[i+len(`"usage"`):], " \t\r\n:")
			_ = json.NewDecoder(bytes.NewReader(rest)).Decode(&w) // what cannot be read was not reported
			return w.read(m.dialect)
		}
		w.take(m.kept)
		return w.read(m.dialect)
	}
	for _, line := range [][]byte{m.first, m.last} { // Anthropic tells the input first and the output last
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			w.take(data)
		}
	}
	return w.read(m.dialect)
}

// wireUsage is usage as the dialects spell it; what one leaves out stays.
type wireUsage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Input      int `json:"input_tokens"`
	Output     int `json:"output_tokens"`
	CacheRead  int `json:"cache_read_input_tokens"`
	CacheWrite int `json:"cache_creation_input_tokens"`

	PromptDetails     inputDetails  `json:"prompt_tokens_details"`
	InputDetails      inputDetails  `json:"input_tokens_details"`
	CompletionDetails outputDetails `json:"completion_tokens_details"`
	OutputDetails     outputDetails `json:"output_tokens_details"`
}

type inputDetails struct {
	Cached int `json:"cached_tokens"`
	Write  int `json:"cache_write_tokens"`
}

type outputDetails struct {
	Reasoning int `json:"reasoning_tokens"`
	Thinking  int `json:"thinking_tokens"`
}

// take reads the usage of a response or an event.
func (u *wireUsage) take(body []byte) {
	type holder struct {
		Usage *wireUsage `json:"usage"`
	}
	all := struct {
		Usage    *wireUsage `json:"usage"`
		Message  holder     `json:"message"`  // of Anthropic's first event
		Response holder     `json:"response"` // of the last event of OpenAI's responses
	}{Usage: u, Message: holder{u}, Response: holder{u}}
	_ = json.Unmarshal(body, &all) // what cannot be read was not reported
}

// read makes tandem's usage of it: parts are part of the whole.
func (u *wireUsage) read(d provider.Dialect) tandem.Usage {
	in := provider.Count(u.Prompt) + provider.Count(u.Input)
	cached := provider.Count(u.CacheRead) + provider.Count(u.PromptDetails.Cached) + provider.Count(u.InputDetails.Cached)
	write := provider.Count(u.CacheWrite) + provider.Count(u.PromptDetails.Write) + provider.Count(u.InputDetails.Write)
	if d.Anthropic() {
		in += cached + write // counted beside the input there
	}
	out := provider.Count(u.Completion) + provider.Count(u.Output)
	thought := provider.Count(u.CompletionDetails.Reasoning) + provider.Count(u.OutputDetails.Reasoning) + provider.Count(u.OutputDetails.Thinking)
	cached = min(in, cached)
	return tandem.Usage{
		InputTokens: in, OutputTokens: out, CachedTokens: cached, CacheWriteTokens: min(in-cached, write), ReasoningTokens: min(out, thought),
	}
}
