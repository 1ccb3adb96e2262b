package console

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"tandem"
)

// guard lets in only callers of this machine with a token, if there are any.
// Besides the address it looks at Host, so that a page in somebody's browser
// cannot reach the console through a name that resolves to this machine.
func (c *Console) guard(next http.Handler) http.Handler {
	digests := make([][sha256.Size]byte, len(c.Tokens))
	for i, token := range c.Tokens {
		digests[i] = sha256.Sum256([]byte(token))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		here, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if !isLocal(r.RemoteAddr, here) || !isLocal(r.Host, here) {
			c.fail(w, r, tandem.Errorf(tandem.Unauthorized, "the console answers only this machine; call it from there, through 127.0.0.1"))
			return
		}
		if len(digests) > 0 {
			token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			sum, known := sha256.Sum256([]byte(token)), 0
			for _, d := range digests {
				known |= subtle.ConstantTimeCompare(sum[:], d[:])
			}
			if known == 0 {
				c.fail(w, r, tandem.Errorf(tandem.Unauthorized, "send one of api_tokens as Authorization: Bearer …"))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// isLocal says whether an address, host:port or a host alone, is this
// machine's: a loopback address, or the one that the call came in on.
func isLocal(address string, here net.Addr) bool {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	if address == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(address, "[]"))
	if err != nil {
		return false
	}
	if tcp, ok := here.(*net.TCPAddr); ok && tcp.AddrPort().Addr().Unmap() == ip.Unmap() {
		return true
	}
	return ip.Unmap().IsLoopback()
}

// route turns a function that returns a value or an error into a handler.
func (c *Console) route(f func(*http.Request) (any, error)) http.Handler {
	return c.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		c.reply(w, r, v, err)
	}))
}

// reply answers with the value, or with the error if there is one.
func (c *Console) reply(w http.ResponseWriter, r *http.Request, v any, err error) {
	if err != nil {
		c.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller is gone; nobody is left to tell
}
