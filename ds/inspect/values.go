package inspect

import (
	"context"
	_ "embed" // the script
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/aside"
	"github.com/redisx/redisx/ds/internal/fill"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/resp3"
)

var (
	//go:embed tag.lua
	tagSource string

	tagScript = command.NewScriptRO(tagSource)
)

// valueMark stands between the hash tag of what ds/aside keeps beside a value
// and what that is.
const valueMark = "}:redisx:"

// valueOf returns the key of the value beside which key lies. It reports false
// if no value has such a key beside it.
func valueOf(key string) (string, bool) {
	// The first mark: a tag has no }, and the key of a value may have one.
	_, rest, _ := strings.Cut(key, valueMark)
	part, value, ok := strings.Cut(rest, ":")
	if !ok || !strings.HasPrefix(key, "{") {
		return "", false
	}
	for _, p := range values.parts {
		if p.name == part {
			return value, fill.Beside(value, part) == key
		}
	}
	return "", false
}

// besideValue returns what may be there of the value under a key of the user's
// choice. The value itself is not ours to list.
func besideValue(key string) candidate {
	c := candidate{kind: values, name: keys.Name{Name: key}}
	for _, p := range values.parts {
		c.keys = append(c.keys, fill.Beside(key, p.name))
	}
	return c
}

// ValueInfo is how a value of ds/aside stands, and who computes it.
type ValueInfo = aside.Info

func inspectValue(ctx context.Context, d command.Doer, o Object) (Info, error) {
	i, err := aside.Inspect(ctx, d, string(o.Name))
	if err != nil {
		return nil, err
	}
	if min(i.Took, i.Quiet, i.Age, i.Spent) < 0 || min(i.Bytes, i.Computes) < 0 || i.State == "value" && i.Fresh > i.Expires {
		return nil, unsound("what is known of a value")
	}
	return i, nil
}

// TagInfo is how a tag of ds/aside stands.
type TagInfo struct {
	// Generation is what values computed now carry; "" if there is none, so
	// that no value with the tag counts.
	Generation string        `json:"generation,omitempty"`
	Kept       time.Duration `json:"kept_ns"` // until it is forgotten, unless another value is computed
}

// Explain says which generation counts, and for how long.
func (i TagInfo) Explain() string {
	if i.Generation == "" {
		return "no generation: values with the tag do not count"
	}
	s := "values of the generation " + i.Generation + " count"
	if i.Kept < 0 {
		return s + ", without an end: somebody took its TTL away"
	}
	return s + "; it is kept for another " + rounded(i.Kept)
}

func inspectTag(ctx context.Context, d command.Doer, o Object) (Info, error) {
	return command.RunScript(ctx, d, tagScript, asTag, []string{o.prefix("aside") + "tag"})
}

func asTag(v resp3.View) (Info, error) {
	f := script.Read(v)
	i := TagInfo{Generation: f.Text(), Kept: f.Millis()}
	if i.Generation == "" {
		i.Kept = 0
	}
	return i, f.Err()
}
