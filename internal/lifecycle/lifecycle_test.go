package lifecycle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal records what parts do, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) part(name string, stopTakes time.Duration) Part {
	return Part{Name: name, Run: func(ctx context.Context) error {
		j.add("+" + name)
		<-ctx.Done()
		select {
		case <-time.After(stopTakes):
		case <-Drain(ctx).Done():
		}
		j.add("-" + name)
		return ctx.Err()
	}}
}

func ready(p Part) Part {
	ch := make(chan struct{})
	inner := p.Run
	p.Ready = ch
	p.Run = func(ctx context.Context) error {
		time.AfterFunc(10*time.Millisecond, func() { close(ch) })
		return inner(ctx)
	}
	return p
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := Group{Grace: time.Minute, Parts: []Part{
			ready(j.part("a", time.Second)), ready(j.part("b", time.Second)), ready(j.part("c", time.Second)),
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begun := time.Now()
		if err := g.Run(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if want := []string{"+a", "+b", "+c", "-c", "-b", "-a"}; !slices.Equal(j.lines, want) {
			t.Errorf("order %v, want %v", j.lines, want)
		}
		if took := time.Since(begun); took != time.Hour+3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestFirstFailureStopsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		cause := errors.New("disk full")
		g := Group{Grace: time.Minute, Parts: []Part{
			j.part("a", time.Second),
			{Name: "log", Run: func(context.Context) error { time.Sleep(time.Minute); return cause }},
			{Name: "bad stop", Run: func(ctx context.Context) error { <-ctx.Done(); return errors.New("lost a page") }},
		}}
		err := g.Run(t.Context(), nil)
		if !errors.Is(err, cause) || !strings.Contains(err.Error(), "log: disk full") || !strings.Contains(err.Error(), "bad stop: lost a page") {
			t.Errorf("error %v", err)
		}
		if !slices.Equal(j.lines, []string{"+a", "-a"}) {
			t.Errorf("lines %v", j.lines)
		}
	})
}

func TestFailureBeforeReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := Group{Grace: time.Minute, Parts: []Part{
			{Name: "listener", Ready: make(chan struct{}), Run: func(context.Context) error { return errors.New("address in use") }},
			j.part("never", 0),
		}}
		err := g.Run(t.Context(), nil)
		if err == nil || err.Error() != "listener: address in use" || len(j.lines) != 0 {
			t.Errorf("error %v, lines %v", err, j.lines)
		}
	})
}

func TestNothingLeftToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Group{Grace: time.Minute, Parts: []Part{
			{Name: "a", Run: func(context.Context) error { return nil }},
			{Name: "b", Run: func(context.Context) error { time.Sleep(time.Second); return nil }},
		}}
		if err := g.Run(t.Context(), nil); err != nil {
			t.Error(err)
		}
		if err := (&Group{}).Run(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

func TestSharedDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		g := Group{Grace: 3 * time.Second, Parts: []Part{
			j.part("a", 2*time.Second), j.part("b", 2*time.Second), j.part("c", 2*time.Second),
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		err := g.Run(ctx, nil)
		if err == nil || !strings.Contains(err.Error(), "stopping took longer than 3s") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begun); took != 4*time.Second {
			t.Errorf("took %v; the deadline is for all parts together", took)
		}
		if len(j.lines) != 6 {
			t.Errorf("lines %v", j.lines)
		}
	})
}

func TestForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		release := make(chan struct{})
		g := Group{Grace: time.Hour, Parts: []Part{
			j.part("a", time.Minute),
			{Name: "deaf", Run: func(context.Context) error { <-release; return nil }},
		}}
		force := make(chan struct{}, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.AfterFunc(10*time.Second, func() { force <- struct{}{} })
		begun := time.Now()
		err := g.Run(ctx, force)
		if !errors.Is(err, ErrForced) || !strings.Contains(err.Error(), "still running: deaf") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begun); took != 11*time.Second {
			t.Errorf("took %v", took)
		}
		if !slices.Equal(j.lines, []string{"+a", "-a"}) {
			t.Errorf("lines %v", j.lines)
		}
		close(release)
	})
}

func TestAMainPartEndsTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stopped bool
		g := Group{Grace: time.Second, Parts: []Part{
			{Name: "server", Run: func(ctx context.Context) error {
				<-ctx.Done()
				stopped = true
				return nil
			}},
			{Name: "banner", Run: func(context.Context) error { return nil }},
			{Name: "work", Main: true, Run: func(context.Context) error {
				time.Sleep(time.Minute) // of synctest's clock
				return nil
			}},
		}}
		began := time.Now()
		if err := g.Run(t.Context(), nil); err != nil {
			t.Errorf("Run = %v", err)
		}
		if took := time.Since(began); took != time.Minute || !stopped {
			t.Errorf("ended after %v, server stopped: %v", took, stopped)
		}
	})
}
