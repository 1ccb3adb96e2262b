package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tandem"
	"tandem/internal/console"
	"tandem/internal/store"
	"tandem/internal/trace"
)

// wire is a listener with one connection, from this machine.
type wire struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l wire) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l wire) Close() error { close(l.done); return nil }
func (wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

type localConn struct{ net.Conn }

func (localConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// serve answers with a real server that is as impatient with a whole request
// as tandem's, and returns its client. Everything ends with the test.
func serve(t *testing.T, c *console.Console) *http.Client {
	t.Helper()
	near, far := net.Pipe()
	l := wire{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conns <- localConn{far}
	server := &http.Server{Handler: c.Handler(), ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
	}()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil }}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return &http.Client{Transport: transport}
}

// pieces gives one piece of an upload after every pause.
type pieces struct {
	pause time.Duration
	left  []string
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	time.Sleep(p.pause)
	n := copy(b, p.left[0])
	p.left = p.left[1:]
	return n, nil
}

// lines counts what arrives as it arrives.
type lines struct {
	got  string
	err  error
	done chan struct{} // closed at the end
}

func (l *lines) Import(_ context.Context, _ tandem.Task, _ console.Fields, rows io.Reader) (console.ImportReport, error) {
	defer close(l.done)
	b := make([]byte, 100)
	for {
		n, err := rows.Read(b)
		l.got += string(b[:n])
		if err != nil {
			if !errors.Is(err, io.EOF) {
				l.err = err
			}
			return console.ImportReport{Imported: strings.Count(l.got, "\n")}, l.err
		}
	}
}

func TestSlowUploads(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name         string
		pause        time.Duration
		status, kept int
		took         time.Duration
		says         string
	}{
		{"slow for minutes, but always moving", 20 * time.Second, 200, 10, 200 * time.Second, `"imported":10`},
		{"at rest for too long", 31 * time.Second, 400, 0, 30 * time.Second, "stood still for 30s (limits.read_timeout); 0 new lines"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &lines{done: make(chan struct{})}
				c := &console.Console{Tasks: support, Importer: l, Log: slog.New(slog.DiscardHandler)}
				client := serve(t, c)
				body := &pieces{pause: tc.pause}
				for range 10 {
					body.left = append(body.left, "{}\n")
				}
				begun := time.Now()
				resp, err := client.Post("http://127.0.0.1/api/traces/import?task=support", "application/x-ndjson", body)
				if err != nil {
					t.Fatal(err)
				}
				reply, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != tc.status || !strings.Contains(string(reply), tc.says) {
					t.Errorf("%d %s %v, want %d and %q", resp.StatusCode, reply, err, tc.status, tc.says)
				}
				<-l.done
				if took := time.Since(begun); took != tc.took || strings.Count(l.got, "\n") != tc.kept {
					t.Errorf("%d lines after %s, want %d after %s", strings.Count(l.got, "\n"), took, tc.kept, tc.took)
				}
				time.Sleep(time.Minute) // the pause of a body that nobody wants any more
			})
		})
	}
}

// TestBrokenUpload loses the client in the middle of a line.
func TestBrokenUpload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		l := &lines{done: make(chan struct{})}
		client := serve(t, &console.Console{Tasks: support, Importer: l, Log: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1/api/traces/import?task=support",
			&pieces{pause: 20 * time.Second, left: []string{"{}\n{", "}\n"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the call that was given up: %v", err)
		}
		<-l.done
		synctest.Wait()
		if l.got != "{}\n{" || !errors.Is(l.err, io.ErrUnexpectedEOF) {
			t.Errorf("%q arrived, then %v", l.got, l.err)
		}
		if log.Len() > 0 {
			t.Errorf("a client that went is no fault of tandem: %s", log.String())
		}
	})
}

func support() []tandem.Task { return []tandem.Task{{Name: "support"}} }

// many is a store with more traces than a connection buffers.
type many struct {
	console.Reader
	ended chan struct{}
}

func (m *many) Traces(context.Context, store.Query) iter.Seq2[tandem.Trace, error] {
	return func(yield func(tandem.Trace, error) bool) {
		defer close(m.ended)
		for range 200 {
			if !yield(tandem.Trace{Input: tandem.TextInput(strings.Repeat("x", 4000))}, nil) {
				return
			}
		}
	}
}

func TestSlowDownloads(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		pause time.Duration
		whole bool
	}{
		{"slow for minutes, but always moving", 20 * time.Second, true},
		{"at rest for too long", 31 * time.Second, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := &many{ended: make(chan struct{})}
				client := serve(t, &console.Console{Tasks: support, Reader: m, Export: trace.Export, Log: slog.New(slog.DiscardHandler)})
				resp, err := client.Get("http://127.0.0.1/api/traces/export?task=support")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				got, b := 0, make([]byte, 64<<10)
				for err == nil {
					time.Sleep(tc.pause)
					var n int
					n, err = io.ReadFull(resp.Body, b)
					for _, c := range b[:n] {
						if c == '\n' {
							got++
						}
					}
				}
				whole := errors.Is(err, io.EOF) || got == 200
				if whole != tc.whole || whole && got != 200 {
					t.Errorf("%d of 200 lines, then %v", got, err)
				}
				<-m.ended // or the test says that everything is blocked
			})
		})
	}
}

// TestImportReply is read by programs.
func TestImportReply(t *testing.T) {
	t.Parallel()
	h := build(t)
	_, v := h.call(t, "POST", "/api/traces/import?task=support", "{}\n")
	want := map[string]any{"lines": 1.0, "imported": 1.0, "known": 0.0, "faulty": 0.0, "faults": []any{}}
	a, errA := json.Marshal(v)
	b, errB := json.Marshal(want)
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("%s, want %s", a, b)
	}
}
