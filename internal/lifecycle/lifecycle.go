// Package lifecycle runs the parts of a program together: started in order,
// stopped in reverse order within one shared deadline.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Part is one long-running piece of a program.
type Part struct {
	// Name says in errors which part it was.
	Name string
	// Run works until its context ends and then returns soon, with nil or the
	// context's error. Returning earlier with nil means that there is nothing
	// left to do; returning an error stops the whole group.
	Run func(ctx context.Context) error
	// Ready, when not nil, is closed by Run once later parts may rely on this
	// one; they start only then.
	Ready <-chan struct{}
	// Main says that the group is there for this part: it stops when the part
	// returns.
	Main bool
}

// ErrForced is part of Run's error when force ended the waiting.
var ErrForced = errors.New("stopped at once, without waiting for what was in progress")

// Group is the parts of a program, in the order in which they start.
type Group struct {
	Parts []Part
	// Grace is how long all parts together may take to stop.
	Grace time.Duration
}

// Run starts the parts and blocks until all have stopped. It stops them when
// ctx ends, when one fails, when a main one returns or when none is left: the last
// one started first, the next when that has returned. When Grace is over, or
// force is closed or receives, all remaining contexts end together and Run
// waits no longer than a moment for them. The errors of the parts are joined,
// each with the part's name; a group that stopped because it was asked to
// returns nil.
func (g *Group) Run(ctx context.Context, force <-chan struct{}) error {
	r := run{done: make(chan result, len(g.Parts)), force: force}
	r.drain, r.endDrain = context.WithCancelCause(context.WithoutCancel(ctx))
	defer r.endDrain(nil)
	r.start(ctx, g.Parts)
	return r.stop(g.Grace)
}

type drainKey struct{}

// Drain returns a context for finishing what is in progress after ctx, a
// part's context, has ended: it ends when the group's grace is over or
// somebody forces the stop. For any other context it returns ctx itself.
func Drain(ctx context.Context) context.Context {
	if drain, ok := ctx.Value(drainKey{}).(context.Context); ok {
		return drain
	}
	return ctx
}

// result says that the part at an index has returned.
type result struct {
	index int
	err   error
}

// running is a started part.
type running struct {
	main    bool
	name    string
	cancel  context.CancelFunc
	stopped bool
}

// run is one Group.Run; it belongs to its goroutine.
type run struct {
	parts    []running
	done     chan result
	force    <-chan struct{}
	drain    context.Context //nolint:containedctx // the run's own, ended by stop
	endDrain context.CancelCauseFunc
	errs     []error
	forced   bool
}

// start starts the parts in order until ctx ends or one fails, then waits for
// a reason to stop.
func (r *run) start(ctx context.Context, parts []Part) {
	base := context.WithValue(context.WithoutCancel(ctx), drainKey{}, r.drain)
	for _, p := range parts {
		index := len(r.parts)
		partCtx, cancel := context.WithCancel(base)
		r.parts = append(r.parts, running{name: p.Name, main: p.Main, cancel: cancel})
		go func() { r.done <- result{index, p.Run(partCtx)} }()
		if p.Ready != nil && !r.await(ctx, p.Ready, index) {
			return
		}
	}
	for r.left() > 0 && r.await(ctx, nil, -1) {
	}
}

// await waits for ready, or with ready nil for one part to return. It reports
// false when the group must stop.
func (r *run) await(ctx context.Context, ready <-chan struct{}, index int) bool {
	for {
		select {
		case <-ready:
			return true
		case <-ctx.Done():
			return false
		case <-r.force:
			r.errs, r.forced = append(r.errs, ErrForced), true
			return false
		case res := <-r.done:
			if !r.note(res) {
				return false
			}
			if ready == nil || res.index == index {
				return true
			}
		}
	}
}

// note records that a part has returned and reports false when the group must stop:
// it failed, or it was what the group is for.
func (r *run) note(res result) bool {
	p := &r.parts[res.index]
	p.stopped = true
	p.cancel()
	if res.err == nil || errors.Is(res.err, context.Canceled) {
		return !p.main
	}
	r.errs = append(r.errs, fmt.Errorf("%s: %w", p.name, res.err))
	return false
}

func (r *run) left() int {
	n := 0
	for i := range r.parts {
		if !r.parts[i].stopped {
			n++
		}
	}
	return n
}

// moment is how long parts have to return once nothing waits for them.
const moment = time.Second

func (r *run) stop(grace time.Duration) error {
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	for i := len(r.parts) - 1; i >= 0 && !r.forced; i-- {
		r.parts[i].cancel()
		for !r.parts[i].stopped && !r.forced {
			select {
			case res := <-r.done:
				r.note(res)
			case <-deadline.C:
				r.errs = append(r.errs, fmt.Errorf("stopping took longer than %v", grace))
				r.forced = true
			case <-r.force:
				r.errs = append(r.errs, ErrForced)
				r.forced = true
			}
		}
	}
	if r.forced {
		r.abandon()
	}
	return errors.Join(r.errs...)
}

// abandon ends every context and names the parts that still do not return.
func (r *run) abandon() {
	r.endDrain(ErrForced)
	for i := range r.parts {
		r.parts[i].cancel()
	}
	last := time.NewTimer(moment)
	defer last.Stop()
	for r.left() > 0 {
		select {
		case res := <-r.done:
			r.note(res)
			continue
		case <-last.C:
		}
		var names []string
		for _, p := range r.parts {
			if !p.stopped {
				names = append(names, p.name)
			}
		}
		slices.Sort(names)
		r.errs = append(r.errs, fmt.Errorf("still running: %s", strings.Join(names, ", ")))
		return
	}
}
