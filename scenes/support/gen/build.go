package main

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The measures of the corpus.
const (
	poolBefore = 10500 // messages that can be sent before the change
	poolAfter  = 4200  // messages that can be sent only after it, without the new intents
	smallest   = 150   // messages of the rarest intent
	common     = 16    // patterns of an intent that also stand by themselves
	zipf       = 1.3   // share of the intent of rank r is proportional to (r+flatten)^-zipf,
	flatten    = 3     // the law of Zipf and Mandelbrot
	several    = 0.050 // share of messages that ask for two things
	unclear    = 0.050 // share of messages that fit more than one intent
	secondary  = 0.34  // how often the teacher reads an unclear message the other way
	mistaken   = 0.015 // how often the teacher gives a confusable intent
	maxBytes   = 600
)

// row is one message. Phase is 'b' before the change only, 'a' after only,
// '*' both. Topic is the file it was written in, which decides how often it
// is sent; gold is what the desk's instruction says, teacher what the
// recording says.
type row struct {
	phase                byte
	kind                 byte // 'p'lain, 's'everal requests, 'u'nclear
	topic, gold, teacher string
	text                 string
	late                 bool // of a pattern that exists only after the change
}

type corpus struct {
	m      *material
	shares []float64 // of each intent, before the change; new ones after it
	rows   []row
	seen   map[string]bool
}

func build(m *material) (*corpus, error) {
	c := &corpus{m: m, shares: shares(m), seen: map[string]bool{}}
	for i := range m.intents {
		in := &m.intents[i]
		before := max(smallest, int(c.shares[i]*poolBefore))
		after := max(smallest/3, int(c.shares[i]*poolAfter))
		switch {
		case in.after:
			before, after = 0, max(smallest, int(c.shares[i]*poolBefore*0.7))
		case in.moved != "":
			after = before * 3 / 4
		}
		if err := c.write(in, before, after); err != nil {
			return nil, fmt.Errorf("%s: %w", in.name, err)
		}
	}
	return c, nil
}

// shares gives the old intents the law of Zipf and Mandelbrot, less what files ask for by
// themselves. The shares of the old intents sum to one.
func shares(m *material) []float64 {
	out := make([]float64, len(m.intents))
	sum, left, rank := 0.0, 1.0, 0
	for i, in := range m.intents {
		switch {
		case in.share > 0:
			out[i] = in.share
			if !in.after {
				left -= in.share
			}
		default:
			rank++
			out[i] = math.Pow(float64(rank+flatten), -zipf)
			sum += out[i]
		}
	}
	for i, in := range m.intents {
		if in.share == 0 {
			out[i] *= left / sum
		}
	}
	return out
}

// write makes the messages of one intent.
func (c *corpus) write(in *intent, before, after int) error {
	// Patterns as they stand come first: they are the messages people repeat.
	bare := in.patterns[:min(common, len(in.patterns))]
	for _, p := range bare {
		if in.after {
			break
		}
		if err := c.add(in, p, 'b', true, 0); err != nil {
			return err
		}
	}
	own := len(c.rows)
	for n := 0; len(c.rows)-own < before-len(bare); n++ {
		if n > 40*before {
			return fmt.Errorf("the patterns give no %d different messages", before)
		}
		if err := c.draw(in, in.patterns, 'b', n); err != nil {
			return err
		}
	}
	own = len(c.rows)
	late := append(append([]string(nil), in.patterns...), in.late...)
	if in.after {
		for _, p := range bare {
			if err := c.add(in, p, 'a', true, 0); err != nil {
				return err
			}
		}
	}
	// Old intents give what they can: only messages with a word of the new
	// phase are new.
	for n := 0; len(c.rows)-own < after && n < 40*after; n++ {
		if err := c.draw(in, late, 'a', n); err != nil {
			return err
		}
	}
	return nil
}

// draw adds the n-th message of an intent: one request, two, or an unclear
// one.
func (c *corpus) draw(in *intent, patterns []string, phase byte, n int) error {
	w := &writer{m: c.m, rng: newRand(in.name, string(phase), strconv.Itoa(n)), after: phase == 'a'}
	if w.chance(unclear) && !in.after {
		var mine []ambiguity
		for _, a := range c.m.ambiguous {
			if a.intents[0] == in.name {
				mine = append(mine, a)
			}
		}
		if len(mine) > 0 {
			a := mine[w.below(len(mine))]
			return c.unclear(in, w, a, phase)
		}
	}
	pattern := patterns[w.rank(len(patterns))]
	return c.add(in, pattern, phase, false, n)
}

// rank gives a position in [0, n), the first ones more often.
func (w *writer) rank(n int) int {
	const flat = 1
	total := 0.0
	for i := range n {
		total += 1 / float64(i+flat)
	}
	x := float64(w.rng.Uint64()>>11) / (1 << 53) * total
	for i := range n {
		if x -= 1 / float64(i+flat); x < 0 {
			return i
		}
	}
	return n - 1
}

// add writes one message for a pattern. bare leaves out everything around the
// request.
func (c *corpus) add(in *intent, pattern string, phase byte, bare bool, n int) error {
	w := &writer{m: c.m, rng: newRand(in.name, pattern, string(phase), strconv.Itoa(n)), after: phase == 'a'}
	text, whole := strings.CutPrefix(pattern, "=")
	core, err := w.expand(text)
	if err != nil {
		return err
	}
	r := row{phase: phase, kind: 'p', topic: in.name, gold: in.name, late: in.after || slices.Contains(in.late, pattern)}
	if bare {
		r.text = core
		c.keep(r, w)
		return nil
	}
	if !whole && in.name != "out_of_scope" && w.chance(several) {
		other, err := c.second(in, w)
		if err != nil {
			return err
		}
		core = w.join(&voices[0], []string{core, w.pick(c.m.frames["joiner"]) + " " + other})
		r.kind = 's'
	}
	v := w.voice()
	if !whole {
		if core, err = w.frame(v, core); err != nil {
			return err
		}
	}
	r.text = w.finish(v, core)
	c.keep(r, w)
	return nil
}

// second writes a request for something else, to be asked for second. Safety
// would take priority, so it is never the second one.
func (c *corpus) second(in *intent, w *writer) (string, error) {
	for {
		other := &c.m.intents[w.below(len(c.m.intents))]
		if other.name == in.name || other.name == "device_overheating" || other.name == "out_of_scope" ||
			(other.after && !w.after) || other.moved != "" {
			continue
		}
		p := other.patterns[w.below(len(other.patterns))]
		if len(p) > 90 || strings.HasPrefix(p, "=") {
			continue
		}
		return w.expand(p)
	}
}

func (c *corpus) unclear(in *intent, w *writer, a ambiguity, phase byte) error {
	core, err := w.expand(a.pattern)
	if err != nil {
		return err
	}
	v := w.voice()
	if core, err = w.frame(v, core); err != nil {
		return err
	}
	r := row{phase: phase, kind: 'u', topic: in.name, gold: in.name, text: w.finish(v, core)}
	if coin := newRand("reading", r.text); float64(coin.Uint64()>>11)/(1<<53) < secondary {
		r.teacher = a.intents[1+int(coin.Uint64()>>11%uint64(len(a.intents)-1))]
	}
	c.keep(r, w)
	return nil
}

// finish gives the text its voice and its typing errors.
func (w *writer) finish(v *voice, s string) string {
	s = w.speak(v, s)
	if w.chance(v.typos) {
		n := 1 + w.below(2)
		if w.chance(0.15) {
			n = 3 + len(s)/18
		}
		s = w.mistype(s, n)
	}
	return s
}

// keep files a message unless the same text is there already, is too long, or
// could be sent in a phase where it would mean something else.
func (c *corpus) keep(r row, w *writer) {
	r.text = strings.TrimSpace(r.text)
	if len(r.text) < 3 || len(r.text) > maxBytes || c.seen[r.text] {
		return
	}
	in := &c.m.intents[c.m.index[r.topic]]
	switch {
	case r.phase == 'b' && !w.dated && in.moved == "":
		r.phase = '*'
	case r.phase == 'a' && !w.dated && in.moved == "" && !r.late:
		return // nothing in it is of the new phase
	case r.phase == 'a' && in.moved != "" && !r.late:
		r.gold = in.moved
	}
	if r.teacher == "" || r.gold != r.topic {
		r.teacher = c.recorded(r)
	}
	c.seen[r.text] = true
	c.rows = append(c.rows, r)
}

// recorded is the answer of the large model: now and then, always for the
// same messages, it gives an intent that is easily confused with the right
// one.
func (c *corpus) recorded(r row) string {
	coin := newRand("teacher", r.text)
	if float64(coin.Uint64()>>11)/(1<<53) >= mistaken {
		return r.gold
	}
	near := c.m.intents[c.m.index[r.gold]].confused
	var fit []string
	for _, name := range near {
		if r.phase == 'a' || !c.m.intents[c.m.index[name]].after {
			fit = append(fit, name)
		}
	}
	if len(fit) == 0 {
		return r.gold
	}
	return fit[int(coin.Uint64()>>11%uint64(len(fit)))]
}

// encode writes the corpus as lines of tab-separated fields: first "intent",
// name, phase, share, description; then "message", phase, kind, topic, gold,
// teacher, text, in the order in which they were made.
func (c *corpus) encode() []byte {
	var b bytes.Buffer
	for i, in := range c.m.intents {
		phase := byte('*')
		if in.after {
			phase = 'a'
		}
		fmt.Fprintf(&b, "intent\t%s\t%c\t%.6f\t%s\n", in.name, phase, c.shares[i], in.description)
	}
	for _, r := range c.rows {
		fmt.Fprintf(&b, "message\t%c\t%c\t%s\t%s\t%s\t%s\n", r.phase, r.kind, r.topic, r.gold, r.teacher, r.text)
	}
	return b.Bytes()
}
