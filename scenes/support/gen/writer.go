package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
)

// newRand gives a generator that depends on nothing but its keys, so that an
// edit to one file leaves the messages of the others as they were.
func newRand(keys ...string) *rand.PCG {
	h := fnv.New64a()
	for _, k := range keys {
		h.Write([]byte(k))
		h.Write([]byte{0})
	}
	return rand.NewPCG(h.Sum64(), 0x7a6d)
}

// writer turns patterns into text with one stream of random numbers.
type writer struct {
	m     *material
	rng   *rand.PCG
	after bool // after the change: slots use their "@after" lists
	dated bool // the last expansion used a word that belongs to one phase
}

// below gives a number in [0, n). Only the generator's own output is used, so
// the corpus does not depend on how math/rand/v2 maps it to a range.
func (w *writer) below(n int) int { return int(w.rng.Uint64() >> 11 % uint64(n)) }

// chance is true with probability p.
func (w *writer) chance(p float64) bool { return float64(w.rng.Uint64()>>11)/(1<<53) < p }

func (w *writer) pick(list []string) string { return list[w.below(len(list))] }

// expand writes one text for a pattern: "(a|b|)" takes one alternative,
// "{name}" an entry of a slot or a made-up value.
func (w *writer) expand(pattern string) (string, error) {
	var b strings.Builder
	if err := w.sequence(&b, pattern, 0); err != nil {
		return "", err
	}
	return strings.Join(strings.Fields(b.String()), " "), nil
}

// sequence writes a pattern, or one alternative of it. depth counts the slots
// it is in.
func (w *writer) sequence(b *strings.Builder, s string, depth int) error {
	for s != "" {
		switch s[0] {
		case '(':
			alternatives, rest, err := split(s)
			if err != nil {
				return err
			}
			if err := w.sequence(b, w.pick(alternatives), depth); err != nil {
				return err
			}
			s = rest
		case '{':
			name, rest, ok := strings.Cut(s[1:], "}")
			if !ok {
				return errors.New("unclosed {")
			}
			if err := w.slot(b, name, depth+1); err != nil {
				return err
			}
			s = rest
		default:
			n := strings.IndexAny(s, "({")
			if n < 0 {
				n = len(s)
			}
			b.WriteString(s[:n])
			s = s[n:]
		}
	}
	return nil
}

// split takes "(a|b)rest" apart, leaving nested groups whole.
func split(s string) (alternatives []string, rest string, err error) {
	depth, start := 0, 1
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case '|':
			if depth == 1 {
				alternatives = append(alternatives, s[start:i])
				start = i + 1
			}
		case ')':
			depth--
			if depth == 0 {
				return append(alternatives, s[start:i]), s[i+1:], nil
			}
		}
	}
	return nil, "", errors.New("unclosed (")
}

func (w *writer) slot(b *strings.Builder, name string, depth int) error {
	if depth > 8 {
		return fmt.Errorf("slot {%s} refers to itself", name)
	}
	if text, ok := w.value(name); ok {
		b.WriteString(text)
		return nil
	}
	list, ok := w.m.slots[name]
	if later, dated := w.m.slots[name+"@after"]; dated {
		w.dated = true
		if w.after {
			list = later
		}
	}
	if !ok {
		return fmt.Errorf("unknown slot {%s}", name)
	}
	return w.sequence(b, w.pick(list), depth)
}

// value makes up numbers, dates and the like.
func (w *writer) value(name string) (string, bool) {
	months := []string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}
	days := []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
	switch name {
	case "order":
		forms := []string{"PM-%05d", "pm%05d", "PM %05d", "#%05d", "%07d", "number PM-%05d"}
		return fmt.Sprintf(w.pick(forms), 10000+w.below(89999)), true
	case "account":
		return fmt.Sprintf("%d %03d %03d", 2+w.below(7), w.below(1000), w.below(1000)), true
	case "amount":
		n := 5 + w.below(95)
		forms := []string{"£%d", "£%d.99", "%d pounds", "%d quid", "£%d.50", "%d.00 pounds", "£ %d"}
		return fmt.Sprintf(w.pick(forms), n), true
	case "n":
		return fmt.Sprint(2 + w.below(8)), true
	case "nth":
		d := 1 + w.below(28)
		return fmt.Sprint(d) + ordinal(d), true
	case "mbps":
		return fmt.Sprint(1 + w.below(30)), true
	case "clock":
		forms := []string{"%dpm", "%d o'clock", "%d:30", "%d am", "half %d"}
		return fmt.Sprintf(w.pick(forms), 1+w.below(11)), true
	case "date":
		d, mo := 1+w.below(28), months[w.below(12)]
		switch w.below(5) {
		case 0:
			return fmt.Sprintf("%d %s", d, mo), true
		case 1:
			return fmt.Sprintf("the %d%s", d, ordinal(d)), true
		case 2:
			return fmt.Sprintf("%d/%02d", d, 1+w.below(12)), true
		case 3:
			return fmt.Sprintf("%s %d%s", mo, d, ordinal(d)), true
		}
		return "last " + w.pick(days), true
	case "month":
		return w.pick(months), true
	case "day":
		return w.pick(days), true
	case "postcode":
		letters := "ABCDEFGHLMNPRSTW"
		l := func() byte { return letters[w.below(len(letters))] }
		return fmt.Sprintf("%c%c%d %d%c%c", l(), l(), 1+w.below(20), w.below(10), l(), l()), true
	}
	return "", false
}

func ordinal(d int) string {
	switch {
	case d%100 >= 11 && d%100 <= 13:
		return "th"
	case d%10 == 1:
		return "st"
	case d%10 == 2:
		return "nd"
	case d%10 == 3:
		return "rd"
	}
	return "th"
}
