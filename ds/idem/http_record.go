package idem

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
)

// response is what a handler has answered.
type response struct {
	status int
	header http.Header
	body   []byte
	size   int // of the body, also where it was not kept
}

// head is the first line of a stored response, as JSON; the body follows as it
// is.
type head struct {
	Status int         `json:"status"`
	Header http.Header `json:"header,omitempty"`
}

// responses is the codec of a response.
type responses struct{}

// tooLong is what becomes of a response that outgrew the limit while it was
// sent.
type tooLong struct{ size int }

// Error says how long it was.
func (e *tooLong) Error() string { return fmt.Sprintf("%d bytes were sent and not kept", e.size) }

// Encode returns the head, a line feed, and the body.
func (responses) Encode(v any) ([]byte, error) {
	r := v.(response)
	if r.size > len(r.body) {
		return nil, &tooLong{r.size}
	}
	b, err := json.Marshal(head{r.status, r.header})
	if err != nil {
		return nil, err
	}
	return append(append(b, '\n'), r.body...), nil
}

// Decode reads into a *response.
func (responses) Decode(data []byte, v any) error {
	first, body, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return errors.New("no head")
	}
	var h head
	if err := json.Unmarshal(first, &h); err != nil {
		return err
	}
	if h.Status < 200 || h.Status > 999 {
		return fmt.Errorf("a status of %d", h.Status)
	}
	*v.(*response) = response{h.Status, h.Header, bytes.Clone(body), len(body)}
	return nil
}

// recorder is the ResponseWriter of a handler. It holds the response back until
// it is stored; see Middleware. It is for one goroutine at a time, as all
// ResponseWriters are.
type recorder struct {
	w      http.ResponseWriter
	limit  int
	header http.Header

	status    int         // 0 until the headers are settled
	sent      http.Header // they, from then on
	body      []byte
	size      int  // of the body, also where it is not kept
	streaming bool // what is written goes out at once
}

// Header returns the headers, which may be changed until the first Write.
func (rec *recorder) Header() http.Header { return rec.header }

// WriteHeader settles status and headers. Informational ones are dropped.
func (rec *recorder) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("idem: invalid status %d", status)) // as net/http does
	}
	if status >= 200 {
		rec.begin(status)
	}
}

func (rec *recorder) begin(status int) {
	if rec.status == 0 {
		rec.status, rec.sent = status, rec.header.Clone()
	}
}

// Write keeps b, or sends it where the response is under way.
func (rec *recorder) Write(b []byte) (int, error) {
	if rec.status == 0 {
		// What net/http would guess from a first piece, it might guess otherwise
		// from the whole of a replay.
		if _, has := rec.header["Content-Type"]; !has && rec.header.Get("Content-Encoding") == "" && len(b) > 0 {
			rec.header.Set("Content-Type", http.DetectContentType(b))
		}
		rec.begin(http.StatusOK)
	}
	if rec.status == http.StatusNoContent || rec.status == http.StatusNotModified {
		return 0, http.ErrBodyNotAllowed
	}
	rec.size += len(b)
	if rec.size > rec.limit {
		rec.stream()
		rec.body = nil
	} else {
		rec.body = append(rec.body, b...)
	}
	if rec.streaming {
		_, _ = rec.w.Write(b) // the handler writes for the record, too: a client that has gone does not end it
	}
	return len(b), nil
}

// Flush sends what was written so far, and from here on all that is written.
func (rec *recorder) Flush() {
	rec.begin(http.StatusOK)
	rec.stream()
	_ = http.NewResponseController(rec.w).Flush() // not all can
}

// stream sends what was held back, once; what is written after it goes out at
// once.
func (rec *recorder) stream() {
	if rec.streaming {
		return
	}
	rec.streaming = true
	maps.Copy(rec.w.Header(), rec.sent)
	rec.w.WriteHeader(rec.status)
	if len(rec.body) > 0 {
		_, _ = rec.w.Write(rec.body) // a client that has gone needs nothing
	}
}

// response returns what is to be stored.
func (rec *recorder) response(keep func(name string) bool) response {
	kept := http.Header{}
	for name, values := range rec.sent {
		if keep(http.CanonicalHeaderKey(name)) {
			kept[name] = values
		}
	}
	return response{status: rec.status, header: kept, body: rec.body, size: rec.size}
}
