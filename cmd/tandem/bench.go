package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"tandem"
	"tandem/bench"
	"tandem/internal/config"
	"tandem/internal/student"
	"tandem/internal/student/all"
)

type benchCmd struct {
	Offload  benchOffloadCmd  `cmd:"" help:"How much of recorded traffic a certificate lets a student answer."`
	Accuracy benchAccuracyCmd `cmd:"" help:"How often a student without a gate is right."`
	Stream   benchStreamCmd   `cmd:"" help:"How a task learns from nothing, request by request."`
	Drift    benchDriftCmd    `cmd:"" help:"How soon a broken promise is noticed, and how often an alarm is false."`
	Serve    benchServeCmd    `cmd:"" help:"What answering over HTTP costs beside a bare handler."`
	All      benchAllCmd      `cmd:"" help:"Run the whole table and write it into docs/benchmarks.md."`
}

// rowsFlags say where recorded answers are.
type rowsFlags struct {
	CSV     []string `name:"csv" sep:"none" placeholder:"FILE" help:"File of recorded answers (.csv with a header, .jsonl, or .json splits of [text, label] pairs); repeat to join several."`
	Text    string   `default:"text" placeholder:"COL" help:"Column with the text."`
	Teacher string   `default:"teacher" placeholder:"COL" help:"Column with the large model's answer."`
	Gold    string   `placeholder:"COL" help:"Column with the true answer, if there is one."`
	Exclude []string `name:"exclude-label" placeholder:"LABEL" help:"Leave out rows with this teacher label; repeat for several."`
	Split   []string `placeholder:"NAME" help:"Splits of a .json file to read (default: all)."`
	Family  []string `placeholder:"NAME" help:"Families of students to train (default: all but the slow ones)."`
	Encoder string   `placeholder:"NAME" help:"Text encoder to build on: a fetched model or a folder (default: none)."`
}

// table is the families of students, with those on an encoder when one is
// named.
func (f *rowsFlags) table(sys system) (map[string]student.Family, error) {
	if f.Encoder == "" {
		return all.Families(), nil
	}
	cfg := config.Default()
	cfg.Learning.Encoder = f.Encoder
	e, err := openEncoder(sys, cfg)
	if err != nil {
		return nil, err
	}
	return all.With(e, nil), nil
}

// families picks those named of the table.
func (f *rowsFlags) families(sys system) ([]student.Family, error) {
	table, err := f.table(sys)
	if err != nil {
		return nil, err
	}
	return bench.Families(table, f.names(table))
}

// names are the families named, or the usual ones that there are.
func (f *rowsFlags) names(table map[string]student.Family) []string {
	if len(f.Family) > 0 {
		return f.Family
	}
	var names []string
	use, _ := student.Fitting(table, tandem.Task{Families: all.Default()})
	for _, family := range use {
		names = append(names, family.Name())
	}
	return names
}

func (f *rowsFlags) source() bench.Source {
	return bench.Source{Paths: f.CSV, Text: f.Text, Teacher: f.Teacher, Gold: f.Gold, Exclude: f.Exclude, Splits: f.Split}
}

type benchOffloadCmd struct {
	rowsFlags
	jsonFlag
	Test  string   `placeholder:"FILE" help:"Test on this file instead of a part of the rows."`
	Alpha []string `default:"0.05,0.1" placeholder:"SHARE" help:"Tolerated disagreement with the teacher; several after commas."`
	Delta string   `default:"0.1" placeholder:"SHARE" help:"Probability that the promise is wrong."`
	Seeds int      `default:"20" help:"How often the rows are split anew."`

	Limit   int    `placeholder:"N" help:"Use only N of the rows of every seed; the smaller are part of the larger."`
	Splits  string `placeholder:"FILE" help:"Write the rows and the parts of every seed to this file for another program, and measure nothing."`
	Answers string `placeholder:"FILE" help:"Judge the answers another program gave to those parts, in place of a student's."`
}

// Help implements kong.HelpProvider.
func (benchOffloadCmd) Help() string {
	return "For every seed the rows are split into 50 % to train, 25 % to certify and 25 % to test (with --test: 75 % and 25 %, " +
		"and the whole test file). Rows without a teacher's answer are skipped and counted. With --json, one line per alpha.\n\n" +
		"Examples:\n  tandem bench offload --csv log.csv --text message --teacher gpt_label --alpha 0.05,0.1\n" +
		"  tandem bench offload --csv data_full.json --teacher intent --exclude-label oos --alpha 0.05 --json"
}

// Run measures and prints.
func (c *benchOffloadCmd) Run(ctx context.Context, sys system) error {
	if c.Splits != "" {
		o, err := c.offload(sys)
		if err != nil {
			return err
		}
		return toFile(c.Splits, o.WriteSplits)
	}
	results, err := c.measure(ctx, sys)
	if err != nil {
		return err
	}
	if c.JSON {
		return jsonLines(sys.stdout, results)
	}
	_, err = fmt.Fprintf(sys.stdout, "%s\n%s\n", bench.OffloadTable(results, nil), bench.OffloadFacts(results[0]))
	return err
}

func (c *benchOffloadCmd) offload(sys system) (o bench.Offload, err error) {
	o = bench.Offload{Source: c.source(), Test: c.Test, Seeds: c.Seeds, Limit: c.Limit, Answers: c.Answers}
	if o.Families, err = c.families(sys); err != nil {
		return o, err
	}
	if o.Alphas, err = numbers("--alpha", c.Alpha); err != nil {
		return o, err
	}
	o.Delta, err = number("--delta", c.Delta)
	return o, err
}

func (c *benchOffloadCmd) measure(ctx context.Context, sys system) ([]bench.OffloadResult, error) {
	o, err := c.offload(sys)
	if err != nil {
		return nil, err
	}
	return benched(sys, "seeds", func(progress func(done, total int)) ([]bench.OffloadResult, error) {
		o.Progress = progress
		return o.Run(ctx)
	})
}

type benchAccuracyCmd struct {
	rowsFlags
	jsonFlag
	Test      string   `required:"" placeholder:"FILE" help:"File to test on, with the same columns."`
	TestSplit []string `placeholder:"NAME" help:"Splits of a .json file to test on (default: all)."`
	Outside   string   `placeholder:"LABEL" help:"Rows with this label are no part of the task: not trained on, and to be told from the others by their score."`
	Seeds     int      `default:"1" help:"How often to train."`
	Splits    string   `placeholder:"FILE" help:"Write the rows to this file for another program, and measure nothing."`
	Answers   string   `placeholder:"FILE" help:"Judge the answers another program gave to those rows, in place of a student's."`
}

// Help implements kong.HelpProvider.
func (benchAccuracyCmd) Help() string {
	return "The student is trained on every row and answers every test row. AUROC is the chance that a row of the task has a " +
		"higher score than one outside it.\n\n" +
		"Examples:\n  tandem bench accuracy --csv train.csv --text message --teacher intent --test test.csv\n" +
		"  tandem bench accuracy --csv data_full.json --teacher intent --split train --test data_full.json --test-split test --test-split oos_test --outside oos"
}

// Run measures and prints.
func (c *benchAccuracyCmd) Run(ctx context.Context, sys system) error {
	source := c.source()
	test := source
	test.Paths, test.Splits = []string{c.Test}, c.TestSplit
	a := bench.Accuracy{Source: source, Test: test, Outside: c.Outside, Seeds: c.Seeds, Answers: c.Answers}
	var err error
	if a.Families, err = c.families(sys); err != nil {
		return err
	}
	if c.Splits != "" {
		return toFile(c.Splits, a.WriteSplits)
	}
	r, err := benched(sys, "seeds", func(progress func(done, total int)) (bench.AccuracyResult, error) {
		a.Progress = progress
		return a.Run(ctx)
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return jsonLines(sys.stdout, []bench.AccuracyResult{r})
	}
	_, err = fmt.Fprintln(sys.stdout, bench.AccuracyTable([]bench.AccuracyResult{r}))
	return err
}

type benchStreamCmd struct {
	rowsFlags
	jsonFlag
	Seeds     string   `name:"seed-rows" placeholder:"FILE" help:"Rows known at the start."`
	SeedLabel string   `placeholder:"COL" help:"Column of their label (default: as --teacher)."`
	Alpha     string   `default:"0.1" placeholder:"SHARE" help:"Tolerated disagreement with the teacher."`
	Delta     string   `default:"0.1" placeholder:"SHARE" help:"Probability that the promise is wrong."`
	Audit     string   `default:"0.05" placeholder:"SHARE" help:"Share of served answers that is checked with the teacher."`
	Price     float64  `default:"0.001" placeholder:"USD" help:"What one call to the teacher costs."`
	Lambda    []string `default:"0.05,0.1,0.2,0.3,0.4,0.5" placeholder:"X" help:"Prices of a call in accuracy, for the discounted accuracy."`
	Shuffles  int      `default:"5" help:"How many orders of the rows to play."`
	Points    int      `default:"10" help:"Points of the curve."`
}

// Help implements kong.HelpProvider.
func (benchStreamCmd) Help() string {
	return "The rows come one by one as requests; each is judged before anything is learnt from it. The cascade, the learner " +
		"and the watchdog are the ones that serve; time is simulated, so training costs no requests.\n\n" +
		"Examples:\n  tandem bench stream --csv log.csv --text message --teacher gpt_label --gold truth\n" +
		"  tandem bench stream --csv log.csv --teacher gpt_label --seed-rows first.csv --seed-label label --json"
}

// Run measures and prints.
func (c *benchStreamCmd) Run(ctx context.Context, sys system) error {
	result, err := c.measure(ctx, sys)
	if err != nil {
		return err
	}
	if c.JSON {
		return jsonLines(sys.stdout, []bench.StreamResult{result})
	}
	_, err = fmt.Fprintf(sys.stdout, "%s\n%s\n%s\n%s\n", bench.StreamTable(result), bench.CurveTable(result), bench.DiscountedTable(result), bench.StreamFacts(result))
	return err
}

func (c *benchStreamCmd) measure(ctx context.Context, sys system) (bench.StreamResult, error) {
	s := bench.Stream{
		Source: c.source(), Seeds: c.Seeds, SeedLabel: c.SeedLabel, Price: c.Price,
		Shuffles: c.Shuffles, Points: c.Points,
	}
	var err error
	if s.Families, err = c.table(sys); err != nil {
		return bench.StreamResult{}, err
	}
	s.Names = c.names(s.Families)
	for _, n := range []struct {
		flag, text string
		into       *float64
	}{{"--alpha", c.Alpha, &s.Alpha}, {"--delta", c.Delta, &s.Delta}, {"--audit", c.Audit, &s.Audit}} {
		if *n.into, err = number(n.flag, n.text); err != nil {
			return bench.StreamResult{}, err
		}
	}
	if s.Lambdas, err = numbers("--lambda", c.Lambda); err != nil {
		return bench.StreamResult{}, err
	}
	return benched(sys, "requests", func(progress func(done, total int)) (bench.StreamResult, error) {
		s.Progress = progress
		return s.Run(ctx)
	})
}

type benchDriftCmd struct {
	rowsFlags
	jsonFlag
	After   string   `placeholder:"COL" help:"Change: from here on this column is the teacher."`
	Change  []string `sep:"none" placeholder:"FILE" help:"Change: from here on the rows of this file; repeat to join several."`
	Alpha   string   `default:"0.1" placeholder:"SHARE" help:"Tolerated disagreement with the teacher."`
	Delta   string   `default:"0.1" placeholder:"SHARE" help:"Probability of ever raising a false alarm."`
	Drift   string   `default:"0.0005" placeholder:"X" help:"Inverse of the mean audits between false drift warnings."`
	Audit   string   `default:"0.05" placeholder:"SHARE" help:"Share of served answers that is checked with the teacher."`
	Jump    string   `default:"0.1" placeholder:"SHARE" help:"How much the risk grows in the simulated change."`
	Replays int      `default:"1000" help:"How many streams of each kind to play."`
	Audits  int      `default:"2000" help:"Audits in a stream without a change, and at most after one."`
	Before  int      `default:"500" help:"Audits before a change."`
	Seed    uint64   `default:"1" help:"Seed of the split, the training and the replays."`
}

// Help implements kong.HelpProvider.
func (benchDriftCmd) Help() string {
	return "Without --csv only simulated streams are played: answers that differ from the teacher's exactly as often as is " +
		"promised, and a jump from there. With it a student is trained and certified, and its answers to rows it has not seen " +
		"are replayed as well. The two textbook tests beside tandem's are looked at after every audit, as people do.\n\n" +
		"Examples:\n  tandem bench drift\n  tandem bench drift --csv log.csv --teacher gpt4 --after gpt35 --json\n" +
		"  tandem bench drift --csv may.csv --change june.csv --teacher gpt4"
}

// Run measures and prints.
func (c *benchDriftCmd) Run(ctx context.Context, sys system) error {
	results, err := c.measure(ctx, sys)
	if err != nil {
		return err
	}
	if c.JSON {
		return jsonLines(sys.stdout, results)
	}
	_, err = fmt.Fprintln(sys.stdout, bench.DriftTable(results))
	return err
}

func (c *benchDriftCmd) measure(ctx context.Context, sys system) ([]bench.DriftResult, error) {
	d := bench.Drift{Source: c.source(), Change: c.Change, Replays: c.Replays, Audits: c.Audits, Before: c.Before, Seed: c.Seed}
	d.Source.After = c.After
	var err error
	for _, n := range []struct {
		flag, text string
		into       *float64
	}{
		{"--alpha", c.Alpha, &d.Alpha},
		{"--delta", c.Delta, &d.Delta},
		{"--drift", c.Drift, &d.Drift},
		{"--audit", c.Audit, &d.Rate},
		{"--jump", c.Jump, &d.Jump},
	} {
		if *n.into, err = number(n.flag, n.text); err != nil {
			return nil, err
		}
	}
	if d.Families, err = c.families(sys); err != nil {
		return nil, err
	}
	return benched(sys, "streams", func(progress func(done, total int)) ([]bench.DriftResult, error) {
		d.Progress = progress
		return d.Run(ctx)
	})
}

// benched runs a measurement behind a progress bar.
func benched[R any](sys system, what string, run func(progress func(done, total int)) (R, error)) (R, error) {
	const steps = 1000
	b := newBar(sys, what, steps)
	r, err := run(func(done, total int) { b.set(float64(done)/float64(total), steps) })
	b.finish(err == nil)
	return r, err
}

// toFile writes a new file.
func toFile(path string, write func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the splits: %w", err)
	}
	defer func() {
		if closed := f.Close(); err == nil && closed != nil {
			err = fmt.Errorf("write the splits: %w", closed)
		}
	}()
	return write(f)
}

// jsonLines prints one line per result.
func jsonLines[R any](w io.Writer, results []R) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, r := range results {
		if err := e.Encode(r); err != nil {
			return fmt.Errorf("print the result: %w", err)
		}
	}
	return nil
}

// number reads a number such as 0.05 or 5%.
func number(flag, text string) (float64, error) {
	digits, isPercent := strings.CutSuffix(strings.TrimSpace(text), "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if err != nil {
		return 0, usage("%s: %q is no number such as 0.05 or 5%%", flag, text)
	}
	if isPercent {
		x /= 100
	}
	return x, nil
}

func numbers(flag string, texts []string) ([]float64, error) {
	out := make([]float64, len(texts))
	for i, t := range texts {
		var err error
		if out[i], err = number(flag, t); err != nil {
			return nil, err
		}
	}
	return out, nil
}
