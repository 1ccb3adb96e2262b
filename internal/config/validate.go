package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tandem"
	"tandem/internal/student/all"
)

// Bounds that are not worth a setting.
const (
	maxName     = 64
	maxAlias    = 128
	minToken    = 8
	maxDeadline = time.Hour
)

// validate reports every value that makes no sense, at its place in the file.
func (c *Config) validate(f *faults) {
	c.server(f)
	aliases := c.providers(f)
	if len(c.Tasks) == 0 {
		f.at(path{"tasks"}, "tasks: at least one task is needed; see: tandem config example")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Tasks)) {
		t := c.Tasks[name]
		at := path{"tasks", name}
		if !isName(name) {
			f.at(at, "%q cannot name a task; use at most %d letters, digits, \"-\", \"_\" and \".\", a letter or digit first", shorten(name), maxName)
		}
		if provider, taken := aliases[name]; taken {
			f.at(at, "%q names this task and a model of provider %q; clients could not tell them apart, rename one", name, provider)
		}
		t.validate(f, at, slices.Sorted(maps.Keys(aliases)))
	}
	l, at := &c.Learning, path{"learning"}
	inside(f, at.with("threads"), float64(l.Threads), above(0), upTo(1))
	inside(f, at.with("first_fit_rows"), float64(l.FirstFitRows), from(20), upTo(1e9))
	inside(f, at.with("growth"), l.Growth, from(1.01), upTo(10))
	inside(f, at.with("trace_queue"), float64(l.TraceQueue), from(1), upTo(1e7))
	inside(f, at.with("audit_queue"), float64(l.AuditQueue), from(1), upTo(1e7))
	inside(f, at.with("sample_served"), float64(l.SampleServed), from(0), upTo(1))
	inside(f, at.with("paraphrases"), float64(l.Paraphrases), from(0), upTo(1e5))
	if l.Encoder == "" {
		f.at(at.with("encoder"), "encoder: name a model (tandem models list shows them) or a folder; none asks for no encoder")
	}
}

func (c *Config) server(f *faults) {
	public, err := reachable(c.Listen)
	switch {
	case err != nil:
		f.at(path{"listen"}, "listen: %v", err)
	case public && len(c.APITokens) == 0:
		f.at(path{"listen"}, "listen: other machines can reach this address, so api_tokens must hold at least one token; or listen on 127.0.0.1")
	}
	if strings.TrimSpace(c.Data) == "" {
		f.at(path{"data"}, "data: name the folder for the database and students")
	}
	seen := map[Secret]bool{}
	for i, token := range c.APITokens {
		at := path{"api_tokens", strconv.Itoa(i)}
		switch {
		case len(token) < minToken:
			f.at(at, "%s: a token has at least %d characters", at.last(), minToken)
		case strings.ContainsFunc(string(token), func(r rune) bool { return r <= ' ' || r > '~' }):
			f.at(at, "%s: a token has no spaces and only ASCII characters", at.last())
		case seen[token]:
			f.at(at, "%s: this token is given twice", at.last())
		}
		seen[token] = true
	}
	at := path{"limits"}
	inside(f, at.with("body_bytes"), float64(c.Limits.BodyBytes), from(1<<10), upTo(1<<30))
	inside(f, at.with("header_bytes"), float64(c.Limits.HeaderBytes), from(1<<10), upTo(16<<20))
	inside(f, at.with("input_bytes"), float64(c.Limits.InputBytes), from(1), upTo(1<<30))
	if c.Limits.InputBytes > c.Limits.BodyBytes {
		f.at(at.with("input_bytes"), "input_bytes: %v is more than body_bytes (%v) lets in; lower it or raise body_bytes", c.Limits.InputBytes, c.Limits.BodyBytes)
	}
	inside(f, at.with("concurrent"), float64(c.Limits.Concurrent), from(1), upTo(1e6))
	inside(f, at.with("batch"), float64(c.Limits.Batch), from(1), upTo(1e4))
	lasts(f, at.with("read_timeout"), c.Limits.ReadTimeout, time.Millisecond, time.Hour)
	lasts(f, at.with("drain"), c.Limits.Drain, 0, time.Hour)
	oneOf(f, path{"log", "level"}, c.Log.Level, "debug", "info", "warn", "error")
	oneOf(f, path{"log", "format"}, c.Log.Format, "text", "json")
}

// providers validates them and returns the provider of every model alias.
func (c *Config) providers(f *faults) map[string]string {
	if len(c.Providers) == 0 {
		f.at(path{"providers"}, "providers: at least one provider is needed; see: tandem config example")
	}
	aliases := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		p, at := c.Providers[name], path{"providers", name}
		if !isName(name) {
			f.at(at, "%q cannot name a provider; use at most %d letters, digits, \"-\", \"_\" and \".\", a letter or digit first", shorten(name), maxName)
		}
		p.validate(f, at)
		for _, alias := range slices.Sorted(maps.Keys(p.Models)) {
			m, at := p.Models[alias], at.with("models").with(alias)
			if other, taken := aliases[alias]; taken {
				f.at(at, "%q is already a model of provider %q; give one of them another alias and name the model with model:", alias, other)
			}
			aliases[alias] = name
			if alias == "" || len(alias) > maxAlias || strings.ContainsFunc(alias, func(r rune) bool { return r <= ' ' || unicode.IsControl(r) }) {
				f.at(at, "%q cannot name a model; use at most %d characters and no spaces", shorten(alias), maxAlias)
			}
			inside(f, at.with("price").with("input"), m.Price.Input, from(0), upTo(1e6))
			inside(f, at.with("price").with("output"), m.Price.Output, from(0), upTo(1e6))
			inside(f, at.with("price").with("cached"), m.Price.Cached, from(0), upTo(1e6))
		}
	}
	return aliases
}

func (p *Provider) validate(f *faults, at path) {
	kind, c, err := p.Config()
	if err != nil {
		f.at(at, "%s %v", at.last(), err)
	} else {
		checked(f, at.with(kind), c.Check())
	}
	if len(p.Models) == 0 {
		f.at(at, "%s: name at least one model under models:", at.last())
	}
}

// checked reports the faults that a part found in its own configuration, each
// at the key with which it begins.
func checked(f *faults, at path, err error) {
	joined, ok := err.(interface{ Unwrap() []error }) // the list itself, not what it may wrap
	switch {
	case err == nil:
	case ok:
		for _, e := range joined.Unwrap() {
			checked(f, at, e)
		}
	default:
		sub := at
		if key, _, named := strings.Cut(err.Error(), ": "); named && !strings.Contains(key, " ") {
			sub = append(slices.Clip(at), strings.Split(key, ".")...)
		}
		f.at(sub, "%v", err)
	}
}

func (t *Task) validate(f *faults, at path, aliases []string) {
	switch {
	case t.Teacher == "" && f.readable(at.with("teacher")):
		f.at(at, "%s: teacher is missing; name the model that answers what students cannot", at.last())
	case !slices.Contains(aliases, t.Teacher) && f.readable(path{"providers"}):
		f.at(at.with("teacher"), "teacher: no provider has a model %q%s", shorten(t.Teacher), meant(t.Teacher, aliases))
	}
	if strings.TrimSpace(t.Instructions) == "" && len(t.Labels) == 0 &&
		f.readable(at.with("instructions")) && f.readable(at.with("labels")) {
		f.at(at, "%s: give instructions or labels, or the teacher does not know what to answer", at.last())
	}
	t.answers(f, at)
	each(f, at.with("takes"), t.Takes, string(tandem.Text), string(tandem.Image), string(tandem.Audio))
	each(f, at.with("families"), t.Families, families()...)
	g := at.with("guarantee")
	inside(f, g.with("alpha"), float64(t.Guarantee.Alpha), above(0), below(1))
	inside(f, g.with("delta"), float64(t.Guarantee.Delta), above(0), below(1))
	inside(f, at.with("audit_rate"), float64(t.AuditRate), from(tandem.MinAuditRate), upTo(1))
	inside(f, at.with("repeat_rate"), float64(t.RepeatRate), from(0), below(1))
	oneOf(f, at.with("fallback"), t.Fallback, string(tandem.FallbackError), string(tandem.FallbackBest))
	lasts(f, at.with("deadline"), t.Deadline, time.Millisecond, maxDeadline)
	inside(f, at.with("retention_days"), float64(t.RetentionDays), from(0), upTo(36500))
}

// answers validates the answer space.
func (t *Task) answers(f *faults, at path) {
	inside(f, at.with("max_labels"), float64(t.MaxLabels), from(2), upTo(10_000))
	if len(t.Labels) == 1 || len(t.Labels) > 10_000 {
		f.at(at.with("labels"), "labels: give from 2 to 10000 labels, or none to discover them from the teacher")
	}
	names := make([]string, len(t.Labels))
	folded := map[string]bool{}
	for i, l := range t.Labels {
		names[i] = l.Name
		sub := at.with("labels").with(strconv.Itoa(i))
		switch lower := strings.ToLower(l.Name); {
		case l.Name == "":
			f.at(sub, "%s: a label needs a name", sub.last())
		case len(l.Name) > tandem.MaxLabelBytes:
			f.at(sub, "%s: %q has %d bytes; a label has at most %d", sub.last(), shorten(l.Name), len(l.Name), tandem.MaxLabelBytes)
		case l.Name != strings.Trim(strings.TrimSpace(l.Name), "\"'`.") || strings.ContainsFunc(l.Name, unicode.IsControl):
			f.at(sub, "%s: %q must not begin or end with spaces, quotes or a full stop, nor hold line breaks", sub.last(), shorten(l.Name))
		case folded[lower]:
			f.at(sub, "%s: %q is given twice (letter case does not count)", sub.last(), l.Name)
		default:
			folded[lower] = true
		}
	}
	for i, name := range t.NeverServe {
		sub := at.with("never_serve").with(strconv.Itoa(i))
		if name == "" || len(t.Labels) > 0 && !slices.Contains(names, name) {
			f.at(sub, "%s: %q is none of the task's labels%s", sub.last(), shorten(name), meant(name, names))
		}
	}
}

// reachable says whether other machines can reach a listen address.
func reachable(listen string) (public bool, err error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return false, fmt.Errorf("%q is not an address; write host:port, for example 127.0.0.1:8080", shorten(listen))
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return false, fmt.Errorf("%q is not an address: the port must be a number from 0 to 65535", shorten(listen))
	}
	if host == "localhost" {
		return false, nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsLoopback(), nil
	}
	return true, nil // a name may mean any address
}

func isName(s string) bool {
	for i, r := range s {
		alnum := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !alnum && (i == 0 || r != '-' && r != '_' && r != '.') {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}

func meant(s string, candidates []string) string {
	if c := suggest(s, slices.Clone(candidates)); c != "" {
		return fmt.Sprintf(" (did you mean %q?)", c)
	}
	if len(candidates) > 0 && len(candidates) <= 12 {
		return "; there are " + strings.Join(candidates, ", ")
	}
	return ""
}

func oneOf(f *faults, at path, value string, known ...string) {
	if !slices.Contains(known, value) {
		f.at(at, "%s: %q is not known%s", at.last(), shorten(value), meant(value, known))
	}
}

// each wants a list of known values, at least one, none of them twice.
func each(f *faults, at path, values []string, known ...string) {
	if len(values) == 0 {
		f.at(at, "%s: name at least one of %s", at.last(), strings.Join(known, ", "))
	}
	for i, v := range values {
		sub := at.with(strconv.Itoa(i))
		oneOf(f, sub, v, known...)
		if slices.Contains(values[:i], v) {
			f.at(sub, "%s: %q is given twice", sub.last(), shorten(v))
		}
	}
}

func lasts(f *faults, at path, d, least, most time.Duration) {
	if d < least || d > most {
		f.at(at, "%s: %v is outside the range from %v to %v", at.last(), d, least, most)
	}
}

// bound is one end of a range of numbers.
type bound struct {
	x    float64
	open bool // x itself is outside
}

func from(x float64) bound  { return bound{x: x} }
func upTo(x float64) bound  { return bound{x: x} }
func above(x float64) bound { return bound{x: x, open: true} }
func below(x float64) bound { return bound{x: x, open: true} }

func inside(f *faults, at path, x float64, low, high bound) {
	if x > low.x && x < high.x || x == low.x && !low.open || x == high.x && !high.open {
		return
	}
	words := func(b bound, plain, open string) string {
		if b.open {
			return open + " " + strconv.FormatFloat(b.x, 'f', -1, 64)
		}
		return plain + " " + strconv.FormatFloat(b.x, 'f', -1, 64)
	}
	f.at(at, "%s: %s is outside the range; it must be %s and %s", at.last(),
		strconv.FormatFloat(x, 'f', -1, 64), words(low, "at least", "over"), words(high, "at most", "under"))
}

// families names the kinds of students that this program can train.
func families() []string { return slices.Sorted(maps.Keys(all.Families())) }
