package gemini

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// The wire types of a reply: of a stream each event is one.
type (
	reply struct {
		Candidates []candidate `json:"candidates"`
		Feedback   struct {
			BlockReason provider.Word `json:"blockReason"`
		} `json:"promptFeedback"`
		Usage   *usage  `json:"usageMetadata"`
		Version string  `json:"modelVersion"`
		ID      string  `json:"responseId"`
		Error   *apiErr `json:"error"`
	}
	candidate struct {
		Content struct {
			Parts []part `json:"parts"`
		} `json:"content"`
		Finish provider.Word `json:"finishReason"`
	}
	usage struct {
		Prompt     int `json:"promptTokenCount"`
		ToolPrompt int `json:"toolUsePromptTokenCount"`
		Cached     int `json:"cachedContentTokenCount"`
		Candidates int `json:"candidatesTokenCount"`
		Thoughts   int `json:"thoughtsTokenCount"`
	}
	apiErr struct {
		Status  provider.Word `json:"status"`
		Message string        `json:"message"`
		Details []struct {
			Reason     provider.Word `json:"reason"`
			RetryDelay string        `json:"retryDelay"`
		} `json:"details"`
	}
)

// read takes the token counts: Gemini counts thoughts beside the answer,
// tandem as part of the output.
func (u *usage) read() tandem.Usage {
	if u == nil {
		return tandem.Usage{}
	}
	in, thoughts := provider.Count(u.Prompt)+provider.Count(u.ToolPrompt), provider.Count(u.Thoughts)
	return tandem.Usage{
		InputTokens: in, OutputTokens: provider.Count(u.Candidates) + thoughts,
		CachedTokens: min(in, provider.Count(u.Cached)), ReasoningTokens: thoughts,
	}
}

// readWhole reads a reply of status 200.
func readWhole(ctx context.Context, res *http.Response, limit int64) (*provider.Completion, error) {
	body, err := provider.Body(ctx, res, limit)
	if err != nil {
		return nil, err
	}
	var r reply
	d := &decoder{}
	w := &provider.EventWriter{}
	switch err := json.Unmarshal(body, &r); {
	case err != nil:
		return nil, provider.Garbage(res, "something that is not a reply of Gemini", nil)
	case r.Error != nil:
		return nil, provider.Garbage(res, "an error in place of a reply"+provider.Paren(string(r.Error.Status)), nil)
	case len(r.Candidates) == 0 && r.Feedback.BlockReason == "":
		e := provider.Garbage(res, "a reply without candidates", nil)
		e.Usage = r.Usage.read()
		return nil, e
	}
	if err := d.take(w, &r); err != nil {
		e := provider.Garbage(res, "a reply that cannot be read", err)
		e.Usage = r.Usage.read()
		return nil, e
	}
	c := provider.Put(w.Events)
	c.ID, c.Model, c.Usage = r.ID, r.Version, r.Usage.read()
	c.Stop = d.stop(&r)
	return c, nil
}

// decoder reads the replies of a stream.
type decoder struct {
	called bool // a tool
}

// Decode reads one event.
func (d *decoder) Decode(w *provider.EventWriter, data []byte) error {
	var r reply
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	if r.Error != nil {
		return &provider.Error{
			Code: tandem.TeacherUnavailable, Retryable: true, Detail: r.Error.Message,
			Message: "the provider broke its stream off" + provider.Paren(string(r.Error.Status)),
		}
	}
	w.Begin(r.ID, r.Version, r.Usage.read())
	if err := d.take(w, &r); err != nil {
		return err
	}
	if r.Feedback.BlockReason != "" || len(r.Candidates) > 0 && r.Candidates[0].Finish != "" {
		w.End(d.stop(&r), "", r.Usage.read())
	}
	return nil
}

var errPart = errors.New("a part of an unknown kind")

// take makes events of the parts of a reply. A part that no client could be
// given, such as an image, is an error rather than lost.
func (d *decoder) take(w *provider.EventWriter, r *reply) error {
	if len(r.Candidates) == 0 {
		return nil
	}
	for _, p := range r.Candidates[0].Content.Parts {
		switch {
		case p.Call != nil:
			d.called = true
			id, args := p.Call.ID, p.Call.Args
			if id == "" {
				id = provider.NewCallID()
			}
			if len(args) == 0 || bytes.Equal(args, []byte("null")) {
				args = json.RawMessage("{}")
			}
			w.Open(provider.Block{Kind: provider.ToolUse, ID: id, Name: p.Call.Name, Signature: p.Signature})
			w.Grow(provider.ToolUse, string(args))
			w.Close()
		case p.Text != nil:
			kind := provider.TextBlock
			if p.Thought {
				kind = provider.ThinkingBlock
			}
			w.Grow(kind, *p.Text)
			if *p.Text != "" {
				w.Sign(p.Signature)
			}
		case p.Signature == "":
			return errPart
		}
	}
	return nil
}

// stop is why the reply ended.
func (d *decoder) stop(r *reply) provider.StopReason {
	if len(r.Candidates) == 0 {
		return provider.StopFiltered
	}
	switch r.Candidates[0].Finish {
	case "MAX_TOKENS":
		return provider.StopLength
	case "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY":
		return provider.StopFiltered
	}
	if d.called {
		return provider.StopTool
	}
	return provider.StopEnd
}

// failure reads a failed response; it returns the body too.
func failure(ctx context.Context, res *http.Response) (*provider.Error, []byte) {
	body, err := provider.FailureBody(ctx, res)
	if e, ok := errors.AsType[*provider.Error](err); ok {
		return e, nil
	}
	var r reply
	text := bytes.TrimSpace(body)
	if list := []reply{}; bytes.HasPrefix(text, []byte("[")) && json.Unmarshal(text, &list) == nil && len(list) > 0 {
		r = list[0] // so do streams fail
	} else if json.Unmarshal(text, &r) != nil {
		r = reply{}
	}
	status, kind, detail := res.StatusCode, "", ""
	after := provider.RetryAfter(res.Header, time.Now())
	if r.Error != nil {
		kind, detail = string(r.Error.Status), r.Error.Message
		for _, d := range r.Error.Details {
			if d.Reason == "API_KEY_INVALID" {
				status, kind = http.StatusUnauthorized, string(d.Reason) // Gemini says 400
			}
			if s, err := strconv.ParseFloat(strings.TrimSuffix(d.RetryDelay, "s"), 64); err == nil {
				after = max(after, provider.Wait(s))
			}
		}
	}
	e := provider.StatusError(status, after, kind)
	e.Detail = detail
	return e, body
}
