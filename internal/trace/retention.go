package trace

import (
	"context"
	"fmt"
	"time"

	"tandem"
)

// Expirer deletes old traces; store.Traces is one.
type Expirer interface {
	Expire(ctx context.Context, task string, before time.Time, limit int) (int, error)
}

// expireAtOnce bounds a deleting transaction, so that the log waits
// milliseconds for it.
const expireAtOnce = 2000

// Expire deletes the traces of the tasks that are older at the time now than
// each task keeps them, and says how many went. A task with RetentionDays 0
// keeps all.
func Expire(ctx context.Context, x Expirer, tasks []tandem.Task, now time.Time) (int, error) {
	total := 0
	for i := range tasks {
		if tasks[i].RetentionDays <= 0 {
			continue
		}
		before := now.AddDate(0, 0, -tasks[i].RetentionDays)
		for {
			n, err := x.Expire(ctx, tasks[i].Name, before, expireAtOnce)
			total += n
			if err != nil {
				return total, fmt.Errorf("expire traces of %s: %w", tasks[i].Name, err)
			}
			if n < expireAtOnce {
				break
			}
		}
	}
	return total, nil
}

// RunRetention calls Expire at once and then every so often until ctx ends.
// The tasks are asked for each time; report is told of failures, after which
// it goes on.
func RunRetention(ctx context.Context, x Expirer, tasks func() []tandem.Task, every time.Duration, report func(error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if _, err := Expire(ctx, x, tasks(), time.Now()); err != nil && ctx.Err() == nil {
			report(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
