package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"time"

	"tandem/internal/console"
)

type tracesCmd struct {
	Import tracesImportCmd `cmd:"" help:"Store answers that a large model has given elsewhere."`
	Export tracesExportCmd `cmd:"" help:"Write a task's traces as JSON lines."`
}

type tracesImportCmd struct {
	deskFlags
	jsonFlag
	fieldFlags
	Task string `placeholder:"NAME" help:"Task that the answers belong to; needed when there are several."`
	File string `arg:"" help:"JSON lines to read; - is standard input."`
}

// Help implements kong.HelpProvider.
func (tracesImportCmd) Help() string {
	return "Reads {\"input\",\"teacher\"} rows, tandem's own exports, and logs and fine-tuning files in OpenAI's shape; other " +
		"objects with --text and --teacher. Lines that cannot be used are reported and left out; the others are stored. Importing a file again stores nothing twice.\n\n" +
		"Examples:\n  tandem traces import --task support log.jsonl\n  zcat log.jsonl.gz | tandem traces import --task support -\n" +
		"  tandem traces import --task support --text request.message --teacher reply.intent calls.jsonl"
}

// fieldFlags say where in a line of JSON the values are.
type fieldFlags struct {
	Text    string `placeholder:"FIELD" help:"Field with the text; request.text and messages.0.content reach inside. Left out with --teacher, known shapes are recognised."`
	Teacher string `placeholder:"FIELD" help:"Field with the large model's answer."`
	Gold    string `placeholder:"FIELD" help:"Field with the true answer, where it is known."`
	Session string `placeholder:"FIELD" help:"Field that groups lines which belong together, such as a conversation."`
}

// check wants both of the fields that matter, or neither.
func (f *fieldFlags) check() error {
	if (f.Text == "") != (f.Teacher == "") {
		return usage("give both --text and --teacher, or neither")
	}
	return nil
}

// Run sends the file to the console.
func (c *tracesImportCmd) Run(ctx context.Context, sys system) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	in, size, closeInput, err := input(sys, c.File)
	if err != nil {
		return err
	}
	defer closing(closeInput, &err)
	q := url.Values{}
	for name, field := range map[string]string{"text": c.Text, "teacher": c.Teacher, "gold": c.Gold, "session": c.Session} {
		if field != "" {
			q.Set(name, field)
		}
	}
	bar := newBar(sys, "importing", size)
	var report console.ImportReport
	err = c.at(ctx, sys, func(d *desk) error {
		task, err := d.one(c.Task)
		if err != nil {
			return err
		}
		q.Set("task", task)
		return d.call(ctx, "POST", "/api/traces/import?"+q.Encode(), bar.reader(in), &report)
	})
	bar.finish(err == nil)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(sys.stdout, report)
	}
	_, err = fmt.Fprintf(sys.stdout, "%s: %s imported, %s known already, %s not usable\n", count(report.Lines, "line"),
		thousands(report.Imported), thousands(report.Known), thousands(report.Faulty))
	printFaults(sys, c.File, report)
	if err == nil && report.Imported+report.Known == 0 {
		return errors.New("nothing was imported")
	}
	return err
}

// printFaults lists the lines that could not be used; neighbours with the same
// fault share a line.
func printFaults(sys system, file string, r console.ImportReport) {
	for i := 0; i < len(r.Faults); {
		first := r.Faults[i]
		last := first.Line
		for i++; i < len(r.Faults) && r.Faults[i].Message == first.Message && r.Faults[i].Line == last+1; i++ {
			last++
		}
		where := strconv.Itoa(first.Line)
		if last > first.Line {
			where += "-" + strconv.Itoa(last)
		}
		fmt.Fprintf(sys.stderr, "%s:%s: %s\n", file, where, first.Message)
	}
	if hidden := r.Faulty - len(r.Faults); hidden > 0 {
		fmt.Fprintf(sys.stderr, "and %s more\n", thousands(hidden))
	}
}

type tracesExportCmd struct {
	deskFlags
	Task   string    `placeholder:"NAME" help:"Task to export; needed when there are several."`
	Format string    `enum:"traces,pairs" default:"traces" help:"traces: everything known; pairs: {\"input\",\"teacher\"} of what the teacher answered."`
	Since  time.Time `format:"2006-01-02" placeholder:"DATE" help:"Leave out what is older (UTC)."`
	Limit  int       `placeholder:"N" help:"At most this many."`
	Out    string    `short:"o" placeholder:"FILE" help:"File to write; standard output when left out."`
}

// Help implements kong.HelpProvider.
func (tracesExportCmd) Help() string {
	return "Traces hold what people wrote: treat the file accordingly.\n\n" +
		"Examples:\n  tandem traces export --task support -o support.jsonl\n  tandem traces export --task support --format pairs --since 2026-01-31"
}

// Run copies the console's answer.
func (c *tracesExportCmd) Run(ctx context.Context, sys system) error {
	if c.Limit < 0 {
		return usage("--limit must not be negative")
	}
	return c.at(ctx, sys, func(d *desk) (err error) {
		task, err := d.one(c.Task)
		if err != nil {
			return err
		}
		q := url.Values{"task": {task}, "format": {c.Format}}
		if !c.Since.IsZero() {
			q.Set("since", c.Since.UTC().Format(time.RFC3339))
		}
		if c.Limit > 0 {
			q.Set("limit", strconv.Itoa(c.Limit))
		}
		resp, err := d.send(ctx, "GET", "/api/traces/export?"+q.Encode(), nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return c.save(sys, resp.Body)
	})
}

// save writes the export where it should go.
func (c *tracesExportCmd) save(sys system, traces io.Reader) (err error) {
	out := sys.stdout
	if c.Out != "" {
		f, openErr := os.OpenFile(c.Out, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if openErr != nil {
			return fmt.Errorf("write traces: %w", openErr)
		}
		defer closing(f.Close, &err)
		out = f
	}
	if _, err := io.Copy(out, traces); err != nil {
		return fmt.Errorf("export stopped before its end, what is written is not complete: %w", err)
	}
	return nil
}

// input opens a file, or standard input for "-". size is -1 when unknown.
func input(sys system, name string) (in io.Reader, size int64, closeInput func() error, err error) {
	if name == "-" {
		return sys.stdin, -1, func() error { return nil }, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("read input: %w", err)
	}
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return nil, 0, nil, errors.Join(fmt.Errorf("read input: %s is not a file", name), err, f.Close())
	}
	return f, info.Size(), f.Close, nil
}
