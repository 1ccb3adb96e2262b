// Package gateway is the HTTP that applications call: OpenAI's and Anthropic's
// dialects, tandem's own task endpoints, models, health and metrics. One file
// per dialect; this one holds what they share.
package gateway

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// Answerer answers tasks.
type Answerer interface {
	// Answer decides one request. It checks the input (tandem.Input.Check) and
	// returns soon after ctx ends. Errors are of type *tandem.Error.
	Answer(ctx context.Context, req tandem.Request) (tandem.Decision, error)
	// Feedback notes the truth about an answered request.
	Feedback(ctx context.Context, traceID string, f tandem.Feedback) error
}

// Directory says what there is to ask. It reads the live configuration, so
// answers may change between calls.
type Directory interface {
	Task(name string) (*tandem.Task, bool)
	Tasks() []string
	Model(name string) (provider.Model, tandem.Price, bool)
	Models() []string
}

// Traces reads the learning log.
type Traces interface {
	Trace(ctx context.Context, id string) (tandem.Trace, error)
}

// Readiness says whether the server should be sent requests.
type Readiness interface {
	// Ready returns nil, or why not, in words for an operator.
	Ready() error
}

// Observer is told about requests. It is safe for concurrent use and fast.
type Observer interface {
	// Served is called after every request. route is a pattern of routes().
	Served(route string, status int, took time.Duration)
	// Forwarded is called after every call passed through to a model, with
	// the usage that the upstream reported.
	Forwarded(model string, u tandem.Usage, costUSD float64)
}

// Options are what a gateway is made of. Answerer, Directory and Log are
// required.
type Options struct {
	Answerer  Answerer
	Directory Directory
	Traces    Traces       // nil: traces cannot be read
	Readiness Readiness    // nil: ready while it runs
	Metrics   http.Handler // nil: no /metrics
	Console   http.Handler // what people call, below /api/; nil: not there
	Observer  Observer     // nil: nobody is told
	Log       *slog.Logger
	Tokens    []string // bearer tokens that may call; none: anyone may
	Limits    Limits
}

// Limits bound what a client can make the server do. Zero fields are set to
// their defaults.
type Limits struct {
	BodyBytes   int64         // largest body, and largest line of a batch: 10 MiB
	HeaderBytes int           // largest request header: 64 KiB
	Concurrent  int           // requests in flight, /healthz and the like aside: 1024
	Batch       int           // lines of one batch answered at the same time: 16
	HeaderTime  time.Duration // for a client to send the header: 10s
	ReadTime    time.Duration // for a client to send the body, or the next line of a batch: 30s
	WriteTime   time.Duration // for a client to take one write: 30s
	IdleTime    time.Duration // between requests of one connection: 2m
	Drain       time.Duration // for requests in flight when stopping: 15s
}

func (l Limits) withDefaults() Limits {
	set(&l.BodyBytes, 10<<20)
	set(&l.HeaderBytes, 64<<10)
	set(&l.Concurrent, 1024)
	set(&l.Batch, 16)
	set(&l.HeaderTime, 10*time.Second)
	set(&l.ReadTime, 30*time.Second)
	set(&l.WriteTime, 30*time.Second)
	set(&l.IdleTime, 2*time.Minute)
	set(&l.Drain, 15*time.Second)
	return l
}

func set[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Server is the gateway as an http.Handler.
type Server struct {
	Options
	mux       *http.ServeMux
	tokens    [][sha256.Size]byte
	inFlight  chan struct{} // a slot per request
	draining  atomic.Bool
	requests  atomic.Uint64 // counts request ids
	idPrefix  string
	origins   *http.CrossOriginProtection
	recorders sync.Pool
	buffers   sync.Pool
}

// New makes a gateway. It starts nothing.
func New(o Options) (*Server, error) {
	if o.Answerer == nil || o.Directory == nil || o.Log == nil {
		return nil, errors.New("gateway: Answerer, Directory and Log are required")
	}
	o.Limits = o.Limits.withDefaults()
	s := &Server{
		Options:   o,
		mux:       http.NewServeMux(),
		inFlight:  make(chan struct{}, o.Limits.Concurrent),
		origins:   http.NewCrossOriginProtection(),
		recorders: sync.Pool{New: func() any { return new(recorder) }},
		buffers:   sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }},
	}
	for _, t := range o.Tokens {
		if t == "" {
			return nil, errors.New("gateway: a token is empty")
		}
		s.tokens = append(s.tokens, sha256.Sum256([]byte(t)))
	}
	var prefix [6]byte
	_, _ = rand.Read(prefix[:]) // never fails
	s.idPrefix = hex.EncodeToString(prefix[:]) + "-"
	s.routes()
	return s, nil
}

// routes lists every endpoint.
func (s *Server) routes() {
	s.handle("POST", "/v1/chat/completions", s.chat)
	s.handle("POST", "/v1/responses", s.responses)
	s.handle("POST", "/v1/embeddings", s.embeddings())
	s.handle("POST", "/v1/images/generations", s.images())
	s.handle("POST", "/v1/audio/speech", s.speech())
	s.handle("POST", "/v1/audio/transcriptions", s.transcriptions())
	s.handle("POST", "/v1/messages", s.messages)
	s.handle("POST", "/v1/messages/count_tokens", s.countTokens)
	s.handle("GET", "/v1/models", s.listModels)
	s.handle("GET", "/v1/models/{id...}", s.getModel)
	s.handle("POST", "/v1/tasks/{task}/answer", s.answer)
	s.handle("POST", "/v1/tasks/{task}/batch", s.batch)
	s.handle("GET", "/v1/traces/{id}", s.getTrace)
	s.handle("POST", "/v1/traces/{id}/feedback", s.feedback)
	s.handle("GET", "/healthz", s.healthz)
	s.handle("GET", "/readyz", s.readyz)
	if s.Metrics != nil {
		s.handle("GET", "/metrics", func(w http.ResponseWriter, r *http.Request) error {
			s.Metrics.ServeHTTP(w, r)
			return nil
		})
	}
	if s.Console != nil {
		s.mux.Handle("/api/", s.Console)
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.sendError(w, r, tandem.Errorf(tandem.NotFound, "there is no such endpoint; docs/api.md lists those there are"))
	})
}

// handler answers a request or returns why it could not; it must not have
// written anything when it returns an error.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle registers an endpoint, and an error for its path with other methods.
func (s *Server) handle(method, path string, h handler) {
	s.mux.HandleFunc(method+" "+path, func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.sendError(w, r, err)
		}
	})
	s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", method)
		s.sendStatus(w, r, http.StatusMethodNotAllowed, tandem.Errorf(tandem.InvalidRequest, "this endpoint takes %s only", method))
	})
}

// Run serves on the listener until ctx ends, then refuses new requests, waits
// for those in flight as long as Limits.Drain says and closes the rest. It
// returns nil after a complete drain.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.Limits.HeaderTime,
		ReadTimeout:       s.Limits.ReadTime,
		IdleTimeout:       s.Limits.IdleTime,
		MaxHeaderBytes:    s.Limits.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { failed <- srv.Serve(l) })
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Limits.Drain)
	defer cancel()
	if err := srv.Shutdown(limit); err != nil {
		_ = srv.Close() // its requests end with an error that they report themselves
		return fmt.Errorf("drain HTTP: requests were still running after %s: %w", s.Limits.Drain, err)
	}
	return nil
}
