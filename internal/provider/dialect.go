package provider

import (
	"net/http"

	"tandem"
)

// Dialect is a wire format in which clients and providers speak: one endpoint
// of an API, with its requests, responses, streams and errors.
type Dialect string

// The dialects of OpenAI's and of Anthropic's API.
const (
	ChatCompletions Dialect = "chat completions"
	Responses       Dialect = "responses"
	Embeddings      Dialect = "embeddings"
	Images          Dialect = "image generations"
	Speech          Dialect = "audio speech"
	Transcriptions  Dialect = "audio transcriptions"
	Messages        Dialect = "messages"
	CountTokens     Dialect = "message token counts"
)

// Path is where the dialect's endpoint lies below an API's base URL.
func (d Dialect) Path() string {
	switch d {
	case ChatCompletions:
		return "/chat/completions"
	case Responses:
		return "/responses"
	case Embeddings:
		return "/embeddings"
	case Images:
		return "/images/generations"
	case Speech:
		return "/audio/speech"
	case Transcriptions:
		return "/audio/transcriptions"
	case Messages:
		return "/messages"
	case CountTokens:
		return "/messages/count_tokens"
	}
	return ""
}

// OpenAI says whether the dialect is one of OpenAI's API.
func (d Dialect) OpenAI() bool { return d.Path() != "" && !d.Anthropic() }

// Anthropic says whether the dialect is one of Anthropic's API.
func (d Dialect) Anthropic() bool { return d == Messages || d == CountTokens }

// Unspoken is the error of a call in a dialect that the provider does not
// speak.
func Unspoken(d Dialect) *Error {
	return &Error{
		Code: tandem.InvalidRequest, Status: http.StatusBadRequest,
		Message: "this model's provider does not speak " + string(d) + "; use another endpoint or another model",
	}
}
