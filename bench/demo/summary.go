package demo

import "fmt"

// Summary is the table that ends a demo.
func Summary(r Result) []string {
	row := func(name, format string, args ...any) string {
		return fmt.Sprintf("  %-16s %s", name, fmt.Sprintf(format, args...))
	}
	lines := []string{
		row("requests", "%s in %.0f s, as an OpenAI client sends them", count(r.Requests), r.Seconds),
		row("answered here", "%s of the last tenth before the change · %s of the last tenth · %s of all",
			percent(r.ShareBest), percent(r.ShareEnd), percent(r.ShareAll)),
		row("saved", "%s of %s", dollars(r.SavedUSD), dollars(r.SavedUSD+r.SpentUSD)),
		row("disagreement", "%s of the answers given here before the change; promised: at most %s", percent(r.Disagreement), percent(r.Alpha)),
		row("the change", "%s", change(r)),
		row("the large model", "is a recording, played %s faster than it was; its prices are the stated ones", times(r.Speed)),
	}
	if r.Failed > 0 {
		lines = append(lines, row("failed", "%s requests", count(r.Failed)))
	}
	return lines
}

func change(r Result) string {
	switch {
	case r.Requests <= r.Change:
		return "did not come"
	case r.Alarms == 0:
		return "raised no alarm: what was learnt still held"
	case !r.Relearned:
		return fmt.Sprintf("raised an alarm after %s requests; the large model answers until enough is learnt anew", count(r.AlarmAfter))
	}
	return fmt.Sprintf("raised an alarm after %s requests; learnt anew, %s of the new answers differ",
		count(r.AlarmAfter), percent(r.DisagreementAfter))
}
