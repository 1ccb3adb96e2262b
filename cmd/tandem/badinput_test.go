package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem"
	"tandem/internal/config"
	"tandem/internal/console"
	"tandem/internal/lifecycle"
	"tandem/internal/student"
	"tandem/internal/student/all"
)

// running is tandem as it serves, in this process so that goroutines can be
// counted, with a teacher of moods.
type running struct {
	t    *testing.T
	url  string
	http *http.Client
	log  lockedBuffer
	stop func()
}

// lockedBuffer may be written to and read at the same time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// leakless fails the test when it leaves a goroutine behind. Its tests are not
// parallel, so that every new goroutine is theirs.
func leakless(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// boot serves a data folder until stop or the end of the test. more is put into
// the task.
func boot(t *testing.T, data, more string) *running {
	t.Helper()
	return bootWith(t, data, more, all.Families())
}

func bootWith(t *testing.T, data, more string, families map[string]student.Family) *running {
	t.Helper()
	teacher := httptest.NewServer(http.HandlerFunc(moody))
	cfg, err := config.Parse("tandem.yaml", fmt.Appendf(nil, `
listen: 127.0.0.1:0
data: %s
limits: { read_timeout: 1s }
learning: { first_fit_rows: 200 }
providers:
  up:
    openai: { base_url: "%s", max_retries: 0, timeout: 2s, response_format: none }
    models: { large: {} }
tasks:
  support: { teacher: large, labels: [refund, delivery, account], deadline: 300ms%s }
`, data, teacher.URL, more), func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, http: &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}}
	a, err := build(t.Context(), cfg, deps{log: slog.New(slog.NewTextHandler(&r.log, nil)), families: families})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	group := lifecycle.Group{Grace: time.Minute, Parts: []lifecycle.Part{{Name: "server", Run: a.Run, Ready: a.Ready()}}}
	go func() { ended <- group.Run(ctx, nil) }()
	r.stop = sync.OnceFunc(func() {
		r.http.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it does not end well: %v", err)
		}
		teacher.Close()
		if strings.Contains(r.log.String(), "panic") {
			t.Errorf("it panicked: %s", r.log.String())
		}
	})
	t.Cleanup(r.stop)
	<-a.Ready()
	r.url = "http://" + a.Addr()
	return r
}

// moody is a large model that behaves as the question asks it to.
func moody(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	completion := func(message string) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",%s},"finish_reason":"stop"}]}`, message)
	}
	asks := func(mood string) bool { return bytes.Contains(body, []byte("please "+mood)) }
	switch {
	case asks("refuse"):
		completion(`"content":null,"refusal":"I cannot help with that"`)
	case asks("hang"):
		<-r.Context().Done()
	case asks("garbage"):
		_, _ = io.WriteString(w, "\x00\x01 not json")
	case asks("cut the stream"):
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"delta\":{\"content\":\"ref\"}}]}\n\n")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case asks("cut"):
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"choices":[{"mess`)
	case asks("fail"):
		http.Error(w, "boom", http.StatusInternalServerError)
	case asks("invent"):
		completion(`"content":"weather"`)
	default:
		completion(`"content":"refund"`)
	}
}

func (r *running) post(path, body string) (int, string) {
	r.t.Helper()
	return r.do(http.MethodPost, path, strings.NewReader(body))
}

func (r *running) get(path string) (int, string) {
	r.t.Helper()
	return r.do(http.MethodGet, path, nil)
}

// do returns the status and the whole answer.
func (r *running) do(method, path string, body io.Reader) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(reply)
}

// eventually waits until something that happens on its own has happened.
func (r *running) eventually(what string, done func() bool) {
	r.t.Helper()
	for range 600 {
		if done() {
			return
		}
		time.Sleep(50 * time.Millisecond) // a real server with a real clock
	}
	r.t.Fatalf("waited in vain for %s; log: %s", what, r.log.String())
}

func (r *running) task() console.TaskStatus {
	r.t.Helper()
	_, body := r.get("/api/tasks")
	var reply struct {
		Tasks []console.TaskStatus `json:"tasks"`
	}
	if err := json.Unmarshal([]byte(body), &reply); err != nil || len(reply.Tasks) != 1 {
		r.t.Fatalf("tasks: %v %s", err, body)
	}
	return reply.Tasks[0]
}

func asked(text string) string {
	b, err := json.Marshal(map[string]string{"input": text})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// TestBadInput sends everything that is wrong through the running server: each
// gets its error, the next good request its answer, nothing is lost or learnt
// from and no goroutine stays.
func TestBadInput(t *testing.T) {
	leakless(t)
	r := boot(t, t.TempDir(), "")
	const answer, chat, imports = "/v1/tasks/support/answer", "/v1/chat/completions", "/api/traces/import?task=support"
	tenMB := strings.Repeat("x", 10<<20-20) // as much as a body may have
	for _, tc := range []struct {
		name, path, body string
		status           int
		says             string
	}{
		{"malformed JSON", answer, `{"input": "a`, 400, `"invalid_request"`},
		{"malformed JSON, OpenAI", chat, `{"model": "support", "messages": [}`, 400, `"invalid_request"`},
		{"malformed JSON, passed through", chat, `{"model": "large", "messages": [}`, 400, `"invalid_request"`},
		{"no JSON", answer, "input=a", 400, `"invalid_request"`},
		{"unknown field", answer, `{"inptu": "a"}`, 400, "inptu"},
		{"wrong modality", answer, `{"input": {"parts": [{"kind": "image", "url": "https://example.org/a.png"}]}}`, 400, `"unsupported_modality"`},
		{"wrong modality, OpenAI", chat, `{"model": "support", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}]}`, 400, `"unsupported_modality"`},
		{"empty text", answer, `{"input": ""}`, 400, "the text is empty"},
		{"empty text, OpenAI", chat, `{"model": "support", "messages": [{"role": "user", "content": ""}]}`, 400, `"invalid_request"`},
		{"10 MB of text", answer, asked(tenMB), 413, `"input_too_large"`},
		{"10 MB of text, OpenAI", chat, `{"model": "support", "messages": [{"role": "user", "content": "` + tenMB[:10<<20-200] + `"}]}`, 413, `"input_too_large"`},
		{"over 10 MB", answer, asked(tenMB + tenMB), 413, "limits.body_bytes"},
		{"invalid UTF-8", answer, "{\"input\": \"a\xff\"}", 400, "UTF-8"},
		{"invalid UTF-8, OpenAI", chat, "{\"model\": \"support\", \"messages\": [{\"role\": \"user\", \"content\": \"a\xff\"}]}", 400, "UTF-8"},
		{"unknown task", "/v1/tasks/supprot/answer", asked("a"), 404, "there are"},
		{"unknown model", chat, `{"model": "supprot", "messages": [{"role": "user", "content": "a"}]}`, 404, `\"supprot\"`},
		{"unknown trace", "/v1/traces/none/feedback", `{"label": "refund"}`, 404, `"not_found"`},
		{"a batch with each of them", "/v1/tasks/support/batch", "{\n" + asked("") + "\n{\"input\": \"a\xff\"}\n" + asked(tenMB[:1<<20]) + "\n" + asked("money") + "\n", 200, `"answer":"refund"`},
		{"import for an unknown task", "/api/traces/import?task=supprot", "{}", 404, `"not_found"`},
		{
			"import of bad lines", imports, "{\"input\": \"a\", \"teacher\": \"weather\"}\n{\"input\": \"a\xff\", \"teacher\": \"refund\"}\n" +
				"{\"input\": \"\", \"teacher\": \"refund\"}\n{\"input\": \n[]\n{\"input\": \"" + tenMB + "\", \"teacher\": \"refund\"}\n", 200, `"imported":0,"known":0,"faulty":6`,
		},
		{"import of a label outside the space", imports, "{\"input\": \"a\", \"teacher\": \"weather\"}\n", 200, "is not one of the 3 labels of task support"},
		{"the teacher refuses", answer, asked("please refuse"), 502, `"teacher_unavailable"`},
		{"the teacher hangs", answer, asked("please hang"), 504, `"teacher_timeout"`},
		{"the teacher answers garbage", answer, asked("please garbage"), 502, `"teacher_unavailable"`},
		{"the teacher's answer is cut", answer, asked("please cut"), 502, `"teacher_unavailable"`},
		{"the teacher fails", answer, asked("please fail"), 502, `"teacher_unavailable"`},
		{"the teacher fails during a stream", chat, `{"model": "support", "stream": true, "messages": [{"role": "user", "content": "please fail"}]}`, 502, `"teacher_unavailable"`},
		{"the teacher invents a label", answer, asked("please invent"), 200, `"reason":"outside_space"`},
	} {
		status, reply := r.post(tc.path, tc.body)
		if status != tc.status || !strings.Contains(reply, tc.says) {
			t.Errorf("%s: %d %.300s, want %d and %s", tc.name, status, reply, tc.status, tc.says)
		}
		if strings.Contains(reply, "xxxxxxxx") || strings.Contains(r.log.String(), "please") {
			t.Errorf("%s: the input is in the reply or the log", tc.name)
		}
		if status, reply := r.post(answer, asked("after "+tc.name)); status != 200 || !strings.Contains(reply, `"answer":"refund"`) {
			t.Errorf("a good request after %q: %d %s", tc.name, status, reply)
		}
	}
	// A stream passed through that the teacher cuts is cut here too.
	resp, err := r.http.Post(r.url+chat, "application/json", strings.NewReader(`{"model": "large", "stream": true, "messages": [{"role": "user", "content": "please cut the stream"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	part, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(string(part), `"ref"`) {
		t.Errorf("a cut stream gave %q and %v", part, err)
	}
	// 28 good requests, one in the batch, one invention and the failures that
	// were decided; everything the teacher has said is kept, nothing else is
	// counted as its answer.
	r.eventually("the traces", func() bool { return r.task().Labelled >= 30 })
	_, pairs := r.get("/api/traces/export?task=support&format=pairs")
	if n := strings.Count(pairs, `"teacher":"refund"`); n != 29 {
		t.Errorf("%d answers of the teacher are kept, want 29:\n%s", n, pairs)
	}
	r.stop()
}

// TestSlowImport is an upload that takes longer than a request may, and one
// that stops.
func TestSlowImport(t *testing.T) {
	leakless(t)
	r := boot(t, t.TempDir(), "")
	upload := func(lines int, pause time.Duration, stall chan struct{}) (int, string) {
		in, out := io.Pipe()
		var sending sync.WaitGroup
		defer sending.Wait()
		sending.Go(func() {
			for i := range lines {
				if _, err := fmt.Fprintf(out, "{\"input\":\"%s %d\",\"teacher\":\"refund\"}\n", pause, i); err != nil {
					return
				}
				time.Sleep(pause) // the limit of a real connection is under test
			}
			if stall != nil {
				<-stall
			}
			_ = out.Close()
		})
		resp, err := r.http.Post(r.url+"/api/traces/import?task=support", "application/x-ndjson", in)
		if stall != nil {
			close(stall)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		reply, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(reply)
	}
	if status, reply := upload(15, 100*time.Millisecond, nil); status != 200 || !strings.Contains(reply, `"imported":15`) {
		t.Errorf("a slow upload: %d %s", status, reply)
	}
	if status, reply := upload(5, time.Millisecond, make(chan struct{})); status != 400 || !strings.Contains(reply, "stood still for 1s (limits.read_timeout); 5 new lines of it are stored") {
		t.Errorf("an upload that stops: %d %s", status, reply)
	}
	if n := r.task().Labelled; n != 20 {
		t.Errorf("%d lines are stored, want 20", n)
	}
	r.stop()
}

// learn imports enough for a student to serve.
func (r *running) learn() {
	r.t.Helper()
	var log strings.Builder
	for i := range 300 {
		fmt.Fprintf(&log, "{\"input\":\"%s number %d\",\"teacher\":\"%s\"}\n", []string{"money back", "parcel van", "login code"}[i%3], i, []string{"refund", "delivery", "account"}[i%3])
	}
	if status, reply := r.post("/api/traces/import?task=support", log.String()); status != 200 || !strings.Contains(reply, `"imported":300`) {
		r.t.Fatalf("import: %d %s", status, reply)
	}
	r.eventually("a student", func() bool { // in the registry, and a moment later in the plan
		_, reply := r.post("/v1/tasks/support/answer", asked("money back"))
		return r.task().Version == "v1" && strings.Contains(reply, `"model":"v1"`)
	})
}

// TestFallback has a teacher that fails a task which would rather have the
// student's answer than none.
func TestFallback(t *testing.T) {
	leakless(t)
	r := boot(t, t.TempDir(), ", fallback: best")
	if status, reply := r.post("/v1/tasks/support/answer", asked("please fail")); status != 502 {
		t.Errorf("without a student: %d %s", status, reply)
	}
	r.learn()
	for _, mood := range []string{"refuse", "hang", "garbage", "cut", "fail"} {
		status, reply := r.post("/v1/tasks/support/answer", `{"input": "money back, please `+mood+`", "teacher": true}`)
		if status != 200 || !strings.Contains(reply, `"answer":"refund"`) || !strings.Contains(reply, `"reason":"teacher_failed"`) || !strings.Contains(reply, `"certified":false`) {
			t.Errorf("the teacher's mood is %s: %d %s", mood, status, reply)
		}
	}
	r.stop()
}

// TestTruncatedArtefact damages the student that serves: the teacher answers,
// and another student is trained.
func TestTruncatedArtefact(t *testing.T) {
	leakless(t)
	dir := t.TempDir()
	r := boot(t, dir, "")
	r.learn()
	r.stop()

	files, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the database: %v %v", files, err)
	}
	db, err := sql.Open("sqlite", files[0])
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "UPDATE artefact_chunks SET body = substr(body, 1, length(body) / 2)")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}

	r = boot(t, dir, "")
	if status, reply := r.post("/v1/tasks/support/answer", asked("money back")); status != 200 || !strings.Contains(reply, `"step":"provider"`) {
		t.Errorf("with a damaged student: %d %s", status, reply)
	}
	if !strings.Contains(r.log.String(), "the student cannot be read, the teacher answers until a new one is trained") {
		t.Errorf("the log does not say so: %s", r.log.String())
	}
	r.eventually("another student", func() bool {
		_, list := r.get("/api/tasks/support/students")
		return strings.Contains(list, `"v2"`)
	})
	r.stop()
}

// TestFullDisk fills the disk under the running server, and makes room again.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a small disk here: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("unmount: %v %s", err, out)
		}
	})
	leakless(t)
	r := boot(t, filepath.Join(dir, "data"), "")
	if status, _ := r.post("/v1/tasks/support/answer", asked("before")); status != 200 {
		t.Fatalf("before: %d", status)
	}
	before := r.task().Traces
	filler := filepath.Join(dir, "filler")
	if err := fill(filler); err != nil {
		t.Fatal(err)
	}
	var big strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&big, "{\"input\":\"%d %s\",\"teacher\":\"refund\"}\n", i, strings.Repeat("y", 2000))
	}
	if status, reply := r.post("/api/traces/import?task=support", big.String()); status != 507 || !strings.Contains(reply, `"storage_full"`) {
		t.Errorf("an import on a full disk: %d %s", status, reply)
	}
	// Answers go on; what cannot be stored is not said to be.
	var reply string
	r.eventually("the log to notice", func() bool {
		var status int
		if status, reply = r.post("/v1/tasks/support/answer", asked(strings.Repeat("long ", 10_000))); status != 200 {
			t.Fatalf("an answer on a full disk: %d %s", status, reply)
		}
		status, why := r.get("/readyz")
		return status == 503 && strings.Contains(why, "free space")
	})
	if strings.Contains(reply, `"recorded":"stored"`) {
		t.Errorf("a full disk has stored: %s", reply)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	r.eventually("the log to recover", func() bool {
		status, _ := r.get("/readyz")
		return status == 200
	})
	status, reply := r.post("/v1/tasks/support/answer", asked("after"))
	var d struct{ Tandem tandem.Decision }
	if err := json.Unmarshal([]byte(reply), &d); err != nil || status != 200 || d.Tandem.Recorded != tandem.Stored {
		t.Errorf("after room was made: %d %s %v", status, reply, err)
	}
	r.eventually("what waited to be stored", func() bool { return r.task().Traces > before+1 })
	r.stop()
}

// fill takes all the room of a disk.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	return f.Close()
}
