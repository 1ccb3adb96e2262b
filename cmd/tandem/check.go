package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tandem"
	"tandem/internal/config"
	"tandem/internal/provider"
)

type checkCmd struct {
	fileFlag
	jsonFlag
	Online  bool          `help:"Also ask the teacher of each task one question. This costs what a request costs."`
	Timeout time.Duration `default:"60s" help:"How long each teacher may take."`
}

// Help implements kong.HelpProvider.
func (checkCmd) Help() string {
	return "Every fault is reported with its line and column; the exit status is 1 when there is one.\n\n" +
		"Examples:\n  tandem check\n  tandem check --config other.yaml --json\n  tandem check --online"
}

// checkReport is what check --json prints.
type checkReport struct {
	File     string         `json:"file"`
	OK       bool           `json:"ok"`
	Faults   []config.Fault `json:"faults"`
	Tasks    []string       `json:"tasks,omitempty"`
	Models   []string       `json:"models,omitempty"`
	Teachers []teacherCheck `json:"teachers,omitempty"`
}

// teacherCheck is one question to one teacher.
type teacherCheck struct {
	Task    string  `json:"task"`
	Teacher string  `json:"teacher"`
	Answer  string  `json:"answer,omitempty"`
	Inside  bool    `json:"inside"` // the answer is one of the task's labels
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// Run checks the file and, if asked, the teachers.
func (c *checkCmd) Run(ctx context.Context, sys system) error {
	report := checkReport{File: c.Config, Faults: []config.Fault{}}
	cfg, err := config.Load(c.Config, sys.getenv)
	if err != nil {
		faults, ok := errors.AsType[*config.Error](err)
		if !ok || !c.JSON {
			return err
		}
		report.Faults = faults.Faults
		if err := printJSON(sys.stdout, report); err != nil {
			return err
		}
		return errSilent
	}
	report.OK = true
	for _, t := range cfg.TandemTasks() {
		report.Tasks = append(report.Tasks, t.Name)
		if c.Online {
			one := c.teacher(ctx, cfg, t)
			report.OK = report.OK && one.Error == ""
			report.Teachers = append(report.Teachers, one)
		}
	}
	for _, m := range cfg.Models() {
		report.Models = append(report.Models, m.Alias)
	}
	if c.JSON {
		err = printJSON(sys.stdout, report)
	} else {
		err = c.print(sys, report)
	}
	if err == nil && !report.OK {
		return errSilent
	}
	return err
}

// teacher asks a question that needs no knowledge of the task.
func (c *checkCmd) teacher(ctx context.Context, cfg *config.Config, t tandem.Task) teacherCheck {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	begun := time.Now()
	one := teacherCheck{Task: t.Name, Teacher: t.Teacher}
	answer, err := askTeacher(ctx, cfg, &t, "Hello, this is a test message.")
	one.Seconds = time.Since(begun).Seconds()
	if err != nil {
		one.Error = err.Error()
		return one
	}
	one.Answer = answer
	_, one.Inside = t.Resolve(answer)
	return one
}

// askTeacher makes one call, without retries: a check should show hiccups.
func askTeacher(ctx context.Context, cfg *config.Config, t *tandem.Task, text string) (string, error) {
	for _, m := range cfg.Models() {
		if m.Alias != t.Teacher {
			continue
		}
		p := cfg.Providers[m.Provider]
		_, c, err := p.Config()
		if err != nil {
			return "", err
		}
		endpoint, err := c.Open()
		if err != nil {
			return "", err
		}
		reply, err := endpoint.Model(m.Model).Ask(ctx, provider.Question{Task: t, Input: tandem.TextInput(text)})
		return reply.Text, errors.Join(err, endpoint.Close())
	}
	return "", fmt.Errorf("no provider has a model %q", t.Teacher)
}

func (c *checkCmd) print(sys system, r checkReport) error {
	paint := painterFor(sys, sys.stdout)
	if _, err := fmt.Fprintf(sys.stdout, "%s: %s (%s, %s)\n", r.File, paint.good("no faults"),
		count(len(r.Tasks), "task"), count(len(r.Models), "model")); err != nil {
		return err
	}
	if len(r.Teachers) == 0 {
		return nil
	}
	rows := [][]string{{"TASK", "TEACHER", "SECONDS", "ANSWER"}}
	for _, t := range r.Teachers {
		answer := brief(t.Answer, 60)
		switch {
		case t.Error != "":
			answer = paint.bad("failed: ") + t.Error
		case !t.Inside:
			answer += paint.warn(" (not one of the labels)")
		}
		rows = append(rows, []string{t.Task, t.Teacher, fmt.Sprintf("%.2f", t.Seconds), answer})
	}
	return table(sys.stdout, rows)
}
