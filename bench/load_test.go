package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoadSendsEachRequestOnce(t *testing.T) {
	var seen atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/x" || !strings.HasPrefix(string(body), `{"n":`) {
			t.Errorf("got %s %q (%v)", r.URL.Path, body, err)
		}
		switch n := seen.Add(1); {
		case n%10 == 0:
			http.Error(w, "no", http.StatusTeapot)
		case n%3 == 0: // flushed: leaves in chunks
			_, _ = w.Write([]byte("in "))
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte("chunks"))
		default:
			_, _ = w.Write([]byte("whole"))
		}
	}))
	defer server.Close()
	l := Load{
		Address: server.Listener.Addr().String(), Path: "/x", Requests: 400, Connections: 7,
		Bodies: [][]byte{[]byte(`{"n":1}`), []byte(`{"n":22}`)}, Timeout: 5 * time.Second,
	}
	got, err := l.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if seen.Load() != 400 || got.Requests != 360 || got.Failed != 40 {
		t.Errorf("server saw %d; result %+v", seen.Load(), got)
	}
	if got.P50 <= 0 || got.P99 < got.P50 || got.Elapsed < got.P50 || got.RPS() <= 0 || len(got.Sample) == 0 {
		t.Errorf("result = %+v", got)
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	arrived, release := make(chan struct{}, 8), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer server.Close()
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	l := Load{Address: server.Listener.Addr().String(), Path: "/", Requests: 4, Connections: 2, Bodies: [][]byte{nil}, Timeout: time.Minute}
	if _, err := l.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want canceled", err)
	}
}

func TestReadAnswer(t *testing.T) {
	for _, c := range []struct{ in, body, fails string }{
		{in: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", body: "hi"},
		{in: "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n", body: "hi"},
		{in: "HTTP/1.1 200 OK\r\n\r\n", fails: "no length"},
		{in: "HTTP/1.1 2x0 OK\r\n\r\n", fails: "bad status"},
		{in: "SSH-2.0 hello there\r\n", fails: "not an HTTP/1.1"},
		{in: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", fails: "EOF"},
		{in: "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhi", fails: "bad length"},
		{in: "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nhi", fails: "too long"},
	} {
		var body bytes.Buffer
		_, err := readAnswer(bufio.NewReader(strings.NewReader(c.in)), &body)
		if c.fails == "" && (err != nil || body.String() != c.body) {
			t.Errorf("%q: %q, %v", c.in, body.String(), err)
		}
		if c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%q: error %v, want %q in it", c.in, err, c.fails)
		}
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var body bytes.Buffer
		status, err := readAnswer(bufio.NewReader(bytes.NewReader(in)), &body)
		if err == nil && (status < 0 || status > 999 || body.Len() > maxAnswer) {
			t.Errorf("status %d, %d bytes", status, body.Len())
		}
	})
}
