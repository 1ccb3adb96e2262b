package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tandem"
)

// Inputs are stored as one compact blob: a version byte, the number of parts,
// then for each part a kind byte, a byte that says which fields follow, and
// each field as a length and its bytes. Numbers are unsigned varints.
// docs/formats/database.md specifies it.
const inputVersion = 1

// The kind bytes. Other kinds are written as kindOther and their name.
const (
	kindOther = iota
	kindText
	kindImage
	kindAudio
)

// The field bits, in the order in which the fields follow.
const (
	hasText = 1 << iota
	hasMIME
	hasData
	hasURL
	knownFields = 1<<iota - 1
)

var errInput = errors.New("malformed stored input")

// appendInput appends the encoding of in to b.
func appendInput(b []byte, in *tandem.Input) []byte {
	b = append(b, inputVersion)
	b = binary.AppendUvarint(b, uint64(len(in.Parts)))
	for i := range in.Parts {
		p := &in.Parts[i]
		switch p.Kind {
		case tandem.Text:
			b = append(b, kindText)
		case tandem.Image:
			b = append(b, kindImage)
		case tandem.Audio:
			b = append(b, kindAudio)
		default:
			b = appendField(append(b, kindOther), string(p.Kind))
		}
		at := len(b)
		b = append(b, 0)
		if p.Text != "" {
			b[at] |= hasText
			b = appendField(b, p.Text)
		}
		if p.MIME != "" {
			b[at] |= hasMIME
			b = appendField(b, p.MIME)
		}
		if len(p.Data) > 0 {
			b[at] |= hasData
			b = binary.AppendUvarint(b, uint64(len(p.Data)))
			b = append(b, p.Data...)
		}
		if p.URL != "" {
			b[at] |= hasURL
			b = appendField(b, p.URL)
		}
	}
	return b
}

func appendField(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decodeInput reads what appendInput wrote. The result shares no memory
// with b.
func decodeInput(b []byte) (tandem.Input, error) {
	if len(b) == 0 || b[0] != inputVersion {
		return tandem.Input{}, fmt.Errorf("%w: unknown version", errInput)
	}
	r := fieldReader{rest: b[1:]}
	n := r.number()
	if n == 0 && r.err == nil && len(r.rest) == 0 {
		return tandem.Input{}, nil
	}
	if n > uint64(len(r.rest))/2 { // a part takes two bytes at least
		return tandem.Input{}, fmt.Errorf("%w: %d parts in %d bytes", errInput, n, len(r.rest))
	}
	parts := make([]tandem.Part, n)
	for i := range parts {
		p := &parts[i]
		switch r.octet() {
		case kindText:
			p.Kind = tandem.Text
		case kindImage:
			p.Kind = tandem.Image
		case kindAudio:
			p.Kind = tandem.Audio
		case kindOther:
			p.Kind = tandem.Kind(r.field())
		default:
			return tandem.Input{}, fmt.Errorf("%w: unknown kind", errInput)
		}
		has := r.octet()
		if has&^knownFields != 0 {
			return tandem.Input{}, fmt.Errorf("%w: unknown field", errInput)
		}
		if has&hasText != 0 {
			p.Text = string(r.field())
		}
		if has&hasMIME != 0 {
			p.MIME = string(r.field())
		}
		if has&hasData != 0 {
			p.Data = append([]byte(nil), r.field()...)
		}
		if has&hasURL != 0 {
			p.URL = string(r.field())
		}
	}
	if r.err != nil {
		return tandem.Input{}, r.err
	}
	if len(r.rest) != 0 {
		return tandem.Input{}, fmt.Errorf("%w: %d bytes too many", errInput, len(r.rest))
	}
	return tandem.Input{Parts: parts}, nil
}

// fieldReader takes values off the front of rest; after the first failure
// everything it returns is empty.
type fieldReader struct {
	rest []byte
	err  error
}

func (r *fieldReader) fail() {
	r.rest = nil
	if r.err == nil {
		r.err = fmt.Errorf("%w: cut short", errInput)
	}
}

func (r *fieldReader) octet() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

func (r *fieldReader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *fieldReader) field() []byte {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	f := r.rest[:n]
	r.rest = r.rest[n:]
	return f
}
