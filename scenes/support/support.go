// Package support is a ready-made scene: the support desk of an invented
// broadband company, with the messages its customers write and the recorded
// answers of a large model. It is made from material written by hand
// (docs/scenes/support.md); no large model is called.
package support

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"tandem"
)

//go:embed corpus.tsv.gz
var packed []byte

// Phase is a time in the life of the desk.
type Phase uint8

// The phases: the desk as it was, and after the product line got a new name,
// five new intents appeared and one changed its meaning.
const (
	Before Phase = iota
	After
)

// Message is one message of a customer.
type Message struct {
	Text string
	// Label is the recorded answer of the large model. It differs from Gold in
	// unclear messages and in about 1.5 % of the others.
	Label string
	// Gold is the intent by the desk's own instruction.
	Gold string
	// Session names the conversation; some customers write several messages.
	Session string
}

// Desk is the unpacked scene. It is read-only and safe for concurrent use.
type Desk struct {
	intents  []intent
	messages []message
	answers  map[string]string
	pools    [2]pool
}

type intent struct {
	name, description string
	share             float64
	since             Phase
}

type message struct {
	text, label, gold string
	kind              byte // 'p'lain, 's'everal requests, 'u'nclear
	topic             int  // position of the intent whose share of the traffic it belongs to
}

// Load unpacks the scene that is built into the program.
func Load() (*Desk, error) {
	plain, err := Corpus()
	if err != nil {
		return nil, err
	}
	d, err := parse(plain)
	if err != nil {
		return nil, fmt.Errorf("read the support corpus: %w", err)
	}
	return d, nil
}

// Corpus gives the unpacked corpus file, in the format that
// docs/scenes/support.md describes.
func Corpus() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack the support corpus: %w", err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("unpack the support corpus: %w", err)
	}
	return plain, nil
}

func parse(plain []byte) (*Desk, error) {
	d := &Desk{}
	index := map[string]int{}
	lines := bytes.Count(plain, []byte{'\n'})
	d.answers = make(map[string]string, lines)
	d.messages = make([]message, 0, lines)
	var fields [7]string
	// One string for the whole file: every text is a piece of it.
	for line := range strings.Lines(string(plain)) {
		n := cut(strings.TrimSuffix(line, "\n"), &fields)
		switch {
		case fields[0] == "intent" && n == 5:
			share, err := strconv.ParseFloat(fields[3], 64)
			if err != nil {
				return nil, fmt.Errorf("share of %s: %w", fields[1], err)
			}
			index[fields[1]] = len(d.intents)
			d.intents = append(d.intents, intent{fields[1], fields[4], share, since(fields[2])})
		case fields[0] == "message" && n == 7:
			topic, ok1 := index[fields[3]]
			gold, ok2 := index[fields[4]]
			label, ok3 := index[fields[5]]
			if !ok1 || !ok2 || !ok3 || len(fields[2]) != 1 || fields[6] == "" {
				return nil, fmt.Errorf("bad message line %q", line)
			}
			d.add(fields[1], message{fields[6], d.intents[label].name, d.intents[gold].name, fields[2][0], topic})
		default:
			return nil, fmt.Errorf("bad line %q", line)
		}
	}
	return d, nil
}

// cut splits a line at its tabs and returns the number of fields.
func cut(line string, fields *[7]string) int {
	n := 0
	for n < len(fields) {
		field, rest, more := strings.Cut(line, "\t")
		fields[n], line = field, rest
		n++
		if !more {
			break
		}
	}
	return n
}

func since(phase string) Phase {
	if phase == "a" {
		return After
	}
	return Before
}

func (d *Desk) add(phase string, m message) {
	i := int32(len(d.messages))
	d.messages = append(d.messages, m)
	d.answers[m.text] = m.label
	for p := range d.pools {
		if phase == "*" || (phase == "a") == (Phase(p) == After) {
			d.pools[p].add(m.topic, i)
		}
	}
}

// Labels gives the intents of the desk in a phase, most frequent first.
func (d *Desk) Labels(p Phase) []tandem.Label {
	labels := make([]tandem.Label, 0, len(d.intents))
	for _, in := range d.intents {
		if in.since <= p {
			labels = append(labels, tandem.Label{Name: in.name, Description: in.description})
		}
	}
	return labels
}

// Instructions is what the desk tells whoever answers, a person or a model.
func (d *Desk) Instructions() string {
	return "You sort the messages that customers of Pellmoor, a supplier of broadband, television and mobile service, send to the support desk. " +
		"Answer with the name of the one intent that fits best. " +
		"If a message asks for several things, answer with the first one asked for. " +
		"If two intents fit, answer with the one that must be solved first for the other to make sense. " +
		"If the message is not a request to this desk, answer out_of_scope."
}

// TaskName is the name of the desk's task.
const TaskName = "support-intent"

// Task is the desk's question as a task. Its labels are those of both phases,
// so that what appears after the change can be learnt without a change of
// configuration; no message before the change has one of the new ones.
func (d *Desk) Task() tandem.Task {
	return tandem.Task{
		Name:         TaskName,
		Description:  "Which of the desk's intents a customer's message has.",
		Instructions: d.Instructions(),
		Takes:        []tandem.Kind{tandem.Text},
		Labels:       d.Labels(After),
		Teacher:      "support-recording",
		Guarantee:    tandem.Guarantee{Alpha: 0.05, Delta: 0.1},
		Fallback:     tandem.FallbackError,
		Deadline:     10 * time.Second,
		InputBytes:   4096,
		AuditRate:    0.05,
		StoreInputs:  true,
	}
}

// Answer gives the recorded answer of the large model to a text. ok is false
// for a text that was never recorded.
func (d *Desk) Answer(text string) (label string, ok bool) {
	label, ok = d.answers[text]
	return label, ok
}

// Answers gives all recorded answers by text. The map is the desk's own and
// must not be changed.
func (d *Desk) Answers() map[string]string { return d.answers }

// Recording says, for everyone who sees an answer, that it was not made by a
// large model at that moment.
const Recording = "a recording written for this project, not a live large model"
