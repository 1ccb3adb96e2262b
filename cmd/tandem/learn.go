package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"tandem"
	"tandem/internal/certify"
	"tandem/internal/config"
	"tandem/internal/console"
	"tandem/internal/distill"
	"tandem/internal/student"
)

type learnCmd struct {
	jsonFlag
	fieldFlags
	From    string  `required:"" placeholder:"FILE" help:"JSON lines with one answered question each; - is standard input."`
	Config  string  `short:"c" placeholder:"FILE" help:"Configuration to take the task from; without, any answer is a label."`
	Task    string  `default:"learnt" placeholder:"NAME" help:"Name of the task (default: learnt)."`
	Alpha   string  `placeholder:"SHARE" help:"Share of the student's answers that may differ from the teacher's (default: the task's, or 5%)."`
	Delta   string  `placeholder:"SHARE" help:"Probability that this promise is wrong (default: the task's, or 10%)."`
	Price   float64 `placeholder:"USD" help:"What one answer of the teacher costs, to estimate savings."`
	Threads int     `placeholder:"N" help:"Processors to use (default: all)."`
	Seed    uint64  `default:"1" placeholder:"N" help:"Decides which lines train and which test (default: 1); a data folder has a secret of its own for that."`
	Encoder string  `placeholder:"NAME" help:"Text encoder to build on: a fetched model, a folder, or none (default: that of the configuration)."`
	Data    string  `placeholder:"DIR" xor:"where" help:"Data folder to keep the student and the lines in, for tandem serve."`
	Out     string  `short:"o" placeholder:"FILE" xor:"where" help:"File to write the student to."`
}

// Help implements kong.HelpProvider.
func (learnCmd) Help() string {
	return "Two thirds of the lines train a student, the others test it. The certificate says which share of the traffic the " +
		"student may answer so that the promise holds. With --data it serves from then on.\n\n" +
		"Examples:\n  tandem learn --from log.jsonl\n" +
		"  tandem learn --from log.jsonl --text request.message --teacher answer --alpha 2% --price 0.0004\n" +
		"  tandem learn --from log.jsonl --config tandem.yaml --task support --data ./tandem-data\n" +
		"  tandem learn --from log.jsonl --json > report.json"
}

// learnReport is what learn prints.
type learnReport struct {
	distill.Report
	Read     console.ImportReport `json:"read"`
	Gold     *goldReport          `json:"gold,omitempty"`
	SavedUSD float64              `json:"saved_usd_per_1000,omitempty"`
}

// goldReport compares with the truth on the test lines that have it.
type goldReport struct {
	Rows    int     `json:"rows"`
	Teacher float64 `json:"teacher_accuracy"`
	Student float64 `json:"student_accuracy"` // if it answered everything
	Both    float64 `json:"both_accuracy"`    // the student where it would serve, else the teacher
}

// Run reads, trains, certifies and reports.
func (c *learnCmd) Run(ctx context.Context, sys system) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	cfg := config.Default()
	if c.Config != "" {
		if cfg, err = config.Load(c.Config, sys.getenv); err != nil {
			return err
		}
	}
	task, err := c.task(cfg)
	if err != nil {
		return err
	}
	if c.Encoder != "" {
		cfg.Learning.Encoder = c.Encoder
	}
	families := familyTable(sys, cfg)
	if c.Encoder != "" && c.Encoder != noEncoder { // named, not only the usual one
		if _, absent := student.Fitting(families, task); len(absent) > 0 {
			return usage("--encoder: %s", absent[slices.Min(slices.Collect(maps.Keys(absent)))])
		}
	}
	in, size, closeInput, err := input(sys, c.From)
	if err != nil {
		return err
	}
	defer closing(closeInput, &err)
	f, discard, err := c.folder(ctx)
	if err != nil {
		return err
	}
	defer closing(discard, &err)

	var gold []tandem.Trace
	reading := newBar(sys, "reading", size)
	read, err := importer{traces: f.store, key: f.key, labelled: func(string, string) {}}.each(ctx, &task,
		console.Fields{Text: c.Text, Teacher: c.Teacher, Gold: c.Gold, Session: c.Session}, reading.reader(in),
		func(t tandem.Trace) {
			if t.Gold != "" && f.key.Certify(unit(&t)) {
				gold = append(gold, t)
			}
		})
	reading.finish(err == nil)
	if err != nil {
		return err
	}
	printFaults(sys, c.From, read)
	if read.Imported+read.Known == 0 {
		return fmt.Errorf("%s has no line to learn from", c.From)
	}
	report := learnReport{Read: read}
	if report.Report, err = c.train(ctx, sys, f, &task, families); err != nil {
		return err
	}
	if err := c.finish(ctx, f, &task, &report, families, gold); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(sys.stdout, report)
	}
	return c.print(sys, &report)
}

// unit is what the split into training and test lines goes by.
func unit(t *tandem.Trace) string {
	if t.Session != "" {
		return t.Session
	}
	return t.ID
}

// task is that of the configuration or a new one, with the promise asked for.
func (c *learnCmd) task(cfg *config.Config) (tandem.Task, error) {
	defaults := config.DefaultTask()
	defaults.MaxLabels = 10_000
	task := defaults.Tandem(c.Task, 1<<20)
	if c.Config != "" {
		configured, ok := cfg.Tasks[c.Task]
		if !ok {
			return task, usage("--task: %s has no task %q", c.Config, c.Task)
		}
		task = configured.Tandem(c.Task, int(cfg.Limits.InputBytes))
	}
	for _, f := range []struct {
		name, text string
		into       *float64
	}{{"--alpha", c.Alpha, &task.Guarantee.Alpha}, {"--delta", c.Delta, &task.Guarantee.Delta}} {
		if f.text == "" {
			continue
		}
		var s config.Share
		if err := s.UnmarshalText([]byte(f.text)); err != nil || s <= 0 || s >= 1 {
			return task, usage("%s: %q is not a share between 0 and 1, such as 0.05 or 5%%", f.name, f.text)
		}
		*f.into = float64(s)
	}
	if c.Price < 0 || c.Threads < 0 {
		return task, usage("--price and --threads must not be negative")
	}
	return task, nil
}

// folder opens the data folder, or one that is thrown away afterwards.
func (c *learnCmd) folder(ctx context.Context) (f *folder, discard func() error, err error) {
	if c.Data != "" {
		f, err := openFolder(ctx, c.Data, nil)
		if err != nil {
			return nil, nil, err
		}
		return f, f.store.Close, nil
	}
	dir, err := os.MkdirTemp("", "tandem-learn-")
	if err != nil {
		return nil, nil, fmt.Errorf("make a folder to work in: %w", err)
	}
	key := certify.Key(sha256.Sum256(fmt.Appendf(nil, "tandem learn %d", c.Seed)))
	f, err = openFolder(ctx, dir, &key)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return f, func() error { return errors.Join(f.store.Close(), os.RemoveAll(dir)) }, nil
}

func (c *learnCmd) train(ctx context.Context, sys system, f *folder, task *tandem.Task, families map[string]student.Family) (distill.Report, error) {
	threads := c.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	const steps = 1000
	learning := newBar(sys, "learning", steps)
	learner := distill.New(distill.Options{
		Reader: f.store, Registry: f.registry, Key: f.key, Families: families,
		Task:    func(name string) (*tandem.Task, bool) { return task, name == task.Name },
		Live:    func(string) distill.Serving { return distill.Serving{} },
		Log:     slog.New(slog.DiscardHandler),
		Threads: threads, MaxRows: 1 << 30,
		Progress: func(_ string, done float64) { learning.set(done, steps) },
	})
	report, err := learner.Refit(ctx, task.Name, distill.TriggerPerson)
	learning.finish(err == nil)
	return report, err
}

// finish adds what the learner does not report and writes the student out.
func (c *learnCmd) finish(ctx context.Context, f *folder, task *tandem.Task, r *learnReport, families map[string]student.Family, gold []tandem.Trace) error {
	if r.Certificate.Status == tandem.Valid {
		r.SavedUSD = 1000 * c.Price * r.Certificate.Coverage
	}
	if r.Version == "" {
		if c.Out != "" {
			return fmt.Errorf("no student was trained, so nothing is written to %s: %s", c.Out, r.Certificate.Why)
		}
		return nil
	}
	versions, err := f.store.Versions(ctx, task.Name)
	if err != nil {
		return fmt.Errorf("read versions: %w", err)
	}
	for _, v := range versions {
		if v.Name != r.Version {
			continue
		}
		blob, err := f.store.Artefact(ctx, v.Artefact)
		if err != nil {
			return fmt.Errorf("read the student: %w", err)
		}
		if c.Out != "" {
			if err := writeWhole(c.Out, blob); err != nil {
				return err
			}
		}
		s, err := student.Load(families, blob)
		if err != nil {
			return fmt.Errorf("read the student: %w", err)
		}
		r.Gold = judge(s, task, r.Certificate, gold)
	}
	return nil
}

// judge compares student and teacher with the truth.
func judge(s *student.Student, task *tandem.Task, cert tandem.Certificate, gold []tandem.Trace) *goldReport {
	if len(gold) == 0 {
		return nil
	}
	never := map[string]bool{}
	for _, l := range task.NeverServe {
		never[l] = true
	}
	var teacher, alone, both int
	for i := range gold {
		t := &gold[i]
		p := s.Predict(&t.Input)
		label := s.Labels()[p.Label]
		serves := cert.Status == tandem.Valid && p.Score >= cert.Threshold && !never[label]
		byTeacher, byStudent := t.Teacher == t.Gold, label == t.Gold
		teacher += one(byTeacher)
		alone += one(byStudent)
		both += one(serves && byStudent || !serves && byTeacher)
	}
	n := float64(len(gold))
	return &goldReport{Rows: len(gold), Teacher: float64(teacher) / n, Student: float64(alone) / n, Both: float64(both) / n}
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// writeWhole writes a file completely or not at all.
func writeWhole(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".tandem-*")
	if err != nil {
		return fmt.Errorf("write student: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write student: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
