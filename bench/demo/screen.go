package demo

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// Frame is all that one picture of the demo shows. It holds values only, so
// that pictures can be drawn, and tested, without a demo.
type Frame struct {
	Requests int // to play
	Played   int
	Change   int     // request at which the change comes
	Speed    float64 // how many times faster than recorded the large model is played

	Curve []float64 // share answered locally in each of Columns equal parts of the requests; shorter until all are played
	Now   float64   // share answered locally of the last Window requests
	Local int       // answered by a student since the start

	SavedUSD, SpentUSD float64
	Wrong              int     // local answers that differ from the recording's, since the gate last opened
	Answers            int     // local answers since the gate last opened
	Low, High          float64 // 95 % interval of the disagreement, valid at every moment
	Alpha              float64

	GateOpen bool
	Gate     string // in words
	Event    string // the last one, in words

	Elapsed    time.Duration
	LocalP50   time.Duration // of an answer given here, inside tandem
	TeacherP50 time.Duration // of one that the large model gave, as played
	Recorded   time.Duration // median of the recorded large model
}

// Columns is the width of the curve.
const Columns = 60

// rowsOfCurve is its height.
const rowsOfCurve = 6

// Screen draws a frame as lines of at most width columns. Colour adds escape
// sequences that take no columns.
func Screen(f Frame, width int, colour bool) []string {
	p := palette(colour)
	lines := []string{
		p.bold("tandem demo") + p.dim(fmt.Sprintf(" · a support desk · the large model is a recording, played %s faster than it was", times(f.Speed))),
		"",
	}
	lines = append(lines, curve(f, p)...)
	lines = append(lines, "", field("answered here", p.bold(percent(f.Now)),
		fmt.Sprintf("of the latest requests · %s of %s since the start", count(f.Local), count(f.Played))))
	lines = append(lines, field("saved", p.bold(dollars(f.SavedUSD)),
		fmt.Sprintf("of %s that the large model alone would have cost; checking answers is paid for", dollars(f.SavedUSD+f.SpentUSD))))
	lines = append(lines, disagreement(f, p))
	state := p.warn("closed")
	if f.GateOpen {
		state = p.good("open")
	}
	lines = append(lines, field("gate", state, f.Gate), field("last event", "", f.Event), field("time", seconds(f.Elapsed),
		fmt.Sprintf("%s of %s requests · %s here · %s at the large model (recorded: %s)",
			count(f.Played), count(f.Requests), short(f.LocalP50), short(f.TeacherP50), short(f.Recorded))))
	for i := range lines {
		lines[i] = clip(lines[i], width)
	}
	return lines
}

func disagreement(f Frame, p colours) string {
	if f.Answers == 0 {
		return field("disagreement", p.bold("–"), fmt.Sprintf("nothing is answered here yet; at most %s is promised", percent(f.Alpha)))
	}
	rate := float64(f.Wrong) / float64(f.Answers)
	show := p.good
	if rate > f.Alpha {
		show = p.warn
	}
	return field("disagreement", show(percent(rate)),
		fmt.Sprintf("of answers given here since the gate opened (95 %% interval %s – %s); promised: at most %s",
			percent(f.Low), percent(f.High), percent(f.Alpha)))
}

// curve is the share answered locally over the whole run as a block chart.
func curve(f Frame, p colours) []string {
	lines := make([]string, 0, rowsOfCurve+2)
	mark := -1
	if f.Requests > 0 {
		mark = f.Change * Columns / f.Requests
	}
	for row := range rowsOfCurve {
		level := rowsOfCurve - 1 - row // of the row's lower edge, in rows
		axis := "       │"
		switch row {
		case 0:
			axis = " 100 % ┤"
		case rowsOfCurve / 2:
			axis = "  50 % ┤"
		}
		var b strings.Builder
		for _, share := range f.Curve[:min(len(f.Curve), Columns)] {
			b.WriteString(block(share*rowsOfCurve - float64(level)))
		}
		lines = append(lines, p.dim(axis)+p.good(strings.TrimRight(b.String(), " ")))
	}
	lines = append(lines, p.dim("   0 % ┼"+strings.Repeat("─", Columns)))
	under := "         share answered here"
	if mark >= 0 && len(f.Curve) > mark {
		under += strings.Repeat(" ", max(mark-20, 1)) + "▲ new questions, a new product name"
	}
	return append(lines, p.dim(under))
}

// block fills a cell from below by the share in [0, 1].
func block(share float64) string {
	eighths := int(math.Round(share * 8))
	return string([]rune(" ▁▂▃▄▅▆▇█")[min(max(eighths, 0), 8)])
}

// Line is one line of progress for logs.
func Line(f Frame) string {
	gate := "closed"
	if f.GateOpen {
		gate = "open"
	}
	wrong := "–"
	if f.Answers > 0 {
		wrong = percent(float64(f.Wrong) / float64(f.Answers))
	}
	return fmt.Sprintf("%5s  %s of %s requests · answered here %s · saved %s · disagreement %s · gate %s · %s",
		seconds(f.Elapsed), count(f.Played), count(f.Requests), percent(f.Now), dollars(f.SavedUSD), wrong, gate, f.Event)
}

// field lays out one named value.
func field(name, value, rest string) string {
	if value == "" {
		return fmt.Sprintf("  %-15s %s", name, rest)
	}
	return fmt.Sprintf("  %-15s %s%s  %s", name, strings.Repeat(" ", max(0, 8-columns(value))), value, rest)
}

// Painter redraws lines in place on a terminal.
type Painter struct {
	Out   io.Writer
	drawn int
}

// Paint replaces what it painted before by lines.
func (p *Painter) Paint(lines []string) error {
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	for _, l := range lines {
		b.WriteString("\r\x1b[2K" + l + "\n")
	}
	if p.drawn > len(lines) {
		b.WriteString("\x1b[J")
	}
	p.drawn = len(lines)
	_, err := io.WriteString(p.Out, b.String())
	return err
}

// colours wraps text in escape sequences, or not.
type colours struct{ on bool }

func palette(on bool) colours { return colours{on} }

func (c colours) wrap(code, s string) string {
	if !c.on || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (c colours) bold(s string) string { return c.wrap("1", s) }
func (c colours) dim(s string) string  { return c.wrap("2", s) }
func (c colours) good(s string) string { return c.wrap("32", s) }
func (c colours) warn(s string) string { return c.wrap("33", s) }

// columns counts the columns of text, escape sequences left out.
func columns(s string) int {
	n := 0
	for len(s) > 0 {
		if k := escape(s); k > 0 {
			s = s[k:]
			continue
		}
		_, k := utf8.DecodeRuneInString(s)
		s, n = s[k:], n+1
	}
	return n
}

// clip cuts text to width columns, keeping every escape sequence.
func clip(s string, width int) string {
	if width <= 0 || columns(s) <= width {
		return s
	}
	var b strings.Builder
	n := 0
	for len(s) > 0 {
		if k := escape(s); k > 0 {
			b.WriteString(s[:k])
			s = s[k:]
			continue
		}
		_, k := utf8.DecodeRuneInString(s)
		switch n++; {
		case n < width:
			b.WriteString(s[:k])
		case n == width:
			b.WriteString("…")
		}
		s = s[k:]
	}
	return b.String()
}

// escape is the length of the escape sequence that s begins with, or 0.
func escape(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	if end := strings.IndexByte(s, 'm'); end > 0 {
		return end + 1
	}
	return 0
}

func percent(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }

func dollars(x float64) string { return fmt.Sprintf("$ %.2f", x) }

func times(x float64) string { return fmt.Sprintf("%.0f times", x) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) }

// short is a duration as people say it.
func short(d time.Duration) string {
	switch {
	case d <= 0:
		return "–"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// count writes a number with thousands apart.
func count(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
