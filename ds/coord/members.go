package coord

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/redisx/redisx/command"
	"github.com/redisx/redisx/ds/internal/explain"
	"github.com/redisx/redisx/ds/internal/keys"
	"github.com/redisx/redisx/ds/internal/script"
	"github.com/redisx/redisx/ds/internal/wait"
	"github.com/redisx/redisx/resp3"
)

var (
	//go:embed members_join.lua
	membersJoinSource string
	//go:embed members_renew.lua
	membersRenewSource string
	//go:embed members_leave.lua
	membersLeaveSource string
	//go:embed members_list.lua
	membersListSource string
)

// membersLua are the steps of a membership.
var membersLua = struct{ join, renew, leave, list *command.Script }{
	join:  command.NewScript(membersJoinSource),
	renew: script.New(membersRenewSource, embed.FS{}),
	leave: command.NewScript(membersLeaveSource),
	list:  command.NewScriptRO(membersListSource),
}

// group is where members are: the keys of their names, of their deadlines, and
// of what they tell. Who watches the members watches the first, which changes
// when one comes or goes, not when one is renewed.
type group struct {
	kind   string // "members", or "shards" for those who share shards
	name   string
	shards int
	keys   []string
}

func groupOf(kind, namespace, name string, shards int) group {
	p := keys.Prefix(namespace, kind, name)
	return group{kind: kind, name: name, shards: shards, keys: []string{p + "members", p + "beats", p + "about"}}
}

// Member is somebody in a group, as the server tells.
type Member struct {
	Name   string        `json:"name"`
	ID     string        `json:"id"` // of this joining; another one of the same name has another
	Weight int           `json:"weight"`
	Meta   string        `json:"meta,omitempty"`
	Since  time.Time     `json:"since"`   // when it joined, by the server's clock
	Left   time.Duration `json:"left_ns"` // until it lapses unless renewed
}

// MembersInfo is who is in a group at one moment, by the server's clock.
type MembersInfo struct {
	Name    string   `json:"name"`
	Members []Member `json:"members"` // sorted by name

	shards int // how many they share, 0 for a group that has none
}

// Explain says who is in the group since when, in one line; of many the first
// ten.
func (i MembersInfo) Explain() string {
	switch len(i.Members) {
	case 0:
		return "nobody is in it"
	case 1:
		return fmt.Sprintf("1 member: %s since %s", i.Members[0].Name, explain.Clock(i.Members[0].Since))
	}
	return fmt.Sprintf("%d members: ", len(i.Members)) + explain.List(len(i.Members), func(n int) string {
		return fmt.Sprintf("%s since %s", i.Members[n].Name, explain.Clock(i.Members[n].Since))
	})
}

// joinReply is what joining returns.
type joinReply struct {
	answer string
	number int64 // taken: ms until that one lapses; shards: how many
}

func asJoinReply(v resp3.View) (joinReply, error) {
	f := script.Read(v)
	r := joinReply{answer: f.Text()}
	if r.answer != "joined" {
		r.number = f.Int()
	}
	return r, f.Err()
}

// list asks who is there.
func (g group) list(ctx context.Context, d command.Doer) (MembersInfo, error) {
	return command.RunScript(ctx, d, membersLua.list, func(v resp3.View) (MembersInfo, error) {
		f := script.Read(v)
		i := MembersInfo{Name: g.name, Members: []Member{}, shards: min(max(int(f.Int()), 0), maxShards)}
		for f.More() {
			i.Members = append(i.Members, Member{Name: f.Text(), ID: f.Text(), Weight: int(f.Int()), Meta: f.Text(), Since: f.Micros(), Left: f.Millis()})
		}
		slices.SortFunc(i.Members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
		return i, f.Err()
	}, g.keys)
}

// Members returns who is in the group of that name now. Who has lapsed by the
// server's clock is not, whether or not anybody has noticed. Of the options only
// Namespace counts. A group that nobody has joined is empty.
func Members(ctx context.Context, d command.Doer, groupName string, opts ...Option) (MembersInfo, error) {
	o, err := build("group", groupName, opts)
	if err != nil {
		return MembersInfo{}, err
	}
	i, err := groupOf("members", o.namespace, groupName, 0).list(ctx, d)
	if err != nil {
		return MembersInfo{}, wrap("group", groupName, wait.Because(ctx, err))
	}
	return i, nil
}

// WatchMembers yields who is in the group: at once, and again whenever somebody
// has come or gone. Changes in quick succession may be one; the last is always
// yielded. It learns of who comes and who leaves by push, and of who has died
// at the end of that one's TTL. A lost connection is no end: it asks again for
// as long as ctx lasts. The error that it ends with wraps the cause of ctx, or
// is the server's. Of the options only Namespace counts.
func WatchMembers(ctx context.Context, d command.Doer, groupName string, opts ...Option) iter.Seq2[MembersInfo, error] {
	o, err := build("group", groupName, opts)
	if err != nil {
		return func(yield func(MembersInfo, error) bool) { yield(MembersInfo{}, err) }
	}
	return groupOf("members", o.namespace, groupName, 0).watch(ctx, d)
}

func (g group) watch(ctx context.Context, d command.Doer) iter.Seq2[MembersInfo, error] {
	return func(yield func(MembersInfo, error) bool) {
		var now MembersInfo
		for first := true; ; first = false {
			last := now
			err := wait.Until(ctx, d, g.keys[0], func(ctx context.Context) (bool, time.Duration, error) {
				i, err := g.list(ctx, d)
				switch {
				case err != nil && (wait.Final(err) || ctx.Err() != nil || isClosed(d)):
					return false, 0, err
				case err != nil:
					return false, askAgain, nil
				case first || !same(i.Members, last.Members):
					now = i
					return true, 0, nil
				}
				return false, i.next(), nil
			})
			if err != nil {
				yield(MembersInfo{}, wrap("group", g.name, wait.Because(ctx, err)))
				return
			}
			if !yield(now, nil) {
				return
			}
		}
	}
}

// next returns when the next member lapses unless it is renewed, 0 when there
// is none.
func (i MembersInfo) next() time.Duration {
	if len(i.Members) == 0 {
		return 0
	}
	return lapse(max(slices.MinFunc(i.Members, func(a, b Member) int { return cmp.Compare(a.Left, b.Left) }).Left, 0))
}

// same reports whether two lists have the same members.
func same(a, b []Member) bool {
	return slices.EqualFunc(a, b, func(a, b Member) bool { return a.ID == b.ID })
}
