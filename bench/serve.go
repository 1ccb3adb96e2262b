package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"tandem"
)

// Serve measures what answering a task over HTTP costs, beside a bare
// net/http handler that decodes the same JSON body and echoes it, both on
// loopback in one process with the load generator, in alternating rounds.
type Serve struct {
	Address     string   // of a running tandem
	Path        string   // of the task's answer
	Texts       []string // asked in turn
	Want        string   // what the body of a right answer holds, such as the step that gave it
	Requests    int      // in one round
	Connections int
	Rounds      int
	Progress    func(done, total int)
}

// ServeResult compares the two, with every parameter.
type ServeResult struct {
	Bench       string     `json:"bench"`
	Path        string     `json:"path"`
	Requests    int        `json:"requests"` // in one round
	Connections int        `json:"connections"`
	Rounds      int        `json:"rounds"`
	Tandem      ServeSide  `json:"tandem"`
	Bare        ServeSide  `json:"bare"`
	RPSRatio    float64    `json:"rps_ratio"` // median of the rounds' ratios, tandem to bare
	P50Ratio    float64    `json:"p50_ratio"` // likewise
	RPSRange    [2]float64 `json:"rps_ratio_range"`
	P50Range    [2]float64 `json:"p50_ratio_range"`
	Processors  int        `json:"processors"`
}

// ServeSide is one of the two: medians of the rounds and their ranges.
type ServeSide struct {
	RPS       float64    `json:"rps"`
	RPSRange  [2]float64 `json:"rps_range"`
	P50       float64    `json:"p50_us"`
	P50Range  [2]float64 `json:"p50_us_range"`
	P99       float64    `json:"p99_us"`
	CPU       float64    `json:"cpu_us"` // processor time an answer took, the load generator's included; 0 where it is not known
	AnswerLen int        `json:"answer_bytes"`
}

// question is the body of a task request.
type question struct {
	Input string `json:"input"`
}

// Echo decodes a task request and sends it back: the least any handler of the
// same API does.
func Echo(w http.ResponseWriter, r *http.Request) {
	var q question
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(q) // the client is gone: nobody to tell
}

// Run measures one warm-up and then the rounds.
func (s Serve) Run(ctx context.Context) (result ServeResult, err error) {
	if s.Rounds < 1 || s.Requests < 1 || s.Connections < 1 || len(s.Texts) == 0 {
		return result, tandem.Errorf(tandem.InvalidRequest, "rounds, requests, connections and texts must be positive")
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return result, fmt.Errorf("listen for the bare handler: %w", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(Echo), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		closed := server.Close()
		if end := <-served; !errors.Is(end, http.ErrServerClosed) {
			err = errors.Join(err, end)
		}
		err = errors.Join(err, closed)
	}()

	load := Load{Requests: s.Requests, Connections: s.Connections, Timeout: 30 * time.Second}
	for _, text := range s.Texts {
		body, err := json.Marshal(question{text})
		if err != nil {
			return result, fmt.Errorf("encode request: %w", err)
		}
		load.Bodies = append(load.Bodies, body)
	}
	ours, bare := load, load
	ours.Address, ours.Path, ours.Want = s.Address, s.Path, []byte(s.Want)
	bare.Address, bare.Path, bare.Want = listener.Addr().String(), s.Path, []byte(`"input"`)

	var rounds [2][]LoadResult
	for round := -1; round < s.Rounds; round++ {
		for i, l := range []Load{bare, ours} {
			r, err := l.Run(ctx)
			if err != nil {
				return result, err
			}
			if r.Failed > 0 {
				return result, tandem.Errorf(tandem.Conflict, "%d of %d answers were not as wanted; one was: %.300s", r.Failed, s.Requests, r.Sample)
			}
			if round >= 0 {
				rounds[i] = append(rounds[i], r)
			}
		}
		if s.Progress != nil {
			s.Progress(round+2, s.Rounds+1)
		}
	}
	return s.compare(rounds[1], rounds[0]), nil
}

func (s Serve) compare(ours, bare []LoadResult) ServeResult {
	rps, p50 := make([]float64, len(ours)), make([]float64, len(ours))
	for i := range ours {
		rps[i] = ours[i].RPS() / bare[i].RPS()
		p50[i] = float64(ours[i].P50) / float64(bare[i].P50)
	}
	return ServeResult{
		Bench: "serve", Path: s.Path, Requests: s.Requests, Connections: s.Connections, Rounds: s.Rounds,
		Tandem: side(ours), Bare: side(bare), RPSRatio: median(rps), P50Ratio: median(p50),
		RPSRange: span(rps), P50Range: span(p50), Processors: ThisMachine().Processors,
	}
}

func side(rounds []LoadResult) ServeSide {
	var rps, p50, p99, cpu []float64
	for _, r := range rounds {
		rps = append(rps, r.RPS())
		p50 = append(p50, float64(r.P50.Nanoseconds())/1e3)
		p99 = append(p99, float64(r.P99.Nanoseconds())/1e3)
		cpu = append(cpu, float64(r.CPU.Nanoseconds())/1e3/float64(r.Requests+r.Failed))
	}
	return ServeSide{median(rps), span(rps), median(p50), span(p50), median(p99), median(cpu), len(rounds[0].Sample)}
}

// span is the smallest and the largest value.
func span(x []float64) [2]float64 { return [2]float64{slices.Min(x), slices.Max(x)} }
