package idem

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/redisx/redisx/command"
)

const (
	defaultMaxBody = 1 << 20
	defaultLinger  = time.Minute
)

// HTTP says how Middleware treats requests. Scope must be set; the zero value of
// everything else is ready for production.
type HTTP struct {
	// Scope names whose key it is: the user, or the tenant, as the request's
	// authentication says. Callers of different scopes cannot get each other's
	// answers, whatever keys they send. It is part of the keys' names on the
	// server: an id, not a credential. A request with no scope, "", is refused
	// with 401; an API without users has one scope for all.
	Scope func(r *http.Request) string
	// Methods are those that need a key; others pass. Nil means POST and PATCH:
	// what is idempotent by itself needs none.
	Methods []string
	// Optional lets requests without a key pass, to run as often as they come.
	// Otherwise they are refused with 400.
	Optional bool
	// MaxBody is how large a request's body may be, in bytes: it is read as a
	// whole before the handler runs, for the fingerprint. A larger one is
	// refused with 413. Zero means 1 MiB.
	MaxBody int64
	// Outcome reports whether a response of this status is the outcome of the
	// operation: stored, and answered to every repeat. Any other is sent, and
	// the next request runs the handler. Nil means all but 408, 425, 429 and
	// those from 500 on.
	Outcome func(status int) bool
	// KeepHeader reports whether a header of the response, by its canonical
	// name, is stored and replayed. The first caller gets all. Nil means all but
	// Set-Cookie, Date, and those that belong to one connection.
	KeepHeader func(name string) bool
	// Linger is how much longer the handler may run when its client has gone,
	// before its context ends. Zero means a minute.
	Linger time.Duration
}

// Middleware makes handlers answer a repeated request from the record of the
// first: it reads the header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header),
// runs the handler as the fn of a Run, and stores status, headers and body.
// Checkpoint and Effect work with the context of the handler's request. The
// options are those of Run; Wait(0) is the default here.
//
//	400  the key is missing, or is no string of 1 to 255 printable characters
//	401  Scope gave no name
//	409  the first request is running; Retry-After says when to ask again
//	409  it has run, but its response was too large to be stored
//	413  the body of the request is over MaxBody
//	422  the key was used for another method, target or body
//	500  a runner died, and nobody knows what it did; or this one was fenced
//	503  the server of the records cannot be asked; the handler has not run
//
// These answers are application/problem+json. A replay has the stored status,
// headers and body, to the byte, and the header Idempotency-Replayed: true.
//
// A response is held back until it is stored, so no client has seen one that
// could be lost. A handler that calls Flush, and one whose response outgrows
// MaxResult, sends from there on as it writes; what was flushed is stored all
// the same, and replayed in one piece. Connections cannot be hijacked, and
// trailers are not stored.
//
// When the client goes away the handler runs on, for Linger at most: the client
// will ask again, with the same key, and finds the response. A handler that
// panics stores nothing; the panic goes on.
//
// The error is of o or of the options.
func Middleware(d command.Doer, o HTTP, opts ...Option) (func(http.Handler) http.Handler, error) {
	cfg, err := configure(append([]Option{Wait(0)}, opts...))
	switch {
	case err != nil:
		return nil, err
	case o.Scope == nil:
		return nil, errors.New("idem: HTTP.Scope is nil: without it one user could replay another's answer")
	case o.MaxBody < 0 || o.Linger < 0:
		return nil, errors.New("idem: HTTP.MaxBody or HTTP.Linger is negative")
	}
	if o.Methods == nil {
		o.Methods = []string{http.MethodPost, http.MethodPatch}
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.Linger == 0 {
		o.Linger = defaultLinger
	}
	if o.Outcome == nil {
		o.Outcome = isOutcome
	}
	if o.KeepHeader == nil {
		o.KeepHeader = isKept
	}
	return func(next http.Handler) http.Handler { return &replayer{o, cfg, d, next} }, nil
}

func isOutcome(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status < http.StatusInternalServerError
}

// passingHeaders belong to one connection, one moment or one browser.
var passingHeaders = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Date", "Set-Cookie",
}

func isKept(name string) bool { return !slices.Contains(passingHeaders, name) }

// replayer is a handler behind Middleware.
type replayer struct {
	HTTP
	cfg  config
	d    command.Doer
	next http.Handler
}

// ServeHTTP answers from the record, or runs the handler.
func (h *replayer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !slices.Contains(h.Methods, r.Method) {
		h.next.ServeHTTP(w, r)
		return
	}
	key, err := keyOf(r.Header)
	switch {
	case err == errNoKey && h.Optional:
		h.next.ServeHTTP(w, r)
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, "Idempotency-Key is missing or malformed", err.Error()+
			`. Send a value that is new for each operation, such as a UUID in quotes, and the same one with each repeat of it.`)
		return
	}
	scope := h.Scope(r)
	if scope == "" {
		refuse(w, http.StatusUnauthorized, "Nobody to keep the response for", "The request does not say who sends it.")
		return
	}
	cfg := h.cfg
	if cfg.fingerprint, err = h.read(w, r); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			refuse(w, http.StatusRequestEntityTooLarge, "The request is too large", fmt.Sprintf("Its body is over %d bytes.", h.MaxBody))
			return
		}
		refuse(w, http.StatusBadRequest, "The request could not be read", "Its body ended early.")
		return
	}
	// An escaped scope has no colon, so no two pairs of scope and key are one.
	h.serve(w, r, "http:"+url.QueryEscape(scope)+":"+key, cfg)
}

// read takes the request's body into memory and returns the fingerprint.
func (h *replayer) read(w http.ResponseWriter, r *http.Request) (string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.MaxBody))
	if err != nil {
		return "", err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	sum := sha256.New()
	part(sum, []byte(r.Method))
	part(sum, []byte(r.URL.RequestURI()))
	part(sum, []byte(r.Header.Get("Content-Type")))
	part(sum, body)
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// part hashes b and how long it is, so that no two lists of parts are one.
func part(h hash.Hash, b []byte) {
	fmt.Fprintf(h, "%d:", len(b)) // a hash takes everything
	h.Write(b)
}

// errPassing is what the fn of a response returns that is no outcome.
var errPassing = errors.New("idem: the response is no outcome")

// serve runs the handler, or replays what it answered.
func (h *replayer) serve(w http.ResponseWriter, r *http.Request, key string, cfg config) {
	// The client that went away comes back for the answer.
	ctx, cancel := linger(r.Context(), h.Linger)
	defer cancel()
	run := newRun(ctx, h.d, key, cfg)
	run.results = responses{}
	var rec *recorder
	stored, err := do(ctx, run, func(ctx context.Context) (response, error) {
		rec = &recorder{w: w, limit: cfg.maxResult, header: http.Header{}}
		h.next.ServeHTTP(rec, r.WithContext(ctx))
		rec.begin(http.StatusOK)
		if !h.Outcome(rec.status) {
			return response{}, errPassing
		}
		return rec.response(h.KeepHeader), nil
	})
	if rec == nil {
		h.replay(w, stored, err)
		return
	}
	var e *Error
	switch {
	case err == nil, errors.Is(err, errPassing), errors.As(err, &e) && (e.State == string(unsettled) || e.State == string(unstored)):
		// The response is true in all these cases; the record may have less.
		rec.stream()
	case rec.streaming:
		// It is too late for another status: a cut connection says that the
		// response is not to be trusted.
		panic(http.ErrAbortHandler)
	default:
		explain(w, err)
	}
}

// replay sends a stored response, or says why there is none.
func (h *replayer) replay(w http.ResponseWriter, stored response, err error) {
	if err != nil {
		explain(w, err)
		return
	}
	for name, values := range stored.header {
		w.Header()[name] = values
	}
	w.Header().Set("Idempotency-Replayed", "true")
	w.WriteHeader(stored.status)
	_, _ = w.Write(stored.body) // a client that has gone needs nothing
}

// linger returns a context that outlives its parent by d at most.
func linger(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	late := make(chan *time.Timer, 1)
	stop := context.AfterFunc(parent, func() {
		late <- time.AfterFunc(d, func() { cancel(context.Cause(parent)) })
	})
	return ctx, func() {
		if !stop() { // it runs, or has run
			(<-late).Stop()
		}
		cancel(nil)
	}
}

// explain answers with what an error of Run means to a client.
func explain(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrInProgress):
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusConflict, "A request with this Idempotency-Key is in progress", "Nothing was run a second time. Ask again for its response.")
	case errors.Is(err, ErrKeyMismatch):
		refuse(w, http.StatusUnprocessableEntity, "The Idempotency-Key was used for another request", "Send a new key with a new request, and the same request with the same key.")
	case errors.Is(err, ErrIndeterminate):
		refuse(w, http.StatusInternalServerError, "The outcome of the first request is unknown", "It was begun and not finished, and may have taken effect. It will not be run again under this key.")
	case errors.Is(err, ErrResultTooLarge):
		refuse(w, http.StatusConflict, "The response is not available any more", "The request has been carried out, once. Its response was too large to be kept.")
	case errors.Is(err, ErrFailed):
		refuse(w, http.StatusInternalServerError, "The request failed", "Only a part of it has taken effect. It will not be run again under this key.")
	case errors.Is(err, ErrFenced):
		refuse(w, http.StatusInternalServerError, "The request failed", "It may have taken effect. Ask again, with the same key.")
	case errors.Is(err, errRefused):
		refuse(w, http.StatusInternalServerError, "The request failed", "Its effect did not take place. Ask again, with the same key.")
	default:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "The request cannot be looked up", "Nothing was run. Ask again, with the same key.")
	}
}

// refuse answers as RFC 9457 has it.
func refuse(w http.ResponseWriter, status int, title, detail string) {
	body, _ := json.Marshal(struct { // strings and a number: always JSON
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{title, status, detail})
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone needs nothing
}
