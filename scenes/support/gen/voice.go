package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// voice is how a customer writes. Each has its own openers and closers in
// frames.txt, under "opener NAME" and "closer NAME".
type voice struct {
	name    string
	weight  int
	frame   float64 // how often an opener or a closer is written
	context float64 // how often a sentence that asks for nothing is written
	typos   float64 // how often the text has typing errors
}

var voices = [...]voice{
	{"plain", 34, 0.25, 0.10, 0.16},
	{"polite", 20, 0.75, 0.20, 0.10},
	{"angry", 13, 0.60, 0.25, 0.22},
	{"elderly", 9, 0.85, 0.45, 0.12},
	{"teen", 13, 0.50, 0.10, 0.40},
	{"learner", 11, 0.55, 0.15, 0.30},
}

func (w *writer) voice() *voice {
	total := 0
	for i := range voices {
		total += voices[i].weight
	}
	n := w.below(total)
	for i := range voices {
		if n -= voices[i].weight; n < 0 {
			return &voices[i]
		}
	}
	return &voices[0]
}

// frame puts a request into the words around it: opener, context, the
// request, closer.
func (w *writer) frame(v *voice, core string) (string, error) {
	var parts []string
	add := func(section string) error {
		list := w.m.frames[section]
		if later := w.m.frames[section+"@after"]; w.after && len(later) > 0 && w.chance(0.5) {
			list, w.dated = later, true
		}
		text, err := w.expand(w.pick(list))
		parts = append(parts, text)
		return err
	}
	if w.chance(v.frame) {
		if err := add("opener " + v.name); err != nil {
			return "", err
		}
	}
	before := w.chance(0.5)
	context := w.chance(v.context)
	if context && before {
		if err := add("context"); err != nil {
			return "", err
		}
	}
	parts = append(parts, core)
	if context && !before {
		if err := add("context"); err != nil {
			return "", err
		}
	}
	if w.chance(v.frame * 0.6) {
		if err := add("closer " + v.name); err != nil {
			return "", err
		}
	}
	return w.join(v, parts), nil
}

// join makes sentences of the parts in the way this voice does.
func (w *writer) join(v *voice, parts []string) string {
	var b strings.Builder
	careless := v.name == "teen" || (v.name != "elderly" && w.chance(0.3))
	for i, p := range parts {
		if p == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		if !careless && (b.Len() == 0 || ends(b.String())) {
			p = upperFirst(p)
		}
		b.WriteString(p)
		if last := p[len(p)-1]; strings.IndexByte(".,!?:;-)", last) >= 0 {
			continue
		}
		switch {
		case i < len(parts)-1 && careless:
			b.WriteString(w.pick([]string{"", ",", ".", "..", ""}))
		case v.name == "angry" && w.chance(0.6):
			b.WriteString(w.pick([]string{"!", "!!", ".", "!!!"}))
		case i < len(parts)-1 || (!careless && w.chance(0.7)):
			b.WriteByte('.')
		}
	}
	return b.String()
}

func ends(s string) bool {
	s = strings.TrimRight(s, " ")
	return s != "" && strings.IndexByte(".!?:", s[len(s)-1]) >= 0
}

func upperFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

// speak gives a text the habits of a voice: abbreviations, lost articles,
// shouting.
func (w *writer) speak(v *voice, s string) string {
	switch v.name {
	case "teen":
		s = w.abbreviate(strings.ToLower(s), 0.6)
		if w.chance(0.4) {
			s = strings.NewReplacer("'", "", ". ", " ").Replace(strings.TrimSuffix(s, "."))
		}
	case "learner":
		s = w.loseWords(s)
	case "angry":
		if w.chance(0.15) {
			s = strings.ToUpper(s)
		} else if w.chance(0.2) {
			s = w.shoutOneWord(s)
		}
	case "plain":
		if w.chance(0.35) {
			s = strings.ToLower(s)
		}
		if w.chance(0.12) {
			s = w.abbreviate(s, 0.4)
		}
	}
	return s
}

func (w *writer) abbreviate(s string, p float64) string {
	short := map[string]string{}
	for _, line := range w.m.slots["abbreviation"] {
		long, abbr, _ := strings.Cut(line, "=")
		short[long] = abbr
	}
	words := strings.Split(s, " ")
	for i, word := range words {
		bare := strings.TrimRight(word, ".,!?")
		if a, ok := short[strings.ToLower(bare)]; ok && w.chance(p) {
			words[i] = a + word[len(bare):]
		}
	}
	return strings.Join(words, " ")
}

// loseWords drops articles and bends verbs as learners of English often do.
func (w *writer) loseWords(s string) string {
	bend := map[string]string{"has": "have", "doesn't": "don't", "is": "are", "was": "is", "goes": "go", "didn't": "don't", "informations": "information"}
	words := strings.Split(s, " ")
	out := words[:0]
	for _, word := range words {
		switch low := strings.ToLower(word); low {
		case "the", "a", "an":
			if w.chance(0.6) {
				continue
			}
		case "to", "of", "my":
			if w.chance(0.12) {
				continue
			}
		default:
			if b, ok := bend[low]; ok && w.chance(0.3) {
				word = b
			}
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

func (w *writer) shoutOneWord(s string) string {
	words := strings.Split(s, " ")
	i := w.below(len(words))
	words[i] = strings.ToUpper(words[i])
	return strings.Join(words, " ")
}

// keys are the neighbours of each letter on a British keyboard.
var keys = map[byte]string{
	'a': "qsz", 'b': "vgn", 'c': "xdv", 'd': "sfec", 'e': "wrd", 'f': "dgrc", 'g': "fhtb", 'h': "gjyn",
	'i': "uok", 'j': "hkum", 'k': "jlim", 'l': "kop", 'm': "nj", 'n': "bmh", 'o': "ipl", 'p': "ol",
	'q': "wa", 'r': "etf", 's': "adwx", 't': "ryg", 'u': "yij", 'v': "cbf", 'w': "qes", 'x': "zsc",
	'y': "tuh", 'z': "xa",
}

// mistype makes n typing errors: a neighbouring key, a dropped, doubled or
// swapped letter, a lost apostrophe or space.
func (w *writer) mistype(s string, n int) string {
	b := []byte(s)
	for range n {
		if len(b) < 6 {
			break
		}
		i := 1 + w.below(len(b)-2)
		c := b[i] | 0x20
		if keys[c] == "" {
			if b[i] == '\'' || (b[i] == ' ' && w.chance(0.3)) {
				b = append(b[:i], b[i+1:]...)
			}
			continue
		}
		switch w.below(5) {
		case 0:
			near := keys[c]
			b[i] = near[w.below(len(near))]
		case 1, 2:
			b = append(b[:i], b[i+1:]...)
		case 3:
			b = append(b[:i], append([]byte{b[i]}, b[i:]...)...)
		case 4:
			if keys[b[i-1]|0x20] != "" {
				b[i], b[i-1] = b[i-1], b[i]
			}
		}
	}
	return strings.ToValidUTF8(string(b), "")
}
