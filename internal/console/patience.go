package console

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"tandem"
)

// patience gives a long transfer its time limit anew for every piece, in place
// of the server's limit for a whole request, which is made for small ones. It
// reads the body of the request and writes the response.
type patience struct {
	http.ResponseWriter
	body  io.Reader
	rc    *http.ResponseController
	limit time.Duration
	ended error // what ended the body
}

func (c *Console) patience(w http.ResponseWriter, r *http.Request) *patience {
	p := &patience{ResponseWriter: w, body: r.Body, rc: http.NewResponseController(w), limit: c.Patience}
	if p.limit <= 0 {
		p.limit = 30 * time.Second
	}
	return p
}

// Read waits for the next piece of the body. Once the body has ended it leaves
// the connection's limit alone: net/http then watches for the caller to go.
func (p *patience) Read(b []byte) (int, error) {
	if p.ended != nil {
		return 0, p.ended
	}
	_ = p.rc.SetReadDeadline(time.Now().Add(p.limit)) // a dead connection fails the read itself
	n, err := p.body.Read(b)
	p.ended = err
	return n, err
}

// Write waits until the caller has taken b.
func (p *patience) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(p.limit)) // as in Read
	return p.ResponseWriter.Write(b)
}

// cut says why the body did not arrive whole, nil when it did. stored is how
// many of its lines are kept all the same.
func (p *patience) cut(stored int) error {
	if p.ended == nil || errors.Is(p.ended, io.EOF) {
		return nil
	}
	what := "broke off"
	if errors.Is(p.ended, os.ErrDeadlineExceeded) {
		what = fmt.Sprintf("stood still for %s (limits.read_timeout)", p.limit)
	}
	return &tandem.Error{
		Code: tandem.InvalidRequest, Cause: p.ended,
		Message: fmt.Sprintf("the upload %s; %d new lines of it are stored, and sending it again stores nothing twice", what, stored),
	}
}
