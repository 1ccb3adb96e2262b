package gateway

import "tandem/internal/provider"

// images is POST /v1/images/generations.
func (s *Server) images() handler { return s.passing(provider.Images) }
