package gateway

import "tandem/internal/provider"

// speech is POST /v1/audio/speech: text in, sound out.
func (s *Server) speech() handler { return s.passing(provider.Speech) }

// transcriptions is POST /v1/audio/transcriptions. The sound comes in a
// multipart form, held in memory and bounded like every body; its model is a
// field of the form.
func (s *Server) transcriptions() handler { return s.passing(provider.Transcriptions) }
