package ollama

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"tandem"
	"tandem/internal/provider"
)

// reply is a reply, or a line of a streamed one.
type reply struct {
	Model   string  `json:"model"`
	Message message `json:"message"`
	Done    bool    `json:"done"`
	Reason  string  `json:"done_reason"`
	Prompt  int     `json:"prompt_eval_count"`
	Eval    int     `json:"eval_count"`
	Error   string  `json:"error"`
}

func (r *reply) usage() tandem.Usage {
	return tandem.Usage{InputTokens: provider.Count(r.Prompt), OutputTokens: provider.Count(r.Eval)}
}

// readWhole reads a reply of status 200.
func readWhole(ctx context.Context, res *http.Response, limit int64) (*provider.Completion, error) {
	body, err := provider.Body(ctx, res, limit)
	if err != nil {
		return nil, err
	}
	var r reply
	switch err := json.Unmarshal(body, &r); {
	case err != nil:
		return nil, provider.Garbage(res, "something that is not a reply of Ollama", nil)
	case r.Error != "":
		return nil, provider.Garbage(res, "an error in place of a reply", nil)
	case !r.Done:
		return nil, provider.Garbage(res, "a reply that is not done", nil)
	}
	d, w := &decoder{}, &provider.EventWriter{}
	d.take(w, &r)
	return provider.Put(w.Events), nil
}

// decoder reads the lines of a stream.
type decoder struct {
	called bool // a tool
}

// Decode reads one line.
func (d *decoder) Decode(w *provider.EventWriter, data []byte) error {
	var r reply
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	if r.Error != "" {
		return &provider.Error{Code: tandem.TeacherUnavailable, Retryable: true, Message: "the provider broke its stream off", Detail: r.Error}
	}
	d.take(w, &r)
	return nil
}

func (d *decoder) take(w *provider.EventWriter, r *reply) {
	w.Begin("", r.Model, tandem.Usage{})
	w.Grow(provider.ThinkingBlock, r.Message.Thinking)
	w.Grow(provider.TextBlock, r.Message.Content)
	for i := range r.Message.Calls {
		f := &r.Message.Calls[i].Function
		d.called = true
		if len(f.Arguments) == 0 || bytes.Equal(f.Arguments, []byte("null")) {
			f.Arguments = json.RawMessage("{}")
		}
		w.Open(provider.Block{Kind: provider.ToolUse, ID: provider.NewCallID(), Name: f.Name})
		w.Grow(provider.ToolUse, string(f.Arguments))
		w.Close()
	}
	if !r.Done {
		return
	}
	stop := provider.StopEnd
	switch {
	case r.Reason == "length":
		stop = provider.StopLength
	case d.called:
		stop = provider.StopTool
	}
	w.End(stop, "", r.usage())
}

// failure reads a failed response; it returns the body too. Ollama has no
// codes for its errors, only messages.
func failure(ctx context.Context, res *http.Response) (*provider.Error, []byte) {
	body, err := provider.FailureBody(ctx, res)
	if e, ok := errors.AsType[*provider.Error](err); ok {
		return e, nil
	}
	var r reply
	e := provider.StatusError(res.StatusCode, provider.RetryAfter(res.Header, time.Now()), "")
	if json.Unmarshal(body, &r) == nil {
		e.Detail = r.Error
	}
	return e, body
}
