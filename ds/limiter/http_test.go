package limiter_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/redisx/redisx/ds/limiter"
)

// service is a small one behind a limiter.
func service(l *limiter.Limiter) http.Handler {
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) })
	return limiter.Middleware(l, func(r *http.Request) string { return r.Header.Get("X-User") })(hello)
}

func get(h http.Handler, user string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-User", user)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestMiddlewareTellsTheQuota(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	h := service(limiter.New(c, "3/d"))
	for i, want := range []struct {
		status, left, full int
	}{{200, 2, 28800}, {200, 1, 57600}, {200, 0, 86400}, {429, 0, 86400}} {
		resp := get(h, "ada")
		var left, full int
		_, err := fmt.Sscanf(resp.Header.Get("RateLimit"), `"default";r=%d;t=%d`, &left, &full)
		if err != nil || left != want.left || full > want.full || full < want.full-600 {
			t.Errorf("request %d: RateLimit = %s, want %d left, and %d s until it is full", i, resp.Header.Get("RateLimit"), want.left, want.full)
		}
		if resp.StatusCode != want.status || resp.Header.Get("RateLimit-Policy") != `"default";q=3;w=86400` {
			t.Errorf("request %d: %d %v, want %d", i, resp.StatusCode, resp.Header, want.status)
		}
		if retry := resp.Header.Get("Retry-After"); (retry != "") != (want.status == 429) {
			t.Errorf("request %d: Retry-After = %q", i, retry)
		}
	}
	if resp := get(h, "bob"); resp.StatusCode != 200 {
		t.Errorf("another user: %d", resp.StatusCode)
	}
	for range 10 {
		if resp := get(h, ""); resp.StatusCode != 200 || resp.Header.Get("RateLimit") != "" {
			t.Errorf("without a key: %d %v", resp.StatusCode, resp.Header)
		}
	}
}

func TestMiddlewareRefusesByTheProblemsOfTheDraft(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	h := service(limiter.New(c, "1/h"))
	get(h, "ada")
	resp := get(h, "ada")
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type = %q", got)
	}
	var body struct {
		Type     string   `json:"type"`
		Status   int      `json:"status"`
		Title    string   `json:"title"`
		Policies []string `json:"violated-policies"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if body.Type != "https://iana.org/assignments/http-problem-types#quota-exceeded" || body.Status != 429 || body.Title == "" || len(body.Policies) != 1 || body.Policies[0] != "default" {
		t.Errorf("body = %+v", body)
	}
	if retry, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || retry < 3590 || retry > 3600 {
		t.Errorf("Retry-After = %q", resp.Header.Get("Retry-After"))
	}
}

// TestAShadowedAnswerDoesNotSayRetryLater: nothing was refused.
func TestAShadowedAnswerDoesNotSayRetryLater(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	h := service(limiter.New(c, "1/d", limiter.Shadow()))
	for i := range 2 {
		if resp := get(h, "ada"); resp.StatusCode != 200 || resp.Header.Get("Retry-After") != "" || resp.Header.Get("RateLimit") == "" {
			t.Errorf("request %d: %d %v", i, resp.StatusCode, resp.Header)
		}
	}
}

func TestMiddlewareWithoutTheServer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		l      *limiter.Limiter
		status int
	}{
		"an error":           {limiter.New(&failing{}, "1/h"), 503},
		"closed":             {limiter.New(&failing{}, "1/h", limiter.OnError(limiter.Closed)), 503},
		"open":               {limiter.New(&failing{}, "1/h", limiter.OnError(limiter.Open)), 200},
		"a rate that is bad": {limiter.New(&failing{}, "x"), 503},
	} {
		resp := get(service(tt.l), "ada")
		if resp.StatusCode != tt.status || resp.Header.Get("RateLimit") != "" || (resp.Header.Get("Retry-After") != "") != (tt.status == 503) {
			t.Errorf("%s: %d %v, want %d", name, resp.StatusCode, resp.Header, tt.status)
		}
	}
}

// TestHeadersAreStructuredFields whatever a rule is called.
func TestHeadersAreStructuredFields(t *testing.T) {
	t.Parallel()
	c, _ := setup(t)
	d, err := limiter.NewGroup(c, "g", []limiter.Rule{{Name: "a\"b\\c\r\né", Rate: "5/500ms"}}).Allow(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	limiter.SetHeaders(h, d)
	if got := h.Get("RateLimit-Policy"); got != `"a\"b\\c????";q=5` {
		t.Errorf("RateLimit-Policy = %s", got)
	}
	if got := h.Get("RateLimit"); !strings.HasPrefix(got, `"a\"b\\c????";r=4;t=1`) {
		t.Errorf("RateLimit = %s", got)
	}
}
