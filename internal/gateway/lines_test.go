package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzLines holds the line reader to bytes.Split, whatever the pieces in which
// the body arrives and however small the buffer is.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nbb\n\n \r\nccc"), 8)
	f.Add([]byte(strings.Repeat("x", 100)+"\n"+strings.Repeat("y", 20)+"\n"), 20)
	f.Fuzz(func(t *testing.T, body []byte, limit int) {
		if limit < 1 || limit > 1<<16 {
			return
		}
		type got struct {
			n    int
			text string
			long bool
		}
		var want []got
		for i, line := range bytes.SplitAfter(body, []byte("\n")) {
			if long := len(line) > limit; long || len(bytes.TrimSpace(line)) > 0 {
				g := got{n: i + 1, long: long}
				if !long {
					g.text = string(bytes.TrimSpace(line))
				}
				want = append(want, g)
			}
		}
		l := &lineReader{from: bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(body)), 16), limit: limit}
		for i := 0; ; i++ {
			line, err := l.next()
			if errors.Is(err, io.EOF) {
				if i != len(want) {
					t.Errorf("%d lines, want %d", i, len(want))
				}
				return
			}
			g := got{n: l.line, text: string(line), long: errors.Is(err, errLongLine)}
			if i >= len(want) || g != want[i] {
				t.Fatalf("line %d is %+v, want %+v", i, g, want)
			}
		}
	})
}
