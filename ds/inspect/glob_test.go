package inspect

import (
	"strings"
	"testing"
	"time"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true},
		{"*", "a:b\n\xff", true},
		{"", "", true},
		{"", "a", false},
		{"a", "a", true},
		{"a", "ab", false},
		{"ab", "a", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"?", "", false},
		{"a*", "a", true},
		{"*a", "ba", true},
		{"*a", "ab", false},
		{"a*b*c", "axxbxxc", true},
		{"a*b*c", "axxcxxb", false},
		{"**a**", "a", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`\?`, "x", false},
		{`\\`, `\`, true},
		{`a\`, `a\`, true},
		{"[a]", "[a]", true},
		{"[a]", "a", false},
		{"*:42", "video:42:42", true},
		{`*\*`, "ab*", true},
	} {
		if got := matches(tt.pattern, tt.s); got != tt.want {
			t.Errorf("matches(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
}

func TestAHostilePatternTakesNoExponentialTime(t *testing.T) {
	t.Parallel()
	began := time.Now()
	if matches(strings.Repeat("*a", 50)+"b", strings.Repeat("a", 10_000)) {
		t.Error("it matches")
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestScanPattern(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		want string
		opts []Option
	}{
		{"{*}:*", nil},
		{"{app:*:*}:*", []Option{InNamespace("app")}},
		{`{a%3A\*b%7D:*:*}:*`, []Option{InNamespace("a:*b}")}},
		{"{*:lease:*}:*", []Option{OfKind("lease")}},
		{"{app:queue:*}:*", []Option{InNamespace("app"), OfKind("queue")}},
		{"{*:*:*}:*", []Option{OfKind("queue", "lease")}},
		{"{*}:redisx:*", []Option{OfKind("value")}},
		{"{*:aside:*}:*", []Option{OfKind("tag")}},
		{"{*}:*", []Option{OfKind("value", "queue")}},
		{"{*:*:*}:*", []Option{OfKind(Unknown)}},
	} {
		o, err := build(tt.opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.scanPattern(); got != tt.want {
			t.Errorf("the pattern is %s, want %s", got, tt.want)
		}
	}
}
