package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem"
	"tandem/internal/gateway"
	"tandem/internal/provider"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answers is an Answerer that decides by the text of the input.
type answers struct {
	mu       sync.Mutex
	asked    []tandem.Request
	feedback map[string]tandem.Feedback
	block    chan struct{} // when set, requests wait for it or their context
	entered  chan struct{} // when set, told of every request
	err      error
	panics   bool
}

var supportTask = &tandem.Task{
	Name: "support", Labels: []tandem.Label{{Name: "refund"}, {Name: "other"}}, Takes: []tandem.Kind{tandem.Text, tandem.Image},
	InputBytes: 256 << 10, Deadline: time.Minute,
}

func (a *answers) Answer(ctx context.Context, req tandem.Request) (tandem.Decision, error) {
	a.mu.Lock()
	a.asked = append(a.asked, req)
	a.mu.Unlock()
	if a.entered != nil {
		a.entered <- struct{}{}
	}
	if a.panics {
		panic("secret prompt: " + req.Input.Text())
	}
	if a.err != nil {
		return tandem.Decision{}, a.err
	}
	if req.Task != supportTask.Name {
		return tandem.Decision{}, tandem.Errorf(tandem.NotFound, "no task %s", req.Task)
	}
	if err := req.Input.Check(supportTask.Takes, supportTask.InputBytes); err != nil {
		return tandem.Decision{}, err
	}
	if a.block != nil {
		select {
		case <-a.block:
		case <-ctx.Done():
			return tandem.Decision{}, &tandem.Error{Code: tandem.TeacherTimeout, Message: "gone", Cause: ctx.Err()}
		}
	}
	return decide(req), nil
}

// decide is a student's decision unless the teacher is asked for.
func decide(req tandem.Request) tandem.Decision {
	d := tandem.Decision{
		TraceID: "t-1", Task: req.Task, Answer: "other", Step: tandem.StudentStep, Model: "v3", Score: 0.97, Certified: true,
		Reason: tandem.Accepted, Why: "score 0.97 is at least 0.91", Propensity: 0.05, SavedUSD: 0.0004, Recorded: tandem.Queued,
		Took:     12 * time.Microsecond,
		Attempts: []tandem.Attempt{{Step: tandem.StudentStep, Model: "v3", Label: "other", Score: 0.97, Reason: tandem.Accepted, Took: 9 * time.Microsecond}},
	}
	if strings.Contains(req.Input.Text(), "money back") {
		d.Answer, d.Attempts[0].Label = "refund", "refund"
	}
	if req.Teacher {
		d.Step, d.Model, d.Score, d.Reason, d.CostUSD, d.SavedUSD = tandem.ProviderStep, "big", 1, tandem.Forced, 0.0004, 0
		d.Usage = tandem.Usage{InputTokens: 40, OutputTokens: 3, CachedTokens: 10}
	}
	return d
}

func (a *answers) Feedback(_ context.Context, id string, f tandem.Feedback) error {
	if id != "t-1" {
		return tandem.Errorf(tandem.NotFound, "no trace %s", id)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.feedback == nil {
		a.feedback = map[string]tandem.Feedback{}
	}
	a.feedback[id] = f
	return nil
}

func (a *answers) last() tandem.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.asked) == 0 {
		return tandem.Request{}
	}
	return a.asked[len(a.asked)-1]
}

// directory has the task support and some models.
type directory map[string]provider.Model

func (d directory) Task(name string) (*tandem.Task, bool) {
	if name == supportTask.Name {
		return supportTask, true
	}
	return nil, false
}
func (directory) Tasks() []string { return []string{supportTask.Name} }
func (d directory) Model(name string) (provider.Model, tandem.Price, bool) {
	m, ok := d[name]
	return m, tandem.Price{Input: 1, Output: 2}, ok
}

func (d directory) Models() []string {
	var names []string
	for name := range d {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// running is a gateway on a loopback port.
type running struct {
	url  string
	addr string
	stop func() error
	logs *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs a gateway until the test ends or stop is called.
func start(t testing.TB, o gateway.Options) *running {
	t.Helper()
	logs := &syncBuffer{}
	if o.Log == nil {
		o.Log = slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if o.Directory == nil {
		o.Directory = directory{}
	}
	s, err := gateway.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	stop := sync.OnceValue(func() error {
		cancel()
		http.DefaultClient.CloseIdleConnections()
		select {
		case err := <-done:
			return err
		case <-time.After(30 * time.Second):
			t.Error("the server does not stop")
			return nil
		}
	})
	t.Cleanup(func() { _ = stop() })
	return &running{url: "http://" + l.Addr().String(), addr: l.Addr().String(), stop: stop, logs: logs}
}

// call sends a request and reads the whole response.
func call(t testing.TB, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("read response: %v", err)
	}
	return res, string(b)
}

type errorBody struct {
	Error struct {
		Message string
		Type    string
		Param   *string
		Code    tandem.Code
	}
	Line int
}

func wantError(t *testing.T, res *http.Response, body string, status int, code tandem.Code, says string) {
	t.Helper()
	var e errorBody
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("not an error body: %q: %v", body, err)
	}
	if res.StatusCode != status || e.Error.Code != code || !strings.Contains(e.Error.Message, says) {
		t.Errorf("got %d %s, want %d %s saying %q", res.StatusCode, body, status, code, says)
	}
	if e.Error.Type == "" {
		t.Error("the error has no type")
	}
}

func TestAnswer(t *testing.T) {
	a := &answers{}
	g := start(t, gateway.Options{Answerer: a})
	res, body := call(t, "POST", g.url+"/v1/tasks/support/answer", `{"input":"I want my money back"}`)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" || res.Header.Get("X-Request-Id") == "" {
		t.Fatalf("got %d %v", res.StatusCode, res.Header)
	}
	var reply struct {
		Answer string
		Tandem tandem.Decision
	}
	if err := json.Unmarshal([]byte(body), &reply); err != nil {
		t.Fatal(err)
	}
	want := decide(tandem.Request{Task: "support", Input: tandem.TextInput("I want my money back")})
	if reply.Answer != "refund" || reply.Tandem.TraceID != want.TraceID || reply.Tandem.Score != want.Score || len(reply.Tandem.Attempts) != 1 {
		t.Errorf("got %+v, want %+v", reply, want)
	}

	_, body = call(t, "POST", g.url+"/v1/tasks/support/answer",
		`{"input":{"parts":[{"kind":"text","text":"a \"b\""},{"kind":"image","mime":"image/png","data":"aGk="}]},"session":"s1","teacher":true}`)
	got := a.last()
	if got.Session != "s1" || !got.Teacher || len(got.Input.Parts) != 2 || got.Input.Parts[0].Text != `a "b"` || string(got.Input.Parts[1].Data) != "hi" {
		t.Errorf("the request arrived as %+v (%s)", got, body)
	}
}
