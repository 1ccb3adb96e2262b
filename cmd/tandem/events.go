package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"tandem"
)

type eventsCmd struct {
	deskFlags
	jsonFlag
	Task   string `placeholder:"NAME" help:"Only what happened to this task."`
	Limit  int    `short:"n" default:"20" placeholder:"N" help:"How many of the latest to show, 1 to 1000 (default: 20)."`
	Follow bool   `short:"f" help:"Go on and show what happens, until interrupted."`
}

// Help implements kong.HelpProvider.
func (eventsCmd) Help() string {
	return "Trainings and refusals, promotions and rollbacks, alarms and warnings of drift, reloads of the configuration: what " +
		"happened, and why in words, the oldest first. With --json, one object a line.\n\n" +
		"Examples:\n  tandem events\n  tandem events --task support --follow\n" +
		"  tandem events --json -n 1000 | jq -r 'select(.kind == \"alarm\").why'"
}

const (
	maxEvents = 1000        // that the console gives at a time
	every     = time.Second // between two looks
	look      = 10 * every  // at most, for one
)

// Run prints what happened, and what happens.
func (c *eventsCmd) Run(ctx context.Context, sys system) error {
	if c.Limit < 1 || c.Limit > maxEvents {
		return usage("--limit: %d is not between 1 and %d", c.Limit, maxEvents)
	}
	return c.at(ctx, sys, func(d *desk) error {
		if c.Follow && d.own {
			return tandem.Errorf(tandem.Conflict, "no server runs on this data folder, so nothing happens that could be followed; start tandem serve")
		}
		if !c.Follow {
			_, err := c.show(ctx, sys.stdout, d, c.Limit, 0)
			return err
		}
		return c.follow(ctx, sys, d)
	})
}

// follow shows what happens until a signal, and at that takes a last look.
func (c *eventsCmd) follow(ctx context.Context, sys system, d *desk) error {
	signals, ignore := sys.notify(os.Interrupt, syscall.SIGTERM)
	defer ignore()
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	limit, last, ending := c.Limit, int64(0), false
	for {
		var err error
		if last, err = c.show(ctx, sys.stdout, d, limit, last); err != nil || ending {
			return err
		}
		limit = maxEvents
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-signals:
			ending = true
		case <-ticks.C:
		}
	}
}

// show prints the events after one and returns the last of them.
func (c *eventsCmd) show(ctx context.Context, w io.Writer, d *desk, limit int, after int64) (last int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, look)
	defer cancel()
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if c.Task != "" {
		q.Set("task", c.Task)
	}
	var reply struct {
		Events []tandem.Event `json:"events"`
	}
	if err := d.call(ctx, "GET", "/api/events?"+q.Encode(), nil, &reply); err != nil {
		return after, err
	}
	last = after
	for _, e := range slices.Backward(reply.Events) { // the newest come first
		if e.ID <= after {
			continue
		}
		last = max(last, e.ID)
		if err := c.print(w, e); err != nil {
			return last, err
		}
	}
	return last, nil
}

func (c *eventsCmd) print(w io.Writer, e tandem.Event) error {
	if c.JSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(e)
	}
	_, err := fmt.Fprintf(w, "%s  %-11s  %s  %s\n", e.Time.UTC().Format(time.DateTime), e.Kind, orDash(join(e.Task, e.Version)), e.Why)
	return err
}

// join puts a space between two words, either of which may be missing.
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}
