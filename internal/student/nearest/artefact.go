package nearest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"tandem/internal/feature/text"
	"tandem/internal/student"
)

// format is the version of a member's encoding; docs/formats/student.md
// describes it.
const format = 1

// MarshalBinary encodes the member.
func (m *Member) MarshalBinary() ([]byte, error) {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, format)
	b = le.AppendUint32(b, uint32(m.classes))
	b = le.AppendUint32(b, uint32(len(m.labels)))
	b = le.AppendUint32(b, uint32(len(m.posts)))
	b, err := m.vocab.AppendBinary(b)
	if err != nil {
		return nil, err
	}
	for _, l := range m.labels {
		b = le.AppendUint16(b, l)
	}
	for _, w := range m.weights {
		b = le.AppendUint32(b, math.Float32bits(w))
	}
	for f := range m.vocab.Len() {
		b = append(b, byte(m.start[f+1]-m.start[f]))
	}
	for _, p := range m.posts {
		b = le.AppendUint16(b, p.example)
		b = le.AppendUint16(b, p.value)
	}
	return b, nil
}

// Load decodes what MarshalBinary wrote.
func (Family) Load(blob []byte) (student.Member, error) {
	le := binary.LittleEndian
	if len(blob) < 16 {
		return nil, errors.New("load nearest: cut short")
	}
	if v := le.Uint32(blob); v != format {
		return nil, fmt.Errorf("load nearest: format %d is unknown, this program reads %d", v, format)
	}
	classes, n, posts := int(le.Uint32(blob[4:])), int(le.Uint32(blob[8:])), int(le.Uint32(blob[12:]))
	if classes < 1 || classes > MaxClasses {
		return nil, fmt.Errorf("load nearest: %d labels are outside 1 to %d", classes, MaxClasses)
	}
	if n > maxRows {
		return nil, fmt.Errorf("load nearest: %d examples are more than %d", n, maxRows)
	}
	vocab, b, err := text.ReadVocabulary(blob[16:])
	if err != nil {
		return nil, fmt.Errorf("load nearest: %w", err)
	}
	if want := 6*n + vocab.Len() + 4*posts; len(b) != want {
		return nil, fmt.Errorf("load nearest: %d bytes of examples, want %d", len(b), want)
	}
	labels, weights := make([]uint16, n), make([]float32, n)
	for i := range labels {
		labels[i] = le.Uint16(b[2*i:])
		w := math.Float32frombits(le.Uint32(b[2*n+4*i:]))
		if int(labels[i]) >= classes || !(w > 0 && w <= maxWeight) {
			return nil, fmt.Errorf("load nearest: example %d has label %d and weight %g", i, labels[i], w)
		}
		weights[i] = w
	}
	b = b[6*n:]
	start := make([]uint32, 1, vocab.Len()+1)
	total := uint32(0)
	for _, l := range b[:vocab.Len()] {
		total += uint32(l)
		start = append(start, total)
	}
	if int(total) != posts {
		return nil, fmt.Errorf("load nearest: features list %d examples, want %d", total, posts)
	}
	b = b[vocab.Len():]
	list := make([]posting, posts)
	for i := range list {
		list[i] = posting{le.Uint16(b[4*i:]), le.Uint16(b[4*i+2:])}
		if int(list[i].example) >= n {
			return nil, fmt.Errorf("load nearest: example %d is missing", list[i].example)
		}
	}
	return newMember(classes, vocab, labels, weights, start, list), nil
}
