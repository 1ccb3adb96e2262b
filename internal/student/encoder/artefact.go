package encoder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"tandem/internal/kernel"
	"tandem/internal/student"
)

// format is the version of the members' encodings; docs/formats/student.md
// describes it.
const format = 1

// maxName bounds the name and the digest of an encoder.
const maxName = 256

// head begins an encoding: the format, the labels, and which encoder.
func (b *base) head(classes int) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(nil, format)
	out = le.AppendUint32(out, uint32(classes))
	out = le.AppendUint32(out, uint32(b.embedder.Dim()))
	for _, s := range []string{b.embedder.Name(), b.embedder.Digest()} {
		out = le.AppendUint32(out, uint32(len(s)))
		out = append(out, s...)
	}
	return out
}

// behead reads what head wrote and refuses the vectors of another encoder.
func (b *base) behead(what string, blob []byte) (classes int, rest []byte, err error) {
	le := binary.LittleEndian
	if len(blob) < 12 {
		return 0, nil, fmt.Errorf("load %s: cut short", what)
	}
	if v := le.Uint32(blob); v != format {
		return 0, nil, fmt.Errorf("load %s: format %d is unknown, this program reads %d", what, v, format)
	}
	classes = int(le.Uint32(blob[4:]))
	if classes < 1 || classes > MaxClasses {
		return 0, nil, fmt.Errorf("load %s: %d labels are outside 1 to %d", what, classes, MaxClasses)
	}
	dim := le.Uint32(blob[8:])
	blob = blob[12:]
	var named [2]string
	for i := range named {
		if len(blob) < 4 || le.Uint32(blob) > maxName || int(le.Uint32(blob)) > len(blob)-4 {
			return 0, nil, fmt.Errorf("load %s: the name of the encoder is cut short", what)
		}
		n := int(le.Uint32(blob))
		named[i], blob = string(blob[4:4+n]), blob[4+n:]
	}
	switch {
	case b.embedder == nil:
		return 0, nil, fmt.Errorf("load %s: it was trained on the encoder %.64q, and there is none here: %w", what, named[0], b.absent)
	case named[1] != b.embedder.Digest():
		return 0, nil, fmt.Errorf("load %s: it was trained on the encoder %.64q with weights %.12s, and this program has %q with weights %.12s; train it again or bring the other back",
			what, named[0], named[1], b.embedder.Name(), b.embedder.Digest())
	case int64(dim) != int64(b.embedder.Dim()) || dim > maxDim:
		return 0, nil, fmt.Errorf("load %s: vectors of %d numbers, want %d", what, dim, b.embedder.Dim())
	}
	return classes, blob, nil
}

// appendTable writes the first columns of rows of the given width.
func appendTable(b []byte, table []float32, width, columns int) []byte {
	for at := 0; at < len(table); at += width {
		for _, w := range table[at : at+columns] {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(w))
		}
	}
	return b
}

// readTable reads what appendTable wrote.
func readTable(b []byte, rows, width, columns int) ([]float32, []byte, error) {
	if int64(len(b)) < 4*int64(rows)*int64(columns) {
		return nil, nil, fmt.Errorf("%d bytes of weights, want %d", len(b), 4*int64(rows)*int64(columns))
	}
	table := make([]float32, rows*width)
	for row := range rows {
		for k := range columns {
			w := math.Float32frombits(binary.LittleEndian.Uint32(b))
			if !(w >= -1e12 && w <= 1e12) {
				return nil, nil, fmt.Errorf("weight %d of row %d is not a number", k, row)
			}
			table[row*width+k] = w
			b = b[4:]
		}
	}
	return table, b, nil
}

var errLeft = errors.New("bytes are left over")

// MarshalBinary encodes the member.
func (m *linearMember) MarshalBinary() ([]byte, error) {
	return appendTable(m.head(m.classes), m.table, m.width, m.classes), nil
}

// Load decodes what MarshalBinary wrote, for the same encoder only.
func (f Linear) Load(blob []byte) (student.Member, error) {
	classes, rest, err := f.behead(LinearName, blob)
	if err != nil {
		return nil, err
	}
	table, rest, err := readTable(rest, f.embedder.Dim()+1, kernel.Pad(classes), classes)
	if err == nil && len(rest) > 0 {
		err = errLeft
	}
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", LinearName, err)
	}
	return newLinear(f.base, classes, table), nil
}

// MarshalBinary encodes the member.
func (m *networkMember) MarshalBinary() ([]byte, error) {
	b := binary.LittleEndian.AppendUint32(m.head(m.classes), uint32(len(m.nets)))
	for i := range m.nets {
		b = appendTable(b, m.nets[i].first, hidden, hidden)
		b = appendTable(b, m.nets[i].second, m.width, m.classes)
	}
	return b, nil
}

// maxNets bounds the networks of an artefact.
const maxNets = 16

// Load decodes what MarshalBinary wrote, for the same encoder only.
func (f Network) Load(blob []byte) (student.Member, error) {
	classes, rest, err := f.behead(NetworkName, blob)
	if err != nil {
		return nil, err
	}
	if len(rest) < 4 {
		return nil, fmt.Errorf("load %s: cut short", NetworkName)
	}
	n := binary.LittleEndian.Uint32(rest)
	if n < 1 || n > maxNets {
		return nil, fmt.Errorf("load %s: %d networks are outside 1 to %d", NetworkName, n, maxNets)
	}
	rest = rest[4:]
	nets := make([]layers, n)
	for i := range nets {
		if nets[i].first, rest, err = readTable(rest, f.embedder.Dim()+1, hidden, hidden); err == nil {
			nets[i].second, rest, err = readTable(rest, hidden+1, kernel.Pad(classes), classes)
		}
		if err != nil {
			return nil, fmt.Errorf("load %s: %w", NetworkName, err)
		}
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("load %s: %w", NetworkName, errLeft)
	}
	return newNetwork(f.base, classes, nets), nil
}

// MarshalBinary encodes the member.
func (m *nearestMember) MarshalBinary() ([]byte, error) {
	le := binary.LittleEndian
	b := le.AppendUint32(m.head(m.classes), uint32(len(m.labels)))
	dim := m.embedder.Dim()
	for e := range m.labels {
		b = le.AppendUint16(b, m.labels[e])
		b = le.AppendUint32(b, math.Float32bits(m.weights[e]))
		b = le.AppendUint32(b, math.Float32bits(m.scales[e]))
		for _, c := range m.codes[e*dim : (e+1)*dim] {
			b = append(b, byte(c))
		}
	}
	return b, nil
}

// Load decodes what MarshalBinary wrote, for the same encoder only.
func (f Nearest) Load(blob []byte) (student.Member, error) {
	le := binary.LittleEndian
	classes, rest, err := f.behead(NearestName, blob)
	if err != nil {
		return nil, err
	}
	if len(rest) < 4 {
		return nil, fmt.Errorf("load %s: cut short", NearestName)
	}
	n, dim := int(le.Uint32(rest)), f.embedder.Dim()
	rest = rest[4:]
	if n > maxExamples || len(rest) != n*(10+dim) {
		return nil, fmt.Errorf("load %s: %d bytes of %d examples, at most %d", NearestName, len(rest), n, maxExamples)
	}
	m := f.empty(classes, n)
	for e := range n {
		label := le.Uint16(rest)
		weight, scale := math.Float32frombits(le.Uint32(rest[2:])), math.Float32frombits(le.Uint32(rest[6:]))
		if int(label) >= classes || !(weight > 0 && weight <= maxWeight) || !(scale > 0 && scale <= 1) {
			return nil, fmt.Errorf("load %s: example %d has label %d, weight %g and scale %g", NearestName, e, label, weight, scale)
		}
		for _, c := range rest[10 : 10+dim] {
			m.codes = append(m.codes, int8(c))
		}
		m.expand(scale, label, weight)
		rest = rest[10+dim:]
	}
	return m, nil
}
