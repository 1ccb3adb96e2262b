package bench

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"tandem"
)

// Table is a table for people, in documents and on terminals alike.
type Table struct {
	Head []string
	Rows [][]string
}

// String lays the table out in Markdown with padded columns. The first column
// is aligned to the left, the others to the right.
func (t Table) String() string {
	width := make([]int, len(t.Head))
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 3)
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				b.WriteString("| " + cell + pad)
			} else {
				b.WriteString(" | " + pad + cell)
			}
		}
		b.WriteString(" |\n")
	}
	line(t.Head)
	for i, w := range width {
		if i == 0 {
			b.WriteString("|" + strings.Repeat("-", w+2))
		} else {
			b.WriteString("|" + strings.Repeat("-", w+1) + ":")
		}
	}
	b.WriteString("|\n")
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}

// OffloadTable lays out results of Offload. Floors are the shares a result
// must serve, by alpha; a result that misses its floor says so.
func OffloadTable(results []OffloadResult, floors map[float64]float64) Table {
	t := Table{Head: []string{"α", "served", "±", "disagreement", "seeds over α", "clearly", "refused", "cascade", "teacher", "agreement of the student alone", "floor"}}
	for _, r := range results {
		over := fmt.Sprintf("%d of %d", r.Violations, r.Seeds)
		if !r.Within {
			over += " (too many)"
		}
		t.Rows = append(t.Rows, []string{
			percent(r.Alpha, 0), percent(r.ServedMean, 1), percent(r.ServedSD, 1), percent(r.DisagreementMean, 1), over,
			fmt.Sprint(r.Clear), fmt.Sprint(r.Refused), optional(r.AccuracyCascade), optional(r.AccuracyTeacher), percent(r.Agreement, 1), floor(floors, r.Alpha, r.ServedMean),
		})
	}
	return t
}

func floor(floors map[float64]float64, alpha, got float64) string {
	want, ok := floors[alpha]
	switch {
	case !ok:
		return ""
	case got < want:
		return fmt.Sprintf("%s: missed", percent(want, 0))
	}
	return fmt.Sprintf("%s: met", percent(want, 0))
}

// OffloadFacts is one line on what the results rest on.
func OffloadFacts(r OffloadResult) string {
	test := ""
	if r.TestRows > 0 {
		test = fmt.Sprintf(" and %d of a test file", r.TestRows)
	}
	family := r.Family
	if r.Chosen != "" {
		family += " (in the first seed " + r.Chosen + ")"
	}
	return fmt.Sprintf("%d rows%s, %d labels; fit %d, certify %d, test %d a seed; family %s; training %.1f s on one thread; one prediction %.0f µs (median).",
		r.Rows, test, r.Labels, r.Splits.Fit, r.Splits.Certify, r.Splits.Test, family, r.TrainSeconds, r.P50Micros)
}

// AccuracyTable lays out results of Accuracy.
func AccuracyTable(results []AccuracyResult) Table {
	t := Table{Head: []string{"student", "right", "±", "AUROC", "training", "one answer", "rows", "test rows", "outside"}}
	for _, r := range results {
		area := ""
		if r.AUROC != nil {
			area = fmt.Sprintf("%.3f", r.AUROC.Mean)
		}
		t.Rows = append(t.Rows, []string{
			r.Family, percent(r.Accuracy.Mean, 1), percent(r.Accuracy.SD, 1), area, fmt.Sprintf("%.1f s", r.TrainSeconds),
			fmt.Sprintf("%.0f µs", r.P50Micros), fmt.Sprint(r.Rows), fmt.Sprint(r.TestRows), fmt.Sprint(r.OutsideRows),
		})
	}
	return t
}

// DriftTable lays out results of Drift.
func DriftTable(results []DriftResult) Table {
	t := Table{Head: []string{"stream", "detector", "risk", "false alarms", "found", "delay, median", "delay, 90 %", "excess errors"}}
	for _, r := range results {
		risk := percent(r.RiskBefore, 1)
		if r.Stream == "jump" {
			risk += " → " + percent(r.RiskAfter, 1)
		}
		if r.Splits > 0 {
			risk += fmt.Sprintf(" (%d splits, %d over α)", r.Splits, r.Over)
		}
		t.Rows = append(t.Rows, []string{
			r.Errors + ", " + r.Stream, r.Detector, risk, percent(r.FalseAlarms, 1),
			optional(r.Found), number(r.DelayMedian), number(r.DelayP90), number(r.ExcessErrors),
		})
	}
	return t
}

// ServeTable lays out a result of Serve.
func ServeTable(r ServeResult) Table {
	row := func(name string, s ServeSide) []string {
		return []string{
			name, fmt.Sprintf("%.0f", s.RPS), fmt.Sprintf("%.0f–%.0f", s.RPSRange[0], s.RPSRange[1]),
			fmt.Sprintf("%.0f", s.P50), fmt.Sprintf("%.0f–%.0f", s.P50Range[0], s.P50Range[1]), fmt.Sprintf("%.0f", s.P99), fmt.Sprintf("%.0f", s.CPU), fmt.Sprint(s.AnswerLen),
		}
	}
	return Table{
		Head: []string{"server", "requests/s", "range", "p50 µs", "range", "p99 µs", "processor µs", "bytes an answer"},
		Rows: [][]string{
			row("bare handler that echoes", r.Bare),
			row("tandem, student serving", r.Tandem),
			{"tandem to bare", fmt.Sprintf("%.2f", r.RPSRatio), fmt.Sprintf("%.2f–%.2f", r.RPSRange[0], r.RPSRange[1]), fmt.Sprintf("%.2f", r.P50Ratio), fmt.Sprintf("%.2f–%.2f", r.P50Range[0], r.P50Range[1]), "", fmt.Sprintf("%.2f", r.Tandem.CPU/max(r.Bare.CPU, 1e-9)), ""},
		},
	}
}

// ServeVerdict says whether the cost of answering is within what is asked:
// at least 0.6 of the bare handler's rate, at most 1.5 times its median.
func ServeVerdict(r ServeResult) string {
	verdict := func(ok bool) string {
		if ok {
			return "met"
		}
		return "missed"
	}
	return fmt.Sprintf("%d requests a round over %d connections, %d rounds of each in turn, ratios within each pair of rounds. Asked for: at least 0.6 of the rate (%s), at most 1.5 times the median (%s).",
		r.Requests, r.Connections, r.Rounds, verdict(r.RPSRatio >= 0.6), verdict(r.P50Ratio <= 1.5))
}

func percent(x float64, digits int) string { return fmt.Sprintf("%.*f %%", digits, 100*x) }

func optional(x *float64) string {
	if x == nil {
		return ""
	}
	return percent(*x, 1)
}

func number(x *float64) string {
	if x == nil {
		return ""
	}
	return fmt.Sprintf("%.0f", *x)
}

// Put replaces what a document holds between the comments <!-- bench NAME -->
// and <!-- end --> by content. Everything else stays.
func Put(document []byte, name, content string) ([]byte, error) {
	from, to := []byte("<!-- bench "+name+" -->\n"), []byte("<!-- end -->")
	head, rest, ok := bytes.Cut(document, from)
	if !ok {
		return nil, tandem.Errorf(tandem.InvalidRequest, "the document has no line <!-- bench %s -->", name)
	}
	_, tail, ok := bytes.Cut(rest, to)
	if !ok {
		return nil, tandem.Errorf(tandem.InvalidRequest, "in the document, <!-- bench %s --> is not ended by <!-- end -->", name)
	}
	return bytes.Join([][]byte{head, from, []byte(content), to, tail}, nil), nil
}

// StreamTable lays out what a stream came to.
func StreamTable(r StreamResult) Table {
	row := func(name string, s Spread) []string {
		return []string{name, percent(s.Mean, 1), percent(s.SD, 1)}
	}
	t := Table{Head: []string{fmt.Sprintf("of %d requests, %d orders", r.Rows, r.Shuffles), "mean", "±"}}
	t.Rows = append(t.Rows, row("answered by a student", r.Served), row("calls to the teacher, audits included", r.Calls),
		row("agreement of all answers with the teacher", r.Agreement), row("disagreement of the student's answers", r.Disagreement))
	if r.Accuracy != nil {
		t.Rows = append(t.Rows, row("accuracy of all answers", *r.Accuracy), row("accuracy of the teacher", *r.TeacherGold))
	}
	plain := func(name string, s Spread) []string {
		return []string{name, fmt.Sprintf("%.1f", s.Mean), fmt.Sprintf("%.1f", s.SD)}
	}
	t.Rows = append(t.Rows,
		[]string{"cost", fmt.Sprintf("$ %.2f", r.CostUSD.Mean), fmt.Sprintf("%.2f", r.CostUSD.SD)},
		plain("requests before a student answered first", r.FirstServed), plain("promotions", r.Promotions), plain("alarms", r.Alarms))
	return t
}

// CurveTable lays out a stream over time.
func CurveTable(r StreamResult) Table {
	t := Table{Head: []string{"requests", "answered by a student", "right", "calls so far", "cost so far"}}
	for _, p := range r.Curve {
		t.Rows = append(t.Rows, []string{
			fmt.Sprint(p.Requests), percent(p.Served, 1), percent(p.Right, 1), percent(p.Calls, 1), fmt.Sprintf("$ %.2f", p.CostUSD),
		})
	}
	return t
}

// DiscountedTable lays out accuracy less the price of calls.
func DiscountedTable(r StreamResult) Table {
	t := Table{Head: []string{"λ", "tandem", "±", "always the teacher"}}
	for _, d := range r.Discounted {
		t.Rows = append(t.Rows, []string{
			fmt.Sprintf("%.2f", d.Lambda), fmt.Sprintf("%.3f", d.Tandem.Mean), fmt.Sprintf("%.3f", d.Tandem.SD), fmt.Sprintf("%.3f", d.Always),
		})
	}
	return t
}

// StreamFacts is one line on what a stream rests on.
func StreamFacts(r StreamResult) string {
	return fmt.Sprintf("%d rows, %d known at the start, %d labels; α %s, δ %s, audits %s, $ %g a call; family %s; accuracy is against %s.",
		r.Rows, r.SeedRows, r.Labels, percent(r.Alpha, 0), percent(r.Delta, 0), percent(r.Audit, 0), r.Price, r.Family, r.DiscountedAgainst)
}
