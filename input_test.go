package tandem_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"tandem"
)

func parts(p ...tandem.Part) tandem.Input { return tandem.Input{Parts: p} }

func text(s string) tandem.Part { return tandem.Part{Kind: tandem.Text, Text: s} }

func TestInputText(t *testing.T) {
	t.Parallel()
	image := tandem.Part{Kind: tandem.Image, MIME: "image/png", Data: []byte{1}, Text: "alt"}
	for _, c := range []struct {
		name string
		in   tandem.Input
		want string
	}{
		{"no parts", tandem.Input{}, ""},
		{"one", tandem.TextInput("hello"), "hello"},
		{"two", parts(text("a"), text("b")), "a\nb"},
		{"an image between", parts(text("a"), image, text("b")), "a\nb"},
		{"only an image", parts(image), ""},
		{"an empty part in the middle", parts(text("a"), text(""), text("b")), "a\n\nb"},
		{"an empty part first", parts(text(""), text("b")), "\nb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.in.Text(); got != c.want {
				t.Errorf("Text() = %q, want %q", got, c.want)
			}
		})
	}
}

func TestInputTextDoesNotAllocate(t *testing.T) {
	in := parts(tandem.Part{Kind: tandem.Image, URL: "u"}, text("hello"))
	if n := testing.AllocsPerRun(100, func() { _ = in.Text() }); n != 0 {
		t.Errorf("Text of one text part allocates %v times", n)
	}
}

func TestInputHash(t *testing.T) {
	t.Parallel()
	// Every pair differs in exactly one thing, or moves a byte over a border.
	inputs := []tandem.Input{
		{},
		parts(text("")),
		parts(text("ab")),
		parts(text("a"), text("b")),
		parts(text("b"), text("a")),
		parts(tandem.Part{Kind: tandem.Image, Text: "ab"}),
		parts(tandem.Part{Kind: tandem.Text, MIME: "ab"}),
		parts(tandem.Part{Kind: tandem.Text, Data: []byte("ab")}),
		parts(tandem.Part{Kind: tandem.Text, URL: "ab"}),
		parts(tandem.Part{Kind: tandem.Text, Text: "a", MIME: "b"}),
	}
	seen := map[[32]byte]int{}
	for i, in := range inputs {
		h := in.Hash()
		if j, ok := seen[h]; ok {
			t.Errorf("inputs %d and %d have the same hash", i, j)
		}
		seen[h] = i
		if in.Hash() != h {
			t.Errorf("input %d hashes differently the second time", i)
		}
	}
	// Hashes are stored: a change here breaks every database.
	const want = "d34d19e7"
	h := tandem.TextInput("hello").Hash()
	if got := hex.EncodeToString(h[:4]); got != want {
		t.Errorf("the hash of \"hello\" begins %s, stored ones with %s", got, want)
	}
}

func TestInputCheck(t *testing.T) {
	t.Parallel()
	onlyText := []tandem.Kind{tandem.Text}
	both := []tandem.Kind{tandem.Text, tandem.Image}
	image := tandem.Part{Kind: tandem.Image, MIME: "image/png", Data: []byte{1, 2, 3}}
	for _, c := range []struct {
		name  string
		in    tandem.Input
		takes []tandem.Kind
		most  int
		code  tandem.Code // "": fit
		says  string      // part of the message
	}{
		{"fit", tandem.TextInput("hello"), onlyText, 10, "", ""},
		{"exactly as long as allowed", tandem.TextInput("hello"), onlyText, 5, "", ""},
		{"one byte too long", tandem.TextInput("hello!"), onlyText, 5, tandem.InputTooLarge, "6 bytes"},
		{"ten megabytes", tandem.TextInput(strings.Repeat("x", 10<<20)), onlyText, 64 << 10, tandem.InputTooLarge, "at most 65536"},
		{"no parts", tandem.Input{}, onlyText, 10, tandem.InvalidRequest, "empty"},
		{"empty text", tandem.TextInput(""), onlyText, 10, tandem.InvalidRequest, "empty"},
		{"only space", tandem.TextInput(" \n\t\u00a0"), onlyText, 10, tandem.InvalidRequest, "empty"},
		{"one of two is empty", parts(text(""), text("a")), onlyText, 10, "", ""},
		{"invalid UTF-8", tandem.TextInput("caf\xe9"), onlyText, 10, tandem.InvalidRequest, "UTF-8"},
		{"an image for a text task", parts(text("a"), image), onlyText, 10, tandem.UnsupportedModality, "image parts; it takes text"},
		{"audio for a task of both", parts(tandem.Part{Kind: tandem.Audio}), both, 10, tandem.UnsupportedModality, "it takes text, image"},
		{"an unknown kind", parts(tandem.Part{Kind: "smell"}), both, 10, tandem.UnsupportedModality, "smell"},
		{"an image alone", parts(image), both, 10, "", ""},
		{"bytes of all parts count", parts(text("abcd"), image, tandem.Part{Kind: tandem.Image, URL: "1234"}), both, 10, tandem.InputTooLarge, "11 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := c.in.Check(c.takes, c.most)
			if tandem.CodeOf(err) != c.code {
				t.Fatalf("Check = %v, want code %q", err, c.code)
			}
			if err == nil {
				return
			}
			e, ok := errors.AsType[*tandem.Error](err)
			if !ok || !strings.Contains(e.Message, c.says) {
				t.Errorf("message %q does not say %q", e.Message, c.says)
			}
			if len(e.Message) > 200 {
				t.Errorf("the message repeats the input: %d bytes", len(e.Message))
			}
		})
	}
}
