package linear

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"tandem/internal/feature/text"
	"tandem/internal/kernel"
	"tandem/internal/student"
)

// format is the version of a member's encoding; docs/formats/student.md
// describes it.
const format = 1

// MarshalBinary encodes the member.
func (m *Member) MarshalBinary() ([]byte, error) {
	b := binary.LittleEndian.AppendUint32(nil, format)
	b = binary.LittleEndian.AppendUint32(b, uint32(m.classes))
	for _, w := range m.blocks {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(w))
	}
	b, err := m.vocab.AppendBinary(b)
	if err != nil {
		return nil, err
	}
	for row := range m.vocab.Len() + 1 {
		for _, w := range m.table[row*m.width:][:m.classes] {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(w))
		}
	}
	return b, nil
}

// Load decodes what MarshalBinary wrote.
func (Family) Load(blob []byte) (student.Member, error) {
	const head = 8 + 4*text.Blocks
	if len(blob) < head {
		return nil, errors.New("load linear: cut short")
	}
	if v := binary.LittleEndian.Uint32(blob); v != format {
		return nil, fmt.Errorf("load linear: format %d is unknown, this program reads %d", v, format)
	}
	classes := int(binary.LittleEndian.Uint32(blob[4:]))
	if classes < 1 || classes > MaxClasses {
		return nil, fmt.Errorf("load linear: %d labels are outside 1 to %d", classes, MaxClasses)
	}
	var blocks text.Weights
	for i := range blocks {
		w := math.Float32frombits(binary.LittleEndian.Uint32(blob[8+4*i:]))
		if !(w >= 0 && w <= 100) {
			return nil, fmt.Errorf("load linear: block %d has weight %g", i, w)
		}
		blocks[i] = w
	}
	vocab, rest, err := text.ReadVocabulary(blob[head:])
	if err != nil {
		return nil, fmt.Errorf("load linear: %w", err)
	}
	rows := vocab.Len() + 1
	if len(rest) != 4*rows*classes {
		return nil, fmt.Errorf("load linear: %d bytes of weights, want %d", len(rest), 4*rows*classes)
	}
	width := kernel.Pad(classes)
	table := make([]float32, rows*width)
	for row := range rows {
		for k := range classes {
			w := math.Float32frombits(binary.LittleEndian.Uint32(rest[4*(row*classes+k):]))
			if math.IsNaN(float64(w)) || math.IsInf(float64(w), 0) {
				return nil, fmt.Errorf("load linear: weight of feature %d is not a number", row)
			}
			table[row*width+k] = w
		}
	}
	return newMember(classes, blocks, vocab, table), nil
}
