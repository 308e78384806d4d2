package limiter

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// policy is what the headers call the rule of a Limiter.
const policy = "default"

// Middleware limits the requests of an HTTP handler, each by the key that keyOf
// returns for it, such as the user or the address. An empty key is not limited.
//
// Every answer has RateLimit-Policy and RateLimit as in the IETF's draft
// draft-ietf-httpapi-ratelimit-headers-10: the quota and its window in seconds;
// what remains and the seconds until it is full again.
//
//	RateLimit-Policy: "default";q=100;w=60
//	RateLimit: "default";r=17;t=50
//
// A request that is denied gets 429 with Retry-After and a body by RFC 9457
// (application/problem+json) of the draft's type quota-exceeded. Where the
// server cannot decide and OnError is not set, or has refused, it gets 503
// instead. The handler's own context bounds the decision: with OnError that is
// Patience.
func Middleware(l *Limiter, keyOf func(*http.Request) string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			key := keyOf(r)
			if key == "" {
				next.ServeHTTP(w, r)
				return
			}
			d, err := l.Allow(r.Context(), key)
			if err == nil && !d.Degraded {
				SetHeaders(w.Header(), d)
			}
			switch {
			case err == nil && d.Allowed:
				next.ServeHTTP(w, r)
			case err == nil && !d.Degraded:
				refuse(w, d)
			default:
				unavailable(w, d.RetryAfter)
			}
		})
	}
}

// SetHeaders sets RateLimit-Policy and RateLimit, and of a decision that denies
// Retry-After, as Middleware does: for handlers that ask a Limiter or a Group
// themselves. The policy is the name of the rule, "default" of a Limiter.
// Degraded decisions know no numbers: nothing is set for them but Retry-After.
func SetHeaders(h http.Header, d Decision) {
	if !d.Allowed && d.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(seconds(d.RetryAfter), 10))
	}
	if d.Degraded {
		return
	}
	name := quoted(policyOf(d))
	text := fmt.Sprintf("%s;q=%d", name, d.rate.Count)
	if w := d.rate.Per / time.Second; w > 0 && d.rate.Per%time.Second == 0 {
		text += fmt.Sprintf(";w=%d", w)
	}
	h.Set("RateLimit-Policy", text)
	text = fmt.Sprintf("%s;r=%d", name, d.Remaining)
	if reset := seconds(d.ResetAfter); reset > 0 {
		text += fmt.Sprintf(";t=%d", reset)
	}
	h.Set("RateLimit", text)
}

func policyOf(d Decision) string {
	if d.Rule != "" {
		return d.Rule
	}
	return policy
}

// quoted writes a string of a structured field (RFC 9651), which has printable
// ASCII only.
func quoted(s string) string {
	b := []byte{'"'}
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~':
			b = append(b, '?')
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}

// seconds rounds up, as headers have it.
func seconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }

// problem is the body of an answer by RFC 9457. Policies is of the draft.
type problem struct {
	Type     string   `json:"type"`
	Title    string   `json:"title"`
	Status   int      `json:"status"`
	Detail   string   `json:"detail"`
	Policies []string `json:"violated-policies,omitempty"`
}

func refuse(w http.ResponseWriter, d Decision) {
	write(w, problem{
		Type:     "https://iana.org/assignments/http-problem-types#quota-exceeded",
		Title:    "Request cannot be satisfied as assigned quota has been exceeded",
		Status:   http.StatusTooManyRequests,
		Detail:   fmt.Sprintf("Limited to %v. Come again in %d s.", d.rate, seconds(d.RetryAfter)),
		Policies: []string{policyOf(d)},
	})
}

func unavailable(w http.ResponseWriter, retry time.Duration) {
	w.Header().Set("Retry-After", strconv.FormatInt(max(seconds(retry), 1), 10))
	write(w, problem{
		Type:   "about:blank",
		Title:  http.StatusText(http.StatusServiceUnavailable),
		Status: http.StatusServiceUnavailable,
		Detail: "The limit could not be checked.",
	})
}

func write(w http.ResponseWriter, p problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	// An error is the client's leaving: there is nobody to tell.
	_ = json.NewEncoder(w).Encode(p)
}
