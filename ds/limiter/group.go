package limiter

import (
	"context"
	"fmt"
	"strings"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/keys"
)

// Rule is one of the rules of a Group.
type Rule struct {
	// Name tells the rules of a group apart, such as "user" or "tenant". It is
	// in the keys: 1 to 64 bytes without a colon.
	Name string
	// Rate is as ParseRate reads it.
	Rate string
	// Algorithm is how it counts. Empty means as Using says.
	Algorithm Algorithm
}

// Group holds several rules, each with a key of its own, that admit a call
// together or not at all: what one of them denies is charged to none. Make it
// with NewGroup; it may be used by many goroutines.
type Group struct {
	e    *engine
	name string
}

// NewGroup returns a group of 1 to 8 rules. It sends nothing. With rules that
// cannot be used every call returns the error.
//
//	api := limiter.NewGroup(client, "api", []limiter.Rule{
//		{Name: "user", Rate: "10/s"},
//		{Name: "tenant", Rate: "15/s burst 30"},
//	})
//	d, err := api.Allow(ctx, "ada", "acme") // a key for each rule, in order
//
// One script decides by all rules, so on a cluster all that a group counts lies
// in one hash slot, that of its name. To spread it, put what its rules have in
// common into the name: a tenant's users are counted within the tenant, so
// NewGroup(client, "api:"+tenant, …) gives each tenant a slot. Groups hold
// nothing; making one for each call is fine. Rules of groups with different
// names have nothing to do with each other.
func NewGroup(d command.Doer, name string, rules []Rule, opts ...Option) *Group {
	o := build(opts)
	list := make([]rule, len(rules))
	err := checkNames(name, rules)
	for i := 0; i < len(rules) && err == nil; i++ {
		var rate Rate
		if rate, err = ParseRate(rules[i].Rate); err == nil {
			a := rules[i].Algorithm
			if a == "" {
				a = o.algorithm
			}
			list[i], err = ruleOf(rules[i].Name, rate, a)
		}
	}
	if err == nil && o.burst != 0 {
		err = fmt.Errorf("limiter: group %s: Burst is for one rule: write %q in its rate", name, "burst N")
	}
	return &Group{newEngine(d, o, list, err), name}
}

func checkNames(group string, rules []Rule) error {
	if len(rules) < 1 || len(rules) > maxRules {
		return fmt.Errorf("limiter: group %s: %d rules are not within 1 and %d", group, len(rules), maxRules)
	}
	known := map[string]bool{}
	for _, r := range rules {
		switch {
		case r.Name == "" || len(r.Name) > 64 || strings.Contains(r.Name, ":"):
			return fmt.Errorf("limiter: group %s: the name %q of a rule is not 1 to 64 bytes without a colon", group, r.Name)
		case known[r.Name]:
			return fmt.Errorf("limiter: group %s: two rules have the name %s", group, r.Name)
		}
		known[r.Name] = true
	}
	return nil
}

// Stats returns how the group has decided so far.
func (g *Group) Stats() Stats { return g.e.counted() }

// Allow decides a call of cost 1 by all rules. See AllowN.
func (g *Group) Allow(ctx context.Context, keys ...string) (Decision, error) {
	return g.AllowN(ctx, 1, keys...)
}

// AllowN decides a call of that cost by all rules, with a key for each, in their
// order. Errors are as those of Limiter.AllowN.
func (g *Group) AllowN(ctx context.Context, cost int, keys ...string) (Decision, error) {
	d, _, err := g.e.decide(ctx, keys, g.keys(keys), ask{calls: cost})
	return d, err
}

// Peek returns what a call of cost 1 would get, and charges nothing.
func (g *Group) Peek(ctx context.Context, keys ...string) (Decision, error) {
	return g.AllowN(ctx, 0, keys...)
}

// Wait returns when a call of that cost may be made by all rules. See
// Limiter.WaitN. A rule that has room before the others keeps it for the call.
func (g *Group) Wait(ctx context.Context, cost int, keys ...string) error {
	return g.e.wait(ctx, keys, g.keys(keys), cost)
}

// Reserve takes the cost out of all rules. See Limiter.Reserve.
func (g *Group) Reserve(ctx context.Context, cost int, keys ...string) (*Reservation, error) {
	return g.e.reserve(ctx, keys, g.keys(keys), cost)
}

// keys returns two keys for each rule.
func (g *Group) keys(names []string) []string {
	if len(names) != len(g.e.rules) {
		return nil // which decide reports
	}
	prefix := keys.Prefix(g.e.o.namespace, "limiter", g.name)
	all := make([]string, 0, 2*len(names))
	for i, r := range g.e.rules {
		state := prefix + "rule:" + r.name + ":" + names[i] + ":" + r.part
		all = append(all, state, state+":reserved")
	}
	return all
}
