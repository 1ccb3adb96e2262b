package provider

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"

	"tandem"
)

// EventKind tells the pieces of a streamed reply apart.
type EventKind int

// A reply begins, opens one block after the other, each of which grows and is
// closed before the next is opened, and ends.
const (
	Began  EventKind = iota // ID, Model and what is known of Usage
	Opened                  // Block: kind, and ID, name and signature of a tool's use
	Grew                    // Delta: more text, or more JSON of a tool's input
	Signed                  // Delta: the signature of the open block
	Closed
	Ended // Stop, Hit and Usage
)

// Event is a piece of a streamed reply.
type Event struct {
	Kind  EventKind
	ID    string
	Model string
	Block Block
	Delta string
	Stop  StopReason
	Hit   string
	Usage tandem.Usage
}

// Decoder makes events of what an upstream sends. The last event of a stream
// is Ended; what comes after it is not read.
type Decoder interface {
	Decode(w *EventWriter, data []byte) error
}

// Stream is a reply that comes piece by piece.
type Stream struct {
	ctx    context.Context //nolint:containedctx // of the call that the stream is
	res    *http.Response
	data   *Records
	decode Decoder
	events EventWriter
	next   int
	ended  bool
}

// NewStream reads the reply of a successful response. sse tells server-sent
// events from lines of JSON. It takes the response over.
func NewStream(ctx context.Context, res *http.Response, sse bool, d Decoder) (*Stream, error) {
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err == nil && sse && kind != "text/event-stream" {
		e := Garbage(res, "something that is not a stream", nil)
		_ = res.Body.Close() // nothing more is wanted of it
		return nil, e
	}
	return &Stream{ctx: ctx, res: res, data: NewRecords(res.Body, sse), decode: d}, nil
}

// Play is a stream of a reply that is there already.
func Play(c *Completion) *Stream {
	s := &Stream{}
	w := &s.events
	w.Begin(c.ID, c.Model, c.Usage)
	for i := range c.Blocks {
		b := c.Blocks[i]
		delta, signature := b.Text, b.Signature
		switch b.Kind {
		case SealedBlock:
			delta = ""
		case ToolUse:
			delta = string(b.Input)
		default:
		}
		if b.Kind != SealedBlock {
			b.Text = ""
		}
		if b.Input = nil; b.Kind != ToolUse {
			b.Signature = ""
		}
		w.Open(b)
		w.Grow(b.Kind, delta)
		if b.Kind != ToolUse {
			w.Sign(signature)
		}
	}
	w.End(c.Stop, c.Hit, c.Usage)
	return s
}

// Next returns the next event, valid until the next call, and io.EOF after
// the last. A stream that breaks off ends with an *Error.
func (s *Stream) Next() (*Event, error) {
	for s.next >= len(s.events.Events) {
		if s.ended || s.res == nil {
			return nil, io.EOF
		}
		data, err := s.data.Next()
		if err != nil {
			return nil, s.broken(err)
		}
		s.events.Events, s.next = s.events.Events[:0], 0
		if err := s.decode.Decode(&s.events, data); err != nil {
			if e, ok := errors.AsType[*Error](err); ok {
				return nil, e
			}
			return nil, Garbage(s.res, "a stream that cannot be read", err)
		}
	}
	e := &s.events.Events[s.next]
	s.next++
	s.ended = s.ended || e.Kind == Ended
	return e, nil
}

func (s *Stream) broken(err error) error {
	switch {
	case s.ctx.Err() != nil:
		return Failed(s.ctx, s.ctx.Err())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Failed(s.ctx, context.DeadlineExceeded) // given up for its silence
	}
	return Garbage(s.res, "a stream that broke off", err)
}

// Close ends the call.
func (s *Stream) Close() error {
	if s.res == nil {
		return nil
	}
	return s.res.Body.Close()
}

// Collect reads a stream to its end and puts the reply together.
func Collect(s *Stream) (*Completion, error) {
	c := &Completion{}
	for {
		e, err := s.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return c, err
		}
		c.put(e)
	}
}

// Put puts a reply together of its events.
func Put(events []Event) *Completion {
	c := &Completion{}
	for i := range events {
		c.put(&events[i])
	}
	return c
}

func (c *Completion) put(e *Event) {
	last := len(c.Blocks) - 1
	switch e.Kind {
	case Began:
		c.ID, c.Model, c.Usage = e.ID, e.Model, e.Usage
	case Opened:
		c.Blocks = append(c.Blocks, e.Block)
	case Grew:
		if c.Blocks[last].Kind == ToolUse {
			c.Blocks[last].Input = append(c.Blocks[last].Input, e.Delta...)
		} else {
			c.Blocks[last].Text += e.Delta
		}
	case Signed:
		c.Blocks[last].Signature += e.Delta
	case Closed:
	case Ended:
		c.Stop, c.Hit, c.Usage = e.Stop, e.Hit, e.Usage
	}
}

// maxRecord bounds one event of a stream.
const maxRecord = 16 << 20

var errLongRecord = errors.New("an event of more than 16 MiB")

// Records reads the data of server-sent events, or the lines of a body.
type Records struct {
	from *bufio.Reader
	sse  bool
	buf  []byte
	line []byte
}

// NewRecords reads from r; sse tells server-sent events from lines.
func NewRecords(r io.Reader, sse bool) *Records {
	return &Records{from: bufio.NewReaderSize(r, 16<<10), sse: sse}
}

// Next returns the next record that is not empty, valid until the next call.
// Of server-sent events it is the data, several lines joined by a newline. The
// end of the body is io.ErrUnexpectedEOF: a protocol has its own end before.
func (r *Records) Next() ([]byte, error) {
	r.buf = r.buf[:0]
	some := false
	for {
		line, err := r.readLine()
		if err != nil {
			return nil, err
		}
		if !r.sse {
			if len(bytes.TrimSpace(line)) > 0 {
				return line, nil
			}
			continue
		}
		if len(line) == 0 {
			if some && len(r.buf) > 0 {
				return r.buf, nil
			}
			some = false
			continue
		}
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		if !ok {
			continue // names, ids and comments: the data says all we need
		}
		data = bytes.TrimPrefix(data, []byte(" "))
		if some {
			r.buf = append(r.buf, '\n')
		}
		if r.buf, some = append(r.buf, data...), true; len(r.buf) > maxRecord {
			return nil, errLongRecord
		}
	}
}

// readLine reads a line without its end, valid until the next call.
func (r *Records) readLine() ([]byte, error) {
	r.line = r.line[:0]
	for {
		piece, err := r.from.ReadSlice('\n')
		if r.line = append(r.line, piece...); len(r.line) > maxRecord {
			return nil, errLongRecord
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.line) > 0 && !r.sse:
			return r.line, nil // the last line needs no newline
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		return bytes.TrimRight(r.line, "\r\n"), nil
	}
}
