package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Fault is one thing wrong with a configuration file.
type Fault struct {
	Line    int    `json:"line"`   // from 1
	Column  int    `json:"column"` // from 1, in characters
	Key     string `json:"key"`    // "tasks.support.guarantee.alpha"; "" for the file
	Message string `json:"message"`
	// Snippet is the line up to the place of the fault, without secrets.
	Snippet string `json:"snippet,omitempty"`
}

// Error is everything wrong with a configuration file, in order of place.
type Error struct {
	File   string  `json:"file"`
	Faults []Fault `json:"faults"`
}

// Error lists the faults, each with its file, line and column and the line.
func (e *Error) Error() string {
	var b strings.Builder
	for i, f := range e.Faults {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s", e.File, f.Line, f.Column, f.Message)
		if f.Snippet != "" {
			fmt.Fprintf(&b, "\n%6d | %s\n       | %s^", f.Line, f.Snippet, strings.Repeat(" ", f.Column-1))
		}
	}
	return b.String()
}

// path names a value: the keys that lead to it.
type path []string

func (p path) with(key string) path { return append(slices.Clip(p), key) }

func (p path) String() string { return strings.Join(p, ".") }

// last is how messages name a value: its key, or its place in a list.
func (p path) last() string {
	if len(p) == 0 {
		return "the file"
	}
	key := p[len(p)-1]
	if len(p) > 1 && key != "" && strings.Trim(key, "0123456789") == "" {
		return p[len(p)-2] + "[" + key + "]"
	}
	return key
}

func (p path) secret() bool { return slices.ContainsFunc(p, isSecret) }

// isSecret says whether the value of a key must never be shown.
func isSecret(key string) bool {
	k := strings.ToLower(key)
	return k == "headers" || looksSecret(k)
}

func looksSecret(line string) bool {
	line = strings.ToLower(line)
	return slices.ContainsFunc([]string{"key", "token", "secret", "password", "authorization", "bearer"},
		func(word string) bool { return strings.Contains(line, word) })
}

// place is a stretch of a line; columns count characters from 1.
type place struct {
	line, column, end int // end is exclusive
	hidden            bool
}

func placeOf(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{line: 1, column: 1, end: 1}
	}
	first, _, _ := strings.Cut(strings.TrimSpace(t.Origin), "\n")
	return place{
		line: max(1, t.Position.Line), column: max(1, t.Position.Column),
		end: max(1, t.Position.Column) + utf8.RuneCountInString(first),
	}
}

// placeOfNode is where a reader sees the node begin.
func placeOfNode(node ast.Node) place {
	if m, ok := node.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return placeOf(m.Values[0].Key.GetToken())
	}
	if t, ok := node.(*ast.TagNode); ok {
		return placeOf(t.Start)
	}
	return placeOf(node.GetToken())
}

// faults collects what is wrong and remembers where values stand in the file.
type faults struct {
	file     string
	lines    []string
	list     []Fault
	places   map[string]place     // by path
	hidden   []place              // secrets
	spoiled  map[string]bool      // paths whose values could not be read
	expanded map[string][2]string // paths with variables: as written, as read
}

func newFaults(name string, data []byte) faults {
	return faults{
		file: name, lines: strings.Split(string(data), "\n"), places: map[string]place{},
		spoiled: map[string]bool{}, expanded: map[string][2]string{},
	}
}

// broken reports a node that cannot be read as the value of a path. What the
// value should be is then not examined further.
func (f *faults) broken(node ast.Node, at path, format string, args ...any) {
	f.spoiled[at.String()] = true
	f.add(placeOfNode(node), at.String(), format, args...)
}

// readable says whether the value of a path, if given, could be read.
func (f *faults) readable(p path) bool {
	for i := range len(p) + 1 {
		if f.spoiled[p[:i].String()] {
			return false
		}
	}
	return true
}

// place remembers where the value of a key is: the value when it is a scalar
// on one line, else the key.
func (f *faults) place(at path, key, value ast.Node, secret bool) {
	p := placeOf(key.GetToken())
	if _, t, ok := scalarText(value); ok && t != nil {
		p = placeOf(t)
		p.hidden = secret
	}
	if secret {
		f.hide(value)
	}
	f.places[at.String()] = p
}

// hide keeps what stands in a node out of snippets.
func (f *faults) hide(node ast.Node) {
	ast.Walk(hider{f}, node)
}

type hider struct{ f *faults }

// Visit implements ast.Visitor.
func (h hider) Visit(node ast.Node) ast.Visitor {
	if _, t, ok := scalarText(node); ok && t != nil {
		h.f.hidden = append(h.f.hidden, placeOf(t))
	}
	return h
}

// at reports a fault of the value that a path of keys leads to, or of its
// nearest parent that the file mentions. Values from the environment are
// replaced by the variables' names.
func (f *faults) at(p path, format string, args ...any) {
	if !f.readable(p) {
		return
	}
	if x, ok := f.expanded[p.String()]; ok {
		message := strings.ReplaceAll(fmt.Sprintf(format, args...), fmt.Sprintf("%q", shorten(x[1])), "what "+shorten(x[0])+" stands for")
		format, args = "%s", []any{message}
	}
	for i := len(p); i > 0; i-- {
		if pl, ok := f.places[p[:i].String()]; ok {
			f.add(pl, p.String(), format, args...)
			return
		}
	}
	f.add(place{line: 1, column: 1, end: 1}, p.String(), format, args...)
}

func (f *faults) add(p place, key, format string, args ...any) {
	f.list = append(f.list, Fault{
		Line: p.line, Column: p.column, Key: key,
		Message: fmt.Sprintf(format, args...), Snippet: f.snippet(p),
	})
}

// snippet is the line up to the end of the place, with secrets blanked.
func (f *faults) snippet(p place) string {
	if p.line < 1 || p.line > len(f.lines) || p.hidden || p.end <= p.column {
		return ""
	}
	line := []rune(strings.TrimRight(f.lines[p.line-1], "\r"))
	for _, h := range f.hidden {
		if h.line != p.line {
			continue
		}
		for i := h.column - 1; i < min(h.end-1, len(line)); i++ {
			line[i] = '*'
		}
	}
	if p.column > len(line) {
		return ""
	}
	return strings.ReplaceAll(strings.TrimRight(string(line[:min(p.end-1, len(line))]), " "), "\t", " ")
}

func (f *faults) err() error {
	if len(f.list) == 0 {
		return nil
	}
	slices.SortStableFunc(f.list, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{File: f.file, Faults: f.list}
}

// hint says what a wrong key may have been meant to be: a similar key, or one
// that belongs a level deeper.
func hint(key string, t reflect.Type) string {
	known := make([]string, 0, t.NumField())
	for name := range fieldsOf(t) {
		known = append(known, name)
	}
	if s := suggest(key, known); s != "" {
		return fmt.Sprintf(" (did you mean %q?)", s)
	}
	for name, index := range fieldsOf(t) {
		ft := t.FieldByIndex(index).Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.Kind() != reflect.Struct {
			continue
		}
		if _, ok := fieldsOf(ft)[key]; ok {
			return fmt.Sprintf(" (it belongs under %q)", name)
		}
	}
	slices.Sort(known)
	return "; known here: " + strings.Join(known, ", ")
}

// suggest returns the candidate most like s, or "" when none is close.
func suggest(s string, candidates []string) string {
	best, least := "", max(1, min(2, utf8.RuneCountInString(s)/3))
	slices.Sort(candidates)
	for _, c := range candidates {
		if strings.EqualFold(c, s) || strings.EqualFold(strings.NewReplacer("-", "_", " ", "_").Replace(s), c) {
			return c
		}
		if n := distance(s, c); n <= least && (best == "" || n < distance(s, best)) {
			best = c
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that turn a into b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	if len(x) > 64 || len(y) > 64 {
		return max(len(x), len(y))
	}
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}

// shorten bounds what a message repeats of the file.
func shorten(s string) string {
	if s, _, cut := strings.Cut(strings.TrimSpace(s), "\n"); cut || utf8.RuneCountInString(s) > 60 {
		return string([]rune(s)[:min(60, utf8.RuneCountInString(s))]) + "…"
	}
	return strings.TrimSpace(s)
}
