package sqlite

import (
	"errors"
	"reflect"
	"testing"

	"tandem"
)

func TestInputCodec(t *testing.T) {
	for _, in := range []tandem.Input{
		{},
		tandem.TextInput(""),
		tandem.TextInput("hello"),
		{Parts: []tandem.Part{{Kind: tandem.Image, MIME: "image/png", Data: []byte{1}}, {Kind: tandem.Audio, URL: "u"}, {Kind: ""}, {Kind: "new", Text: "x"}}},
	} {
		b := appendInput(nil, &in)
		got, err := decodeInput(b)
		if err != nil || !reflect.DeepEqual(got, in) {
			t.Errorf("%+v became %+v, %v", in, got, err)
		}
		for n := range b {
			if _, err := decodeInput(b[:n]); !errors.Is(err, errInput) {
				t.Errorf("%d of %d bytes of %+v: %v", n, len(b), in, err)
			}
		}
		if _, err := decodeInput(append(b, 0)); !errors.Is(err, errInput) {
			t.Errorf("a byte too many: %v", err)
		}
	}
	text := tandem.TextInput("hello")
	if n := len(appendInput(nil, &text)); n != 10 {
		t.Errorf("five letters take %d bytes, want 10", n)
	}
	for _, b := range []string{"\x02\x00", "\x01\x01\x09\x00", "\x01\x01\x01\x80", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x01\x01\x01\x01\xff\xff\xff\xff\x0f"} {
		if _, err := decodeInput([]byte(b)); !errors.Is(err, errInput) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func FuzzDecodeInput(f *testing.F) {
	in := tandem.Input{Parts: []tandem.Part{{Kind: tandem.Text, Text: "a"}, {Kind: "x", MIME: "m", Data: []byte{1}, URL: "u"}}}
	f.Add(appendInput(nil, &in))
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := decodeInput(b)
		if err != nil {
			return
		}
		again, err := decodeInput(appendInput(nil, &in))
		if err != nil || !reflect.DeepEqual(again, in) {
			t.Fatalf("%+v became %+v, %v", in, again, err)
		}
	})
}
