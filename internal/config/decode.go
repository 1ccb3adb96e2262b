package config

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on what a file can make the decoder do: anchors may be repeated, but
// not so that a small file becomes a huge configuration.
const (
	maxDepth = 32
	maxNodes = 200_000
)

// decoder fills structs from YAML. The library's own strict decoding stops at
// the first fault, so this walks the syntax tree itself and collects them all.
type decoder struct {
	faults  faults
	data    []byte
	getenv  func(string) string
	anchors map[string]ast.Node
	nodes   int
}

func newDecoder(name string, data []byte, getenv func(string) string) *decoder {
	return &decoder{
		faults: newFaults(name, data), data: data, getenv: getenv, anchors: map[string]ast.Node{},
	}
}

// parse fills c and reports whether the file was well-formed YAML, so that
// looking at the values makes sense.
func (d *decoder) parse(c *Config) bool {
	if len(d.data) > MaxBytes {
		d.faults.add(place{line: 1, column: 1}, "", "the file has %d bytes; at most %d are read", len(d.data), MaxBytes)
		return false
	}
	file, err := parseYAML(d.data)
	if err != nil {
		d.syntax(err)
		return false
	}
	docs := slices.DeleteFunc(file.Docs, func(doc *ast.DocumentNode) bool { return doc == nil || doc.Body == nil })
	docs = slices.DeleteFunc(docs, func(doc *ast.DocumentNode) bool { return doc.Body.Type() == ast.CommentType })
	if len(docs) == 0 {
		return true
	}
	if len(docs) > 1 {
		d.faults.add(placeOfNode(docs[1].Body), "", `a second document starts here; the file holds one (remove the "---")`)
		return false
	}
	d.value(docs[0].Body, reflect.ValueOf(c).Elem(), nil, 0)
	return true
}

// parseYAML turns a panic of the parser on odd input into an error.
func parseYAML(data []byte) (file *ast.File, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("this is not YAML that can be read")
		}
	}()
	return parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
}

func (d *decoder) syntax(err error) {
	at, message := place{line: 1, column: 1}, err.Error()
	if e, ok := errors.AsType[yaml.Error](err); ok {
		message = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			at = placeOf(t)
			at.end = at.column + 1
			if at.line >= 1 && at.line <= len(d.faults.lines) && strings.Contains(d.faults.lines[at.line-1], "${") {
				message += "; put a value with ${…} between quotes here"
			}
		}
	}
	at.hidden = at.line >= 1 && at.line <= len(d.faults.lines) && looksSecret(d.faults.lines[at.line-1])
	d.faults.add(at, "", "%s", message)
}

// value decodes node into v, which is addressable.
func (d *decoder) value(node ast.Node, v reflect.Value, at path, depth int) {
	if !d.within(node, at, depth) {
		return
	}
	if anchor, ok := node.(*ast.AnchorNode); ok {
		d.value(anchor.Value, v, at, depth+1)
		d.anchors[anchor.Name.GetToken().Value] = anchor.Value // after its value, so that none holds itself
		return
	}
	node, ok := d.resolve(node, at)
	if !ok {
		return
	}
	if _, null := node.(*ast.NullNode); null {
		d.null(v, at)
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(fresh(v.Type().Elem()).Addr())
		v = v.Elem()
	}
	_, isMap := node.(ast.MapNode)
	_, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case isText && !isMap || v.Type() == reflect.TypeFor[time.Duration]():
		d.scalar(node, v, at)
	case v.Kind() == reflect.Struct:
		d.structure(node, v, at, depth)
	case v.Kind() == reflect.Map:
		d.mapping(node, v, at, depth)
	case v.Kind() == reflect.Slice:
		d.sequence(node, v, at, depth)
	default:
		d.scalar(node, v, at)
	}
}

// within says whether the bounds leave room for one more node, and reports it
// once when they do not.
func (d *decoder) within(node ast.Node, at path, depth int) bool {
	if d.nodes++; d.nodes <= maxNodes && depth <= maxDepth {
		return true
	}
	if d.nodes < math.MaxInt/2 {
		d.nodes = math.MaxInt / 2
		d.faults.broken(node, at, "this is nested or repeated too much to be a configuration")
	}
	return false
}

// resolve follows anchors and aliases.
func (d *decoder) resolve(node ast.Node, at path) (ast.Node, bool) {
	switch n := node.(type) {
	case *ast.AnchorNode:
		d.anchors[n.Name.GetToken().Value] = n.Value
		return d.resolve(n.Value, at)
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		target, ok := d.anchors[name]
		if !ok {
			d.faults.broken(n.Value, at, "no anchor &%s ends before this alias", name)
			return nil, false
		}
		return d.resolve(target, at)
	case *ast.TagNode:
		d.faults.broken(n, at, "YAML tags such as %s have no meaning here; remove it", n.Start.Value)
		return nil, false
	case nil:
		return nil, false
	}
	return node, true
}

// null decodes a key without a value: an empty object or list, never a scalar.
func (d *decoder) null(v reflect.Value, at path) {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(fresh(v.Type().Elem()).Addr())
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Map || v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[Label]():
	default:
		d.faults.at(at, "%s has no value; give one or remove the key", at.last())
		d.faults.spoiled[at.String()] = true
	}
}

func (d *decoder) structure(node ast.Node, v reflect.Value, at path, depth int) {
	fields := fieldsOf(v.Type())
	d.pairs(node, at, depth, fmt.Sprintf("keys such as %q", first(fields)), func(key string, k, value ast.Node) {
		index, known := fields[key]
		if !known {
			p := placeOf(k.GetToken())
			d.faults.hide(value)
			d.faults.add(p, at.String(), "unknown key %q%s", key, hint(key, v.Type()))
			return
		}
		sub := at.with(key)
		d.faults.place(sub, k, value, isSecret(key) || at.secret())
		d.value(value, v.FieldByIndex(index), sub, depth+1)
	})
}

func (d *decoder) mapping(node ast.Node, v reflect.Value, at path, depth int) {
	out := reflect.MakeMap(v.Type())
	d.pairs(node, at, depth, "names with values", func(key string, k, value ast.Node) {
		sub := at.with(key)
		d.faults.place(sub, k, value, isSecret(key) || at.secret())
		elem := fresh(v.Type().Elem())
		d.value(value, elem, sub, depth+1)
		out.SetMapIndex(reflect.ValueOf(key), elem)
	})
	v.Set(out)
}

// visit is called for each key of a mapping.
type visit func(key string, k, value ast.Node)

// pairs visits the keys of a mapping, merged ones last so that a key written
// out wins.
func (d *decoder) pairs(node ast.Node, at path, depth int, want string, do visit) {
	if _, ok := node.(ast.MapNode); !ok {
		d.faults.broken(node, at, "%s must hold %s, not %s", at.last(), want, describe(node))
		return
	}
	d.eachPair(node, at, depth, map[string]int{}, false, do)
}

// eachPair visits the keys that are not in seen (name to line).
func (d *decoder) eachPair(node ast.Node, at path, depth int, seen map[string]int, merged bool, do visit) {
	m, ok := node.(ast.MapNode)
	if !ok {
		d.faults.broken(node, at, `"<<" merges one mapping, not %s`, describe(node))
		return
	}
	if !d.within(node, at, depth) {
		return
	}
	var merge []ast.Node
	for iter := m.MapRange(); iter.Next(); {
		k := iter.Key()
		if k.IsMergeKey() {
			merge = append(merge, iter.Value())
			continue
		}
		key, t := keyText(k)
		if t == nil {
			d.faults.add(placeOf(k.GetToken()), at.String(), "a key must be a plain word, not %s", describe(k))
			continue
		}
		if line, twice := seen[key]; twice {
			if !merged {
				d.faults.hide(iter.Value())
				d.faults.add(placeOf(t), at.with(key).String(), "%q is given twice, first in line %d; remove one", key, line)
			}
			continue
		}
		seen[key] = t.Position.Line
		do(key, k, iter.Value())
	}
	for _, value := range merge {
		if from, ok := d.resolve(value, at); ok {
			d.eachPair(from, at, depth+1, seen, true, do)
		}
	}
}

func (d *decoder) sequence(node ast.Node, v reflect.Value, at path, depth int) {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		d.faults.broken(node, at, "%s must be a list, not %s", at.last(), describe(node))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, value := range seq.Values {
		sub := at.with(strconv.Itoa(i))
		d.faults.place(sub, value, value, at.secret())
		d.value(value, out.Index(i), sub, depth+1)
	}
	v.Set(out)
}

// scalar decodes a single value. Faults never show a secret or what came out
// of the environment.
func (d *decoder) scalar(node ast.Node, v reflect.Value, at path) {
	raw, _, ok := scalarText(node)
	if !ok {
		d.faults.broken(node, at, "%s must be a single value, not %s", at.last(), describe(node))
		return
	}
	text, problems := expand(raw, d.getenv)
	for _, p := range problems {
		d.faults.broken(node, at, "%s", p)
	}
	if problems != nil {
		return
	}
	if text != raw {
		d.faults.expanded[at.String()] = [2]string{raw, text}
	}
	if err := setScalar(v, text); err != nil {
		what := strconv.Quote(shorten(raw))
		switch {
		case at.secret():
			what = "the value of " + at.last()
		case text != raw:
			what = fmt.Sprintf("what %s stands for", shorten(raw))
		}
		d.faults.broken(node, at, "%s: %s %v", at.last(), what, err)
	}
}

func setScalar(v reflect.Value, text string) error {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		x, err := parseDuration(text)
		if err == nil {
			v.SetInt(int64(x))
		}
		return err
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	t := strings.TrimSpace(text)
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if t != "true" && t != "false" {
			return errors.New("is neither true nor false")
		}
		v.SetBool(t == "true")
	case reflect.Int, reflect.Int64, reflect.Int32:
		n, err := strconv.ParseInt(t, 10, v.Type().Bits())
		if err != nil {
			return errors.New("is not a whole number")
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint64, reflect.Uint32:
		n, err := strconv.ParseUint(t, 10, v.Type().Bits())
		if err != nil {
			return errors.New("is not a whole number of at least 0")
		}
		v.SetUint(n)
	case reflect.Float64, reflect.Float32:
		x, err := strconv.ParseFloat(t, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return errors.New("is not a number")
		}
		v.SetFloat(x)
	default:
		return fmt.Errorf("cannot be read into a %s", v.Type())
	}
	return nil
}

// scalarText returns the text of a scalar as it was written.
func scalarText(node ast.Node) (string, *token.Token, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, n.Token, true
	case *ast.LiteralNode:
		return n.Value.Value, n.Start, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, n.GetToken(), true
	}
	return "", nil, false
}

func keyText(k ast.MapKeyNode) (string, *token.Token) {
	node := ast.Node(k)
	if mk, ok := k.(*ast.MappingKeyNode); ok {
		node = mk.Value
	}
	if s, t, ok := scalarText(node); ok && t != nil && t.Position != nil {
		return s, t
	}
	return "", nil
}

func describe(node ast.Node) string {
	switch node.(type) {
	case ast.MapNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	}
	return "a " + strings.ToLower(node.Type().String())
}

// fresh is an addressable new value with its defaults.
func fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	if t == reflect.TypeFor[Task]() {
		v.Set(reflect.ValueOf(DefaultTask()))
	}
	return v
}

// fieldsOf maps the keys of a struct to its fields, those of inlined structs
// included.
func fieldsOf(t reflect.Type) map[string][]int {
	fields := map[string][]int{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			for key, index := range fieldsOf(f.Type) {
				fields[key] = append([]int{i}, index...)
			}
		case name != "" && name != "-":
			fields[name] = []int{i}
		}
	}
	return fields
}

// first is the key that a struct declares first.
func first(fields map[string][]int) string {
	return slices.MinFunc(slices.Collect(maps.Keys(fields)), func(a, b string) int { return slices.Compare(fields[a], fields[b]) })
}
