package gateway

import (
	"bytes"
	"encoding/json"

	"tandem"
)

// meter reads the usage out of a response that passes by.
type meter struct {
	events bool
	kept   []byte // of a plain response: all of it; of a stream: the line under way
	last   []byte // of a stream: the last line that spoke of usage
	lost   bool   // it was too long to keep
}

// maxMetered bounds what a meter keeps.
const maxMetered = 1 << 20

// see takes the next piece.
func (m *meter) see(p []byte) {
	if !m.events {
		m.keep(p)
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
	body := m.kept
	if m.events {
		body, _ = bytes.CutPrefix(m.last, []byte("data:"))
	}
	var reply struct {
		Usage struct {
			Prompt     int `json:"prompt_tokens"`
			Completion int `json:"completion_tokens"`
			Details    struct {
				Cached int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		} `json:"usage"`
	}
	if json.Unmarshal(body, &reply) != nil {
		return tandem.Usage{}
	}
	in := max(0, reply.Usage.Prompt)
	return tandem.Usage{
		InputTokens: in, OutputTokens: max(0, reply.Usage.Completion), CachedTokens: min(in, max(0, reply.Usage.Details.Cached)),
	}
}
