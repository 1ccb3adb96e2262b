package main

import (
	"context"
	"fmt"

	"tandem/internal/console"
)

type tasksCmd struct {
	deskFlags
	jsonFlag
}

// Help implements kong.HelpProvider.
func (tasksCmd) Help() string {
	return "Asks the running server, or reads the data folder when none runs.\n\n" +
		"Examples:\n  tandem tasks\n  tandem tasks --json\n  tandem tasks --server http://127.0.0.1:8080"
}

// Run prints a line per task.
func (c *tasksCmd) Run(ctx context.Context, sys system) error {
	var reply struct {
		Tasks []console.TaskStatus `json:"tasks"`
	}
	err := c.at(ctx, sys, func(d *desk) error { return d.call(ctx, "GET", "/api/tasks", nil, &reply) })
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(sys.stdout, reply)
	}
	paint := painterFor(sys, sys.stdout)
	rows := [][]string{{"TASK", "TRACES", "LABELLED", "SERVED", "SAVED", "STUDENT", "GATE", "STATE"}}
	for _, t := range reply.Tasks {
		student := t.Version
		if student == "" {
			student = "–"
		}
		rows = append(rows, []string{
			t.Name, thousands(t.Traces), thousands(t.Labelled), share(t.Served, t.Traces),
			dollars(t.SavedUSD), student, t.Gate, brief(t.Why, 100),
		})
	}
	if err := table(sys.stdout, rows); err != nil {
		return err
	}
	for _, t := range reply.Tasks {
		if t.Gate == console.GateClosed {
			if _, err := fmt.Fprintf(sys.stdout, "\n%s %s: %s\n", paint.warn("closed"), t.Name, t.Why); err != nil {
				return err
			}
		}
	}
	return nil
}

// closing joins the error of a deferred close to a function's error.
func closing(closer func() error, err *error) {
	if closeErr := closer(); closeErr != nil && *err == nil {
		*err = fmt.Errorf("close: %w", closeErr)
	}
}
