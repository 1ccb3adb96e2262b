package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"tandem"
	"tandem/internal/distill"
)

// print writes the report of learn for people.
func (c *learnCmd) print(sys system, r *learnReport) error {
	paint := painterFor(sys, sys.stdout)
	verdict := paint.warn("not certified")
	if r.Certificate.Status == tandem.Valid {
		verdict = paint.good("certified")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n%s\n\n", paint.title(r.Task), verdict, r.Certificate.Why)
	if err := errors.Join(table(&b, c.facts(r)), printFrontier(&b, r.Frontier), printHardest(&b, r.Hardest)); err != nil {
		return err
	}
	_, err := io.WriteString(sys.stdout, b.String())
	return err
}

// facts are the figures of the report, a name and a value each.
func (c *learnCmd) facts(r *learnReport) [][]string {
	cert := r.Certificate
	rows := [][]string{
		{"lines", fmt.Sprintf("%s (%s train, %s test)", thousands(r.Rows), thousands(r.Train), thousands(r.Report.Certify))},
		{"labels", thousands(r.Labels)},
	}
	if r.Read.Faulty > 0 {
		rows = append(rows, []string{"left out", count(r.Read.Faulty, "line") + " that cannot be used"})
	}
	rows = append(rows, []string{"promise", fmt.Sprintf("at most %s different from the teacher, wrong with probability %s", percent(cert.Alpha), percent(cert.Delta))})
	if r.Version != "" {
		rows = append(rows, []string{"agreement", percent(r.Agree) + " with the teacher, if the student answered everything"})
	}
	if cert.Status == tandem.Valid {
		rows = append(rows,
			[]string{"served", percent(cert.Coverage) + " of the traffic by the student"},
			[]string{"threshold", fmt.Sprintf("%.4f", cert.Threshold)},
			[]string{"tested on", fmt.Sprintf("%s, %s accepted, %s of them different (p = %.3g)", count(cert.Rows, "line"), thousands(cert.Accepted), thousands(cert.Errors), cert.PValue)},
		)
		if c.Price > 0 {
			rows = append(rows, []string{"saves", dollars(r.SavedUSD) + " per 1,000 requests"})
		}
	} else if cert.Needs > 0 {
		rows = append(rows, []string{"missing", fmt.Sprintf("about %s more answered questions", thousands(cert.Needs))})
	}
	if r.Version != "" {
		rows = append(rows, []string{"student", fmt.Sprintf("%s, %s bytes, trained in %.1f s", strings.Join(r.Families, " + "), thousands(r.Bytes), r.TrainSec)})
	}
	for _, name := range sorted(r.Absent) {
		rows = append(rows, []string{"without", name + ": " + r.Absent[name]})
	}
	if r.Gold != nil {
		rows = append(rows, []string{"truth", fmt.Sprintf("on %s: teacher right %s, student alone %s, both together %s",
			count(r.Gold.Rows, "test line"), percent(r.Gold.Teacher), percent(r.Gold.Student), percent(r.Gold.Both))})
	}
	switch {
	case r.Version == "":
	case c.Data != "" && r.Promoted:
		rows = append(rows, []string{"kept", fmt.Sprintf("%s in %s; it serves", r.Version, c.Data)})
	case c.Data != "":
		rows = append(rows, []string{"kept", fmt.Sprintf("%s in %s; it does not serve", r.Version, c.Data)})
	case c.Out != "":
		rows = append(rows, []string{"written", c.Out})
	}
	return rows
}

func sorted(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func printFrontier(w io.Writer, points []distill.Point) error {
	if len(points) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nOther promises on the same lines, to choose from (only the promise chosen beforehand counts):")
	rows := [][]string{{"  MAY DIFFER", "SERVED"}}
	for _, p := range points {
		served := percent(p.Served)
		if p.Served == 0 {
			served = "nothing yet"
		}
		rows = append(rows, []string{"  " + percent(p.Alpha), served})
	}
	return table(w, rows)
}

func printHardest(w io.Writer, hard []distill.Hard) error {
	if len(hard) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nWhere the student was surest and differs from the teacher:")
	rows := [][]string{{"  SCORE", "TEACHER", "STUDENT", "TEXT"}}
	for _, h := range hard {
		rows = append(rows, []string{fmt.Sprintf("  %.3f", h.Score), brief(h.Teacher, 28), brief(h.Student, 28), brief(h.Text, 80)})
	}
	return table(w, rows)
}
