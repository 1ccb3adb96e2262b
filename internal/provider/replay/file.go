package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"
)

// maxLine bounds one line of a recording.
const maxLine = 8 << 20

// ReadFile reads a recording of JSON lines.
func ReadFile(path string) (Map, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	m, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("read recording %s: %w", path, err)
	}
	return m, nil
}

// Read reads JSON lines of {"input": text, "answer": text}; other fields are
// ignored, and of two answers to one input the last counts.
func Read(r io.Reader) (Map, error) {
	m := Map{}
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	for n := 1; s.Scan(); n++ {
		line := bytes.TrimSpace(s.Bytes())
		if len(line) == 0 {
			continue
		}
		if !utf8.Valid(line) {
			return nil, fmt.Errorf("line %d: not valid UTF-8", n)
		}
		var row struct {
			Input  *string `json:"input"`
			Answer *string `json:"answer"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if row.Input == nil || row.Answer == nil {
			return nil, fmt.Errorf(`line %d: needs an "input" and an "answer"`, n)
		}
		m[*row.Input] = *row.Answer
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, fmt.Errorf("a line is longer than %d bytes", maxLine)
		}
		return nil, err
	}
	if len(m) == 0 {
		return nil, errors.New("no answers in it")
	}
	return m, nil
}
