package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"tandem"
	"tandem/internal/provider"
	"tandem/internal/provider/anthropic"
	"tandem/internal/provider/openai"
)

// TestChatRead reads every field of a chat completion into a conversation, or
// refuses it by its name.
func TestChatRead(t *testing.T) {
	const head = `{"model":"m","messages":[{"role":"user","content":"hi"}]`
	message := func(m string) string { return `{"model":"m","messages":[` + m + `]}` }
	part := func(p string) string { return message(`{"role":"user","content":[` + p + `]}`) }
	is := func(f func(c *conversation) bool) func(c *conversation) bool { return f }
	first := func(f func(b provider.Block) bool) func(c *conversation) bool {
		return func(c *conversation) bool { return f(c.Messages[0].Blocks[0]) }
	}
	for body, want := range map[string]any{
		head + `}`: is(func(c *conversation) bool {
			return len(c.Messages) == 1 && c.Messages[0].Role == provider.User && c.Messages[0].Blocks[0].Text == "hi" && !c.stream
		}),
		head + `,"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}`: is(func(c *conversation) bool { return c.stream && c.writer.(*chatWriter).withUsage }),
		head + `,"stream_options":{"include_usage":true}}`:                                           "stream_options",
		head + `,"stream":true,"stream_options":{"more":1}}`:                                         "stream_options.more",
		head + `,"max_tokens":5}`:                                                                    is(func(c *conversation) bool { return c.MaxTokens == 5 }),
		head + `,"max_completion_tokens":5}`: is(func(c *conversation) bool {
			return c.MaxTokens == 5 && c.Names["max_tokens"] == "max_completion_tokens"
		}),
		head + `,"max_tokens":0}`: "max_tokens",
		head + `,"temperature":0.5,"top_p":0.25,"top_k":3,"seed":7,"presence_penalty":1,"frequency_penalty":-1}`: is(func(c *conversation) bool {
			return *c.Temperature == 0.5 && *c.TopP == 0.25 && *c.TopK == 3 && *c.Seed == 7 && *c.PresencePenalty == 1 && *c.FrequencyPenalty == -1
		}),
		head + `,"temperature":"hot"}`:     "temperature",
		head + `,"stop":"x"}`:              is(func(c *conversation) bool { return reflect.DeepEqual(c.Stop, []string{"x"}) }),
		head + `,"stop":["x","y"]}`:        is(func(c *conversation) bool { return len(c.Stop) == 2 }),
		head + `,"stop":7}`:                "stop",
		head + `,"user":"u"}`:              is(func(c *conversation) bool { return c.User == "u" }),
		head + `,"safety_identifier":"u"}`: is(func(c *conversation) bool { return c.User == "u" }),
		head + `,"prompt_cache_key":"k","prompt_cache_retention":"24h"}`: is(func(c *conversation) bool {
			return reflect.DeepEqual(c.Dropped, []string{"prompt_cache_key", "prompt_cache_retention"})
		}),
		head + `,"reasoning_effort":"low"}`:                                  is(func(c *conversation) bool { return c.Thinking.Effort == "low" }),
		head + `,"parallel_tool_calls":false}`:                               is(func(c *conversation) bool { return c.OneTool }),
		head + `,"parallel_tool_calls":true}`:                                is(func(c *conversation) bool { return !c.OneTool }),
		head + `,"tool_choice":"required"}`:                                  is(func(c *conversation) bool { return c.Choice.Mode == "any" }),
		head + `,"tool_choice":"none"}`:                                      is(func(c *conversation) bool { return c.Choice.Mode == "none" }),
		head + `,"tool_choice":"perhaps"}`:                                   "tool_choice",
		head + `,"tool_choice":{"type":"function","function":{"name":"f"}}}`: is(func(c *conversation) bool { return c.Choice == provider.Choice{Mode: "tool", Name: "f"} }),
		head + `,"tool_choice":{"type":"allowed_tools"}}`:                    "tool_choice.type",
		head + `,"tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,"parameters":{"a":1}}}]}`: is(func(c *conversation) bool {
			return len(c.Tools) == 1 && c.Tools[0].Name == "f" && c.Tools[0].Description == "d" && c.Tools[0].Strict && string(c.Tools[0].Schema) == `{"a":1}`
		}),
		head + `,"tools":[{"type":"custom","custom":{}}]}`:                        "tools[0].type",
		head + `,"tools":[{"type":"function","function":{"name":"f","more":1}}]}`: "tools[0].function.more",
		head + `,"response_format":{"type":"text"}}`:                              is(func(c *conversation) bool { return c.Format.Kind == "" }),
		head + `,"response_format":{"type":"json_object"}}`:                       is(func(c *conversation) bool { return c.Format.Kind == "json" }),
		head + `,"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"a":1}}}}`: is(func(c *conversation) bool {
			return c.Format.Kind == "schema" && c.Format.Name == "n" && c.Format.Strict && string(c.Format.Schema) == `{"a":1}`
		}),
		head + `,"response_format":{"type":"json_schema","json_schema":{"name":"n","description":"d","schema":{}}}}`: "response_format.json_schema.description",
		head + `,"response_format":{"type":"grammar"}}`:                                                              "response_format.type",
		head + `,"n":1,"logprobs":false,"top_logprobs":0,"logit_bias":{},"modalities":["text"],"store":false,"metadata":{},"service_tier":"auto","functions":[],"verbosity":"medium","audio":null}`: is(func(c *conversation) bool { return true }),
		head + `,"n":2}`:                         "n",
		head + `,"logprobs":true}`:               "logprobs",
		head + `,"top_logprobs":2}`:              "top_logprobs",
		head + `,"logit_bias":{"1":2}}`:          "logit_bias",
		head + `,"modalities":["text","audio"]}`: "modalities",
		head + `,"store":true}`:                  "store",
		head + `,"metadata":{"a":"b"}}`:          "metadata",
		head + `,"service_tier":"flex"}`:         "service_tier",
		head + `,"functions":[{"name":"f"}]}`:    "functions",
		head + `,"function_call":{"name":"f"}}`:  "function_call",
		head + `,"audio":{"voice":"v"}}`:         "audio",
		head + `,"prediction":{}}`:               "prediction",
		head + `,"web_search_options":{}}`:       "web_search_options",
		head + `,"verbosity":"low"}`:             "verbosity",
		head + `,"from_the_future":1}`:           "from_the_future",

		message(`{"role":"system","content":"a"},{"role":"developer","content":"b"}`): is(func(c *conversation) bool {
			return c.Messages[0].Role == provider.System && c.Messages[1].Role == provider.System
		}),
		message(`{"role":"robot","content":"a"}`):                               "messages[0].role",
		message(`{"role":"user","content":"a","name":"Ann"}`):                   "messages[0].name",
		message(`{"role":"user","content":"a","more":1}`):                       "messages[0].more",
		message(`{"role":"user","content":7}`):                                  "messages[0].content",
		message(`{"role":"user","content":"a","tool_calls":[{"id":"i"}]}`):      "messages[0]",
		message(`{"role":"assistant","content":null,"refusal":"no"}`):           "messages[0].refusal",
		message(`{"role":"assistant","audio":{"id":"a"}}`):                      "messages[0].audio",
		message(`{"role":"assistant","annotations":[{"type":"url_citation"}]}`): "messages[0].annotations",
		message(`{"role":"assistant","function_call":{"name":"f"}}`):            "messages[0].function_call",
		message(`{"role":"assistant","content":"a","annotations":[],"refusal":null}`): is(func(c *conversation) bool {
			return c.Messages[0].Role == provider.Assistant && c.Messages[0].Blocks[0].Text == "a"
		}),
		message(`{"role":"assistant","tool_calls":[{"id":"i","index":0,"type":"function","function":{"name":"f","arguments":"{\"a\":1}"},"extra_content":{"google":{"thought_signature":"s"}}}]}`): first(func(b provider.Block) bool {
			return b.Kind == provider.ToolUse && b.ID == "i" && b.Name == "f" && string(b.Input) == `{"a":1}` && b.Signature == "s"
		}),
		message(`{"role":"assistant","tool_calls":[{"id":"i","type":"function","function":{"name":"f","arguments":""}}]}`):  first(func(b provider.Block) bool { return string(b.Input) == "{}" }),
		message(`{"role":"assistant","tool_calls":[{"id":"i","type":"function","function":{"name":"f","arguments":"x"}}]}`): "messages[0].tool_calls[0].function.arguments",
		message(`{"role":"assistant","tool_calls":[{"id":"i","type":"custom"}]}`):                                           "messages[0].tool_calls[0].type",
		message(`{"role":"assistant","reasoning_content":"t"}`): first(func(b provider.Block) bool {
			return b.Kind == provider.ThinkingBlock && b.Text == "t" && b.At == "messages[0].reasoning_content"
		}),
		message(`{"role":"assistant","thinking_blocks":[{"type":"thinking","thinking":"t","signature":"s"}],"reasoning_content":"t"}`): first(func(b provider.Block) bool {
			return b.Kind == provider.ThinkingBlock && b.Text == "t" && b.Signature == "s"
		}),
		message(`{"role":"assistant","thinking_blocks":[{"type":"redacted_thinking","data":"d"}]}`): first(func(b provider.Block) bool { return b.Kind == provider.SealedBlock && b.Text == "d" }),
		message(`{"role":"assistant","thinking_blocks":[{"type":"other"}]}`):                        "messages[0].thinking_blocks[0].type",
		message(`{"role":"tool","tool_call_id":"i","content":"r"}`): is(func(c *conversation) bool {
			b := c.Messages[0].Blocks[0]
			return c.Messages[0].Role == provider.User && b.Kind == provider.ToolResult && b.ID == "i" && b.Result[0].Text == "r"
		}),
		part(`{"type":"text","text":"a"}`): first(func(b provider.Block) bool { return b.Text == "a" && b.At == "messages[0].content[0]" }),
		part(`{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk=","detail":"auto"}}`): first(func(b provider.Block) bool {
			return b.Kind == provider.ImageBlock && b.MIME == "image/png" && b.Data == "aGk=" && b.URL == "" && b.Detail == ""
		}),
		part(`{"type":"image_url","image_url":{"url":"https://example.org/a.png","detail":"low"}}`): first(func(b provider.Block) bool { return b.URL != "" && b.Detail == "low" }),
		part(`{"type":"image_url","image_url":{"url":"data:x"}}`):                                   "messages[0].content[0]",
		part(`{"type":"image_url","image_url":{}}`):                                                 "messages[0].content[0]",
		part(`{"type":"image_url","image_url":{"url":"u","more":1}}`):                               "messages[0].content[0].image_url.more",
		part(`{"type":"input_audio","input_audio":{"data":"aGk=","format":"mp3"}}`):                 first(func(b provider.Block) bool { return b.Kind == provider.AudioBlock && b.MIME == "audio/mpeg" }),
		part(`{"type":"input_audio","input_audio":{"data":"aGk=","format":"ogg"}}`):                 "messages[0].content[0].input_audio.format",
		part(`{"type":"file","file":{"file_data":"data:application/pdf;base64,aGk=","filename":"n"}}`): first(func(b provider.Block) bool {
			return b.Kind == provider.DocumentBlock && b.MIME == "application/pdf" && b.Name == "n"
		}),
		part(`{"type":"file","file":{"file_id":"f"}}`):                          "messages[0].content[0].file.file_id",
		part(`{"type":"video_url"}`):                                            "messages[0].content[0].type",
		part(`{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}`): "messages[0].content[0].cache_control",
	} {
		readAs(t, chatDialect{}, body, want)
	}
}

// readAs reads a body that is to become a conversation, or be refused by the
// name of a field.
func readAs(t *testing.T, d textDialect, body string, want any) {
	t.Helper()
	c, err := d.read([]byte(body))
	switch want := want.(type) {
	case string:
		if e, ok := errors.AsType[*tandem.Error](err); !ok || e.Code != tandem.InvalidRequest || e.Param != want || !strings.Contains(e.Message, "") {
			t.Errorf("%s: got %v, want a refusal of %s", body, err, want)
		}
	case func(c *conversation) bool:
		if err != nil {
			t.Errorf("%s: %v", body, err)
		} else if !want(c) {
			t.Errorf("%s: read %+v", body, c.Conversation)
		}
	default:
		t.Fatalf("%s: nothing is wanted", body)
	}
}

// TestMessagesRead does the same for Anthropic's Messages.
func TestMessagesRead(t *testing.T) {
	const head = `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]`
	message := func(m string) string { return `{"model":"m","max_tokens":9,"messages":[` + m + `]}` }
	block := func(b string) string { return message(`{"role":"user","content":[` + b + `]}`) }
	const at = "messages[0].content[0]"
	is := func(f func(c *conversation) bool) func(c *conversation) bool { return f }
	first := func(f func(b provider.Block) bool) func(c *conversation) bool {
		return func(c *conversation) bool { return f(c.Messages[0].Blocks[0]) }
	}
	dropped := func(c *conversation) bool { return reflect.DeepEqual(c.Dropped, []string{"cache_control"}) }
	for body, want := range map[string]any{
		head + `,"stream":true}`: is(func(c *conversation) bool {
			return c.stream && c.MaxTokens == 9 && c.Messages[0].Blocks[0].Text == "hi"
		}),
		`{"model":"m","messages":[]}`:                "max_tokens",
		`{"model":"m","max_tokens":0,"messages":[]}`: "max_tokens",
		head + `,"system":"s"}`: is(func(c *conversation) bool {
			return c.Messages[0].Role == provider.System && c.Messages[0].Blocks[0].Text == "s"
		}),
		head + `,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}]}`: is(func(c *conversation) bool { return dropped(c) && c.Messages[0].Role == provider.System }),
		head + `,"system":[{"type":"image","source":{"type":"url","url":"u"}}]}`:              "system[0]",
		head + `,"cache_control":{"type":"ephemeral"}}`:                                       is(dropped),
		head + `,"metadata":{"user_id":"u"}}`:                                                 is(func(c *conversation) bool { return c.User == "u" }),
		head + `,"metadata":{"more":"u"}}`:                                                    "metadata.more",
		head + `,"stop_sequences":["x"]}`:                                                     is(func(c *conversation) bool { return len(c.Stop) == 1 && c.Names["stop"] == "stop_sequences" }),
		head + `,"temperature":0.5,"top_p":0.25,"top_k":3}`:                                   is(func(c *conversation) bool { return *c.Temperature == 0.5 && *c.TopP == 0.25 && *c.TopK == 3 }),
		head + `,"tools":[{"type":"custom","name":"f","description":"d","input_schema":{"a":1},"strict":true,"cache_control":{"type":"ephemeral"}}]}`: is(func(c *conversation) bool {
			return dropped(c) && c.Tools[0].Name == "f" && c.Tools[0].Strict && string(c.Tools[0].Schema) == `{"a":1}`
		}),
		head + `,"tools":[{"type":"web_search_20250305","name":"web_search"}]}`:              "tools[0].type",
		head + `,"tools":[{"name":"f","input_schema":{},"defer_loading":true}]}`:             "tools[0].defer_loading",
		head + `,"tools":[{"name":"f","input_schema":{},"input_examples":[]}]}`:              "tools[0].input_examples",
		head + `,"tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true}}`: is(func(c *conversation) bool { return c.OneTool && c.Choice == provider.Choice{Mode: "tool", Name: "f"} }),
		head + `,"tool_choice":{"type":"maybe"}}`:                                            "tool_choice.type",
		head + `,"thinking":{"type":"enabled","budget_tokens":2000}}`:                        is(func(c *conversation) bool { return c.Thinking == provider.Thinking{Mode: "on", Budget: 2000} }),
		head + `,"thinking":{"type":"adaptive"}}`:                                            is(func(c *conversation) bool { return c.Thinking.Mode == "on" }),
		head + `,"thinking":{"type":"disabled"}}`:                                            is(func(c *conversation) bool { return c.Thinking.Mode == "off" }),
		head + `,"thinking":{"type":"deep"}}`:                                                "thinking.type",
		head + `,"thinking":{"type":"adaptive","display":"omitted"}}`:                        "thinking.display",
		head + `,"output_config":{"effort":"high","format":{"type":"json_schema","schema":{"a":1}}}}`: is(func(c *conversation) bool {
			return c.Thinking.Effort == "high" && c.Format.Kind == "schema" && c.Format.Strict && string(c.Format.Schema) == `{"a":1}`
		}),
		head + `,"output_format":{"type":"json_schema","schema":{"a":1}}}`:                          is(func(c *conversation) bool { return c.Format.Kind == "schema" }),
		head + `,"output_config":{"task_budget":{}}}`:                                               "output_config.task_budget",
		head + `,"output_config":{"format":{"type":"grammar"}}}`:                                    "output_config.format.type",
		head + `,"service_tier":"auto","container":null,"mcp_servers":[]}`:                          is(func(c *conversation) bool { return true }),
		head + `,"service_tier":"standard_only"}`:                                                   "service_tier",
		head + `,"container":"c"}`:                                                                  "container",
		head + `,"context_management":{"edits":[]}}`:                                                "context_management",
		head + `,"mcp_servers":[{}]}`:                                                               "mcp_servers",
		head + `,"inference_geo":"eu"}`:                                                             "inference_geo",
		head + `,"speed":"fast"}`:                                                                   "speed",
		head + `,"from_the_future":1}`:                                                              "from_the_future",
		message(`{"role":"system","content":"a"}`):                                                  "messages[0].role",
		message(`{"role":"user","content":"a","more":1}`):                                           "messages[0].more",
		block(`{"type":"text","text":"a","citations":null}`):                                        first(func(b provider.Block) bool { return b.Text == "a" && b.At == at }),
		block(`{"type":"text","text":"a","citations":[{"type":"char_location"}]}`):                  at + ".citations",
		block(`{"type":"text","text":"a","more":1}`):                                                at + ".more",
		block(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}`): first(func(b provider.Block) bool { return b.MIME == "image/png" && b.Data == "aGk=" }),
		block(`{"type":"image","source":{"type":"url","url":"u"}}`):                                 first(func(b provider.Block) bool { return b.URL == "u" }),
		block(`{"type":"image","source":{"type":"file","file_id":"f"}}`):                            at + ".source.type",
		block(`{"type":"image","source":{"type":"base64","data":"aGk="}}`):                          at + ".source",
		block(`{"type":"image"}`):                                                                   at + ".source",
		block(`{"type":"document","title":"n","source":{"type":"text","media_type":"text/plain","data":"d"},"citations":{"enabled":false}}`): first(func(b provider.Block) bool { return b.Kind == provider.DocumentBlock && b.Text == "d" && b.Name == "n" }),
		block(`{"type":"document","source":{"type":"url","url":"u"},"citations":{"enabled":true}}`):                                          at + ".citations",
		block(`{"type":"document","source":{"type":"url","url":"u"},"context":"c"}`):                                                         at + ".context",
		block(`{"type":"document","source":{"type":"content","content":[]}}`):                                                                at + ".source.type",
		block(`{"type":"search_result"}`):   at + ".type",
		block(`{"type":"server_tool_use"}`): at + ".type",
		block(`{"type":"tool_result","tool_use_id":"i","is_error":true,"content":[{"type":"text","text":"r"}]}`): first(func(b provider.Block) bool { return b.ID == "i" && b.Failed && b.Result[0].Text == "r" }),
		block(`{"type":"tool_result","tool_use_id":"i","content":"r"}`):                                          first(func(b provider.Block) bool { return b.Result[0].Text == "r" }),
		message(`{"role":"assistant","content":[{"type":"tool_use","id":"i","name":"f","input":{"a":1},"signature":"s","caller":{"type":"direct"}}]}`): first(func(b provider.Block) bool {
			return b.Kind == provider.ToolUse && string(b.Input) == `{"a":1}` && b.Signature == "s"
		}),
		message(`{"role":"assistant","content":[{"type":"tool_use","id":"i","name":"f","input":7}]}`):                           at + ".input",
		message(`{"role":"assistant","content":[{"type":"tool_use","id":"i","name":"f","input":{},"caller":{"type":"code"}}]}`): at + ".caller",
		message(`{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"}]}`):                          first(func(b provider.Block) bool { return b.Text == "t" && b.Signature == "s" }),
		message(`{"role":"assistant","content":[{"type":"redacted_thinking","data":"d"}]}`):                                     first(func(b provider.Block) bool { return b.Kind == provider.SealedBlock && b.Text == "d" }),
	} {
		readAs(t, messagesDialect{}, body, want)
	}
}

// replies are completions of every shape.
func replies() map[string]*provider.Completion {
	text := provider.Block{Kind: provider.TextBlock, Text: "Größe <b>&\u2028\"x\""}
	return map[string]*provider.Completion{
		"text": {ID: "i", Model: "m", Blocks: []provider.Block{text}, Stop: provider.StopEnd, Usage: tandem.Usage{InputTokens: 9, OutputTokens: 5, CachedTokens: 4, CacheWriteTokens: 2}},
		"cut":  {ID: "i", Model: "m", Blocks: []provider.Block{text}, Stop: provider.StopLength},
		"everything": {ID: "i", Model: "m", Stop: provider.StopTool, Usage: tandem.Usage{InputTokens: 3, OutputTokens: 8}, Blocks: []provider.Block{
			{Kind: provider.ThinkingBlock, Text: "hm"},
			text,
			{Kind: provider.ToolUse, ID: "t1", Name: "f", Input: json.RawMessage(`{"a":"ü\n"}`)},
			{Kind: provider.ToolUse, ID: "t2", Name: "g", Input: json.RawMessage(`{}`), Signature: "seal"},
		}},
		"signed": {ID: "i", Model: "m", Stop: provider.StopEnd, Blocks: []provider.Block{
			{Kind: provider.ThinkingBlock, Text: "hm", Signature: "seal"}, {Kind: provider.SealedBlock, Text: "data"}, text,
		}},
	}
}

// TestRoundTrips writes replies as each dialect does and reads them with the
// provider's adapter of that dialect: nothing is lost on the way.
func TestRoundTrips(t *testing.T) {
	c := &provider.Conversation{MaxTokens: 1, Messages: []provider.Message{{Role: provider.User, Blocks: []provider.Block{{Kind: provider.TextBlock, Text: "x"}}}}}
	for dialect, newWriter := range map[string]func() replyWriter{
		"chat":     func() replyWriter { return &chatWriter{withUsage: true} },
		"messages": func() replyWriter { return &messagesWriter{} },
	} {
		for name, reply := range replies() {
			t.Run(dialect+"/"+name, func(t *testing.T) {
				if dialect == "chat" && name == "signed" {
					t.Skip("OpenAI's servers have no signatures; TestChatSignatures looks at them")
				}
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					var req struct{ Stream bool }
					_ = json.NewDecoder(r.Body).Decode(&req)
					writer := newWriter()
					if !req.Stream {
						w.Header().Set("Content-Type", "application/json")
						_, _ = w.Write(writer.whole(nil, reply))
						return
					}
					w.Header().Set("Content-Type", "text/event-stream")
					for s := provider.Play(reply); ; {
						e, err := s.Next()
						if err != nil {
							return
						}
						_, _ = w.Write(writer.event(nil, e))
					}
				}))
				defer srv.Close()
				server := provider.Server{BaseURL: srv.URL}
				config := provider.Config(openai.Config{Server: server})
				if dialect == "messages" {
					config = anthropic.Config{Server: server}
				}
				e, err := config.Open()
				if err != nil {
					t.Fatal(err)
				}
				defer e.Close()
				m := e.Model("m").(provider.Translator)
				whole, err := m.Complete(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				s, err := m.Stream(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				streamed, err := provider.Collect(s)
				_ = s.Close()
				if err != nil {
					t.Fatal(err)
				}
				want := *reply
				if dialect == "messages" { // a signed tool call is kept by clients, not by Anthropic
					want.Blocks = nil
					for _, b := range reply.Blocks {
						if b.Kind == provider.ToolUse {
							b.Signature = ""
						}
						want.Blocks = append(want.Blocks, b)
					}
				}
				if !reflect.DeepEqual(whole, &want) {
					t.Errorf("whole:    %+v\nwant      %+v", whole, &want)
				}
				if !reflect.DeepEqual(streamed, &want) {
					t.Errorf("streamed: %+v\nwant      %+v", streamed, &want)
				}
			})
		}
	}
}

// TestChatSignatures hands the seals of thoughts and tool calls to the client
// in fields that the dialect reads back.
func TestChatSignatures(t *testing.T) {
	for name, want := range map[string][]string{
		"signed":     {`"thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"seal"}`, `{"type":"redacted_thinking","data":"data"}`, `"reasoning_content":"hm"`},
		"everything": {`"extra_content":{"google":{"thought_signature":"seal"}}`, `"reasoning_content":"hm"`},
	} {
		reply := replies()[name]
		whole := string((&chatWriter{}).whole(nil, reply))
		w := &chatWriter{}
		var stream []byte
		for s := provider.Play(reply); ; {
			e, err := s.Next()
			if err != nil {
				break
			}
			stream = w.event(stream, e)
		}
		for _, part := range want {
			if !strings.Contains(whole, part) || !strings.Contains(string(stream), part) {
				t.Errorf("%s is missing in\n%s\nor in\n%s", part, whole, stream)
			}
		}
		var out struct {
			Choices []struct{ Message json.RawMessage }
		}
		if err := json.Unmarshal([]byte(whole), &out); err != nil {
			t.Fatal(err)
		}
		c, err := chatDialect{}.read([]byte(`{"model":"m","messages":[` + string(out.Choices[0].Message) + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		got := c.Messages[0].Blocks
		for i := range got {
			got[i].At = ""
		}
		if !reflect.DeepEqual(got, reply.Blocks) {
			t.Errorf("%s is read back as %+v", whole, got)
		}
	}
}

func FuzzChatRead(f *testing.F) {
	f.Add([]byte(`{"model":"m","stream":true,"stream_options":{"include_usage":true},"stop":["x"],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"auto",
		"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{}}},"messages":[{"role":"system","content":"a"},
		{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]},
		{"role":"assistant","tool_calls":[{"id":"i","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"i","content":"r"}]}`))
	fuzzRead(f, chatDialect{})
}

func FuzzMessagesRead(f *testing.F) {
	f.Add([]byte(`{"model":"m","max_tokens":9,"system":[{"type":"text","text":"s"}],"thinking":{"type":"adaptive"},"tools":[{"name":"f","input_schema":{}}],
		"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"u"}},{"type":"tool_result","tool_use_id":"i","content":[{"type":"text","text":"r"}]}]},
		{"role":"assistant","content":[{"type":"tool_use","id":"i","name":"f","input":{}},{"type":"thinking","thinking":"t","signature":"s"}]}]}`))
	fuzzRead(f, messagesDialect{})
}

// fuzzRead holds a dialect to errors that a client understands, and to inputs
// of tools that are objects.
func fuzzRead(f *testing.F, d textDialect) {
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := d.read(body)
		if err != nil {
			if _, ok := errors.AsType[*tandem.Error](err); !ok {
				t.Errorf("an error of the type %T", err)
			}
			return
		}
		for _, m := range c.Messages {
			for _, b := range m.Blocks {
				if b.Kind == provider.ToolUse && (!json.Valid(b.Input) || b.Input[0] != '{') {
					t.Errorf("a tool's input is %s", b.Input)
				}
			}
		}
	})
}

// FuzzTaskInputs holds what tasks read of the other dialects to errors that a
// client understands.
func FuzzTaskInputs(f *testing.F) {
	f.Add([]byte(`{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}]}],"tool_choice":{"type":"none"}}`))
	f.Add([]byte(`{"input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,aGk="},{"type":"input_audio","input_audio":{"data":"aGk=","format":"wav"}}]}],"store":true}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var m messagesRequest
		var r responsesRequest
		var errs []error
		if json.Unmarshal(body, &m) == nil {
			_, err := lastOfUser(m.Messages, "messages", messagesContent)
			errs = append(errs, err, refuseMessages(&m))
		}
		if json.Unmarshal(body, &r) == nil {
			_, err := responsesInput(r.Input)
			errs = append(errs, err, refuseResponses(&r))
		}
		for _, err := range errs {
			if code := tandem.CodeOf(err); err != nil && code != tandem.InvalidRequest && code != tandem.UnsupportedModality {
				t.Errorf("%q fails with %v", body, err)
			}
		}
	})
}
