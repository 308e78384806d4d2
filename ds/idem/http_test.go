package idem_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/idem"
)

// quiet hears what net/http says of handlers that panic on purpose.
var quiet = log.New(io.Discard, "", 0)

// byUser is who an API of these tests takes a request to come from.
func byUser(r *http.Request) string { return r.Header.Get("User") }

// serve puts a handler behind Middleware and returns how to ask it.
func serve(t *testing.T, d command.Doer, o idem.HTTP, h http.HandlerFunc, opts ...idem.Option) *api {
	t.Helper()
	if o.Scope == nil {
		o.Scope = byUser
	}
	once, err := idem.Middleware(d, o, opts...)
	if err != nil {
		t.Fatal(err)
	}
	a := &api{t: t}
	inner := once(h)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer context.AfterFunc(r.Context(), func() { a.gone.Store(true) })()
		inner.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = quiet
	s.Start()
	a.url, a.client = s.URL, s.Client()
	t.Cleanup(func() {
		a.client.CloseIdleConnections()
		s.Close()
	})
	return a
}

type api struct {
	t      *testing.T
	url    string
	client *http.Client
	gone   atomic.Bool // net/http has noticed that a client went away
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) replayed() bool { return a.header.Get("Idempotency-Replayed") == "true" }

// ask sends a POST with that key, "" for none, as the user "ada".
func (a *api) ask(key, body string, headers ...string) answer {
	a.t.Helper()
	got, err := a.try(a.t.Context(), key, body, headers...)
	if err != nil {
		a.t.Fatal(err)
	}
	return got
}

func (a *api) try(ctx context.Context, key, body string, headers ...string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/pay?x=1", strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("User", "ada")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	for i := 0; i < len(headers); i += 2 {
		switch headers[i] {
		case "method":
			r.Method = headers[i+1]
		case "path":
			r.URL.Path = headers[i+1]
		default:
			r.Header.Add(headers[i], headers[i+1])
		}
	}
	if user := r.Header.Values("User"); len(user) > 1 {
		r.Header.Set("User", user[1]) // the caller's instead
	}
	resp, err := a.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}

func TestARepeatedRequestGetsTheSameAnswer(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	binary := string([]byte{0, 1, '\n', 255, '"'}) + strings.Repeat("long ", 5000)
	a := serve(t, c, idem.HTTP{}, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "amount=5" {
			t.Errorf("the handler reads %q, %v", body, err)
		}
		w.Header().Set("Location", "/payments/1")
		w.Header()["X-Many"] = []string{"a", "b"}
		w.Header().Set("Set-Cookie", "session=secret")
		w.WriteHeader(http.StatusCreated)
		w.Header().Set("Too-Late", "1")
		fmt.Fprint(w, ran.Add(1), binary)
	})
	first := a.ask(`"k-1"`, "amount=5")
	if first.status != 201 || first.replayed() || first.header.Get("Set-Cookie") == "" || first.header.Get("Too-Late") != "" || first.body != "1"+binary {
		t.Errorf("the first answer is %d %v, %d bytes", first.status, first.header, len(first.body))
	}
	for _, key := range []string{`"k-1"`, "k-1", ` "k-1";v=1`} { // one key, three ways to write it
		again := a.ask(key, "amount=5")
		if again.status != 201 || !again.replayed() || again.body != first.body || again.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: the repeat is %d %v, %d bytes", key, again.status, again.header, len(again.body))
		}
		for _, name := range []string{"Location", "X-Many", "Content-Type"} {
			if !slices.Equal(again.header[name], first.header[name]) || len(first.header[name]) == 0 {
				t.Errorf("%s: header %s is %q, was %q", key, name, again.header[name], first.header[name])
			}
		}
	}
	if ran.Load() != 1 {
		t.Errorf("the handler ran %d times, want once", ran.Load())
	}
	if other := a.ask("k-2", "amount=5"); other.replayed() || ran.Load() != 2 {
		t.Errorf("another key: %d, the handler ran %d times", other.status, ran.Load())
	}
}

func TestRequestsThatCannotBeIdempotent(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	count := func(w http.ResponseWriter, r *http.Request) { ran.Add(1) }
	a := serve(t, c, idem.HTTP{MaxBody: 10}, count)
	for name, tt := range map[string]struct {
		status  int
		key     string
		body    string
		headers []string
	}{
		"no key":                 {400, "", "", nil},
		"an empty key":           {400, `""`, "", nil},
		"an open quote":          {400, `"abc`, "", nil},
		"text behind the string": {400, `"abc"d`, "", nil},
		"two strings":            {400, `"a", "b"`, "", nil},
		"a space in a bare key":  {400, `a b`, "", nil},
		"not ASCII":              {400, `"ä"`, "", nil},
		"a bad escape":           {400, `"a\n"`, "", nil},
		"too long":               {400, strings.Repeat("k", 256), "", nil},
		"two headers":            {400, "a", "", []string{"Idempotency-Key", "b"}},
		"a large body":           {413, "a", "12345678901", nil},
		"nobody":                 {401, "a", "", []string{"User", ""}},
	} {
		got := a.ask(tt.key, tt.body, tt.headers...)
		if got.status != tt.status || got.header.Get("Content-Type") != "application/problem+json" || !strings.Contains(got.body, `"detail"`) {
			t.Errorf("%s: %d %s, want a problem with status %d", name, got.status, got.body, tt.status)
		}
	}
	if ran.Load() != 0 {
		t.Errorf("the handler ran %d times", ran.Load())
	}
	if got := a.ask("", "", "method", "PUT"); got.status != 200 || ran.Load() != 1 {
		t.Errorf("PUT without a key: %d, ran %d times", got.status, ran.Load())
	}
	if got := a.ask(strings.Repeat("k", 255), "1234567890"); got.status != 200 || ran.Load() != 2 {
		t.Errorf("a key and a body at the limit: %d", got.status)
	}
	a = serve(t, c, idem.HTTP{Optional: true, Methods: []string{"POST", "PUT"}}, count)
	if got := a.ask("", ""); got.status != 200 || ran.Load() != 3 {
		t.Errorf("no key where it is optional: %d", got.status)
	}
	if got := a.ask(`"`, "", "method", "PUT"); got.status != 400 {
		t.Errorf("a bad key where it is optional: %d", got.status)
	}
}

func TestAnotherRequestUnderTheSameKeyIsRefused(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	a := serve(t, c, idem.HTTP{}, func(w http.ResponseWriter, r *http.Request) { ran.Add(1) })
	a.ask("k", "amount=5")
	for name, got := range map[string]answer{
		"body":   a.ask("k", "amount=6"),
		"path":   a.ask("k", "amount=5", "path", "/refund"),
		"method": a.ask("k", "amount=5", "method", "PATCH"),
		"type":   a.ask("k", "amount=5", "Content-Type", "text/csv"),
	} {
		if got.status != 422 {
			t.Errorf("another %s: %d, want 422", name, got.status)
		}
	}
	if ran.Load() != 1 {
		t.Errorf("the handler ran %d times, want once", ran.Load())
	}
}

// TestCallersDoNotSeeEachOthersAnswers: neither by the same key, nor by names
// that look like scope and key together.
func TestCallersDoNotSeeEachOthersAnswers(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	a := serve(t, c, idem.HTTP{}, func(w http.ResponseWriter, r *http.Request) {
		ran.Add(1)
		fmt.Fprint(w, "for ", byUser(r))
	})
	pairs := [][2]string{{"ada", "k"}, {"bob", "k"}, {"a", "b:c"}, {"a:b", "c"}, {"a%3Ab", "c"}, {"{a}", "k"}}
	for _, p := range pairs {
		if got := a.ask(p[1], "", "User", p[0]); got.body != "for "+p[0] || got.replayed() {
			t.Errorf("%s got %q", p[0], got.body)
		}
	}
	if int(ran.Load()) != len(pairs) {
		t.Errorf("the handler ran %d times, want %d", ran.Load(), len(pairs))
	}
}

// slow is a handler that says when it runs and waits to be let go.
type slow struct {
	begun, proceed chan struct{}
	ended          chan error // its context's, at its end
	write          func(w http.ResponseWriter)
}

func newSlow() *slow {
	return &slow{make(chan struct{}, 10), make(chan struct{}), make(chan error, 10), func(w http.ResponseWriter) { fmt.Fprint(w, "slow") }}
}

func (s *slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.begun <- struct{}{}
	select {
	case <-s.proceed:
	case <-r.Context().Done():
	}
	s.write(w)
	s.ended <- context.Cause(r.Context())
}

func TestARequestInProgressIsAConflict(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	h := newSlow()
	a := serve(t, c, idem.HTTP{}, h.ServeHTTP)
	waits := serve(t, c, idem.HTTP{}, func(http.ResponseWriter, *http.Request) { t.Error("ran") }, idem.Wait(10*time.Second))
	var wg sync.WaitGroup
	wg.Go(func() { a.ask("k", "") })
	<-h.begun
	if got := a.ask("k", ""); got.status != 409 || got.header.Get("Retry-After") == "" {
		t.Errorf("while it runs: %d %s, want 409", got.status, got.body)
	}
	if got := a.ask("k", "other"); got.status != 422 {
		t.Errorf("another request while it runs: %d, want 422", got.status)
	}
	wg.Go(func() {
		if got := waits.ask("k", ""); got.status != 200 || got.body != "slow" || !got.replayed() {
			t.Errorf("one that waits: %d %q", got.status, got.body)
		}
	})
	close(h.proceed)
	wg.Wait()
	if got := a.ask("k", ""); got.body != "slow" || !got.replayed() {
		t.Errorf("after it: %d %q", got.status, got.body)
	}
}

// TestTheRunOutlivesItsClient: the client that has gone comes back with the same
// key.
func TestTheRunOutlivesItsClient(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	h := newSlow()
	a := serve(t, c, idem.HTTP{}, h.ServeHTTP)
	gone, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := a.try(gone, "k", ""); err == nil {
			t.Error("a client that left got an answer")
		}
	})
	<-h.begun
	leave()
	wg.Wait()
	eventually(t, "the server notices", a.gone.Load)
	close(h.proceed)
	if err := <-h.ended; err != nil {
		t.Errorf("the handler's context ended with its client: %v", err)
	}
	eventually(t, "the response is stored", func() bool { return a.ask("k", "").replayed() })
}

func TestALonelyRunEndsAfterItsLinger(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	h := newSlow()
	h.write = func(w http.ResponseWriter) { w.WriteHeader(503) }
	a := serve(t, c, idem.HTTP{Linger: 50 * time.Millisecond}, h.ServeHTTP)
	gone, leave := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = a.try(gone, "k", "") })
	<-h.begun
	leave()
	wg.Wait()
	select {
	case err := <-h.ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("its context ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the handler's context does not end")
	}
	close(h.proceed)
	eventually(t, "the key is free", func() bool { return a.ask("k", "").status == 503 })
}

func TestWhatIsNoOutcomeIsNotStored(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	for _, tt := range []struct {
		status int
		runs   int64
	}{{500, 3}, {503, 3}, {429, 3}, {425, 3}, {408, 3}, {400, 1}, {404, 1}, {409, 1}, {204, 1}, {302, 1}} {
		var ran atomic.Int64
		a := serve(t, c, idem.HTTP{}, func(w http.ResponseWriter, r *http.Request) {
			ran.Add(1)
			w.WriteHeader(tt.status)
		})
		a.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		for range 3 {
			if got := a.ask(fmt.Sprint(tt.status), ""); got.status != tt.status {
				t.Errorf("answered %d, want %d", got.status, tt.status)
			}
		}
		if ran.Load() != tt.runs {
			t.Errorf("a handler that answers %d ran %d times, want %d", tt.status, ran.Load(), tt.runs)
		}
	}
}

func TestAPanickingHandlerStoresNothing(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	a := serve(t, c, idem.HTTP{}, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "never seen")
		if ran.Add(1) == 1 {
			panic("boom")
		}
	})
	if got, err := a.try(t.Context(), "k", ""); err == nil {
		t.Errorf("the first: %+v, want a broken connection", got)
	}
	if got := a.ask("k", ""); got.status != 200 || got.replayed() || ran.Load() != 2 {
		t.Errorf("the second: %d, ran %d times", got.status, ran.Load())
	}
}

// TestAStreamedResponseIsReplayedWhole: what is flushed arrives at once, and is
// stored.
func TestAStreamedResponseIsReplayedWhole(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	seen := make(chan struct{})
	a := serve(t, c, idem.HTTP{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		<-seen
		fmt.Fprint(w, "data: 2\n\n")
	})
	r, _ := http.NewRequestWithContext(t.Context(), "POST", a.url+"/pay?x=1", nil)
	r.Header.Set("Idempotency-Key", "k")
	r.Header.Set("User", "ada")
	resp, err := a.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	piece := make([]byte, 9)
	if _, err := io.ReadFull(resp.Body, piece); err != nil || string(piece) != "data: 1\n\n" {
		t.Errorf("the first piece: %q, %v", piece, err)
	}
	close(seen)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "data: 2\n\n" {
		t.Errorf("the rest: %q, %v", rest, err)
	}
	eventually(t, "the replay", func() bool {
		got := a.ask("k", "")
		if got.status == 409 {
			return false
		}
		return got.replayed() && got.body == "data: 1\n\ndata: 2\n\n" && got.header.Get("Content-Type") == "text/event-stream"
	})
}

func TestAResponseThatIsTooLargeIsSentAndNotRunAgain(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	var ran atomic.Int64
	piece := bytes.Repeat([]byte("x"), 700)
	a := serve(t, c, idem.HTTP{}, func(w http.ResponseWriter, r *http.Request) {
		ran.Add(1)
		for range 3 {
			if n, err := w.Write(piece); n != len(piece) || err != nil {
				t.Errorf("Write = %d, %v", n, err)
			}
		}
	}, idem.MaxResult(1000))
	if got := a.ask("k", ""); got.status != 200 || len(got.body) != 2100 {
		t.Errorf("the first: %d, %d bytes", got.status, len(got.body))
	}
	if got := a.ask("k", ""); got.status != 409 || ran.Load() != 1 {
		t.Errorf("the second: %d, ran %d times, want 409 and no run", got.status, ran.Load())
	}
	if info, err := idem.Inspect(t.Context(), c, "http:ada:k"); err != nil || info.State != "unstored" {
		t.Errorf("Inspect = %+v, %v", info, err)
	}
}

func TestFailuresOfTheRecordAreSaid(t *testing.T) {
	t.Parallel()
	c, s := setup(t)
	var ran atomic.Int64
	a := serve(t, c, idem.HTTP{}, func(w http.ResponseWriter, r *http.Request) { ran.Add(1) })
	const key = "{redisx:idem:http:ada:k}:record"
	raw(t, c, "HSET", key, "kind", "idem", "v", "1", "state", "lost", "token", "7", "runner", "web-1", "since", "1", "runs", "1", "crashes", "1")
	if got := a.ask("k", ""); got.status != 500 || !strings.Contains(got.body, "unknown") {
		t.Errorf("after a crash: %d %s, want 500", got.status, got.body)
	}
	a.ask("fenced", "") // learns the scripts and the policy
	s.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if got, err := a.try(ctx, "k", ""); err != nil || got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("without a server: %d %s, %v, want 503", got.status, got.body, err)
	}
	if ran.Load() != 1 {
		t.Errorf("the handler ran %d times, want once", ran.Load())
	}
}

// TestAFencedRunDoesNotAnswer: others were told that nobody knows, or let in.
func TestAFencedRunDoesNotAnswer(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	h := newSlow()
	a := serve(t, c, idem.HTTP{}, h.ServeHTTP)
	var wg sync.WaitGroup
	wg.Go(func() {
		if got := a.ask("k", ""); got.status != 500 || strings.Contains(got.body, "slow") {
			t.Errorf("the fenced run answered %d %s, want 500", got.status, got.body)
		}
	})
	<-h.begun
	raw(t, c, "DEL", "{redisx:idem:http:ada:k}:record")
	close(h.proceed)
	wg.Wait()

	h = newSlow()
	h.write = func(w http.ResponseWriter) { http.NewResponseController(w).Flush(); fmt.Fprint(w, "slow") }
	a = serve(t, c, idem.HTTP{}, h.ServeHTTP)
	wg.Go(func() {
		if got, err := a.try(t.Context(), "k", ""); err == nil {
			t.Errorf("the fenced stream ended well: %+v", got)
		}
	})
	<-h.begun
	raw(t, c, "DEL", "{redisx:idem:http:ada:k}:record")
	close(h.proceed)
	wg.Wait()
}

func TestHeadersAreKeptAsAsked(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	o := idem.HTTP{
		KeepHeader: func(name string) bool { return name == "Location" },
		Outcome:    func(status int) bool { return status == 500 },
	}
	a := serve(t, c, o, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/1")
		w.Header().Set("X-Request-Id", "7")
		w.WriteHeader(500)
	})
	a.ask("k", "")
	got := a.ask("k", "")
	if got.status != 500 || !got.replayed() || got.header.Get("Location") != "/1" || got.header.Get("X-Request-Id") != "" {
		t.Errorf("replayed %d %v", got.status, slices.Sorted(maps.Keys(got.header)))
	}
}

func TestMiddlewareRefusesWhatIsUnsafe(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		o    idem.HTTP
		opts []idem.Option
	}{
		"no scope":        {idem.HTTP{}, nil},
		"a negative body": {idem.HTTP{Scope: byUser, MaxBody: -1}, nil},
		"a bad option":    {idem.HTTP{Scope: byUser}, []idem.Option{idem.TTL(0)}},
	} {
		if _, err := idem.Middleware(nil, tt.o, tt.opts...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
