package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// maxLine bounds one line of a log.
const maxLine = 16 << 20

// rows reads JSON lines. A line that is not what the flags say ends the rows
// with an error that names it; blank lines are skipped.
func (c *learnCmd) rows(r io.Reader) iter.Seq2[learnRow, error] {
	return func(yield func(learnRow, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 64<<10), maxLine)
		n := 0
		for lines.Scan() {
			n++
			if len(strings.TrimSpace(lines.Text())) == 0 {
				continue
			}
			row, err := c.row(lines.Bytes())
			if err != nil {
				yield(learnRow{}, fmt.Errorf("%s:%d: %w", c.From, n, err))
				return
			}
			row.Line = n
			if !yield(row, nil) {
				return
			}
		}
		if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
			yield(learnRow{}, fmt.Errorf("%s:%d: the line has more than %d bytes", c.From, n+1, maxLine))
		} else if err != nil {
			yield(learnRow{}, fmt.Errorf("read %s: %w", c.From, err))
		}
	}
}

func (c *learnCmd) row(line []byte) (row learnRow, err error) {
	var object map[string]any
	if err := json.Unmarshal(line, &object); err != nil {
		return row, fmt.Errorf("this is not a JSON object: %w", err)
	}
	for _, f := range []struct {
		flag, path string
		into       *string
		needed     bool
	}{
		{"--text", c.Text, &row.Text, true},
		{"--teacher", c.Teacher, &row.Teacher, true},
		{"--gold", c.Gold, &row.Gold, false},
		{"--session", c.Session, &row.Session, false},
	} {
		if f.path == "" {
			continue
		}
		text, ok := lookup(object, f.path)
		if !ok && f.needed {
			return row, fmt.Errorf("there is no text in %q (%s); the line has %s", f.path, f.flag, strings.Join(keysOf(object), ", "))
		}
		*f.into = text
	}
	return row, nil
}

// lookup finds a value by its key, or by keys and list positions joined by
// dots. Numbers and booleans are taken as text.
func lookup(v any, path string) (string, bool) {
	if object, ok := v.(map[string]any); ok {
		if direct, ok := object[path]; ok {
			return scalar(direct)
		}
	}
	for key := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(x) {
				return "", false
			}
			v = x[i]
		default:
			return "", false
		}
	}
	return scalar(v)
}

func scalar(v any) (string, bool) {
	switch x := v.(type) {
	case string:
		return x, true
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(x), true
	}
	return "", false
}

func keysOf(object map[string]any) []string {
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	if len(keys) > 12 {
		keys = append(keys[:12], "…")
	}
	return keys
}
