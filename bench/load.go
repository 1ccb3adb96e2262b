package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Load is a fixed amount of HTTP work: Requests posted over Connections
// kept-alive connections, each connection sending its next request when the
// answer to the last has been read whole. It writes prepared bytes and reads
// the little of HTTP/1.1 it needs, so that on a shared machine the generator
// takes less from the server than a full client would.
type Load struct {
	Address     string // host:port
	Path        string
	Bodies      [][]byte // sent in turn
	Requests    int
	Connections int
	Timeout     time.Duration // for one answer
	Want        []byte        // every right answer holds this; empty: not checked
}

// LoadResult is what one run of a load gave.
type LoadResult struct {
	Requests int           // answered with status 200
	Failed   int           // answered with another status, or not with what is wanted
	Elapsed  time.Duration // of the whole run
	P50, P99 time.Duration // of one answer
	CPU      time.Duration // processor time of this process, the generator's included; 0 where it is not known
	Sample   []byte        // the body of one answer, to look at
}

// RPS is the rate of answers a second.
func (r LoadResult) RPS() float64 { return float64(r.Requests) / r.Elapsed.Seconds() }

// Run sends the load and waits until it is done, the context ends or a
// connection breaks, which ends the run with the error.
func (l Load) Run(ctx context.Context) (LoadResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	messages := make([][]byte, len(l.Bodies))
	for i, body := range l.Bodies {
		messages[i] = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			l.Path, l.Address, len(body), body)
	}
	var (
		next    atomic.Int64
		failed  atomic.Int64
		group   sync.WaitGroup
		took    = make([]time.Duration, l.Requests)
		samples = make([][]byte, l.Connections)
		start   = time.Now()
		cpu     = processorTime()
	)
	for c := range l.Connections {
		group.Go(func() {
			sample, err := l.connection(ctx, messages, took, &next, &failed)
			if err != nil {
				cancel(err)
			}
			samples[c] = sample
		})
	}
	group.Wait()
	elapsed := time.Since(start)
	cpu = processorTime() - cpu
	if err := context.Cause(ctx); err != nil {
		return LoadResult{}, err
	}
	slices.Sort(took)
	r := LoadResult{
		Requests: l.Requests - int(failed.Load()), Failed: int(failed.Load()), Elapsed: elapsed,
		P50: took[len(took)/2], P99: took[len(took)*99/100], CPU: cpu,
	}
	for _, s := range samples {
		if s != nil {
			r.Sample = s
		}
	}
	return r, nil
}

func (l Load) connection(ctx context.Context, messages [][]byte, took []time.Duration, next, failed *atomic.Int64) ([]byte, error) {
	var dial net.Dialer
	conn, err := dial.DialContext(ctx, "tcp", l.Address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", l.Address, err)
	}
	defer conn.Close()
	// Closing is what wakes a blocked read when the run is cancelled.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	in := bufio.NewReaderSize(conn, 16<<10)
	var body bytes.Buffer
	for ctx.Err() == nil {
		i := next.Add(1) - 1
		if i >= int64(l.Requests) {
			break
		}
		if err := conn.SetDeadline(time.Now().Add(l.Timeout)); err != nil {
			return nil, fmt.Errorf("set deadline: %w", err)
		}
		start := time.Now()
		if _, err := conn.Write(messages[i%int64(len(messages))]); err != nil {
			return nil, fmt.Errorf("send request: %w", err)
		}
		status, err := readAnswer(in, &body)
		if err != nil {
			return nil, fmt.Errorf("read answer: %w", err)
		}
		took[i] = time.Since(start)
		if status != 200 || !bytes.Contains(body.Bytes(), l.Want) {
			failed.Add(1)
		}
	}
	return bytes.Clone(body.Bytes()), nil
}

// maxAnswer bounds the body of an answer.
const maxAnswer = 1 << 20

// readAnswer reads one HTTP/1.1 response with a length or in chunks into body.
func readAnswer(in *bufio.Reader, body *bytes.Buffer) (status int, err error) {
	body.Reset()
	line, err := in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("not an HTTP/1.1 answer: %q", line[:min(len(line), 40)])
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, fmt.Errorf("bad status: %w", err)
	}
	length, chunked := -1, false
	for {
		if line, err = in.ReadSlice('\n'); err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, fmt.Errorf("bad length %q", value)
			}
		}
		chunked = chunked || bytes.EqualFold(name, []byte("Transfer-Encoding")) && bytes.EqualFold(value, []byte("chunked"))
	}
	switch {
	case chunked:
		n, err := io.Copy(body, io.LimitReader(httputil.NewChunkedReader(in), maxAnswer+1))
		if err != nil {
			return 0, err
		}
		if n > maxAnswer {
			return 0, errors.New("the answer is too long")
		}
		// The chunked reader stops before the trailer; ours ends at the empty line.
		for {
			if line, err = in.ReadSlice('\n'); err != nil {
				return 0, err
			}
			if len(bytes.TrimRight(line, "\r\n")) == 0 {
				return status, nil
			}
		}
	case length < 0:
		return 0, errors.New("the answer has no length")
	case length > maxAnswer:
		return 0, errors.New("the answer is too long")
	}
	if _, err := io.CopyN(body, in, int64(length)); err != nil {
		return 0, err
	}
	return status, nil
}
