package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"tandem"
)

// Line is what became of one request of a batch.
type Line struct {
	N        int // counted from 1, in the order of the requests
	Decision tandem.Decision
	Err      error // *tandem.Error of this line alone
}

// Totals are the server's counts of a batch.
type Totals struct {
	Lines, Errors, Served int
	CostUSD, SavedUSD     float64
}

// Batch asks a task about many inputs in one call, sending and receiving at
// the same time. It yields one Line for each request, in order; the task of a
// request is ignored. An error as second value ends the sequence: the batch as
// a whole failed there. totals, unless nil, is filled when the batch has
// ended well. Breaking out of the loop stops the server too. The sequence of
// requests runs on a goroutine of its own, and Batch waits for its end.
func (c *Client) Batch(ctx context.Context, task string, requests iter.Seq[tandem.Request], totals *Totals) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		body, feed := io.Pipe()
		fed := make(chan struct{})
		defer func() {
			cancel()
			_ = body.CloseWithError(context.Canceled) // never fails
			<-fed
		}()
		go func() {
			defer close(fed)
			_ = feed.CloseWithError(send(feed, requests)) // never fails
		}()
		res, err := c.send(ctx, http.MethodPost, "/v1/tasks/"+url.PathEscape(task)+"/batch", body)
		if err != nil {
			yield(Line{}, err)
			return
		}
		defer func() { _ = res.Body.Close() }() // only read
		if res.StatusCode != http.StatusOK {
			yield(Line{}, readError(res))
			return
		}
		r := bufio.NewReaderSize(res.Body, 64<<10)
		for n := 1; ; n++ {
			raw, err := r.ReadBytes('\n')
			if errors.Is(err, io.EOF) && len(raw) == 0 {
				break
			}
			if err != nil {
				yield(Line{}, failed(ctx, err))
				return
			}
			line, err := readLine(raw, n)
			if !yield(line, err) || err != nil {
				return
			}
		}
		if totals != nil {
			*totals = readTotals(res.Trailer)
		}
	}
}

// send writes the requests as lines.
func send(w io.Writer, requests iter.Seq[tandem.Request]) error {
	for req := range requests {
		body, err := encode(req)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(body, '\n')); err != nil {
			return fmt.Errorf("send line: %w", err)
		}
	}
	return nil
}

func readLine(raw []byte, n int) (Line, error) {
	var wire struct {
		wireError
		Tandem tandem.Decision `json:"tandem"`
	}
	if err := json.Unmarshal(raw, &wire); err != nil {
		return Line{}, &tandem.Error{Code: tandem.Internal, Message: "the server's reply is not tandem's; check the address", Cause: err}
	}
	if wire.Error != nil {
		return Line{N: n, Err: wire.error()}, nil
	}
	return Line{N: n, Decision: wire.Tandem}, nil
}

// readTotals reads the trailers; a missing one counts as 0.
func readTotals(h http.Header) Totals {
	count := func(name string) int {
		n, err := strconv.Atoi(h.Get("X-Tandem-" + name))
		if err != nil {
			return 0
		}
		return n
	}
	usd := func(name string) float64 {
		v, err := strconv.ParseFloat(h.Get("X-Tandem-"+name), 64)
		if err != nil {
			return 0
		}
		return v
	}
	return Totals{Lines: count("Lines"), Errors: count("Errors"), Served: count("Served"), CostUSD: usd("Cost"), SavedUSD: usd("Saved")}
}
