package encoder

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

func file(header string, body int) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), make([]byte, body)...)
}

func TestHostileFiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":            {nil, "no header"},
		"seven bytes":      {make([]byte, 7), "no header"},
		"huge header":      {binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "claims"},
		"cut header":       {file(`{"a":1}`, 0)[:12], "cut short"},
		"not JSON":         {file(`{"a`, 0), "header"},
		"array":            {file(`[]`, 0), "header"},
		"no offsets":       {file(`{"a":{"dtype":"F32","shape":[1]}}`, 4), "cut short"},
		"beyond the end":   {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 4), "cut short"},
		"backwards":        {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, 4), "cut short"},
		"negative":         {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}`, 4), "cut short"},
		"other size":       {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "takes 8"},
		"negative shape":   {file(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4), "shape"},
		"overflow":         {file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "shape"},
		"overflow to 0":    {file(`{"a":{"dtype":"F32","shape":[1073741824,1073741824,1073741824],"data_offsets":[0,0]}}`, 0), "shape"},
		"many dimensions":  {file(`{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}`, 4), "dimensions"},
		"unknown type":     {file(`{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,4]}}`, 4), "F4"},
		"unknown field":    {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, 4), "unknown field"},
		"overlap":          {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), "overlap"},
		"gap":              {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), "gaps"},
		"more at the end":  {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 5), "end at byte"},
		"fractional shape": {file(`{"a":{"dtype":"F32","shape":[0.5],"data_offsets":[0,4]}}`, 4), "entry"},
	} {
		if _, err := openTensors(bytes.NewReader(c.data), int64(len(c.data))); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

func TestTensorsThatAreNotWeights(t *testing.T) {
	t.Parallel()
	data := file(`{"ids":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]},"none":{"dtype":"F32","shape":[0],"data_offsets":[16,16]}}`, 16)
	f, err := openTensors(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.read("ids", 1, 2); err == nil || !strings.Contains(err.Error(), "I64") {
		t.Errorf("integers give error %v", err)
	}
	if _, err := f.read("ids", 2); err == nil || !strings.Contains(err.Error(), "shape") {
		t.Errorf("another shape gives error %v", err)
	}
	if v, err := f.read("none", 0); err != nil || len(v) != 0 {
		t.Errorf("an empty tensor gives %v, %v", v, err)
	}
}

func TestHalf(t *testing.T) {
	t.Parallel()
	for h := range 1 << 16 {
		got, exponent := half(uint16(h)), h>>10&0x1f
		switch {
		case exponent == 0x1f && h&0x3ff != 0:
			if got == got {
				t.Fatalf("%04x is %g, not NaN", h, got)
			}
		case exponent == 0x1f:
			if !math.IsInf(float64(got), 1-2*(h>>15)) {
				t.Fatalf("%04x is %g, not infinite", h, got)
			}
		default:
			if want := fromHalf(uint16(h)); got != want || math.Signbit(float64(got)) != (h>>15 == 1) {
				t.Fatalf("%04x is %g, want %g", h, got, want)
			}
		}
	}
}

// FuzzTensors holds that a file is refused or its tensors can be read.
func FuzzTensors(f *testing.F) {
	f.Add(file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"format":"pt"}}`, 8))
	f.Add(file(`{"a":{"dtype":"BF16","shape":[2,1],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[],"data_offsets":[4,6]}}`, 6))
	f.Add(file(`{"a":{"dtype":"F64","shape":[1073741824],"data_offsets":[0,8589934592]}}`, 6))
	f.Fuzz(func(t *testing.T, data []byte) {
		tensors, err := openTensors(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for name, info := range tensors.tensors {
			if v, err := tensors.read(name, info.shape...); err == nil && 8*len(v) < int(info.size) {
				t.Fatalf("%q has %d bytes and gives %d numbers", name, info.size, len(v))
			}
		}
	})
}
