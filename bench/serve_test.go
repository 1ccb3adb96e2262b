package bench

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tandem"
)

func TestServeCompares(t *testing.T) {
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q question
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || !strings.HasPrefix(q.Input, "where") {
			t.Errorf("got %+v (%v)", q, err)
		}
		time.Sleep(3 * time.Millisecond) // a slow server is what is measured here
		_, _ = w.Write([]byte(`{"step":"student"}`))
	}))
	defer slow.Close()
	s := Serve{
		Address: slow.Listener.Addr().String(), Path: "/v1/tasks/x/answer", Texts: []string{"where is it", "where \"was\" it"},
		Want: `"step":"student"`, Requests: 60, Connections: 4, Rounds: 3,
	}
	r, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.RPSRatio >= 1 || r.P50Ratio <= 1 || r.Tandem.P50 < 3000 || r.Bare.RPS <= r.Tandem.RPS || r.Tandem.AnswerLen != 18 {
		t.Errorf("result = %+v", r)
	}
	if r.RPSRange[0] > r.RPSRatio || r.RPSRange[1] < r.RPSRatio {
		t.Errorf("ratio %f outside its range %v", r.RPSRatio, r.RPSRange)
	}
	s.Want = `"step":"provider"`
	if _, err := s.Run(t.Context()); tandem.CodeOf(err) != tandem.Conflict || !strings.Contains(err.Error(), "60 of 60") {
		t.Errorf("answers of the wrong step: %v", err)
	}
	s.Rounds = 0
	if _, err := s.Run(t.Context()); tandem.CodeOf(err) != tandem.InvalidRequest {
		t.Errorf("no rounds: %v", err)
	}
}

func TestCPUName(t *testing.T) {
	if got := cpuName([]byte("processor\t: 0\nmodel name\t: A  Fine(R) CPU\nflags: x\n")); got != "A Fine(R) CPU" {
		t.Errorf("cpuName = %q", got)
	}
	if got := cpuName([]byte("model name")); got != "" {
		t.Errorf("cpuName of a broken file = %q", got)
	}
	if m := ThisMachine(); m.Processors < 1 || m.Go == "" || m.CPU == "" {
		t.Errorf("machine = %+v", m)
	}
}
