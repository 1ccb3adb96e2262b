package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tandem/bench"
)

type benchAllCmd struct {
	jsonFlag
	Data string   `default:"../shared/data" placeholder:"DIR" help:"Folder with the public data sets (or set TANDEM_DATA)."`
	Docs string   `default:"docs/benchmarks.md" placeholder:"FILE" help:"Document whose tables are written anew."`
	Only []string `placeholder:"NAME" help:"Only these tables."`
}

// Help implements kong.HelpProvider.
func (benchAllCmd) Help() string {
	return "Every table of the document stands between <!-- bench NAME --> and <!-- end -->; the text around them is left alone. " +
		"It takes about half an hour on two processors.\n\nExamples:\n  tandem bench all\n  tandem bench all --only drift --only serve"
}

// section is one table of the document.
type section struct {
	name    string
	command string // that prints the same figures
	run     func(ctx context.Context, sys system) (table string, results []any, err error)
}

// Run measures every section and writes the document after each.
func (c *benchAllCmd) Run(ctx context.Context, sys system) error {
	if dir := sys.getenv("TANDEM_DATA"); dir != "" {
		c.Data = dir
	}
	if _, err := os.Stat(c.Data); err != nil {
		return fmt.Errorf("find the data sets: %w; name their folder with --data or TANDEM_DATA", err)
	}
	names := make([]string, 0, len(c.sections()))
	for _, s := range c.sections() {
		names = append(names, s.name)
	}
	for _, only := range c.Only {
		if !slices.Contains(names, only) {
			return usage("--only: there is no table %q; there are %s", only, strings.Join(names, ", "))
		}
	}
	for _, s := range c.sections() {
		if len(c.Only) > 0 && !slices.Contains(c.Only, s.name) {
			continue
		}
		fmt.Fprintf(sys.stderr, "%s\n", s.name)
		table, results, err := s.run(ctx, sys)
		if err != nil {
			return fmt.Errorf("measure %s: %w", s.name, err)
		}
		if err := c.write(s, table); err != nil {
			return err
		}
		if c.JSON {
			if err := jsonLines(sys.stdout, results); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *benchAllCmd) write(s section, table string) error {
	document, err := os.ReadFile(c.Docs)
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	m := bench.ThisMachine()
	content := fmt.Sprintf("```\n%s\n```\n%s\n\n%s\n", s.command,
		fmt.Sprintf("Measured on %s with %d processors (%s), %s.", time.Now().UTC().Format("2006-01-02"), m.Processors, m.CPU, m.Go), table)
	if document, err = bench.Put(document, s.name, content); err != nil {
		return err
	}
	if err := os.WriteFile(c.Docs, document, 0o644); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}

// sections are the tables in the order of the document.
func (c *benchAllCmd) sections() []section {
	ocats := rowsFlags{CSV: []string{"banking77_gpt/test_gpt.csv", "banking77_gpt/dev_gpt.csv"}, Text: "text", Teacher: "gpt-label", Gold: "label"}
	isear := rowsFlags{CSV: []string{"isear_llm/isear.csv"}, Text: "text", Teacher: "gpt35", Gold: "gold"}
	banking := rowsFlags{CSV: []string{"banking77_gpt/train_gold.csv"}, Text: "text", Teacher: "label"}
	clinc := rowsFlags{CSV: []string{"clinc150/data_full.json"}, Text: "text", Teacher: "intent", Exclude: []string{"oos"}}
	swapped := rowsFlags{CSV: []string{"banking77_gpt/test_gpt.csv"}, Text: "text", Teacher: "gpt-label"}
	return []section{
		c.offload("offload-gpt4", benchOffloadCmd{rowsFlags: ocats, Alpha: []string{"0.05", "0.1", "0.2"}}, map[float64]float64{0.1: 0.52}),
		c.offload("offload-gpt35", benchOffloadCmd{rowsFlags: isear, Alpha: []string{"0.1", "0.2"}}, map[float64]float64{0.2: 0.54}),
		c.offload("offload-banking77", benchOffloadCmd{rowsFlags: banking, Test: "banking77_gpt/test_gpt.csv", Alpha: []string{"0.01", "0.02", "0.05"}}, map[float64]float64{0.05: 0.88}),
		c.offload("offload-clinc150", benchOffloadCmd{rowsFlags: clinc, Alpha: []string{"0.01", "0.02", "0.05"}}, map[float64]float64{0.05: 0.90}),
		c.stream("stream-gpt4", benchStreamCmd{rowsFlags: ocats, Alpha: "0.1"}),
		c.drift("drift-simulated", benchDriftCmd{Alpha: "0.05"}),
		c.drift("drift-teacher", benchDriftCmd{rowsFlags: swapped, Alpha: "0.2", After: "gpt35-label_rep"}),
		c.serve("serve"),
	}
}

// in makes paths of data sets whole.
func (c *benchAllCmd) in(f rowsFlags) rowsFlags {
	f.CSV = slices.Clone(f.CSV)
	for i := range f.CSV {
		f.CSV[i] = filepath.Join(c.Data, f.CSV[i])
	}
	return f
}

// words is how the flags are written on a command line.
func (f *rowsFlags) words() string {
	var b strings.Builder
	for _, path := range f.CSV {
		fmt.Fprintf(&b, " --csv $TANDEM_DATA/%s", path)
	}
	if len(f.CSV) > 0 {
		fmt.Fprintf(&b, " --text %s --teacher %s", f.Text, f.Teacher)
	}
	if f.Gold != "" {
		fmt.Fprintf(&b, " --gold %s", f.Gold)
	}
	for _, l := range f.Exclude {
		fmt.Fprintf(&b, " --exclude-label %s", l)
	}
	return b.String()
}

func (c *benchAllCmd) offload(name string, cmd benchOffloadCmd, floors map[float64]float64) section {
	cmd.Delta, cmd.Seeds = "0.1", 20
	line := "tandem bench offload" + cmd.words()
	if cmd.Test != "" {
		line += " --test $TANDEM_DATA/" + cmd.Test
	}
	line += fmt.Sprintf(" --alpha %s --delta %s --seeds %d", strings.Join(cmd.Alpha, ","), cmd.Delta, cmd.Seeds)
	return section{name: name, command: line, run: func(ctx context.Context, sys system) (string, []any, error) {
		cmd.rowsFlags = c.in(cmd.rowsFlags)
		if cmd.Test != "" {
			cmd.Test = filepath.Join(c.Data, cmd.Test)
		}
		results, err := cmd.measure(ctx, sys)
		if err != nil {
			return "", nil, err
		}
		return bench.OffloadTable(results, floors).String() + "\n" + bench.OffloadFacts(results[0]), asAny(results), nil
	}}
}

func (c *benchAllCmd) stream(name string, cmd benchStreamCmd) section {
	cmd.Delta, cmd.Audit, cmd.Price, cmd.Shuffles, cmd.Points = "0.1", "0.05", 0.001, 5, 10
	cmd.Lambda = []string{"0.05", "0.1", "0.2", "0.3", "0.4", "0.5"}
	line := fmt.Sprintf("tandem bench stream%s --alpha %s --delta %s --audit %s --shuffles %d", cmd.words(), cmd.Alpha, cmd.Delta, cmd.Audit, cmd.Shuffles)
	return section{name: name, command: line, run: func(ctx context.Context, sys system) (string, []any, error) {
		cmd.rowsFlags = c.in(cmd.rowsFlags)
		r, err := cmd.measure(ctx, sys)
		if err != nil {
			return "", nil, err
		}
		return fmt.Sprintf("%s\n%s\n%s\n%s", bench.StreamTable(r), bench.CurveTable(r), bench.DiscountedTable(r), bench.StreamFacts(r)), []any{r}, nil
	}}
}

func (c *benchAllCmd) drift(name string, cmd benchDriftCmd) section {
	cmd.Delta, cmd.Drift, cmd.Audit, cmd.Jump = "0.1", "0.0005", "0.05", "0.1"
	cmd.Replays, cmd.Audits, cmd.Before, cmd.Seed = 1000, 2000, 500, 1
	line := "tandem bench drift" + cmd.words()
	if cmd.After != "" {
		line += " --after " + cmd.After
	}
	line += fmt.Sprintf(" --alpha %s --delta %s --audit %s --jump %s --replays %d --audits %d --before %d",
		cmd.Alpha, cmd.Delta, cmd.Audit, cmd.Jump, cmd.Replays, cmd.Audits, cmd.Before)
	return section{name: name, command: line, run: func(ctx context.Context, sys system) (string, []any, error) {
		cmd.rowsFlags = c.in(cmd.rowsFlags)
		results, err := cmd.measure(ctx, sys)
		if err != nil {
			return "", nil, err
		}
		return strings.TrimRight(bench.DriftTable(results).String(), "\n"), asAny(results), nil
	}}
}

func (c *benchAllCmd) serve(name string) section {
	cmd := benchServeCmd{Requests: 20000, Connections: 16, Rounds: 7, Texts: 500}
	line := fmt.Sprintf("tandem bench serve --requests %d --connections %d --rounds %d", cmd.Requests, cmd.Connections, cmd.Rounds)
	return section{name: name, command: line, run: func(ctx context.Context, sys system) (string, []any, error) {
		r, err := cmd.measure(ctx, sys)
		if err != nil {
			return "", nil, err
		}
		return bench.ServeTable(r).String() + "\n" + bench.ServeVerdict(r), []any{r}, nil
	}}
}

func asAny[R any](results []R) []any {
	out := make([]any, len(results))
	for i := range results {
		out[i] = results[i]
	}
	return out
}
