package demo

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

func frames() map[string]Frame {
	start := Frame{
		Requests: 12000, Change: 8400, Speed: 20, Alpha: 0.05,
		Gate: "no student is trained yet; the large model answers everything", Event: "started",
	}
	open := start
	open.Played, open.Local, open.Now = 9120, 5012, 0.713
	for i := range 45 {
		open.Curve = append(open.Curve, []float64{0, 0.01, 0.2, 0.45, 0.6, 0.7, 0.75, 0.8, 0.86}[min(i/5, 8)])
	}
	open.SavedUSD, open.SpentUSD, open.Wrong, open.Answers, open.Low, open.High = 9.214, 7.4, 117, 4980, 0.019, 0.0284
	open.GateOpen, open.Gate, open.Event = true, "v4 answers when its score is at least 0.812", "v4 promoted: 9 of 480 accepted answers differed from the teacher's; at most 5.0 % may"
	open.Elapsed, open.LocalP50, open.TeacherP50, open.Recorded = 34*time.Second, 312*time.Microsecond, 31*time.Millisecond, 620*time.Millisecond
	alarm := open
	alarm.Played, alarm.Wrong, alarm.Answers, alarm.GateOpen = 9600, 31, 400, false
	alarm.Gate, alarm.Event = "closed after an alarm; the large model answers everything", "alarm: 6 of 41 audited answers differed"
	return map[string]Frame{"start": start, "open": open, "alarm": alarm}
}

func TestScreen(t *testing.T) {
	for name, f := range frames() {
		golden(t, name+".txt", strings.Join(Screen(f, 110, false), "\n")+"\n\n"+Line(f)+"\n")
		coloured := Screen(f, 60, true)
		for i, l := range coloured {
			if n := columns(l); n > 60 {
				t.Errorf("%s, line %d has %d columns: %q", name, i, n, l)
			}
			if strings.Count(l, "\x1b[")%2 != 0 {
				t.Errorf("%s, line %d leaves a colour on: %q", name, i, l)
			}
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test -run %s -rewrite accepts it:\n%s", name, t.Name(), got)
	}
}

func TestPainterRedraws(t *testing.T) {
	var out bytes.Buffer
	p := Painter{Out: &out}
	for _, lines := range [][]string{{"a", "b", "c"}, {"d"}} {
		if err := p.Paint(lines); err != nil {
			t.Fatal(err)
		}
	}
	want := "\r\x1b[2Ka\n\r\x1b[2Kb\n\r\x1b[2Kc\n\x1b[3A\r\x1b[2Kd\n\x1b[J"
	if out.String() != want {
		t.Errorf("painted %q, want %q", out.String(), want)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}
