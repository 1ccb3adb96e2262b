package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"tandem"
)

// Message is one request of the scene and the recorded answer to it.
type Message struct {
	Text    string
	Answer  string // what the recording says; known to the demo, not to tandem
	Session string
}

// State is what the demo shows of tandem's inside.
type State struct {
	Open       bool
	Gate       string  // in words
	Event      string  // the last one, in words
	Alarms     int     // so far
	Promotions int     // so far
	Relearned  bool    // a version was promoted after an alarm
	CostUSD    float64 // of all calls to the large model, audits included
}

// Player plays messages against a task, in the order given, at a steady rate.
type Player struct {
	URL      string // of tandem, without a path
	Task     string
	Messages []Message
	Change   int // position of the first message after the change
	// OnChange, when set, is called once, before that message is sent.
	OnChange func(ctx context.Context) error
	// Local, when set, hears of every message that a student answered, from
	// one goroutine at a time.
	Local func(Message)
	Rate  float64 // requests a second
	// Slow divides the rate from an alarm until enough is learnt anew: weeks of
	// traffic are played in a minute, but a training takes as long as ever.
	Slow     float64
	Workers  int // connections; more requests than that never run at once
	Alpha    float64
	Speed    float64       // how many times faster than recorded the large model is
	Recorded time.Duration // its median latency as recorded
	// State tells what goes on inside. It is asked before every frame.
	State func(ctx context.Context) (State, error)
	// Show draws a frame; Every is how often. The last frame comes at the end.
	Show  func(Frame) error
	Every time.Duration
}

// maxFailed is how many requests may fail before the demo gives up.
const maxFailed = 50

// Run plays all messages and sums them up. When ctx ends early it returns the
// summary so far with ctx's error.
func (p *Player) Run(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := newTally(p)
	begin, err := p.State(ctx)
	if err != nil {
		return t.result(), fmt.Errorf("look inside: %w", err)
	}
	t.base = begin.CostUSD
	transport := &http.Transport{MaxIdleConnsPerHost: p.Workers, MaxConnsPerHost: p.Workers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}

	next := make(chan int)
	var group sync.WaitGroup
	for range p.Workers {
		group.Go(func() {
			for i := range next {
				start := time.Now()
				reply, err := ask(ctx, client, p.URL, p.Task, &p.Messages[i])
				switch {
				case ctx.Err() != nil:
				case err == nil:
					t.answered(i, reply, time.Since(start))
				case t.failed(i) > maxFailed:
					cancel(fmt.Errorf("more than %d requests failed, the last one so: %w", maxFailed, err))
				}
			}
		})
	}
	shown := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(shown)
		if err := p.show(ctx, t, stop); err != nil {
			cancel(err)
		}
	}()
	if err := p.pace(ctx, t, next); err != nil {
		cancel(err)
	}
	close(next)
	group.Wait()
	close(stop)
	<-shown
	if err := context.Cause(ctx); err != nil {
		return t.result(), err
	}
	return t.result(), nil
}

// pace hands the messages out at the rate, or as fast as they are taken when
// that is slower.
func (p *Player) pace(ctx context.Context, t *tally, next chan<- int) error {
	due := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range p.Messages {
		rate := p.Rate
		if p.Slow > 1 && t.relearning() {
			rate /= p.Slow
		}
		// A client that fell behind does not make up for more than a moment.
		due = later(due.Add(time.Duration(float64(time.Second)/rate)), time.Now().Add(-catchUp))
		if wait := time.Until(due); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
		}
		if i == p.Change && p.OnChange != nil {
			if err := p.OnChange(ctx); err != nil {
				return fmt.Errorf("make the change: %w", err)
			}
		}
		select {
		case next <- i:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

const (
	catchUp = 200 * time.Millisecond
	look    = 250 * time.Millisecond // how often the demo looks inside
)

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// show looks inside and draws frames until stop closes, and a last one then.
func (p *Player) show(ctx context.Context, t *tally, stop <-chan struct{}) error {
	ticker := time.NewTicker(min(look, p.Every))
	defer ticker.Stop()
	shown := time.Now()
	for last := false; !last; {
		select {
		case <-stop:
			last = true
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		state, err := p.State(ctx)
		if err != nil {
			return fmt.Errorf("look inside: %w", err)
		}
		f := t.frame(state)
		if !last && time.Since(shown) < p.Every {
			continue
		}
		shown = time.Now()
		if err := p.Show(f); err != nil {
			return fmt.Errorf("show the demo: %w", err)
		}
	}
	return nil
}

// reply is what the demo reads of a chat completion.
type reply struct {
	Choices []struct {
		Message struct {
			Content string `json:"content"`
		} `json:"message"`
	} `json:"choices"`
	Tandem struct {
		Step     tandem.StepKind `json:"step"`
		Model    string          `json:"model"`
		CostUSD  float64         `json:"cost_usd"`
		SavedUSD float64         `json:"saved_usd"`
		Took     time.Duration   `json:"took_ns"` // inside tandem
	} `json:"tandem"`
}

// ask sends one message as an OpenAI client would.
func ask(ctx context.Context, client *http.Client, url, task string, m *Message) (reply, error) {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	body, err := json.Marshal(struct {
		Model    string    `json:"model"`
		Messages []message `json:"messages"`
		User     string    `json:"user,omitempty"`
	}{task, []message{{"user", m.Text}}, m.Session})
	if err != nil {
		return reply{}, fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return reply{}, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, fmt.Errorf("send request: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return reply{}, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return reply{}, fmt.Errorf("tandem answered %d: %.300s", resp.StatusCode, data)
	}
	var r reply
	if err := json.Unmarshal(data, &r); err != nil {
		return reply{}, fmt.Errorf("decode answer: %w", err)
	}
	if len(r.Choices) != 1 || r.Tandem.Step == "" {
		return reply{}, errors.New("the answer is no task's completion")
	}
	return r, nil
}
