package trace

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"tandem"
)

// attic is an Expirer that counts down.
type attic struct {
	left   map[string]int
	before map[string]time.Time
	calls  int
	err    error
}

func (a *attic) Expire(_ context.Context, task string, before time.Time, limit int) (int, error) {
	a.calls++
	if a.err != nil {
		return 0, a.err
	}
	n := min(limit, a.left[task])
	a.left[task] -= n
	a.before[task] = before
	return n, nil
}

func TestExpire(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	a := &attic{left: map[string]int{"a": 5001, "b": 3, "keep": 9}, before: map[string]time.Time{}}
	tasks := []tandem.Task{{Name: "a", RetentionDays: 30}, {Name: "keep"}, {Name: "b", RetentionDays: 1}}
	n, err := Expire(t.Context(), a, tasks, now)
	if err != nil || n != 5004 {
		t.Errorf("expired %d, %v; want 5004", n, err)
	}
	if a.left["keep"] != 9 || a.left["a"] != 0 || a.left["b"] != 0 {
		t.Errorf("left %v", a.left)
	}
	if want := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC); !a.before["a"].Equal(want) {
		t.Errorf("task a: before %v, want %v", a.before["a"], want)
	}
	if a.calls != 4 {
		t.Errorf("%d transactions, want 3 for a and 1 for b", a.calls)
	}
	a.err = errors.New("broken")
	if _, err := Expire(t.Context(), a, tasks, now); !errors.Is(err, a.err) {
		t.Errorf("got %v", err)
	}
}

func TestRunRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &attic{left: map[string]int{"a": 10}, before: map[string]time.Time{}, err: errors.New("broken")}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour+time.Minute)
		defer cancel()
		var reported []error
		begin := time.Now()
		err := RunRetention(ctx, a, func() []tandem.Task { return []tandem.Task{{Name: "a", RetentionDays: 2}} }, time.Hour, func(err error) {
			reported = append(reported, err)
			a.err = nil // it works the next time
		})
		if err != nil || len(reported) != 1 || a.calls != 4 || a.left["a"] != 0 {
			t.Errorf("run said %v, reported %v, %d calls, %v left", err, reported, a.calls, a.left)
		}
		if want := begin.Add(3*time.Hour).AddDate(0, 0, -2); !a.before["a"].Equal(want) {
			t.Errorf("the last pass deleted before %v, want %v", a.before["a"], want)
		}
	})
}
