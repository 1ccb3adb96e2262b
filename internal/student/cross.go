package student

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
)

// planFolds gives every row a fold: groups stay together, labels are spread
// evenly, and the assignment depends on the seed and the rows only. Of many
// rows most get none (-1): members always learn from them, and two folds of
// the others are enough to judge by.
func planFolds(data Dataset, seed uint64) []int {
	type unit struct {
		label int
		order uint64
		rows  []int
	}
	r := rand.New(rand.NewPCG(seed, 0x6a09e667f3bcc909))
	var units []*unit
	groups := make(map[string]*unit)
	for i := range data.Rows {
		g := data.Rows[i].Group
		if u := groups[g]; g != "" && u != nil {
			u.rows = append(u.rows, i)
			continue
		}
		u := &unit{data.Rows[i].Label, r.Uint64(), []int{i}}
		units = append(units, u)
		if g != "" {
			groups[g] = u
		}
	}
	slices.SortFunc(units, func(a, b *unit) int {
		return cmp.Or(cmp.Compare(a.label, b.label), cmp.Compare(a.order, b.order))
	})
	fold := make([]int, len(data.Rows))
	k, every := min(foldsFor(len(data.Rows)), len(units)), 1
	if len(data.Rows) > manyRows {
		every = (len(data.Rows) + judgedRows - 1) / judgedRows
	}
	for i, u := range units {
		f := -1
		if i%every == 0 {
			f = i / every % k
		}
		for _, row := range u.rows {
			fold[row] = f
		}
	}
	return fold
}

const (
	// manyRows is where leaving out all rows in turn stops paying.
	manyRows = 40_000
	// judgedRows is about how many rows are left out then.
	judgedRows = 20_000
)

func foldsFor(rows int) int {
	switch {
	case rows < 1000:
		return 10
	case rows > manyRows:
		return 2
	default:
		return 5
	}
}

// crossFit trains every family once per fold and once on everything.
type crossFit struct {
	data     Dataset
	families []Family
	folds    []int // by row, -1 is never left out
	opt      Options

	count  int        // folds
	judged []int      // rows with a fold
	views  [][]View   // by family: of every row, nil where not prepared
	outs   [][]Output // by judged row, by member: out of fold
	share  float64    // of the work that cross-fitting is
}

func (c *crossFit) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.count = slices.Max(c.folds) + 1
	for i, k := range c.folds {
		if k >= 0 {
			c.judged = append(c.judged, i)
		}
	}
	c.outs = make([][]Output, len(c.judged))
	for i := range c.outs {
		c.outs[i] = make([]Output, len(c.families))
	}
	type job struct{ fold, family int }
	var jobs []job
	for m := range c.families {
		for k := range c.count {
			if c.count > 1 {
				jobs = append(jobs, job{k, m})
			}
		}
	}
	queue := make(chan job, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	var mu sync.Mutex
	var first error
	done := 0
	total := float64(len(jobs) + 2*len(c.families)) // a final training costs about twice
	c.share = float64(len(jobs)) / total
	if err := c.prepare(ctx); err != nil {
		return err
	}
	var wg sync.WaitGroup
	workers, threads := min(c.opt.Threads, max(len(jobs), 1)), 1
	if len(c.folds) > manyRows {
		workers, threads = 1, c.opt.Threads // trainings side by side would not fit into memory
	}
	for range workers {
		wg.Go(func() {
			for j := range queue {
				if err := c.fold(ctx, j.fold, j.family, threads); err != nil {
					mu.Lock()
					if first == nil {
						first = fmt.Errorf("family %s: %w", c.families[j.family].Name(), err)
					}
					mu.Unlock()
					cancel()
					return
				}
				mu.Lock()
				done++
				c.tick(float64(done) / total)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first
}

// train trains the members that the student keeps on everything.
func (c *crossFit) train(ctx context.Context, keep []int) ([]Member, error) {
	final := make([]Member, len(c.families))
	for n, m := range keep {
		member, err := c.families[m].Train(ctx, c.part(m, -1), Options{Seed: c.opt.Seed, Threads: c.opt.Threads})
		if err != nil {
			return nil, fmt.Errorf("family %s: %w", c.families[m].Name(), err)
		}
		final[m] = member
		c.tick(c.share + (1-c.share)*float64(n+1)/float64(len(keep)))
	}
	return final, nil
}

// tick tells how much is done, from one goroutine at a time.
func (c *crossFit) tick(done float64) {
	if c.opt.Progress != nil {
		c.opt.Progress(min(done, 1))
	}
}

// prepare lets the families that need it read the rows: all that are judged,
// and the newest of the others up to the family's limit.
func (c *crossFit) prepare(ctx context.Context) error {
	c.views = make([][]View, len(c.families))
	known := map[string][]View{}
	for m, f := range c.families {
		p, ok := f.(Preparer)
		if !ok {
			continue
		}
		if c.views[m] = known[p.View()]; c.views[m] != nil {
			continue
		}
		spare := p.Limit() - len(c.judged)
		var rows []Example
		var at []int
		for i := len(c.folds) - 1; i >= 0; i-- {
			if c.folds[i] < 0 {
				if spare <= 0 {
					continue
				}
				spare--
			}
			rows, at = append(rows, c.data.Rows[i]), append(at, i)
		}
		made, err := p.Prepare(ctx, rows, Options{Seed: c.opt.Seed, Threads: c.opt.Threads})
		if err != nil {
			return fmt.Errorf("family %s: %w", f.Name(), err)
		}
		views := make([]View, len(c.folds))
		for k, i := range at {
			views[i] = made[k]
		}
		c.views[m], known[p.View()] = views, views
	}
	return nil
}

// part is what a family learns from when one fold is left out; without is -1
// to use all.
func (c *crossFit) part(family, without int) Dataset {
	d := Dataset{Labels: c.data.Labels}
	views := c.views[family]
	if views == nil && without < 0 {
		d.Rows = c.data.Rows
		return d
	}
	for i, k := range c.folds {
		if k >= 0 && k == without || len(views) > 0 && views[i] == nil {
			continue
		}
		d.Rows = append(d.Rows, c.data.Rows[i])
		if views != nil {
			d.Views = append(d.Views, views[i])
		}
	}
	return d
}

// fold trains a family without one fold and keeps its outputs there.
func (c *crossFit) fold(ctx context.Context, fold, family, threads int) error {
	member, err := c.families[family].Train(ctx, c.part(family, fold), Options{Seed: c.opt.Seed + uint64(fold) + 1, Threads: threads, Quick: true})
	if err != nil {
		return err
	}
	viewer, _ := member.(Viewer)
	for at, i := range c.judged {
		switch {
		case c.folds[i] != fold:
		case viewer != nil && c.views[family] != nil:
			viewer.PredictView(c.views[family][i], &c.outs[at][family])
		default:
			member.Predict(&c.data.Rows[i].Input, &c.outs[at][family])
		}
	}
	return nil
}
