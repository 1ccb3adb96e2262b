package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"tandem"
)

// A comparison with another program must give it the same rows in the same
// parts, and judge its answers by the same certificate. Splits and answers are
// two files of JSON Lines that carry the one out and the other back in.

// splitHead is the first line of a file of splits: every row there is.
type splitHead struct {
	Rows []splitRow `json:"rows"`
	Test []splitRow `json:"test,omitempty"` // of a test file of its own
}

type splitRow struct {
	Text  string `json:"text"`
	Label string `json:"label"` // the teacher's answer
	Gold  string `json:"gold,omitempty"`
}

// splitLine is a further line: the parts of one seed as numbers of rows, from
// 0. Without test rows of their own, Test numbers rows as well; with them it
// is absent and every test row is meant.
type splitLine struct {
	Seed    uint64 `json:"seed"`
	Fit     []int  `json:"fit"`
	Certify []int  `json:"certify"`
	Test    []int  `json:"test,omitempty"`
}

// WriteSplits writes the rows and the parts that Run would use.
func (o Offload) WriteSplits(w io.Writer) error {
	if err := o.check(); err != nil {
		return err
	}
	rows, test, err := o.read()
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(w)
	out := json.NewEncoder(buffered)
	out.SetEscapeHTML(false)
	if err := out.Encode(splitHead{splitRows(rows.Rows), splitRows(test.Rows)}); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	for s := range o.Seeds {
		if err := out.Encode(cut(len(rows.Rows), test.Rows != nil, o.Limit, uint64(s)+1)); err != nil {
			return fmt.Errorf("write splits: %w", err)
		}
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write splits: %w", err)
	}
	return nil
}

func splitRows(rows []Row) []splitRow {
	out := make([]splitRow, len(rows))
	for i, r := range rows {
		out[i] = splitRow{r.Text, r.Teacher, r.Gold}
	}
	return out
}

// answersLine is one line of a file of answers: what another program answered
// for one seed, in the order of the rows in the splits.
type answersLine struct {
	Name string `json:"name"`
	Seed uint64 `json:"seed"`
	// Fit are answers to the fit rows by models that had not seen the row, ""
	// where there is none. They order the thresholds and are not asked for
	// when the program has a gate of its own.
	Fit     answersPart `json:"fit"`
	Certify answersPart `json:"certify"`
	Test    answersPart `json:"test"`
	// Accept, by test row, is the decision of the program's own gate. When
	// given, it is judged in place of a certificate.
	Accept []bool  `json:"accept,omitempty"`
	Train  float64 `json:"train_s"` // seconds
	Micros float64 `json:"p50_us"`  // of one prediction
}

// answersPart is labels with scores in [0, 1], by row.
type answersPart struct {
	Labels []string  `json:"labels"`
	Scores []float64 `json:"scores"`
}

// answersFile holds the answers of another program, by seed.
type answersFile struct {
	name  string
	seeds map[uint64]*answersLine
}

func readAnswers(path string) (*answersFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &tandem.Error{Code: tandem.InvalidRequest, Message: "cannot open " + path, Cause: err}
	}
	defer f.Close()
	return decodeAnswers(f, path)
}

func decodeAnswers(r io.Reader, path string) (*answersFile, error) {
	all := &answersFile{seeds: map[uint64]*answersLine{}}
	in := bufio.NewReader(r)
	for line := 1; ; line++ {
		text, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if text = bytes.TrimSpace(text); len(text) > 0 {
			a := new(answersLine)
			if err := json.Unmarshal(text, a); err != nil {
				return nil, bad(path, line, "not a line of answers: %v", err)
			}
			for _, p := range []answersPart{a.Fit, a.Certify, a.Test} {
				if len(p.Labels) != len(p.Scores) {
					return nil, bad(path, line, "%d labels and %d scores", len(p.Labels), len(p.Scores))
				}
				for _, s := range p.Scores {
					if !(s >= 0 && s <= 1) {
						return nil, bad(path, line, "the score %g is not in [0, 1]", s)
					}
				}
			}
			switch {
			case all.seeds[a.Seed] != nil:
				return nil, bad(path, line, "seed %d comes twice", a.Seed)
			case all.name != "" && a.Name != all.name:
				return nil, bad(path, line, "the answers are of %q, those before of %q", a.Name, all.name)
			}
			all.name, all.seeds[a.Seed] = a.Name, a
		}
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if len(all.seeds) == 0 {
		return nil, bad(path, 1, "there are no answers in the file")
	}
	return all, nil
}

// trial is newTrial with recorded answers in place of a student.
func (r *answersFile) trial(rows parts, seed uint64) (*trial, error) {
	a := r.seeds[seed]
	if a == nil {
		return nil, tandem.Errorf(tandem.InvalidRequest, "there are no answers for seed %d; the file has %d seeds", seed, len(r.seeds))
	}
	t := &trial{
		accept: a.Accept, took: a.Train, micros: a.Micros, labels: len(dataset(rows.fit).Labels),
		split: Split{len(rows.fit), len(rows.certify), len(rows.test)},
	}
	var err error
	if t.test, err = a.Test.beside(rows.test, seed, "test"); err != nil {
		return nil, err
	}
	if t.accept != nil {
		if len(t.accept) != len(t.test) {
			return nil, tandem.Errorf(tandem.InvalidRequest, "seed %d: %d decisions for %d test rows", seed, len(t.accept), len(t.test))
		}
		return t, nil
	}
	if len(rows.certify) == 0 {
		return t, nil
	}
	if t.cert, err = a.Certify.beside(rows.certify, seed, "certify"); err != nil {
		return nil, err
	}
	fit, err := a.Fit.beside(rows.fit, seed, "fit")
	if err != nil {
		return nil, err
	}
	for i := range fit {
		if fit[i].label != "" {
			t.report.Scores = append(t.report.Scores, fit[i].score)
			t.report.Correct = append(t.report.Correct, !fit[i].wrong())
		}
	}
	return t, nil
}

// beside puts answers beside the rows they belong to.
func (p answersPart) beside(rows []Row, seed uint64, name string) ([]answered, error) {
	if len(p.Labels) != len(rows) {
		return nil, tandem.Errorf(tandem.InvalidRequest, "seed %d: %d answers for %d %s rows; were they made with the splits of these flags?", seed, len(p.Labels), len(rows), name)
	}
	out := make([]answered, len(rows))
	for i := range rows {
		out[i] = answered{Row: rows[i], label: p.Labels[i], score: p.Scores[i]}
	}
	return out, nil
}
