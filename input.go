package tandem

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// Kind is the modality of one part of an input.
type Kind string

// The modalities a part can have.
const (
	Text  Kind = "text"
	Image Kind = "image"
	Audio Kind = "audio"
)

// Part is one piece of an input. Text parts use Text (valid UTF-8); the others
// use MIME and Data, or URL when the caller sent a reference.
type Part struct {
	Kind Kind   `json:"kind"`
	Text string `json:"text,omitempty"`
	MIME string `json:"mime,omitempty"`
	Data []byte `json:"data,omitempty"`
	URL  string `json:"url,omitempty"`
}

// Input is what a task is asked about: an ordered list of parts.
type Input struct {
	Parts []Part `json:"parts"`
}

// TextInput is an input of one text part.
func TextInput(s string) Input { return Input{Parts: []Part{{Kind: Text, Text: s}}} }

// Text returns the text parts joined by newlines. It does not allocate when
// there is exactly one.
func (in Input) Text() string {
	first, n := "", 0
	for i := range in.Parts {
		if in.Parts[i].Kind == Text {
			if n == 0 {
				first = in.Parts[i].Text
			}
			n++
		}
	}
	if n <= 1 {
		return first
	}
	texts := make([]string, 0, n)
	for i := range in.Parts {
		if in.Parts[i].Kind == Text {
			texts = append(texts, in.Parts[i].Text)
		}
	}
	return strings.Join(texts, "\n")
}

// Hash identifies the content of the input, independent of the process.
func (in Input) Hash() [32]byte {
	h := sha256.New()
	var n [8]byte
	write := func(b []byte) {
		binary.LittleEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	for i := range in.Parts {
		p := &in.Parts[i]
		write([]byte(p.Kind))
		write([]byte(p.Text))
		write([]byte(p.MIME))
		write(p.Data)
		write([]byte(p.URL))
	}
	return [32]byte(h.Sum(nil))
}

// Check reports what makes the input unfit for a task: no parts, an empty
// text, invalid UTF-8, a modality the task does not take, or more than
// maxBytes of content.
func (in Input) Check(takes []Kind, maxBytes int) error {
	if len(in.Parts) == 0 {
		return &Error{Code: InvalidRequest, Param: "input", Message: "the input is empty; send the text to classify"}
	}
	size, blank := 0, true
	for i := range in.Parts {
		p := &in.Parts[i]
		if !contains(takes, p.Kind) {
			return &Error{
				Code: UnsupportedModality, Param: "input",
				Message: "this task does not take " + string(p.Kind) + " parts; it takes " + join(takes),
			}
		}
		size += len(p.Text) + len(p.Data) + len(p.URL)
		if p.Kind != Text {
			blank = false
			continue
		}
		if !utf8.ValidString(p.Text) {
			return &Error{Code: InvalidRequest, Param: "input", Message: "the text is not valid UTF-8; encode it as UTF-8"}
		}
		if strings.TrimSpace(p.Text) != "" {
			blank = false
		}
	}
	if blank {
		return &Error{Code: InvalidRequest, Param: "input", Message: "the text is empty; send the text to classify"}
	}
	if size > maxBytes {
		return Errorf(InputTooLarge, "the input has %d bytes; this task takes at most %d (limits.input_bytes)", size, maxBytes)
	}
	return nil
}

func contains(kinds []Kind, k Kind) bool {
	for _, have := range kinds {
		if have == k {
			return true
		}
	}
	return false
}

func join(kinds []Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}
