package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"tandem"
	"tandem/internal/config"
)

type learnCmd struct {
	jsonFlag
	From    string  `required:"" placeholder:"FILE" help:"JSON lines with one answered question each; - is standard input."`
	Text    string  `default:"input" placeholder:"FIELD" help:"Field with the text; a path such as request.text reaches inside."`
	Teacher string  `default:"teacher" placeholder:"FIELD" help:"Field with the large model's answer."`
	Gold    string  `placeholder:"FIELD" help:"Field with the true answer, if some lines have it; only reported."`
	Session string  `placeholder:"FIELD" help:"Field that groups lines which belong together, such as a conversation."`
	Task    string  `default:"learnt" placeholder:"NAME" help:"Name of the task."`
	Alpha   string  `default:"0.05" help:"Share of the student's answers that may differ from the teacher's."`
	Delta   string  `default:"0.1" help:"Probability that this promise is wrong."`
	Price   float64 `placeholder:"USD" help:"What one answer of the teacher costs, to estimate savings."`
	Threads int     `placeholder:"N" help:"Processors to use (default: all)."`
	Seed    uint64  `default:"1" help:"Seed of the split and the training."`
	Data    string  `placeholder:"DIR" xor:"where" help:"Data folder to keep the student and the rows in, for tandem serve."`
	Out     string  `short:"o" placeholder:"FILE" xor:"where" help:"File to write the student to."`
	Hardest int     `default:"5" help:"How many of the hardest examples to show."`
}

// Help implements kong.HelpProvider.
func (learnCmd) Help() string {
	return "Three quarters of the lines train a student, the rest test it; the certificate says which share of the traffic " +
		"it may answer and still keep the promise. With --data the student serves from then on as the task's first version.\n\n" +
		"Examples:\n  tandem learn --from log.jsonl --text message --teacher answer\n" +
		"  tandem learn --from log.jsonl --text request.text --teacher reply --alpha 2% --price 0.0004 --data ./tandem-data --task support\n" +
		"  tandem learn --from log.jsonl --json > report.json"
}

// learnRow is one answered question.
type learnRow struct {
	Line    int
	Text    string
	Teacher string
	Gold    string // "" when unknown
	Session string // "" stands alone
}

// learnJob is what train needs.
type learnJob struct {
	Task     tandem.Task
	Rows     iter.Seq2[learnRow, error] // an error ends the rows
	Data     string                     // folder to keep the student in, "" for none
	Threads  int                        // 0: all processors
	Seed     uint64
	Hardest  int
	Progress func(done float64) // in [0, 1]
}

// learnReport is what came of it.
type learnReport struct {
	Task        string             `json:"task"`
	Rows        int                `json:"rows"`
	Outside     int                `json:"outside"` // rows whose answer cannot be a label; not learnt from
	Labels      int                `json:"labels"`
	Train       int                `json:"train_rows"`
	Test        int                `json:"test_rows"`
	Families    []string           `json:"families"`
	Agreement   float64            `json:"agreement"` // with the teacher on the test rows, everything answered
	Certificate tandem.Certificate `json:"certificate"`
	Frontier    []frontier         `json:"frontier"`
	Hardest     []hardExample      `json:"hardest"`
	Gold        *goldReport        `json:"gold,omitempty"`
	TrainSec    float64            `json:"train_s"`
	Version     string             `json:"version,omitempty"` // in the data folder
	Bytes       int                `json:"bytes"`             // size of the student
	SavedUSD    float64            `json:"saved_usd_per_1000,omitempty"`
	Artefact    []byte             `json:"-"`
}

// frontier is what would be served under another promise.
type frontier struct {
	Alpha     float64 `json:"alpha"`
	Served    float64 `json:"served"`
	Threshold float64 `json:"threshold"`
	Certified bool    `json:"certified"`
}

// hardExample is a test row on which student and teacher differ, the student
// being sure.
type hardExample struct {
	Line    int     `json:"line"`
	Text    string  `json:"text"`
	Teacher string  `json:"teacher"`
	Student string  `json:"student"`
	Score   float64 `json:"score"`
}

// goldReport compares with the truth on test rows that have it.
type goldReport struct {
	Rows    int     `json:"rows"`
	Teacher float64 `json:"teacher_accuracy"`
	Student float64 `json:"student_accuracy"`
	Cascade float64 `json:"cascade_accuracy"` // student where it would serve, else teacher
}

// Run reads, trains, certifies and reports.
func (c *learnCmd) Run(ctx context.Context, sys system) (err error) {
	task, err := c.task()
	if err != nil {
		return err
	}
	in, size, closeInput, err := input(sys, c.From)
	if err != nil {
		return err
	}
	defer closing(closeInput, &err)
	reading := newBar(sys, "reading ", size)
	var training *bar
	report, err := train(ctx, learnJob{
		Task: task, Rows: c.rows(reading.reader(in)), Data: c.Data,
		Threads: c.Threads, Seed: c.Seed, Hardest: c.Hardest,
		Progress: func(done float64) {
			if training == nil {
				reading.finish(true)
				training = newBar(sys, "learning", steps)
			}
			training.set(done, steps)
		},
	})
	if training == nil {
		reading.finish(err == nil)
	} else {
		training.finish(err == nil)
	}
	if err != nil {
		return err
	}
	report.SavedUSD = 1000 * c.Price * report.Certificate.Coverage
	if c.Out != "" {
		if err := writeWhole(c.Out, report.Artefact); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(sys.stdout, report)
	}
	return c.print(sys, report)
}

const steps = 1000 // of a bar over a share

// task builds the task from the flags, with the bounds of a configuration.
func (c *learnCmd) task() (tandem.Task, error) {
	t := config.DefaultTask()
	t.StoreInputs = true
	t.MaxLabels = 10_000
	for _, f := range []struct {
		name, text string
		share      *config.Share
	}{{"--alpha", c.Alpha, &t.Guarantee.Alpha}, {"--delta", c.Delta, &t.Guarantee.Delta}} {
		if err := f.share.UnmarshalText([]byte(f.text)); err != nil || *f.share <= 0 || *f.share >= 1 {
			return tandem.Task{}, usage("%s: %q is not a share between 0 and 1, such as 0.05 or 5%%", f.name, f.text)
		}
	}
	if c.Price < 0 {
		return tandem.Task{}, usage("--price: must not be negative")
	}
	return t.Tandem(c.Task, 1<<20), nil
}

func (c *learnCmd) print(sys system, r learnReport) error {
	paint := painterFor(sys, sys.stdout)
	cert := r.Certificate
	verdict := paint.good("certified")
	if cert.Status == tandem.Refused {
		verdict = paint.warn("not certified")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n\n", paint.title(r.Task), verdict)
	fmt.Fprintf(&b, "%s\n\n", cert.Why)
	rows := [][]string{
		{"rows", fmt.Sprintf("%s (%s to train, %s to test)", thousands(r.Rows), thousands(r.Train), thousands(r.Test))},
		{"labels", thousands(r.Labels)},
		{"agreement", percent(r.Agreement) + " with the teacher if the student answered everything"},
		{"promise", fmt.Sprintf("at most %s different from the teacher, wrong with probability %s", percent(cert.Alpha), percent(cert.Delta))},
	}
	if r.Outside > 0 {
		rows = append(rows, []string{"left out", count(r.Outside, "row") + " whose answer cannot be a label"})
	}
	if cert.Status == tandem.Refused {
		if cert.Needs > 0 {
			rows = append(rows, []string{"missing", fmt.Sprintf("about %s more answered questions", thousands(cert.Needs))})
		}
	} else {
		rows = append(rows,
			[]string{"threshold", fmt.Sprintf("%.4f", cert.Threshold)},
			[]string{"served", percent(cert.Coverage) + " of the traffic by the student"},
			[]string{"tested", fmt.Sprintf("%s of %s accepted, %s of them different (p = %.3g)", thousands(cert.Accepted), thousands(cert.Rows), thousands(cert.Errors), cert.PValue)},
		)
		if c.Price > 0 {
			rows = append(rows, []string{"saves", dollars(r.SavedUSD) + " per 1,000 requests"})
		}
	}
	rows = append(rows, []string{"student", fmt.Sprintf("%s, %s bytes, trained in %.1f s", strings.Join(r.Families, " + "), thousands(r.Bytes), r.TrainSec)})
	if r.Gold != nil {
		rows = append(rows, []string{"truth", fmt.Sprintf("on %s: teacher %s right, student %s, both together %s",
			count(r.Gold.Rows, "row"), percent(r.Gold.Teacher), percent(r.Gold.Student), percent(r.Gold.Cascade))})
	}
	if r.Version != "" {
		rows = append(rows, []string{"kept", fmt.Sprintf("as %s in %s", r.Version, c.Data)})
	}
	if c.Out != "" {
		rows = append(rows, []string{"written", c.Out})
	}
	if err := errors.Join(table(&b, rows), printFrontier(&b, r), printHardest(&b, r)); err != nil {
		return err
	}
	_, err := io.WriteString(sys.stdout, b.String())
	return err
}

func printFrontier(w io.Writer, r learnReport) error {
	if len(r.Frontier) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nUnder another promise, tested on the same rows (choose before you look, or the promise is worth less):")
	rows := [][]string{{"  MAY DIFFER", "SERVED", "THRESHOLD"}}
	for _, f := range r.Frontier {
		served, threshold := percent(f.Served), fmt.Sprintf("%.4f", f.Threshold)
		if !f.Certified {
			served, threshold = "–", "cannot be promised yet"
		}
		rows = append(rows, []string{"  " + percent(f.Alpha), served, threshold})
	}
	return table(w, rows)
}

func printHardest(w io.Writer, r learnReport) error {
	if len(r.Hardest) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nWhere the student was surest and differs from the teacher:")
	rows := [][]string{{"  LINE", "SCORE", "TEACHER", "STUDENT", "TEXT"}}
	for _, h := range r.Hardest {
		rows = append(rows, []string{
			fmt.Sprintf("  %d", h.Line), fmt.Sprintf("%.3f", h.Score),
			brief(h.Teacher, 28), brief(h.Student, 28), brief(h.Text, 80),
		})
	}
	return table(w, rows)
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
