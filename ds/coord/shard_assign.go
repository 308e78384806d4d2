package coord

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// assign says which member is to have which of n shards: element i is the name
// of the one for shard i, "" where there are no members. Only names and weights
// count, so everybody who sees the same members computes the same.
//
// Each member gets its share, n × its weight / the sum of weights, rounded down
// or up. Within that, a shard goes to the member that ranks highest for it
// (rendezvous hashing, Thaler and Ravishankar 1998, with bounded loads), so that
// few shards move when a member comes or goes: its own, and up to about two
// thirds as many again to keep the balance; see TestFewShardsMove.
func assign(n int, members []Member) []string {
	owners := make([]string, n)
	if len(members) == 0 {
		return owners
	}
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	quota, extra := quotas(n, members)

	type pair struct {
		rank          uint64
		shard, member int
	}
	pairs := make([]pair, 0, n*len(members))
	for m := range members {
		h := fnv.New64a()
		_, _ = h.Write([]byte(members[m].Name))
		seed := h.Sum64()
		for s := range n {
			pairs = append(pairs, pair{rank: mix(mix(seed) + uint64(s)), shard: s, member: m})
		}
	}
	// The best match first; names decide between equals.
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(a.member, b.member), cmp.Compare(a.shard, b.shard))
	})
	taken := make([]bool, n)
	more := make([]bool, len(members)) // has one beyond its quota
	for _, p := range pairs {
		switch {
		case taken[p.shard]:
			continue
		case quota[p.member] > 0:
			quota[p.member]--
		case extra > 0 && !more[p.member]:
			extra--
			more[p.member] = true
		default:
			continue
		}
		taken[p.shard] = true
		owners[p.shard] = members[p.member].Name
	}
	return owners
}

// quotas returns each member's share rounded down, and how many shards are left
// to be given, at most one to each.
func quotas(n int, members []Member) (quota []int, extra int) {
	sum := 0
	for _, m := range members {
		sum += heft(m)
	}
	quota, extra = make([]int, len(members)), n
	for i, m := range members {
		quota[i] = n * heft(m) / sum
		extra -= quota[i]
	}
	return quota, extra
}

// heft is a member's weight within the bounds of Weight: what a server tells may
// be anything.
func heft(m Member) int { return min(max(m.Weight, 1), maxWeight) }

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood 2014): it spreads
// what differs in one bit over all.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
