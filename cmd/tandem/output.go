package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// painter colours words on terminals.
type painter bool

// painterFor colours only for terminals, and not when NO_COLOR is set
// (no-color.org) or the terminal is a dumb one.
func painterFor(sys system, w io.Writer) painter {
	return painter(isTerminal(w) && sys.getenv("NO_COLOR") == "" && sys.getenv("TERM") != "dumb")
}

func (p painter) code(code, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p painter) good(s string) string  { return p.code("32", s) }
func (p painter) warn(s string) string  { return p.code("33", s) }
func (p painter) bad(s string) string   { return p.code("31", s) }
func (p painter) title(s string) string { return p.code("1", s) }

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printJSON writes v indented.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table writes rows in aligned columns, the first row being the header.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%s %ss", thousands(n), noun)
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func percent(x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	return fmt.Sprintf("%.1f%%", 100*x)
}

func dollars(x float64) string {
	if x != 0 && math.Abs(x) < 0.01 {
		return fmt.Sprintf("$%.6f", x)
	}
	return fmt.Sprintf("$%.2f", x)
}

func share(part, whole int) string {
	if whole == 0 {
		return "–"
	}
	return percent(float64(part) / float64(whole))
}

func day(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// brief cuts a text to one line of at most n characters.
func brief(s string, n int) string {
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}
