package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"tandem"
)

// job is one line of a batch.
type job struct {
	line int // counted from 1, empty lines too
	body []byte
	err  error         // why the line cannot be asked
	last bool          // the batch ends with this error
	done chan struct{} // closed when reply and decision are there

	decision tandem.Decision
}

// batch is POST /v1/tasks/{task}/batch: a line in, a line out, in order, while
// the client is still sending. A line that fails does not end the batch.
func (s *Server) batch(w http.ResponseWriter, r *http.Request) error {
	task := r.PathValue("task")
	if _, ok := s.Directory.Task(task); !ok {
		return s.explain(tandem.Errorf(tandem.NotFound, "no such task"), task)
	}
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // HTTP/2 is that by itself
	h := w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Trailer", "X-Tandem-Lines, X-Tandem-Errors, X-Tandem-Served, X-Tandem-Cost, X-Tandem-Saved")
	w.WriteHeader(http.StatusOK)
	_ = rc.Flush() // a failed flush shows in the next write

	ctx, cancel := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	body := &patientReader{body: r.Body, rc: rc, patience: s.Limits.ReadTime}
	lines := &lineReader{from: bufio.NewReaderSize(body, 16<<10), limit: int(s.Limits.BodyBytes)}
	order := make(chan *job, s.Limits.Batch)
	work := make(chan *job)
	wg.Go(func() {
		defer close(order)
		defer close(work)
		if !s.readLines(ctx, lines, order, work) {
			cancel() // nobody waits for the lines under way
		}
	})
	for range s.Limits.Batch {
		wg.Go(func() {
			for j := range work {
				s.work(ctx, task, j)
			}
		})
	}
	if !s.writeLines(w, rc, order) {
		cancel()
		_ = rc.SetReadDeadline(time.Now()) // wakes the reader
		for range order {                  // so that it never waits for us
		}
		panic(http.ErrAbortHandler) // the client has gone
	}
	return nil
}

// readLines hands lines out: to order as they came, and to work. It returns
// false when the connection broke: while a body is being read, net/http leaves
// it to the reader to notice that the client has gone.
func (s *Server) readLines(ctx context.Context, lines *lineReader, order, work chan<- *job) bool {
	for ctx.Err() == nil {
		body, err := lines.next()
		if errors.Is(err, io.EOF) {
			return true
		}
		j := &job{line: lines.line, body: body, done: make(chan struct{})}
		switch {
		case errors.Is(err, errLongLine):
			j.err = tandem.Errorf(tandem.InputTooLarge, "the line is longer than %d bytes (limits.body_bytes)", lines.limit)
		case err != nil:
			j.last = true
			j.err = &tandem.Error{Code: tandem.InvalidRequest, Cause: err, Message: "the request broke off in this line, or the client waited too long with it (limits.read_timeout)"}
		}
		order <- j // the writer takes them all, to the end
		if j.err != nil {
			close(j.done)
			if j.last {
				return errors.Is(err, os.ErrDeadlineExceeded) // slow, but there
			}
			continue
		}
		work <- j
	}
	return false
}

// work answers one line. A panic is this line's error, not the process's end.
func (s *Server) work(ctx context.Context, task string, j *job) {
	defer close(j.done)
	defer func() {
		if p := recover(); p != nil {
			s.Log.ErrorContext(ctx, "panic in a batch", "line", j.line)
			j.err = internal()
		}
	}()
	q, err := decodeQuestion(j.body)
	if err != nil {
		j.err = err
		return
	}
	j.decision, j.err = s.Answerer.Answer(ctx, tandem.Request{Task: task, Input: q.input, Session: q.session, Teacher: q.teacher})
}

// writeLines writes the answers in order, then the totals as trailers. It
// says whether the client took them all.
func (s *Server) writeLines(w http.ResponseWriter, rc *http.ResponseController, order <-chan *job) bool {
	var lines, failed, served int
	var cost, saved float64
	var out []byte
	for j := range order {
		select {
		case <-j.done:
		default:
			if rc.Flush() != nil { // what is ready goes out before we wait
				return false
			}
			<-j.done
		}
		lines++
		if j.err != nil {
			failed++
			out = appendErrorBody(out[:0], public(j.err), j.line)
		} else {
			if j.decision.Step == tandem.StudentStep {
				served++
			}
			cost += j.decision.CostUSD
			saved += j.decision.SavedUSD
			out = appendReply(out[:0], &j.decision)
		}
		if _, err := w.Write(append(out, '\n')); err != nil {
			return false
		}
		if len(order) == 0 && rc.Flush() != nil {
			return false
		}
	}
	h := w.Header()
	h.Set("X-Tandem-Lines", strconv.Itoa(lines))
	h.Set("X-Tandem-Errors", strconv.Itoa(failed))
	h.Set("X-Tandem-Served", strconv.Itoa(served))
	h.Set("X-Tandem-Cost", string(appendFloat(nil, cost)))
	h.Set("X-Tandem-Saved", string(appendFloat(nil, saved)))
	return true
}

// patientReader gives the client some time for every piece of the body.
type patientReader struct {
	body     io.Reader
	rc       *http.ResponseController
	patience time.Duration
	err      error // what ended the body
}

// Read waits for the next piece. Once the body has ended it leaves the
// connection's deadline alone: net/http then watches for the client to go, and
// a deadline would look like that.
func (p *patientReader) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	_ = p.rc.SetReadDeadline(time.Now().Add(p.patience)) // a dead connection fails the read itself
	n, err := p.body.Read(b)
	p.err = err
	return n, err
}

var errLongLine = errors.New("line too long")

// lineReader reads lines that have something in them.
type lineReader struct {
	from  *bufio.Reader
	limit int
	line  int // the number of the last line returned
}

// next returns the next line, which is the caller's to keep. After
// errLongLine, reading goes on with the line that follows.
func (l *lineReader) next() ([]byte, error) {
	for {
		line, err := l.read()
		if err != nil {
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

func (l *lineReader) read() ([]byte, error) {
	l.line++
	var line []byte
	long := false
	for {
		piece, err := l.from.ReadSlice('\n')
		if long = long || len(line)+len(piece) > l.limit; !long {
			line = append(line, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case long && (err == nil || errors.Is(err, io.EOF)):
			return nil, errLongLine
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil // the last line needs no newline
		}
		return line, err
	}
}
