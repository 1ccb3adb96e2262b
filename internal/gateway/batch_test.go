package gateway_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"tandem"
	"tandem/internal/gateway"
)

type batchLine struct {
	errorBody
	Answer string
	Tandem *tandem.Decision
}

func readBatch(t *testing.T, r io.Reader) []batchLine {
	t.Helper()
	var lines []batchLine
	for s := bufio.NewScanner(r); s.Scan(); {
		var l batchLine
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			t.Fatalf("%q: %v", s.Text(), err)
		}
		lines = append(lines, l)
	}
	return lines
}

func post(t *testing.T, url string, body io.Reader) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestBatch(t *testing.T) {
	a := &answers{}
	g := start(t, gateway.Options{Answerer: a, Limits: gateway.Limits{BodyBytes: 1000}})
	var in strings.Builder
	for i := range 500 {
		switch i {
		case 100:
			in.WriteString("{\"input\":\n")
		case 200:
			in.WriteString("\n  \r\n{\"input\":\"" + strings.Repeat("a", 2000) + "\"}\n") // two empty lines before it
		case 300:
			in.WriteString("{\"input\":\"\"}\n")
		case 400:
			in.WriteString("{\"input\":\"b\",\"teacher\":true}\n")
		default:
			fmt.Fprintf(&in, "{\"input\":\"%d money back\"}\n", i)
		}
	}
	res := post(t, g.url+"/v1/tasks/support/batch", strings.NewReader(strings.TrimSuffix(in.String(), "\n")))
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	lines := readBatch(t, res.Body)
	if len(lines) != 500 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, l := range lines {
		want, line := tandem.Code(""), 0
		switch i {
		case 100:
			want, line = tandem.InvalidRequest, 101
		case 200:
			want, line = tandem.InputTooLarge, 203
		case 300:
			want, line = tandem.InvalidRequest, 303
		}
		if l.Error.Code != want || l.Line != line || want == "" && l.Answer == "" {
			t.Errorf("line %d is %+v", i, l)
		}
	}
	for name, want := range map[string]string{"Lines": "500", "Errors": "3", "Served": "496", "Cost": "0.0004"} {
		if got := res.Trailer.Get("X-Tandem-" + name); got != want {
			t.Errorf("X-Tandem-%s is %q, want %q", name, got, want)
		}
	}
	// The connection is as good as before.
	if res, body := call(t, "POST", g.url+"/v1/tasks/support/answer", `{"input":"a"}`); res.StatusCode != 200 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// TestBatchOrder answers the first line last.
func TestBatchOrder(t *testing.T) {
	a := &answers{block: make(chan struct{}), entered: make(chan struct{}, 64)}
	g := start(t, gateway.Options{Answerer: a, Limits: gateway.Limits{Batch: 4}})
	res := post(t, g.url+"/v1/tasks/support/batch", strings.NewReader(strings.Repeat("{\"input\":\"a\"}\n", 9)+"{\"input\":\"money back\"}\n"))
	for range 4 {
		<-a.entered
	}
	select {
	case <-a.entered:
		t.Error("more lines are answered at a time than the limit says")
	case <-time.After(50 * time.Millisecond):
	}
	close(a.block)
	lines := readBatch(t, res.Body)
	if len(lines) != 10 || lines[9].Answer != "refund" || lines[0].Answer != "other" {
		t.Errorf("got %+v", lines)
	}
}

// TestBatchDuplex reads each answer before it sends the next line.
func TestBatchDuplex(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}})
	body, feed := io.Pipe()
	res := post(t, g.url+"/v1/tasks/support/batch", body)
	r := bufio.NewReader(res.Body)
	for i := range 50 {
		if _, err := io.WriteString(feed, "{\"input\":\"money back\"}\n"); err != nil {
			t.Fatal(err)
		}
		line, err := r.ReadString('\n')
		if err != nil || !strings.Contains(line, `"answer":"refund"`) {
			t.Fatalf("answer %d is %q, %v", i, line, err)
		}
	}
	_ = feed.Close()
	if rest, err := io.ReadAll(r); err != nil || len(rest) != 0 || res.Trailer.Get("X-Tandem-Lines") != "50" {
		t.Errorf("%q, %v, %v", rest, err, res.Trailer)
	}
}

// TestBatchGone stops when the client goes in the middle.
func TestBatchGone(t *testing.T) {
	a := &answers{block: make(chan struct{}), entered: make(chan struct{}, 64)}
	g := start(t, gateway.Options{Answerer: a})
	body, feed := io.Pipe()
	res := post(t, g.url+"/v1/tasks/support/batch", body)
	if _, err := io.WriteString(feed, "{\"input\":\"a\"}\n"); err != nil {
		t.Fatal(err)
	}
	<-a.entered
	_ = res.Body.Close()
	_ = feed.CloseWithError(io.ErrUnexpectedEOF)
	// The answer never comes, so the drain can only succeed if the request
	// noticed that nobody waits for it.
	if err := g.stop(); err != nil {
		t.Error(err)
	}
}

// TestBatchSlow gives up on a client that does not finish its line, with an
// answer for the lines before.
func TestBatchSlow(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}, Limits: gateway.Limits{ReadTime: 100 * time.Millisecond}})
	body, feed := io.Pipe()
	res := post(t, g.url+"/v1/tasks/support/batch", body)
	if _, err := io.WriteString(feed, "{\"input\":\"a\"}\n{\"inp"); err != nil {
		t.Fatal(err)
	}
	lines := readBatch(t, res.Body)
	_ = feed.Close()
	if len(lines) != 2 || lines[0].Answer != "other" || lines[1].Line != 2 || !strings.Contains(lines[1].Error.Message, "broke off") {
		t.Errorf("got %+v", lines)
	}
}

func TestBatchErrors(t *testing.T) {
	g := start(t, gateway.Options{Answerer: &answers{}})
	res, body := call(t, "POST", g.url+"/v1/tasks/nope/batch", "")
	wantError(t, res, body, 404, tandem.NotFound, "there are support")
	res, body = call(t, "POST", g.url+"/v1/tasks/support/batch", "")
	if res.StatusCode != 200 || body != "" || res.Trailer.Get("X-Tandem-Lines") != "0" {
		t.Errorf("%d %q %v", res.StatusCode, body, res.Trailer)
	}
	p := start(t, gateway.Options{Answerer: &answers{panics: true}})
	res, body = call(t, "POST", p.url+"/v1/tasks/support/batch", "{\"input\":\"confidential\"}\n")
	if res.StatusCode != 200 || !strings.Contains(body, `"code":"internal"`) || strings.Contains(p.logs.String(), "confidential") {
		t.Errorf("%d %q %s", res.StatusCode, body, p.logs)
	}
}
