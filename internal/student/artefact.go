package student

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// The envelope of an artefact; docs/formats/student.md describes it.
const (
	magic    = "TANDEMST"
	version  = 2
	headSize = len(magic) + 4 + 4 + 8

	maxBody       = 2 << 30
	maxLabels     = 1 << 14
	maxLabelBytes = 4096
	maxMembers    = 16
	maxStages     = 4
	maxNameBytes  = 64
)

// MarshalBinary encodes the student for Load.
func (s *Student) MarshalBinary() ([]byte, error) {
	le := binary.LittleEndian
	b := append([]byte(magic), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	le.PutUint32(b[len(magic):], version)
	b = le.AppendUint32(b, uint32(len(s.labels)))
	for _, l := range s.labels {
		b = appendString(b, l)
	}
	b = le.AppendUint32(b, uint32(len(s.members)))
	for m, member := range s.members {
		blob, err := member.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("encode member %s: %w", s.families[m], err)
		}
		b = appendString(b, s.families[m])
		b = le.AppendUint64(b, uint64(len(blob)))
		b = append(b, blob...)
	}
	b = le.AppendUint32(b, uint32(len(s.stages)))
	for i := range s.stages {
		g := &s.stages[i]
		b = appendFloats(b, g.enough)
		b = le.AppendUint32(b, uint32(len(g.use)))
		for k, m := range g.use {
			b = le.AppendUint32(b, uint32(m))
			b = appendFloats(b, g.pool.weights[k])
		}
		b = g.scorer.append(b)
	}
	if len(b)-headSize > maxBody {
		return nil, fmt.Errorf("encode student: %d bytes are more than %d", len(b), maxBody)
	}
	le.PutUint64(b[headSize-8:], uint64(len(b)-headSize))
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// Load decodes what MarshalBinary wrote, with the families that the program
// has. It refuses anything else with an error that says what is wrong.
func Load(families map[string]Family, blob []byte) (*Student, error) {
	body, err := open(blob)
	if err != nil {
		return nil, fmt.Errorf("load student: %w", err)
	}
	r := &reader{b: body}
	s := &Student{}
	for range r.count("labels", 1, maxLabels) {
		s.labels = append(s.labels, r.string("label", maxLabelBytes))
		if r.err != nil {
			break
		}
	}
	members := r.count("members", 1, maxMembers)
	for m := 0; m < members && r.err == nil; m++ {
		name := r.string("family", maxNameBytes)
		part := r.bytes("member", r.uint64())
		if r.err != nil {
			break
		}
		f, ok := families[name]
		if !ok {
			return nil, fmt.Errorf("load student: this program has no family %q", name)
		}
		member, err := f.Load(part)
		if err != nil {
			return nil, fmt.Errorf("load student: member %d: %w", m, err)
		}
		if member.Classes() != len(s.labels) {
			return nil, fmt.Errorf("load student: member %d knows %d labels, want %d", m, member.Classes(), len(s.labels))
		}
		s.families, s.members = append(s.families, name), append(s.members, member)
	}
	stages := r.count("stages", 1, maxStages)
	for len(s.stages) < stages && r.err == nil {
		s.stages = append(s.stages, readStage(r, len(s.labels), len(s.members)))
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes are left over", len(r.b))
	}
	if r.err != nil {
		return nil, fmt.Errorf("load student: %w", r.err)
	}
	s.prepare()
	return s, nil
}

// readStage reads a stage of a student with so many labels and members.
func readStage(r *reader, labels, members int) stage {
	g := stage{enough: r.float("score that is enough", 0, 1)}
	last := -1
	for range r.count("members of a stage", 1, members) {
		m := r.count("position of a member", 0, members-1)
		if r.err == nil && m <= last {
			r.err = fmt.Errorf("member %d comes after member %d in a stage", m, last)
		}
		last = m
		g.use, g.pool.weights = append(g.use, m), append(g.pool.weights, r.float("pool weight", 0, 100))
	}
	g.scorer.read(r, labels, len(g.use))
	return g
}

// open checks the envelope and returns the body.
func open(blob []byte) ([]byte, error) {
	if len(blob) < headSize+sha256.Size {
		return nil, fmt.Errorf("%d bytes are too few for an artefact", len(blob))
	}
	if !bytes.HasPrefix(blob, []byte(magic)) {
		return nil, errors.New("this is not a student artefact")
	}
	if v := binary.LittleEndian.Uint32(blob[len(magic):]); v != version {
		return nil, fmt.Errorf("format version %d is unknown, this program reads %d", v, version)
	}
	if v := binary.LittleEndian.Uint32(blob[len(magic)+4:]); v != 0 {
		return nil, fmt.Errorf("the reserved field is %d, want 0", v)
	}
	length := binary.LittleEndian.Uint64(blob[headSize-8:])
	if have := uint64(len(blob) - headSize - sha256.Size); length != have || length > maxBody {
		return nil, fmt.Errorf("the body has %d bytes, %d are announced; the artefact is cut short or damaged", have, length)
	}
	end := len(blob) - sha256.Size
	if sum := sha256.Sum256(blob[:end]); !bytes.Equal(sum[:], blob[end:]) {
		return nil, errors.New("the checksum does not match; the artefact is damaged")
	}
	return blob[headSize:end], nil
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

func appendFloats(b []byte, v ...float64) []byte {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	return b
}

// reader takes fields off a body; the first fault sticks.
type reader struct {
	b   []byte
	err error
}

func (r *reader) bytes(what string, n uint64) []byte {
	if r.err == nil && n > uint64(len(r.b)) {
		r.err = fmt.Errorf("%s: cut short", what)
	}
	if r.err != nil {
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) uint32() uint32 {
	if v := r.bytes("number", 4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if v := r.bytes("number", 8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (r *reader) count(what string, low, high int) int {
	n := int(r.uint32())
	if r.err == nil && (n < low || n > high) {
		r.err = fmt.Errorf("%d %s are outside %d to %d", n, what, low, high)
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *reader) string(what string, limit int) string {
	v := r.bytes(what, uint64(r.count("bytes of "+what, 0, limit)))
	if r.err == nil && !utf8.Valid(v) {
		r.err = fmt.Errorf("%s: not valid UTF-8", what)
	}
	return string(v)
}

func (r *reader) float(what string, low, high float64) float64 {
	v := math.Float64frombits(r.uint64())
	if r.err == nil && !(v >= low && v <= high) {
		r.err = fmt.Errorf("%s is %g, outside %g to %g", what, v, low, high)
	}
	return v
}

// floats reads n finite numbers.
func (r *reader) floats(what string, n int) []float64 {
	if r.err == nil && n > len(r.b)/8 {
		r.err = fmt.Errorf("%s: cut short", what)
	}
	if r.err != nil {
		return nil
	}
	v := make([]float64, n)
	for i := range v {
		v[i] = r.float(what, -1e12, 1e12)
	}
	return v
}

func (s *scorer) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.mean)))
	b = appendFloats(b, s.reliable...)
	b = appendFloats(b, s.prior...)
	for i := range s.mean {
		b = appendFloats(b, s.mean[i], s.scale[i])
		b = appendFloats(b, s.knots[i][:]...)
	}
	return appendFloats(b, s.coef...)
}

func (s *scorer) read(r *reader, labels, members int) {
	want := factsShared + factsMember*members
	n := r.count("facts", want, want)
	s.reliable = r.floats("reliability", labels)
	s.prior = r.floats("prior", labels)
	for range n {
		v := r.floats("fact", 5)
		if r.err != nil {
			return
		}
		s.mean, s.scale = append(s.mean, v[0]), append(s.scale, v[1])
		s.knots = append(s.knots, [3]float64(v[2:]))
	}
	s.coef = r.floats("coefficient", 1+4*n)
}
