package provider

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"tandem"
)

// inputBlocks is a task's input as blocks.
func inputBlocks(in tandem.Input) ([]Block, error) {
	blocks := make([]Block, 0, len(in.Parts))
	for i := range in.Parts {
		p := &in.Parts[i]
		switch p.Kind {
		case tandem.Text:
			blocks = append(blocks, Block{Kind: TextBlock, Text: p.Text})
		case tandem.Image, tandem.Audio:
			kind := ImageBlock
			if p.Kind == tandem.Audio {
				kind = AudioBlock
			}
			b := Block{Kind: kind, MIME: p.MIME, URL: p.URL, At: "input"}
			if len(p.Data) > 0 {
				b.Data, b.URL = base64.StdEncoding.EncodeToString(p.Data), ""
			}
			blocks = append(blocks, b)
		default:
			return nil, &Error{Code: tandem.UnsupportedModality, Message: "this provider does not take " + string(p.Kind) + " parts"}
		}
	}
	return blocks, nil
}

// Unreadable is the error of a task's question with an input that a wire has
// no place for.
func Unreadable(err error) error {
	if e, ok := errors.AsType[*tandem.Error](err); ok {
		return &Error{Code: tandem.UnsupportedModality, Message: e.Message, Cause: err}
	}
	return err
}

// Encode writes the body of a call.
func Encode(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, &Error{Code: tandem.Internal, Message: "the call could not be encoded", Cause: err}
	}
	return body, nil
}

// Answered makes a completion the reply to a task's question. The answer is
// in the text, or in the input of the tool that had to be used.
func Answered(res *http.Response, c *Completion) (Reply, error) {
	text := c.Text()
	for i := range c.Blocks {
		if c.Blocks[i].Kind == ToolUse {
			text = string(c.Blocks[i].Input)
		}
	}
	text = Unwrap(text)
	switch {
	case c.Stop == StopRefused:
		return Reply{}, Refusal("the model refused to answer", c.Usage)
	case c.Stop == StopFiltered:
		return Reply{}, Refusal("the provider's content filter held the answer back", c.Usage)
	case strings.TrimSpace(text) == "":
		e := Garbage(res, "an empty answer"+Paren(string(c.Stop)), nil)
		e.Usage = c.Usage
		return Reply{}, e
	}
	return Reply{Text: text, Model: c.Model, Usage: c.Usage}, nil
}
