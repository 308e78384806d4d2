package aside

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/owner"
	"github.com/redisx/redisx/ds/internal/replicas"
	"github.com/redisx/redisx/resp3"
)

// tagKey returns where the generation of a tag is kept. It lies in a slot of its
// own, so no script has it beside a value.
func tagKey(namespace, tag string) string { return keys.Prefix(namespace, "aside", tag) + "tag" }

// generations tells the generations of the tags, and begins those that are not
// there, so that a value that is computed from now on, and is fresh for ttl, may
// carry them.
func (c *call) generations(ctx context.Context, ttl time.Duration) (string, error) {
	if len(c.tags) == 0 {
		return "", nil
	}
	// They outlive what carries them: an invalidation is that they are gone.
	keep := 2*(max(c.ttl, ttl)+max(c.stale, c.staleIfError)) + c.negative + c.lease
	// A name that nobody has had, in every call: one that a deleted generation
	// had would bring back to life what carries it.
	begin := owner.New()
	all := make([]string, len(c.tags))
	for i, tag := range c.tags {
		var err error
		all[i], err = command.RunScript(ctx, c.d, tagScript, command.AsString, c.tagKeys[i:i+1],
			command.Str(begin), command.Int(millis(keep)), command.Str(tag))
		if err != nil {
			return "", err
		}
	}
	return c.joined(all), nil
}

// joined returns tags and generations as they are kept with a value: "" where
// one is missing, which no value has.
func (c *call) joined(all []string) string {
	var b strings.Builder
	for i, tag := range c.tags {
		if all[i] == "" {
			return ""
		}
		b.WriteString(strconv.Quote(tag))
		b.WriteString(all[i])
	}
	return b.String()
}

// read reads the value and the generations of its tags as they are now, in one
// round trip where the Doer is a command.Batcher. Callers whose values have no
// tags share round trips.
func (c *call) read(ctx context.Context) (reading, string, error) {
	names := [2]string{c.key, c.side()}
	if len(c.tags) == 0 {
		r, _, err := readRows.Run(ctx, c.d, replicas.Need{}, names[:], nil)
		return r, "", err
	}
	if b, ok := c.d.(command.Batcher); ok {
		r, generations, err := c.readTagged(ctx, b, readRows.Script().EvalSHA(names[:]))
		if command.IsCode(err, "NOSCRIPT") {
			r, generations, err = c.readTagged(ctx, b, readRows.Script().Eval(names[:]))
		}
		return r, generations, err
	}
	r, _, err := readRows.Run(ctx, c.d, replicas.Need{}, names[:], nil)
	all := make([]string, len(c.tags))
	for i := range c.tags {
		if err == nil {
			all[i], err = command.Do(ctx, c.d, command.HGet(c.tagKeys[i], "generation"))
		}
		if err == command.Nil {
			err = nil
		}
	}
	return r, c.joined(all), err
}

func (c *call) readTagged(ctx context.Context, b command.Batcher, script command.Request) (reading, string, error) {
	rs := make([]command.Request, 1, 1+len(c.tags))
	rs[0] = script
	for _, key := range c.tagKeys {
		rs = append(rs, command.HGet(key, "generation").Request())
	}
	var r reading
	var first error
	all := make([]string, len(c.tags))
	err := b.DoBatch(ctx, rs, func(i int, v resp3.View, err error) {
		switch {
		case err != nil:
		case i == 0:
			rows := v.Cursor()
			row, _ := rows.Next()
			if err = row.Err(); err == nil {
				r, err = decodeReading(row)
			}
		case !v.IsNull():
			all[i-1], err = v.Str()
		}
		if first == nil {
			first = err
		}
	})
	if first == nil {
		first = err
	}
	return r, c.joined(all), first
}
