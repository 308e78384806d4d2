package coord

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// membersOf draws members of different names.
func membersOf(t *rapid.T, weights int) []Member {
	names := rapid.SliceOfNDistinct(rapid.String(), 1, 20, rapid.ID[string]).Draw(t, "names")
	members := make([]Member, len(names))
	for i, n := range names {
		members[i] = Member{Name: n, Weight: rapid.IntRange(1, weights).Draw(t, "weight")}
	}
	return members
}

func loads(owners []string) map[string]int {
	n := map[string]int{}
	for _, o := range owners {
		n[o]++
	}
	return n
}

func TestEveryMemberGetsItsShare(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := membersOf(t, 100)
		n := rapid.IntRange(0, 300).Draw(t, "shards")
		owners := assign(n, members)
		if len(owners) != n {
			t.Fatalf("%d owners of %d shards", len(owners), n)
		}
		sum := 0
		for _, m := range members {
			sum += m.Weight
		}
		load, total := loads(owners), 0
		for _, m := range members {
			low := n * m.Weight / sum
			if got := load[m.Name]; got < low || got > low+1 {
				t.Fatalf("%q has %d of %d shards with weight %d of %d", m.Name, got, n, m.Weight, sum)
			}
			total += load[m.Name]
		}
		if total != n {
			t.Fatalf("%d of %d shards have a member", total, n)
		}
	})
}

func TestTheOrderOfMembersDoesNotMatter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := membersOf(t, 5)
		n := rapid.IntRange(1, 100).Draw(t, "shards")
		want := assign(n, members)
		if got := assign(n, rapid.Permutation(members).Draw(t, "order")); !slices.Equal(got, want) {
			t.Fatalf("%v in one order, %v in another", want, got)
		}
	})
}

// The least that can move is what the member that goes has had.
func TestFewShardsMove(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	worst := 0.0
	for _, c := range []struct{ shards, members int }{{8, 3}, {16, 4}, {64, 8}, {64, 9}, {100, 7}, {256, 16}} {
		moved, own := 0, 0
		const times = 50
		for range times {
			members := make([]Member, c.members)
			for i := range members {
				members[i] = Member{Name: fmt.Sprint("worker-", random.Uint32()), Weight: 1}
			}
			before, after := assign(c.shards, members), assign(c.shards, members[1:])
			for s := range before {
				if before[s] != after[s] {
					moved++
				}
				if before[s] == members[0].Name {
					own++
					if after[s] == before[s] {
						t.Fatal("a member that has gone still has a shard")
					}
				}
			}
		}
		ratio := float64(moved) / float64(own)
		worst = max(worst, ratio)
		t.Logf("%d shards, %d members: one goes, %.1f shards move, %.2f times its own", c.shards, c.members, float64(moved)/times, ratio)
	}
	if worst > 1.8 {
		t.Errorf("up to %.2f times as many shards move as must", worst)
	}
}

func TestWithoutMembersShardsHaveNobody(t *testing.T) {
	t.Parallel()
	if got := assign(3, nil); !slices.Equal(got, []string{"", "", ""}) {
		t.Errorf("%q", got)
	}
}

// What the server tells of members may be anything.
func TestNoWeightOverflows(t *testing.T) {
	t.Parallel()
	var strange []Member
	for _, name := range []string{"a", "b", "c", "d"} {
		strange = append(strange, Member{Name: name, Weight: math.MaxInt/2 + 1}) // four of them are 0
	}
	for name, n := range loads(assign(8, strange)) {
		if n != 2 {
			t.Errorf("%s has %d of 8 shards, want 2", name, n)
		}
	}
}
