package trace

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"
	"unicode/utf8"

	"tandem"
)

const (
	// MaxLine is the longest line read, in bytes.
	MaxLine = 16 << 20
	// MaxFaults is how many faulty lines are reported one by one.
	MaxFaults = 20

	maxID = 128 // bytes of a trace id that is taken over as it is
)

// Fields names where in a line the values are, as dotted paths: "user.text",
// "messages.0.content". Text and Teacher are both set or both empty; the
// others may be empty. When Text is empty the known shapes are recognised.
type Fields struct {
	Text    string
	Teacher string
	Gold    string
	Session string
	Time    string
	ID      string
}

// ReadOptions of a Reader.
type ReadOptions struct {
	Fields Fields
	// Start is the time of the first row without a time of its own; each
	// later line is a microsecond after the one before. Zero means 1970.
	Start time.Time
	// HashSession turns a session into what is stored; nil uses an unkeyed
	// SHA-256.
	HashSession func(string) string
}

// Fault is what is wrong with one line.
type Fault struct {
	Line    int    `json:"line"`
	Message string `json:"message"`
}

// Report says how a file was read.
type Report struct {
	Lines  int     `json:"lines"` // blank ones not counted
	Rows   int     `json:"rows"`  // read without fault
	Faults int     `json:"faults"`
	First  []Fault `json:"first,omitempty"` // the first MaxFaults of them
}

// Err is nil when no line was faulty, and otherwise an error that lists the
// first faults.
func (r *Report) Err() error {
	if r.Faults == 0 {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d of %d lines cannot be read", r.Faults, r.Lines)
	for _, f := range r.First {
		fmt.Fprintf(&b, "\nline %d: %s", f.Line, f.Message)
	}
	if more := r.Faults - len(r.First); more > 0 {
		fmt.Fprintf(&b, "\nand %d more", more)
	}
	return tandem.Errorf(tandem.InvalidRequest, "%s", b.String())
}

// Reader reads traces of one task from a JSONL stream: tandem's own export,
// {"input", "teacher"} rows, logs and fine-tuning files in OpenAI's shape, or
// flat objects with named fields. docs/formats/traces.md describes them.
// Faulty lines are skipped and reported.
type Reader struct {
	in     *bufio.Reader
	task   *tandem.Task
	opt    ReadOptions
	paths  paths
	line   int
	buf    []byte
	report Report
}

// NewReader makes a reader of the task's traces. It fails when the options
// contradict each other.
func NewReader(r io.Reader, task *tandem.Task, opt ReadOptions) (*Reader, error) {
	if (opt.Fields.Text == "") != (opt.Fields.Teacher == "") {
		return nil, tandem.Errorf(tandem.InvalidRequest, "name both fields, --text and --teacher, or neither")
	}
	if opt.HashSession == nil {
		opt.HashSession = func(s string) string {
			h := sha256.Sum256([]byte(s))
			return hex.EncodeToString(h[:16])
		}
	}
	if opt.Start.IsZero() {
		opt.Start = time.Unix(0, 0)
	}
	return &Reader{in: bufio.NewReaderSize(r, 64<<10), task: task, opt: opt, paths: opt.Fields.split()}, nil
}

// Report says how the lines read so far went.
func (r *Reader) Report() *Report { return &r.report }

// All yields the traces of the sound lines. It ends with an error only when
// the stream itself fails or ctx ends.
func (r *Reader) All(ctx context.Context) iter.Seq2[tandem.Trace, error] {
	return func(yield func(tandem.Trace, error) bool) {
		for {
			if err := ctx.Err(); err != nil {
				yield(tandem.Trace{}, err)
				return
			}
			t, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// Next returns the next sound line's trace, io.EOF after the last.
func (r *Reader) Next() (tandem.Trace, error) {
	for {
		line, tooLong, err := r.readLine()
		if err != nil {
			return tandem.Trace{}, err
		}
		if !tooLong && len(line) == 0 {
			continue
		}
		r.report.Lines++
		if tooLong {
			r.fault("the line is longer than %d MB; shorten or leave out the input", MaxLine>>20)
			continue
		}
		t, err := r.parse(line)
		if err != nil {
			r.fault("%s", err.Error())
			continue
		}
		r.report.Rows++
		return t, nil
	}
}

func (r *Reader) fault(format string, args ...any) {
	r.report.Faults++
	if len(r.report.First) < MaxFaults {
		r.report.First = append(r.report.First, Fault{Line: r.line, Message: fmt.Sprintf(format, args...)})
	}
}

// readLine returns the next line without surrounding space, valid until the
// next call. A line over MaxLine is read to its end but not kept.
func (r *Reader) readLine() (line []byte, tooLong bool, err error) {
	r.buf = r.buf[:0]
	for {
		part, err := r.in.ReadSlice('\n')
		if len(r.buf)+len(part) > MaxLine+1 {
			tooLong, r.buf = true, r.buf[:0]
		}
		if !tooLong {
			r.buf = append(r.buf, part...)
		}
		switch {
		case err == nil:
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (tooLong || len(r.buf) > 0):
		case errors.Is(err, io.EOF):
			return nil, false, io.EOF
		default:
			return nil, false, fmt.Errorf("read line %d: %w", r.line+1, err)
		}
		break
	}
	r.line++
	line = r.buf
	if r.line == 1 {
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
	}
	return bytes.TrimSpace(line), tooLong, nil
}

// parse turns a line into a trace of the task.
func (r *Reader) parse(line []byte) (tandem.Trace, error) {
	if !utf8.Valid(line) {
		return tandem.Trace{}, errors.New("the line is not valid UTF-8; convert the file to UTF-8")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return tandem.Trace{}, badJSON(line, err)
	}
	var t tandem.Trace
	var err error
	switch {
	case r.paths.text != nil:
		t, err = r.named(line)
	case fields["step"] != nil && fields["input"] != nil:
		t, err = r.exported(line, fields)
	case fields["input"] != nil || fields["teacher"] != nil:
		t, err = r.row(fields)
	default:
		t, err = r.logged(fields)
	}
	if err != nil {
		return tandem.Trace{}, err
	}
	return r.finish(t, line)
}

// badJSON says what is wrong with a line without repeating it.
func badJSON(line []byte, err error) error {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		if e.Offset >= int64(len(line)) {
			return errors.New("the JSON object is cut short; each line must hold one whole object")
		}
		return fmt.Errorf("malformed JSON at byte %d: %s", e.Offset, e.Error())
	}
	if line[0] == '[' {
		return errors.New("this is a JSON list; write one object on each line (jq -c '.[]' does it)")
	}
	return errors.New("this is not a JSON object; write one object on each line")
}

// finish checks what every shape has in common and fills in what the line
// does not say.
func (r *Reader) finish(t tandem.Trace, line []byte) (tandem.Trace, error) {
	exported := t.Step != "" // an export says which step answered, a plain row does not
	limit := r.task.InputBytes
	if limit <= 0 {
		limit = MaxLine
	}
	takes := r.task.Takes
	if len(takes) == 0 {
		takes = []tandem.Kind{tandem.Text}
	}
	// An export of a task that keeps no inputs has none, and still counts.
	if !exported || len(t.Input.Parts) > 0 {
		if err := t.Input.Check(takes, limit); err != nil {
			if e, ok := asTandem(err); ok {
				return tandem.Trace{}, errors.New(e.Message)
			}
			return tandem.Trace{}, err
		}
	}
	if t.Labelled && !t.OutsideSpace {
		label, err := r.resolve(t.Teacher)
		if err != nil {
			return tandem.Trace{}, err
		}
		t.Teacher = label
	}
	if t.Gold != "" && !exported {
		label, err := r.resolve(t.Gold)
		if err != nil {
			return tandem.Trace{}, fmt.Errorf("gold: %w", err)
		}
		t.Gold = label
	}
	r.name(&t, line, exported && t.Task == r.task.Name)
	if exported {
		return t, nil
	}
	t.Source, t.Answer, t.Step, t.Model = tandem.Imported, t.Teacher, tandem.ProviderStep, t.TeacherModel
	t.Score, t.Certified, t.Reason, t.Propensity = 1, true, tandem.LastStep, 1
	if t.Session != "" {
		t.Session = r.opt.HashSession(t.Session)
	}
	return t, nil
}

// name gives the trace its task, a time and an id. keep says that the line
// comes from an export of this very task, whose ids stay.
func (r *Reader) name(t *tandem.Trace, line []byte, keep bool) {
	t.Task = r.task.Name
	order := uint64(r.line)
	if t.Time.IsZero() {
		t.Time = r.opt.Start.Add(time.Duration(r.line-1) * time.Microsecond)
	} else {
		order = uint64(max(t.Time.UnixMilli(), 0))
	}
	t.Time = t.Time.UTC().Truncate(time.Microsecond)
	switch {
	case keep && t.ID != "" && len(t.ID) <= maxID:
	case t.ID != "":
		t.ID = derivedID(r.task.Name, "id", 0, []byte(t.ID))
	default:
		t.ID = derivedID(r.task.Name, "line "+strconv.Itoa(r.line), order, line)
	}
}

// resolve maps a teacher's answer to a label of the task. Answers in a
// response format, {"label": "refund"}, are unwrapped.
func (r *Reader) resolve(answer string) (string, error) {
	if label, ok := r.task.Resolve(answer); ok && (!r.task.Open() || len(answer) == 0 || answer[0] != '{') {
		return label, nil
	}
	var wrapped map[string]any
	if json.Unmarshal([]byte(answer), &wrapped) == nil && len(wrapped) == 1 {
		for _, v := range wrapped {
			if s, ok := v.(string); ok {
				if label, ok := r.task.Resolve(s); ok {
					return label, nil
				}
			}
		}
	}
	if r.task.Open() {
		return "", fmt.Errorf("the teacher's answer is empty, has line breaks or is longer than %d bytes; it cannot be a label", tandem.MaxLabelBytes)
	}
	return "", fmt.Errorf("the teacher's answer %.64q is not one of the %d labels of task %s; add the label to the task or mend the line",
		answer, len(r.task.Labels), r.task.Name)
}

// derivedID makes an id in the shape of a UUID (version 8) whose first 48
// bits are order, and the rest a hash: the same line of the same file always
// gets the same id, so that importing twice stores once.
func derivedID(task, what string, order uint64, content []byte) string {
	h := sha256.New()
	for _, s := range []string{task, what} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Write(content)
	var sum [32]byte
	h.Sum(sum[:0])
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], order<<16)
	if order == 0 {
		copy(id[:6], sum[16:22])
	}
	copy(id[6:], sum[:10])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	x := hex.EncodeToString(id[:])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}
