package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/term"

	"tandem/bench"
	"tandem/bench/demo"
	"tandem/internal/lifecycle"
	"tandem/scenes/support"
)

type demoCmd struct {
	jsonFlag
	Once     bool    `help:"End after the summary instead of serving on."`
	Seed     uint64  `default:"1" help:"Seed of the traffic."`
	Requests int     `default:"16000" help:"How many requests to play."`
	Rate     float64 `default:"300" placeholder:"N" help:"Requests a second."`
	Clients  int     `default:"16" help:"Requests at once, at most."`
	Speed    float64 `default:"30" help:"How many times faster than recorded the large model answers."`
	Listen   string  `default:"127.0.0.1:0" placeholder:"ADDR" help:"Address to serve on; port 0 picks a free one."`
	Data     string  `placeholder:"DIR" help:"Folder to keep everything in (default: one that is removed at the end)."`
}

// Help implements kong.HelpProvider.
func (demoCmd) Help() string {
	return "Starts tandem on this machine, plays a support desk's traffic through its HTTP API and shows what it learns. After " +
		"55 % of the requests the desk gets new intents and a renamed product; traffic is played slower while it learns anew. " +
		"The large model is a recording; no key and no network is needed. With --data the folder can be served on: tandem serve --config DIR/tandem.yaml\n\n" +
		"Examples:\n  tandem demo\n  tandem demo --once --json\n  tandem demo --data ./demo --listen 127.0.0.1:8080"
}

// changeAt is the part of the requests before the change.
const changeAt = 0.55

// demoAudit is the share of served answers that is checked: more than a
// task's default, because the demo compresses weeks into a minute.
const demoAudit = 0.2

// relearnSlow is how much slower traffic is played while the demo learns anew.
const relearnSlow = 2

// Run starts tandem and plays.
func (c *demoCmd) Run(ctx context.Context, sys system) (err error) {
	switch {
	case c.Requests < 100:
		return usage("--requests: %d are too few to learn from; play at least 100", c.Requests)
	case !(c.Rate > 0) || !(c.Speed > 0) || c.Clients < 1:
		return usage("--rate, --speed and --clients must be positive")
	}
	s, err := openScene(ctx, sys, sceneOptions{
		data: c.Data, listen: c.Listen, audit: demoAudit,
		latency: time.Duration(float64(recordedLatency) / c.Speed),
	})
	if err != nil {
		return err
	}
	defer closing(s.close, &err)
	group := lifecycle.Group{Grace: s.config.Limits.Drain + stopping, Parts: []lifecycle.Part{
		s.part(),
		{Name: "demo", Main: true, Run: func(ctx context.Context) error { return c.play(ctx, sys, s) }},
	}}
	return untilSignal(ctx, sys, &group)
}

// play plays the scene, sums up, and in a terminal keeps serving.
func (c *demoCmd) play(ctx context.Context, sys system, s *scene) error {
	screen := newScreen(sys, c.JSON)
	client := &http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	p := demo.Player{
		URL: s.url(), Task: support.TaskName, Messages: c.messages(s.desk), Change: c.change(),
		OnChange: func(ctx context.Context) error { return s.change(ctx, sys) },
		Rate:     c.Rate, Slow: relearnSlow, Workers: c.Clients, Alpha: s.guarantee().Alpha, Speed: c.Speed, Recorded: recordedLatency,
		State: demo.Inside{Client: client, URL: s.url(), Task: support.TaskName, Since: time.Now()}.State,
		Show:  screen.show, Every: screen.every,
	}
	result, err := p.Run(ctx)
	result.Demo = "support"
	stopped := errors.Is(err, context.Canceled)
	if err != nil && !stopped {
		return err
	}
	if c.JSON {
		return jsonLines(sys.stdout, []demo.Result{result})
	}
	fmt.Fprintln(sys.stdout)
	for _, line := range demo.Summary(result) {
		fmt.Fprintln(sys.stdout, line)
	}
	if c.Once || stopped || !isTerminal(sys.stdout) {
		return nil
	}
	example := p.Messages[len(p.Messages)-1].Text
	fmt.Fprintf(sys.stdout, "\nIt keeps serving; Ctrl-C ends it. Try:\n\n  curl -s %s/v1/tasks/%s/answer -d %s\n\n",
		s.url(), support.TaskName, shellQuote(`{"input": `+quote(example)+`}`))
	<-ctx.Done()
	return nil
}

func (c *demoCmd) change() int { return int(changeAt * float64(c.Requests)) }

// messages deals the traffic of both phases.
func (c *demoCmd) messages(desk *support.Desk) []demo.Message {
	before := desk.Stream(c.Seed, c.change(), support.Before)
	after := desk.Stream(c.Seed, c.Requests-c.change(), support.After)
	messages := make([]demo.Message, 0, c.Requests)
	for _, m := range append(before, after...) {
		messages = append(messages, demo.Message{Text: m.Text, Answer: m.Label, Session: m.Session})
	}
	return messages
}

// shellQuote quotes for a POSIX shell.
func shellQuote(s string) string {
	out := "'"
	for _, r := range s {
		if r == '\'' {
			out += `'\''`
			continue
		}
		out += string(r)
	}
	return out + "'"
}

// demoScreen shows frames on a terminal, or a line now and then elsewhere.
type demoScreen struct {
	paint  demo.Painter
	file   *os.File // the terminal, nil without one
	lines  io.Writer
	colour bool
	every  time.Duration
}

func newScreen(sys system, json bool) *demoScreen {
	if f, ok := sys.stdout.(*os.File); ok && !json && isTerminal(f) && sys.getenv("TERM") != "dumb" {
		return &demoScreen{paint: demo.Painter{Out: f}, file: f, colour: bool(painterFor(sys, f)), every: 250 * time.Millisecond}
	}
	return &demoScreen{lines: sys.stderr, every: 3 * time.Second}
}

func (s *demoScreen) show(f demo.Frame) error {
	if s.file == nil {
		_, err := fmt.Fprintln(s.lines, demo.Line(f))
		return err
	}
	width := 80
	if w, _, err := term.GetSize(int(s.file.Fd())); err == nil && w > 0 {
		width = w
	}
	return s.paint.Paint(demo.Screen(f, width, s.colour))
}

type benchServeCmd struct {
	jsonFlag
	Requests    int `default:"20000" help:"Requests in a round."`
	Connections int `default:"16" help:"Kept-alive connections."`
	Rounds      int `default:"7" help:"Rounds of each server, in turn."`
	Texts       int `default:"500" help:"Different messages to ask."`
}

// Help implements kong.HelpProvider.
func (benchServeCmd) Help() string {
	return "Starts tandem on loopback, lets it learn the demo's support desk until a student serves, and then asks only messages " +
		"that the student answers; in alternating rounds the same requests go to a bare handler that decodes and echoes them. " +
		"The load generator runs in the same process.\n\nExamples:\n  tandem bench serve\n  tandem bench serve --connections 32 --json"
}

// Run measures and prints.
func (c *benchServeCmd) Run(ctx context.Context, sys system) error {
	result, err := c.measure(ctx, sys)
	if err != nil {
		return err
	}
	if c.JSON {
		return jsonLines(sys.stdout, []bench.ServeResult{result})
	}
	_, err = fmt.Fprintln(sys.stdout, bench.ServeTable(result))
	return err
}

// measure lets tandem learn, stops it, and measures a second one that takes up
// where the first was and has no reason to train while it is measured.
func (c *benchServeCmd) measure(ctx context.Context, sys system) (result bench.ServeResult, err error) {
	dir, err := os.MkdirTemp("", "tandem-bench-")
	if err != nil {
		return result, fmt.Errorf("make a folder for the measurement: %w", err)
	}
	defer closing(func() error { return os.RemoveAll(dir) }, &err)
	opt := sceneOptions{data: dir, listen: "127.0.0.1:0", audit: 0.05, latency: time.Millisecond}
	var texts []string
	err = c.with(ctx, sys, opt, func(ctx context.Context, s *scene) (err error) {
		texts, err = c.servedTexts(ctx, s)
		return err
	})
	if err != nil {
		return result, err
	}
	if len(texts) == 0 {
		return result, errInterrupted
	}
	opt.growth = 10
	err = c.with(ctx, sys, opt, func(ctx context.Context, s *scene) (err error) {
		result, err = benched(sys, "rounds", func(progress func(done, total int)) (bench.ServeResult, error) {
			return bench.Serve{
				Address: s.app.Addr(), Path: "/v1/tasks/" + support.TaskName + "/answer", Texts: texts,
				Want: `"step":"student"`, Requests: c.Requests, Connections: c.Connections, Rounds: c.Rounds, Progress: progress,
			}.Run(ctx)
		})
		return err
	})
	if err == nil && result.Rounds == 0 {
		err = errInterrupted
	}
	return result, err
}

// errInterrupted says that a measurement was ended by a signal: there is
// nothing to print.
var errInterrupted = errors.New("interrupted before there was anything to report")

// with runs do while a scene serves.
func (c *benchServeCmd) with(ctx context.Context, sys system, opt sceneOptions, do func(context.Context, *scene) error) (err error) {
	s, err := openScene(ctx, sys, opt)
	if err != nil {
		return err
	}
	defer closing(s.close, &err)
	group := lifecycle.Group{Grace: s.config.Limits.Drain + stopping, Parts: []lifecycle.Part{
		s.part(),
		{Name: "measurement", Main: true, Run: func(ctx context.Context) error { return do(ctx, s) }},
	}}
	return untilSignal(ctx, sys, &group)
}

// servedTexts plays traffic until a student serves and returns messages that
// it answers.
func (c *benchServeCmd) servedTexts(ctx context.Context, s *scene) ([]string, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	p := demo.Player{
		URL: s.url(), Task: support.TaskName, Rate: 1e9, Workers: 16, Alpha: s.guarantee().Alpha, Speed: 1,
		State: demo.Inside{Client: client, URL: s.url(), Task: support.TaskName}.State,
		Show:  func(demo.Frame) error { return nil }, Every: time.Second,
	}
	d := demoCmd{Seed: 1, Requests: 4000}
	p.Messages = d.messages(s.desk)[:d.change()]
	p.Change = len(p.Messages)
	served := make(map[string]bool)
	p.Local = func(m demo.Message) { served[m.Text] = true }
	for range 5 {
		if _, err := p.Run(ctx); err != nil {
			return nil, err
		}
		state, err := p.State(ctx)
		if err != nil {
			return nil, err
		}
		if !state.Open || len(served) < c.Texts {
			clear(served)
			continue
		}
		texts := make([]string, 0, c.Texts)
		for _, m := range p.Messages {
			if served[m.Text] && len(texts) < c.Texts {
				texts = append(texts, m.Text)
				delete(served, m.Text)
			}
		}
		return texts, nil
	}
	return nil, errors.New("no student serves enough messages after 14,000 requests")
}
