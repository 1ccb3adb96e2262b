package encoder

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Bounds of a safetensors file. They are checked before anything of that size
// is allocated.
const (
	maxHeader  = 16 << 20
	maxTensors = 1 << 14
	maxDims    = 8
	maxNumbers = 1 << 30 // in one tensor
)

// tensorInfo is where a tensor lies.
type tensorInfo struct {
	dtype string
	shape []int
	from  int64 // in the file
	size  int64 // bytes
}

// tensorFile is a safetensors file: eight bytes with the length of a JSON
// header, the header, and the numbers of all tensors without gaps.
type tensorFile struct {
	r       io.ReaderAt
	tensors map[string]tensorInfo
}

// openTensors reads and checks the header of a file of size bytes.
func openTensors(r io.ReaderAt, size int64) (*tensorFile, error) {
	var length [8]byte
	if size < int64(len(length)) {
		return nil, fmt.Errorf("the file has %d bytes and no header", size)
	}
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, fmt.Errorf("read the header's length: %w", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > size-8 {
		return nil, fmt.Errorf("the header claims %d bytes of %d; the file is cut short or no safetensors file", n, size)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, 8); err != nil {
		return nil, fmt.Errorf("read the header: %w", err)
	}
	f := &tensorFile{r: r}
	if err := f.parse(header, 8+int64(n), size); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *tensorFile) parse(header []byte, start, size int64) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(header, &raw); err != nil {
		return fmt.Errorf("read the header: %w", err)
	}
	delete(raw, "__metadata__")
	if len(raw) > maxTensors {
		return fmt.Errorf("the header lists %d tensors; at most %d are read", len(raw), maxTensors)
	}
	f.tensors = make(map[string]tensorInfo, len(raw))
	for name, data := range raw {
		t, err := parseTensor(data, start, size)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		f.tensors[name] = t
	}
	return f.contiguous(start, size)
}

func parseTensor(data []byte, start, size int64) (tensorInfo, error) {
	var t struct {
		Dtype   string  `json:"dtype"`
		Shape   []int64 `json:"shape"`
		Offsets []int64 `json:"data_offsets"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return tensorInfo{}, fmt.Errorf("read its entry: %w", err)
	}
	width, known := widths(t.Dtype)
	if !known {
		return tensorInfo{}, fmt.Errorf("dtype %q is not known", t.Dtype)
	}
	if len(t.Shape) > maxDims {
		return tensorInfo{}, fmt.Errorf("has %d dimensions; at most %d are read", len(t.Shape), maxDims)
	}
	numbers := int64(1)
	shape := make([]int, len(t.Shape))
	for i, d := range t.Shape {
		if d < 0 || d > maxNumbers || (d > 0 && numbers > maxNumbers/d) {
			return tensorInfo{}, fmt.Errorf("has shape %v; at most %d numbers are read", t.Shape, maxNumbers)
		}
		numbers *= d
		shape[i] = int(d)
	}
	if len(t.Offsets) != 2 || t.Offsets[0] < 0 || t.Offsets[1] < t.Offsets[0] || t.Offsets[1] > size-start {
		return tensorInfo{}, fmt.Errorf("lies at %v of %d bytes; the file is cut short or damaged", t.Offsets, size-start)
	}
	length := t.Offsets[1] - t.Offsets[0]
	if length != numbers*width {
		return tensorInfo{}, fmt.Errorf("has %d bytes, but shape %v of %s takes %d", length, t.Shape, t.Dtype, numbers*width)
	}
	return tensorInfo{dtype: t.Dtype, shape: shape, from: start + t.Offsets[0], size: length}, nil
}

// contiguous checks that the tensors fill the file, each byte once.
func (f *tensorFile) contiguous(start, size int64) error {
	all := make([]tensorInfo, 0, len(f.tensors))
	for _, t := range f.tensors {
		if t.size > 0 {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b tensorInfo) int { return int(min(max(a.from-b.from, -1), 1)) })
	at := start
	for _, t := range all {
		if t.from != at {
			return errors.New("tensors overlap or leave gaps; the file is damaged")
		}
		at += t.size
	}
	if at != size {
		return fmt.Errorf("the tensors end at byte %d of %d; the file is damaged", at, size)
	}
	return nil
}

// widths is the bytes of a number. Types that cannot hold weights are known
// too, since files may carry such tensors besides.
func widths(dtype string) (width int64, known bool) {
	switch dtype {
	case "F64", "I64", "U64":
		return 8, true
	case "F32", "I32", "U32":
		return 4, true
	case "F16", "BF16", "I16", "U16":
		return 2, true
	case "I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2":
		return 1, true
	}
	return 0, false
}

// read returns a tensor's numbers. The tensor must have the given shape.
func (f *tensorFile) read(name string, shape ...int) ([]float32, error) {
	t, ok := f.tensors[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("tensor %q is missing", name)
	case !slices.Equal(t.shape, shape):
		return nil, fmt.Errorf("tensor %q has shape %v; the configuration wants %v", name, t.shape, shape)
	}
	var decode func(dst []float32, src []byte)
	width := int64(2)
	switch t.dtype {
	case "F32":
		width, decode = 4, decodeF32
	case "F16":
		decode = decodeF16
	case "BF16":
		decode = decodeBF16
	default:
		return nil, fmt.Errorf("tensor %q holds %s; only F32, F16 and BF16 are read as weights", name, t.dtype)
	}
	dst := make([]float32, t.size/width)
	buf := make([]byte, min(t.size, 1<<20))
	for done := int64(0); done < t.size; {
		part := buf[:min(t.size-done, int64(len(buf)))]
		if _, err := f.r.ReadAt(part, t.from+done); err != nil {
			return nil, fmt.Errorf("read tensor %q: %w", name, err)
		}
		decode(dst[done/width:], part)
		done += int64(len(part))
	}
	for _, v := range dst {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return nil, fmt.Errorf("tensor %q holds numbers that are not finite", name)
		}
	}
	return dst, nil
}

func decodeF32(dst []float32, src []byte) {
	for i := 0; i+4 <= len(src); i += 4 {
		dst[i/4] = math.Float32frombits(binary.LittleEndian.Uint32(src[i:]))
	}
}

func decodeBF16(dst []float32, src []byte) {
	for i := 0; i+2 <= len(src); i += 2 {
		dst[i/2] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[i:])) << 16)
	}
}

func decodeF16(dst []float32, src []byte) {
	for i := 0; i+2 <= len(src); i += 2 {
		dst[i/2] = half(binary.LittleEndian.Uint16(src[i:]))
	}
}

// half is the number of an IEEE 754 binary16.
func half(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0: // zero or denormal: a multiple of 2^-24
		f := float32(fraction) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

// prefix finds what stands before the names of a BERT's tensors: "" in files
// of the encoder alone, "bert." in those of a model around it.
func (f *tensorFile) prefix() (string, error) {
	const first = "embeddings.word_embeddings.weight"
	for name := range f.tensors {
		if p, ok := strings.CutSuffix(name, first); ok && (p == "" || p == "bert." || p == "model." || p == "encoder.") {
			return p, nil
		}
	}
	return "", fmt.Errorf("tensor %q is missing: this is not a BERT encoder", first)
}
