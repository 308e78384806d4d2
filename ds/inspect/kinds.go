package inspect

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/coord"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/lease"
	"github.com/redisx/redisx/ds/semaphore"
)

// kind is what redisX knows of one kind of object.
type kind struct {
	name      string
	primitive string // in the keys
	under     string // how the name in the keys begins, before the user's
	parts     []part // all its keys, the one that matters most first
	// passing are how the parts begin of keys that come and go by themselves:
	// they tell of the object, but are not listed.
	passing []string
	inspect func(ctx context.Context, d command.Doer, o Object) (Info, error)
	decode  func([]byte) (Info, error)
}

// part is one key of an object, and what it must be to be understood.
type part struct {
	name    string // what follows the prefix
	typ     string // as the command TYPE says; "" for any
	kind    string // what it says of itself; "" if it says nothing
	version string
}

// kinds are all there are, in the order in which they are listed. Of two with
// the same primitive, the one whose names begin with something comes first.
var kinds = []*kind{
	{
		name: "leader", primitive: "lease", under: "leader:",
		parts: append(slices.Clip(leaseParts),
			part{"candidates", "hash", "candidates", "1"}, part{"stepdown", "hash", "stepdown", "1"}),
		passing: leasePassing,
		inspect: inspectLeader, decode: decode[coord.LeaderInfo],
	},
	{
		name: "semaphore", primitive: "lease", under: "semaphore:",
		parts:   append(slices.Clip(leaseParts), part{"limit", "hash", "semaphore.limit", "1"}),
		passing: leasePassing,
		inspect: inspectSemaphore, decode: decode[semaphore.Info],
	},
	{
		name: "lease", primitive: "lease",
		parts: leaseParts, passing: leasePassing,
		inspect: inspectLease, decode: decode[lease.Info],
	},
	{
		name: "barrier", primitive: "barrier",
		parts:   []part{{"barrier", "hash", "barrier", "1"}},
		passing: []string{"generation:", "arrived:", "ids:"},
		inspect: inspectBarrier, decode: decode[coord.BarrierInfo],
	},
	{
		name: "latch", primitive: "latch",
		parts:   []part{{"latch", "hash", "latch", "1"}, {name: "done", typ: "set"}},
		inspect: inspectLatch, decode: decode[coord.LatchInfo],
	},
	{
		name: "members", primitive: "members",
		parts:   []part{{"members", "hash", "members", "1"}, {name: "beats", typ: "zset"}, {name: "about", typ: "hash"}},
		inspect: inspectMembers, decode: decode[coord.MembersInfo],
	},
	{
		name: "shards", primitive: "shards",
		parts:   []part{{"members", "hash", "shards", "1"}, {name: "beats", typ: "zset"}, {name: "about", typ: "hash"}},
		inspect: inspectShards, decode: decode[coord.ShardsInfo],
	},
	{
		name: "queue", primitive: "queue",
		parts: []part{
			{"meta", "hash", "queue", "1"},
			{name: "jobs", typ: "stream"},
			{name: "deadlines", typ: "zset"},
			{name: "wake", typ: "list"},
			{name: "dead", typ: "stream"},
			{name: "tidied", typ: "string"},
		},
		inspect: inspectQueue, decode: decode[QueueInfo],
	},
	{
		name: "limiter", primitive: "limiter",
		parts: limiterParts, passing: limiterPassing,
		inspect: inspectLimiter, decode: decode[LimiterInfo],
	},
	rules,
	{
		name: "idem", primitive: "idem",
		parts:   []part{{"record", "hash", "idem", "1"}},
		inspect: inspectIdem, decode: decode[IdemInfo],
	},
	{
		name: "coalesce", primitive: "coalesce",
		parts:   []part{{"fill", "hash", "coalesce.fill", "1"}, {name: "value", typ: "string"}},
		inspect: inspectCoalesce, decode: decode[FillInfo],
	},
	values,
	{
		name: "tag", primitive: "aside",
		parts:   []part{{"tag", "hash", "aside.tag", "1"}},
		inspect: inspectTag, decode: decode[TagInfo],
	},
}

var (
	leaseParts = []part{
		{"lease", "hash", "lease", "1"},
		{name: "fence"},
		{"queue", "hash", "lease.queue", "1"},
		{name: "order", typ: "zset"},
		{name: "readers", typ: "zset"},
	}
	leasePassing = []string{"queue:"}

	limiterParts = []part{
		{"bucket", "string", "limiter", "1"},
		{"tokens", "string", "limiter", "1"},
		{"window", "string", "limiter", "1"},
		{"log", "hash", "limiter", "1"},
	}
	limiterPassing = []string{"bucket:reserved", "tokens:reserved", "window:reserved", "log:reserved"}
)

// rules are those of groups of limiters, one for each key that is counted: their
// parts follow the rule and the key.
var rules = &kind{
	name: "rule", primitive: "limiter",
	parts:   limiterParts, // has does not look at them: see ruleCandidate
	inspect: inspectRule, decode: decode[LimiterInfo],
}

// values have keys of the user's choice: what is ours lies beside them, not under
// a prefix. A fill without a value is one that is yet to come.
var values = &kind{
	name:    "value",
	parts:   []part{{"aside", "hash", "aside", "1"}, {"fill", "hash", "coalesce.fill", "1"}},
	inspect: inspectValue, decode: decode[ValueInfo],
}

// Kinds returns the names of all kinds, in the order in which they are listed:
// those of primitives, rule (one of a limiter.Group, for one key), coalesce (a call
// of coalesce.Do), value and tag (of ds/aside) and unknown.
func Kinds() []string {
	names := make([]string, 0, len(kinds)+1)
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return append(names, Unknown)
}

func kindOf(name string) *kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	return nil
}

// has reports whether a key is one of an object of the kind.
func (k *kind) has(n keys.Name) bool {
	if n.Primitive != k.primitive || !strings.HasPrefix(n.Name, k.under) {
		return false
	}
	return slices.ContainsFunc(k.parts, func(p part) bool { return p.name == n.Part }) ||
		slices.ContainsFunc(k.passing, func(p string) bool { return strings.HasPrefix(n.Part, p) })
}

func decode[T Info](doc []byte) (Info, error) {
	var info T
	err := json.Unmarshal(doc, &info)
	return info, err
}

func inspectLease(ctx context.Context, d command.Doer, o Object) (Info, error) {
	return lease.Inspect(ctx, d, string(o.Name), lease.Namespace(string(o.Namespace)))
}

func inspectLeader(ctx context.Context, d command.Doer, o Object) (Info, error) {
	return coord.NewElection(d, string(o.Name), coord.Namespace(string(o.Namespace))).Leader(ctx)
}

func inspectSemaphore(ctx context.Context, d command.Doer, o Object) (Info, error) {
	i, err := semaphore.Inspect(ctx, d, string(o.Name), semaphore.Namespace(string(o.Namespace)))
	if err != nil {
		return nil, err
	}
	least := min(i.Limit, i.Used, i.Permits, int(i.Baseline))
	for _, h := range i.Holding {
		least = min(least, h.Weight-1)
	}
	if least < 0 {
		return nil, unsound("the state of a semaphore")
	}
	return i, nil
}

func inspectLatch(ctx context.Context, d command.Doer, o Object) (Info, error) {
	return coord.NewLatch(d, string(o.Name), coord.Namespace(string(o.Namespace))).Info(ctx)
}

func inspectMembers(ctx context.Context, d command.Doer, o Object) (Info, error) {
	return coord.Members(ctx, d, string(o.Name), coord.Namespace(string(o.Namespace)))
}

func inspectShards(ctx context.Context, d command.Doer, o Object) (Info, error) {
	return coord.InspectShards(ctx, d, string(o.Name), coord.Namespace(string(o.Namespace)))
}

func inspectBarrier(ctx context.Context, d command.Doer, o Object) (Info, error) {
	return coord.InspectBarrier(ctx, d, string(o.Name), coord.Namespace(string(o.Namespace)))
}
