package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"tandem"
	"tandem/internal/config"
)

type askCmd struct {
	fileFlag
	jsonFlag
	Server  string        `placeholder:"URL" help:"Address of a running tandem (default: listen of the configuration)."`
	Token   string        `placeholder:"TOKEN" help:"API token (default: TANDEM_TOKEN, or the configuration's first)."`
	Session string        `help:"Key that groups requests which belong together."`
	Teacher bool          `help:"Ask the teacher even if a student could answer."`
	Timeout time.Duration `default:"60s" help:"How long to wait for the answer."`
	Task    string        `arg:"" help:"Name of the task."`
	Text    string        `arg:"" optional:"" help:"What to ask about; standard input when - or left out."`
}

// Help implements kong.HelpProvider.
func (askCmd) Help() string {
	return "With --server no configuration file is needed.\n\n" +
		"Examples:\n  tandem ask support \"where is my parcel?\"\n  tandem ask support - < message.txt\n" +
		"  tandem ask support --json --server http://127.0.0.1:8080 \"I want my money back\""
}

const maxStdin = 64 << 20

// Run asks and prints the answer and who gave it.
func (c *askCmd) Run(ctx context.Context, sys system) error {
	text := c.Text
	if text == "" || text == "-" {
		data, err := io.ReadAll(io.LimitReader(sys.stdin, maxStdin))
		if err != nil {
			return fmt.Errorf("read standard input: %w", err)
		}
		text = string(data)
	}
	d, err := c.reach(sys)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	body := map[string]any{"input": text}
	if c.Session != "" {
		body["session"] = c.Session
	}
	if c.Teacher {
		body["teacher"] = true
	}
	var reply struct {
		Tandem tandem.Decision `json:"tandem"`
	}
	if err := d.call(ctx, "POST", "/v1/tasks/"+url.PathEscape(c.Task)+"/answer", body, &reply); err != nil {
		return err
	}
	decision := reply.Tandem
	if c.JSON {
		return printJSON(sys.stdout, decision)
	}
	paint := painterFor(sys, sys.stdout)
	if _, err := fmt.Fprintln(sys.stdout, paint.title(decision.Answer)); err != nil {
		return err
	}
	return table(sys.stdout, [][]string{
		{"  by", fmt.Sprintf("%s %s (score %.3f)", decision.Step, decision.Model, decision.Score)},
		{"  why", decision.Why},
		{"  cost", fmt.Sprintf("%s, saved %s", dollars(decision.CostUSD), dollars(decision.SavedUSD))},
		{"  took", decision.Took.Round(time.Microsecond).String()},
		{"  trace", decision.TraceID},
	})
}

// reach finds the server to ask.
func (c *askCmd) reach(sys system) (*desk, error) {
	d := &desk{base: c.Server, token: c.Token, client: newClient()}
	if d.token == "" {
		d.token = sys.getenv("TANDEM_TOKEN")
	}
	if d.base == "" {
		cfg, err := config.Load(c.Config, sys.getenv)
		if err != nil {
			return nil, err
		}
		d.base = "http://" + dialable(cfg.Listen)
		if d.token == "" && len(cfg.APITokens) > 0 {
			d.token = cfg.APITokens[0].Reveal()
		}
	}
	d.base = strings.TrimRight(d.base, "/")
	if u, err := url.Parse(d.base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usage("--server: %q is not an address such as http://127.0.0.1:8080", c.Server)
	}
	return d, nil
}
