package provider

import (
	"crypto/rand"
	"strings"
)

// ownCall begins the ids of tool calls that tandem made up.
const ownCall = "call_tandem_"

// NewCallID makes the id of a tool call for a provider that has none.
func NewCallID() string { return ownCall + rand.Text() }

// OwnCallID says whether tandem made the id up, so that its provider does not
// know it.
func OwnCallID(id string) bool { return strings.HasPrefix(id, ownCall) }

// maxCount bounds the token counts that a provider is believed.
const maxCount = 1 << 40

// Count is a token count that a provider reports, never negative.
func Count(n int) int { return min(max(0, n), maxCount) }

// ToolNames finds the names of tools by the ids of their uses up to a message,
// for wires that name the tool of a result.
type ToolNames map[string]string

// See notes the uses of a message.
func (n ToolNames) See(m *Message) {
	for i := range m.Blocks {
		if b := &m.Blocks[i]; b.Kind == ToolUse {
			n[b.ID] = b.Name
		}
	}
}

// ResultText is a tool's result for a wire that takes text only; an image or
// the like in it is refused.
func (c *Conversation) ResultText(b *Block) (string, error) {
	var out strings.Builder
	for i := range b.Result {
		if b.Result[i].Kind != TextBlock {
			return "", c.Cannot(b.Result[i].At, "it takes results of tools as text only")
		}
		if i > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(b.Result[i].Text)
	}
	return out.String(), nil
}
