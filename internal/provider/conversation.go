package provider

import (
	"context"
	"encoding/json"
	"strings"

	"tandem"
)

// Translator is a Model that also takes a conversation that came in a dialect
// it does not speak. It refuses with a *tandem.Error what its own wire has no
// place for (Conversation.Cannot); other failures are of type *Error.
type Translator interface {
	// Complete returns the whole reply.
	Complete(ctx context.Context, c *Conversation) (*Completion, error)
	// Stream returns the reply as it comes. The caller closes it.
	Stream(ctx context.Context, c *Conversation) (*Stream, error)
}

// Conversation is a request to a model in no dialect in particular: what
// clients' dialects are read into and providers' wires are written from.
// Fields that are zero were not given.
type Conversation struct {
	Messages  []Message
	Tools     []Tool
	Choice    Choice
	OneTool   bool // at most one tool call in a reply
	Format    Format
	MaxTokens int
	Thinking  Thinking
	Stop      []string
	User      string // who is behind the call, for the provider's abuse control

	Temperature      *float64
	TopP             *float64
	TopK             *int
	Seed             *int64
	PresencePenalty  *float64
	FrequencyPenalty *float64

	// Names are the client's names of the fields above, where they differ
	// from those that the providers' adapters use.
	Names map[string]string
	// Dropped collects hints that the wire has no place for and that say
	// nothing about the answer, such as what to cache: the client is told.
	Dropped []string
}

// Role is who speaks.
type Role string

// The roles of messages. Results of tools are blocks of the user's messages.
const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
)

// Message is one turn.
type Message struct {
	Role   Role
	Blocks []Block
	At     string // where it is in the client's request
}

// BlockKind tells the pieces of a message apart.
type BlockKind string

// The kinds of blocks.
const (
	TextBlock     BlockKind = "text"
	ImageBlock    BlockKind = "image"
	AudioBlock    BlockKind = "audio"
	DocumentBlock BlockKind = "document"
	ThinkingBlock BlockKind = "thinking" // what the model thought, in words
	SealedBlock   BlockKind = "sealed"   // the same, readable by its provider only
	ToolUse       BlockKind = "tool use"
	ToolResult    BlockKind = "tool result"
)

// Block is a piece of a message.
type Block struct {
	Kind      BlockKind
	Text      string          // of text and thinking; of a sealed block its data
	MIME      string          // of data
	Data      string          // base64
	URL       string          // where there is no data
	Detail    string          // how closely to look at an image: low, high
	Name      string          // of a tool, or of a document
	ID        string          // of a tool's use and result
	Input     json.RawMessage // of a tool's use: an object
	Result    []Block         // of a tool
	Failed    bool            // the tool did
	Signature string          // the provider's seal on a thought or a tool's use
	At        string          // where it is in the client's request
}

// Tool is a function that the model may ask the client to call.
type Tool struct {
	Name        string
	Description string
	Schema      json.RawMessage // of its input; an object
	Strict      bool
	At          string
}

// Choice says whether the model may, must or must not use a tool.
type Choice struct {
	Mode string // "", auto, none, any, or tool
	Name string // of the tool
}

// Format is what the reply's text must look like.
type Format struct {
	Kind   string // "", json, or schema
	Name   string // of the schema
	Schema json.RawMessage
	Strict bool
}

// Thinking says how much to think before answering.
type Thinking struct {
	Mode   string // "", off, or on
	Effort string // in a word: minimal, low, medium, high, …
	Budget int    // in tokens
}

// Given says whether anything was said about it.
func (t Thinking) Given() bool { return t != (Thinking{}) }

// StopReason is why a reply ended.
type StopReason string

// The reasons.
const (
	StopEnd      StopReason = "end"
	StopLength   StopReason = "length"
	StopTool     StopReason = "tool"
	StopSequence StopReason = "sequence"
	StopRefused  StopReason = "refused"  // by the model
	StopFiltered StopReason = "filtered" // by the provider
)

// Completion is a reply.
type Completion struct {
	ID     string
	Model  string // as the upstream names itself
	Blocks []Block
	Stop   StopReason
	Hit    string // the stop sequence, where the upstream says
	Usage  tandem.Usage
}

// Text is all the reply's text.
func (c *Completion) Text() string {
	if len(c.Blocks) == 1 && c.Blocks[0].Kind == TextBlock {
		return c.Blocks[0].Text
	}
	var b strings.Builder
	for i := range c.Blocks {
		if c.Blocks[i].Kind == TextBlock {
			b.WriteString(c.Blocks[i].Text)
		}
	}
	return b.String()
}

// Cannot refuses a field that the provider's wire has no place for. field is
// the adapter's name for it, why completes a sentence.
func (c *Conversation) Cannot(field, why string) error {
	if name, ok := c.Names[field]; ok {
		field = name
	}
	return &tandem.Error{
		Code: tandem.InvalidRequest, Param: field,
		Message: "the model's provider cannot be given " + quoted(field) + ": " + why,
	}
}

// Drop notes a hint that has no place on the wire.
func (c *Conversation) Drop(field string) {
	if name, ok := c.Names[field]; ok {
		field = name
	}
	for _, d := range c.Dropped {
		if d == field {
			return
		}
	}
	c.Dropped = append(c.Dropped, field)
}

func quoted(s string) string { return `"` + s + `"` }

// The adapters' names of fields that Cannot takes. They are those of OpenAI's
// chat completions where it has the field.
const (
	FieldMaxTokens   = "max_tokens"
	FieldTemperature = "temperature"
	FieldTopK        = "top_k"
	FieldSeed        = "seed"
	FieldPresence    = "presence_penalty"
	FieldFrequency   = "frequency_penalty"
	FieldStop        = "stop"
	FieldChoice      = "tool_choice"
	FieldOneTool     = "parallel_tool_calls"
	FieldFormat      = "response_format"
	FieldEffort      = "reasoning_effort"
	FieldBudget      = "thinking.budget_tokens"
	FieldUser        = "user"
)

// Leading splits the system messages at the beginning, joined to one text,
// from the rest. A wire that has one place for instructions cannot carry
// later ones.
func (c *Conversation) Leading() (system []Block, rest []Message, err error) {
	rest = c.Messages
	for len(rest) > 0 && rest[0].Role == System {
		system = append(system, rest[0].Blocks...)
		rest = rest[1:]
	}
	for i := range rest {
		if rest[i].Role == System {
			return nil, nil, c.Cannot(rest[i].At, "it takes instructions only before the first message")
		}
	}
	return system, rest, nil
}

// Conversation is the question in neutral form: instructions, the input, and
// the rejected answer if there was one. object asks for {"answer": "…"}.
func (q *Question) Conversation(object bool) (*Conversation, error) {
	blocks, err := inputBlocks(q.Input)
	if err != nil {
		return nil, err
	}
	c := &Conversation{
		Messages: []Message{
			{Role: System, Blocks: []Block{{Kind: TextBlock, Text: Instructions(q.Task, object)}}},
			{Role: User, Blocks: blocks},
		},
	}
	if q.Rejected != "" {
		c.Messages = append(c.Messages,
			Message{Role: Assistant, Blocks: []Block{{Kind: TextBlock, Text: q.Rejected}}},
			Message{Role: User, Blocks: []Block{{Kind: TextBlock, Text: Insistence(q.Task, object)}}})
	}
	return c, nil
}
