package gateway

import "tandem/internal/provider"

// embeddings is POST /v1/embeddings.
func (s *Server) embeddings() handler { return s.passing(provider.Embeddings) }
