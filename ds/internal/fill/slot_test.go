package fill

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestHashSlotsAreTheServers(t *testing.T) {
	// By CLUSTER KEYSLOT of Redis 7.0.
	for key, want := range map[string]int{
		"": 0, "foo": 12182, "{foo}bar": 12182, "123456789": 12739,
		"foo{}{bar}": 8363, "foo{{bar}}zap": 4015, "{bar": 4015, "a}b": 7866, "{}x": 10595,
	} {
		if got := slotOf(key); got != want {
			t.Errorf("slotOf(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestTheFillLiesInTheSlotOfItsKey(t *testing.T) {
	keys := []string{
		"", "user:1", "{user}:1", "a{user}b{other}", "{}", "{}x", "a{}b", "a{}{b}", "}", "a}b", "a}{b", "a}{b}",
		"{", "a{b", "{{", "{{a}}", "{a", "a}", "}{", "\x00\xff}", strings.Repeat("long}", 1000),
	}
	for range 500 {
		b := make([]byte, rand.IntN(8))
		for i := range b {
			b[i] = "ab{}"[rand.IntN(4)]
		}
		keys = append(keys, string(b))
	}
	seen := map[string]string{}
	for _, key := range keys {
		side := Key(key)
		if got, want := slotOf(side), slotOf(key); got != want {
			t.Errorf("Key(%q) = %q is in slot %d, the key in %d", key, side, got, want)
		}
		if other, ok := seen[side]; ok && other != key {
			t.Errorf("%q and %q share the fill %q", key, other, side)
		}
		seen[side] = key
	}
}

func FuzzTheFillLiesInTheSlotOfItsKey(f *testing.F) {
	for _, key := range []string{"", "user:1", "{user}:1", "a{}b", "a}b", "a}{b}", "{{a}}"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if got, want := slotOf(Key(key)), slotOf(key); got != want {
			t.Errorf("Key(%q) = %q is in slot %d, the key in %d", key, Key(key), got, want)
		}
	})
}
