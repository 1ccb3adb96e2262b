package trace

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"

	"tandem"
)

// Export writes traces as JSONL, one a line, and says how many. What Export
// writes a Reader of the same task reads back unchanged.
func Export(w io.Writer, traces iter.Seq2[tandem.Trace, error]) (int, error) {
	buf := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	n := 0
	for t, err := range traces {
		if err != nil {
			return n, fmt.Errorf("read traces: %w", err)
		}
		line, err := wire(&t)
		if err == nil {
			err = enc.Encode(line)
		}
		if err != nil {
			return n, fmt.Errorf("write trace %s: %w", t.ID, err)
		}
		n++
	}
	if err := buf.Flush(); err != nil {
		return n, fmt.Errorf("write traces: %w", err)
	}
	return n, nil
}

func wire(t *tandem.Trace) (*wireTrace, error) {
	var in any = t.Input
	if len(t.Input.Parts) == 1 {
		p := t.Input.Parts[0]
		if p.Kind == tandem.Text && p.MIME == "" && p.URL == "" && len(p.Data) == 0 {
			in = p.Text
		}
	}
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode input: %w", err)
	}
	return &wireTrace{Trace: *t, Input: raw}, nil
}
