package gateway

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// check returns the HTTP status with which r is refused before anything is
// done for it, or 0.
func (h *Handler) check(r *http.Request) int {
	switch {
	case !h.knownHost(r.Host):
		return http.StatusMisdirectedRequest
	case !h.knownOrigin(r):
		return http.StatusForbidden
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		return http.StatusUpgradeRequired
	case h.Authorize == nil:
		return 0
	}
	if err := h.Authorize(r); errors.Is(err, ErrUnauthorized) {
		return http.StatusUnauthorized
	} else if err != nil {
		return http.StatusForbidden
	}
	return 0
}

// knownHost reports whether a request may name hostPort as its Host.
func (h *Handler) knownHost(hostPort string) bool {
	hostPort = strings.ToLower(hostPort)
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostPort, "["), "]")
	}
	if len(h.Hosts) == 0 {
		_, err := netip.ParseAddr(host)
		return err == nil || host == "localhost"
	}
	return slices.ContainsFunc(h.Hosts, func(known string) bool {
		known = strings.ToLower(known)
		return known != "" && (known == host || known == hostPort)
	})
}

// knownOrigin reports whether the page that sent r, if one did, may connect. A
// browser sends the Origin with every upgrade; what else has no Origin is no
// page.
func (h *Handler) knownOrigin(r *http.Request) bool {
	origins, site := r.Header.Values("Origin"), r.Header.Get("Sec-Fetch-Site")
	switch len(origins) {
	case 0:
		return site == "" || site == "none" || site == "same-origin"
	case 1:
	default:
		return false
	}
	origin := canonical(origins[0])
	if origin == "" {
		return false
	}
	for _, known := range h.Origins {
		if canonical(known) == origin {
			return true
		}
	}
	if site != "" && site != "same-origin" {
		return false
	}
	return origin == canonical("https://"+r.Host) || (r.TLS == nil && origin == canonical("http://"+r.Host))
}

// canonical returns an origin in one spelling, or "" if it is none, as "null".
func canonical(origin string) string {
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return ""
	}
	host := u.Host
	switch {
	case u.Scheme == "http":
		host = strings.TrimSuffix(host, ":80")
	case u.Scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + host
}

// Hijack notes the connection that it gives away.
func (c *capture) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(c.ResponseWriter).Hijack()
	c.nc = nc
	return nc, rw, err
}
