package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"tandem"
	"tandem/internal/gateway"
)

// fixed answers at once, as a student would.
type fixed struct{ d tandem.Decision }

func (f *fixed) Answer(context.Context, tandem.Request) (tandem.Decision, error) { return f.d, nil }
func (f *fixed) Feedback(context.Context, string, tandem.Feedback) error         { return nil }

// bare is the least that an HTTP handler speaking JSON does.
func bare(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Input string `json:"input"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"answer": in.Input})
}

// BenchmarkAnswer compares the task endpoint with the bare handler, over real
// connections of the loopback interface.
func BenchmarkAnswer(b *testing.B) {
	s, err := gateway.New(gateway.Options{
		Answerer:  &fixed{d: decide(tandem.Request{Task: "support", Input: tandem.TextInput("x")})},
		Directory: directory{}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		b.Fatal(err)
	}
	body := []byte(`{"input":"Hello, my card was charged twice for the same order, what can I do about it?"}`)
	b.Run("bare", func(b *testing.B) { load(b, http.HandlerFunc(bare), body) })
	b.Run("tandem", func(b *testing.B) { load(b, s, body) })
	b.Run("handler", func(b *testing.B) {
		b.ReportAllocs()
		w := &discard{h: http.Header{}}
		for b.Loop() {
			r := httptest.NewRequest("POST", "/v1/tasks/support/answer", bytes.NewReader(body))
			s.ServeHTTP(w, r)
		}
	})
}

type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// load sends requests over raw keep-alive connections, so that the client
// costs as little as it can.
func load(b *testing.B, h http.Handler, body []byte) {
	srv := httptest.NewServer(h)
	defer srv.Close()
	request := []byte("POST /v1/tasks/support/answer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ")
	request = append(request, []byte(jsonInt(len(body)))...)
	request = append(append(request, "\r\n\r\n"...), body...)
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		buf := make([]byte, 4096)
		for pb.Next() {
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			n, err := conn.Read(buf)
			if err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200")) {
				b.Errorf("%v %q", err, buf[:n])
				return
			}
		}
	})
}

func jsonInt(n int) string { b, _ := json.Marshal(n); return string(b) }
