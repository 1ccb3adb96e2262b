package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"tandem"
	"tandem/client"
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
	server, err := c.reach(sys)
	if err != nil {
		return err
	}
	defer server.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	decision, err := server.Answer(ctx, tandem.Request{Task: c.Task, Input: tandem.TextInput(text), Session: c.Session, Teacher: c.Teacher})
	if e, ok := errors.AsType[*tandem.Error](err); ok && e.Code == tandem.Internal && e.Cause != nil {
		return fmt.Errorf("%w (is it running? start it with: tandem serve)", err)
	}
	if err != nil {
		return err
	}
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
func (c *askCmd) reach(sys system) (*client.Client, error) {
	base, token := c.Server, c.Token
	if token == "" {
		token = sys.getenv("TANDEM_TOKEN")
	}
	if base == "" {
		cfg, err := config.Load(c.Config, sys.getenv)
		if err != nil {
			return nil, err
		}
		base = "http://" + dialable(cfg.Listen)
		if token == "" && len(cfg.APITokens) > 0 {
			token = cfg.APITokens[0].Reveal()
		}
	}
	server, err := client.New(base, client.Options{Token: token})
	if err != nil {
		return nil, usage("--server: %s", messageOf(err))
	}
	return server, nil
}
