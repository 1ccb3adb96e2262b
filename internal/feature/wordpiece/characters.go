package wordpiece

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// property says what reading does with a character.
type property uint8

const (
	drop      property = 1 << iota // remove it
	space                          // it separates words
	alone                          // it is a word
	ideograph                      // its parts are words
	combines                       // its combining class is not 0
	changes                        // it is stripped or lower-cased
)

// characters holds the properties of all characters under some settings.
type characters struct {
	ascii     [utf8.RuneSelf]property
	asciiFold [utf8.RuneSelf]byte
	pages     [(utf8.MaxRune + 1) / pageSize]uint16
	page      [][pageSize]property // the first is empty
	class     map[rune]uint8
	fold      map[rune]string // what a character with changes becomes, Hangul syllables apart
}

const pageSize = 256

func newCharacters(set Settings) *characters {
	c := &characters{page: make([][pageSize]property, 1), class: map[rune]uint8{}, fold: map[rune]string{}}
	if set.Clean {
		eachRange(dropped, " ", func(r rune) { c.mark(r, drop) })
	}
	eachRange(spaces, " ", func(r rune) { c.mark(r, space) })
	eachRange(punctuation, " ", func(r rune) { c.mark(r, alone) })
	if set.Chinese {
		eachRange(ideographs, " ", func(r rune) { c.mark(r, ideograph) })
	}
	for group := range strings.SplitSeq(classes, " ") {
		class, points, _ := strings.Cut(group, "=")
		eachRange(points, ",", func(r rune) {
			c.mark(r, combines)
			c.class[r] = uint8(hex(class))
		})
	}
	if set.Strip {
		eachRange(marks, " ", func(r rune) { c.fold[r] = "" })
		eachPair(stripped, func(r rune, to string) { c.fold[r] = to })
		for r := rune(0xac00); r <= 0xd7a3; r++ {
			c.mark(r, changes)
		}
	}
	if set.Lowercase {
		c.lowercase()
	}
	for r := range c.fold {
		c.mark(r, changes)
	}
	for b := range c.ascii {
		c.ascii[b] = c.properties(rune(b))
		c.asciiFold[b] = byte(b)
		if s, ok := c.fold[rune(b)]; ok {
			c.asciiFold[b] = s[0] // one ASCII letter in lower case
		}
	}
	return c
}

// lowercase puts lower case behind the folds there are.
func (c *characters) lowercase() {
	small := map[rune]string{}
	eachPair(lowered, func(r rune, to string) { small[r] = to })
	for r, to := range c.fold {
		var b strings.Builder
		for _, s := range to {
			if l, ok := small[s]; ok {
				b.WriteString(l)
			} else {
				b.WriteRune(s)
			}
		}
		c.fold[r] = b.String()
	}
	for r, to := range small {
		if _, ok := c.fold[r]; !ok {
			c.fold[r] = to
		}
	}
}

func (c *characters) properties(r rune) property {
	return c.page[c.pages[uint32(r)/pageSize]][uint32(r)%pageSize]
}

func (c *characters) mark(r rune, p property) {
	at := &c.pages[r/pageSize]
	if *at == 0 {
		*at = uint16(len(c.page))
		c.page = append(c.page, [pageSize]property{})
	}
	c.page[*at][r%pageSize] |= p
}

// hex reads a number of the generated tables.
func hex(s string) rune {
	n, err := strconv.ParseUint(s, 16, 21)
	if err != nil {
		panic("wordpiece: tables.go: " + err.Error()) // the table is part of the program
	}
	return rune(n)
}

// eachRange calls f for the members of ranges such as "9-d 20".
func eachRange(ranges, separator string, f func(rune)) {
	for r := range strings.SplitSeq(ranges, separator) {
		first, last, several := strings.Cut(r, "-")
		if !several {
			last = first
		}
		for c := hex(first); c <= hex(last); c++ {
			f(c)
		}
	}
}

// eachPair calls f for pairs such as "c0:41" and "1d1:75.308".
func eachPair(pairs string, f func(rune, string)) {
	for pair := range strings.SplitSeq(pairs, " ") {
		from, to, _ := strings.Cut(pair, ":")
		var b strings.Builder
		for p := range strings.SplitSeq(to, ".") {
			b.WriteRune(hex(p))
		}
		f(hex(from), b.String())
	}
}
