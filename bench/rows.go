package bench

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"tandem"
)

// Row is one recorded question with the answers that are known.
type Row struct {
	Text    string
	Teacher string // what the large model said
	Gold    string // the truth, "" when the source has none
	After   string // what the large model says after a change of its mind (drift), "" when not read
}

// Source says where rows are and what their columns mean. Files are told
// apart by their ending: .csv has a header line, .jsonl and .ndjson hold one
// object a line, .json holds named splits of [text, label] pairs as CLINC150
// publishes them, read as the columns text, intent and split.
type Source struct {
	Paths   []string
	Text    string   // column names
	Teacher string   //
	Gold    string   // "": there is none
	After   string   // "": there is none
	Exclude []string // rows whose teacher label is one of these are left out
	Splits  []string // of a .json file; empty: all of them
}

// Rows is what a source held.
type Rows struct {
	Rows      []Row
	Read      int // records in the files
	Unlabeled int // left out: no teacher label
	Blank     int // left out: no text
	Excluded  int // left out: a label the source excludes
}

// maxLine bounds one line of JSON Lines.
const maxLine = 16 << 20

// Read reads every file of the source, one after the other. Errors name the
// file and the line.
func (s Source) Read() (Rows, error) {
	var all Rows
	if len(s.Paths) == 0 {
		return all, tandem.Errorf(tandem.InvalidRequest, "no file to read; name one with --csv")
	}
	for _, path := range s.Paths {
		if err := s.readFile(path, &all); err != nil {
			return Rows{}, err
		}
	}
	if len(all.Rows) == 0 {
		return all, tandem.Errorf(tandem.InvalidRequest,
			"%s: no usable row among %d (%d without a teacher label, %d without text, %d excluded)",
			strings.Join(s.Paths, ", "), all.Read, all.Unlabeled, all.Blank, all.Excluded)
	}
	return all, nil
}

func (s Source) readFile(path string, into *Rows) error {
	f, err := os.Open(path)
	if err != nil {
		return &tandem.Error{Code: tandem.InvalidRequest, Message: "cannot open " + path, Cause: err}
	}
	defer f.Close()
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		return readCSV(f, path, s.columns(), s.take(into))
	case ".jsonl", ".ndjson":
		return readLines(f, path, s.columns(), s.take(into))
	case ".json":
		return readSplits(f, path, s.columns(), s.Splits, s.take(into))
	}
	return tandem.Errorf(tandem.InvalidRequest, "%s: unknown kind of file; use .csv, .jsonl or .json", path)
}

// columns lists the columns to read in the order take expects them.
func (s Source) columns() []string {
	return []string{s.Text, s.Teacher, s.Gold, s.After}
}

// take turns the values of one record into a row.
func (s Source) take(into *Rows) func([]string) {
	return func(v []string) {
		into.Read++
		row := Row{Text: v[0], Teacher: strings.TrimSpace(v[1]), Gold: strings.TrimSpace(v[2]), After: strings.TrimSpace(v[3])}
		switch {
		case strings.TrimSpace(row.Text) == "":
			into.Blank++
		case row.Teacher == "":
			into.Unlabeled++
		case slices.Contains(s.Exclude, row.Teacher):
			into.Excluded++
		default:
			into.Rows = append(into.Rows, row)
		}
	}
}

// bad is an error in an input file, at a line counted from 1.
func bad(name string, line int, format string, args ...any) error {
	return tandem.Errorf(tandem.InvalidRequest, "%s:%d: %s", name, line, fmt.Sprintf(format, args...))
}

// readCSV emits the wanted columns of every record. A wanted name of "" gives
// "". The slice it emits is its own.
func readCSV(r io.Reader, name string, want []string, emit func([]string)) error {
	in := csv.NewReader(skipBOM(r))
	in.ReuseRecord = true
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return bad(name, 1, "the file is empty; the first line must name the columns")
	}
	if err != nil {
		return csvError(name, err)
	}
	at := make([]int, len(want))
	for i, w := range want {
		at[i] = slices.Index(head, w)
		if w != "" && at[i] < 0 {
			return bad(name, 1, "there is no column %q; the columns are %s", w, strings.Join(head, ", "))
		}
	}
	values := make([]string, len(want))
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return csvError(name, err)
		}
		for i, col := range at {
			values[i] = ""
			if col < 0 || want[i] == "" {
				continue
			}
			if !utf8.ValidString(record[col]) {
				line, _ := in.FieldPos(col)
				return bad(name, line, "column %q is not valid UTF-8", want[i])
			}
			values[i] = strings.Clone(record[col])
		}
		emit(values)
	}
}

func csvError(name string, err error) error {
	if p, ok := errors.AsType[*csv.ParseError](err); ok {
		return bad(name, p.Line, "%v", p.Err)
	}
	return fmt.Errorf("read %s: %w", name, err)
}

// readLines emits the wanted fields of every JSON object, one a line. Numbers
// and booleans are taken as written.
func readLines(r io.Reader, name string, want []string, emit func([]string)) error {
	in := bufio.NewScanner(skipBOM(r))
	in.Buffer(make([]byte, 0, 64<<10), maxLine)
	values := make([]string, len(want))
	line := 0
	for in.Scan() {
		line++
		text := bytes.TrimSpace(in.Bytes())
		if len(text) == 0 {
			continue
		}
		if !utf8.Valid(text) {
			return bad(name, line, "not valid UTF-8")
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(text, &fields); err != nil {
			return bad(name, line, "not a JSON object: %v", err)
		}
		for i, w := range want {
			values[i] = ""
			if w == "" {
				continue
			}
			raw, ok := fields[w]
			if !ok {
				return bad(name, line, "there is no field %q", w)
			}
			var err error
			if values[i], err = scalar(raw); err != nil {
				return bad(name, line, "field %q: %v", w, err)
			}
		}
		emit(values)
	}
	if err := in.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return bad(name, line+1, "the line is longer than %d bytes", maxLine)
		}
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// scalar is a JSON string, number, boolean or null as text.
func scalar(raw json.RawMessage) (string, error) {
	switch raw[0] {
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case '{', '[':
		return "", errors.New("must be a string or a number")
	case 'n':
		return "", nil
	}
	return string(raw), nil
}

// readSplits emits the rows of the named splits, or of all, in the order the
// file holds them.
func readSplits(r io.Reader, name string, want, splits []string, emit func([]string)) error {
	data, err := io.ReadAll(skipBOM(r))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	at := make([]int, len(want))
	for i, w := range want {
		at[i] = slices.Index([]string{"text", "intent", "split"}, w)
		if w != "" && at[i] < 0 {
			return bad(name, 1, "there is no column %q; a file of splits has text, intent and split", w)
		}
	}
	// Decoded token by token: the order of the splits in the file is kept.
	in := json.NewDecoder(bytes.NewReader(data))
	here := func() int { return 1 + bytes.Count(data[:in.InputOffset()], []byte{'\n'}) }
	if t, err := in.Token(); err != nil || t != json.Delim('{') {
		return bad(name, here(), "must be an object of splits, each a list of [text, label] pairs")
	}
	seen := make(map[string]bool)
	values := make([]string, len(want))
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return bad(name, here(), "%v", err)
		}
		split := key.(string) // the decoder gives only strings as keys
		seen[split] = true
		var rows [][]string
		if err := in.Decode(&rows); err != nil {
			return bad(name, here(), "split %q is not a list of [text, label] pairs: %v", split, err)
		}
		if len(splits) > 0 && !slices.Contains(splits, split) {
			continue
		}
		for i, row := range rows {
			if len(row) != 2 {
				return bad(name, here(), "split %q, row %d: has %d values, not a text and a label", split, i+1, len(row))
			}
			record := [3]string{row[0], row[1], split}
			for j, col := range at {
				values[j] = ""
				if col >= 0 {
					values[j] = record[col]
				}
			}
			emit(values)
		}
	}
	if _, err := in.Token(); err != nil {
		return bad(name, here(), "the file is cut off")
	}
	for _, s := range splits {
		if !seen[s] {
			return bad(name, 1, "there is no split %q", s)
		}
	}
	return nil
}

// skipBOM drops a leading UTF-8 byte order mark.
func skipBOM(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if head, err := b.Peek(3); err == nil && bytes.Equal(head, []byte{0xEF, 0xBB, 0xBF}) {
		_, _ = b.Discard(3) // three buffered bytes cannot fail to be discarded
	}
	return b
}
