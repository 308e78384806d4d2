package fill

import (
	"strconv"
	"strings"
	"sync/atomic"
)

// hashSlots is how many hash slots a cluster has.
const hashSlots = 16384

// Key returns where the fill of a value is kept that has a key of the user's
// choice.
func Key(key string) string { return Beside(key, "fill") }

// Beside returns the key of what is kept beside a value:
// "{tag}:redisx:part:key". It lies in the hash slot of key, which may have any
// form.
//
// A cluster hashes what stands between the first { and the next } if that is
// not empty, and the whole key otherwise. So there are three cases:
//
//	user:{42}:name   has a tag: it is ours, too           {42}:redisx:fill:user:{42}:name
//	user:42          has none, no }: the key is our tag   {user:42}:redisx:fill:user:42
//	a}b, x{}y, ""    no tag says all of that, because it  {9301}:redisx:fill:a}b
//	                 would end at the }, or is empty: a number that falls into the same hash slot
//
// No two keys share one, because each ends with the whole key, and before it no
// tag has a }.
func Beside(key, part string) string {
	tag, ok := hashTag(key)
	switch {
	case ok:
	case key != "" && !strings.Contains(key, "}"):
		tag = key
	default:
		tag = numberIn(slotOf(key))
	}
	return "{" + tag + "}:redisx:" + part + ":" + key
}

// hashTag returns the part of key that alone decides its hash slot, if there
// is one.
func hashTag(key string) (string, bool) {
	_, rest, ok := strings.Cut(key, "{")
	if !ok {
		return "", false
	}
	tag, _, ok := strings.Cut(rest, "}")
	return tag, ok && tag != ""
}

// slotOf returns the hash slot of a key.
func slotOf(key string) int {
	if tag, ok := hashTag(key); ok {
		key = tag
	}
	return int(crc16(key)) % hashSlots
}

// numbers are those that numberIn has found.
var numbers [hashSlots]atomic.Pointer[string]

// numberIn returns the smallest number whose decimal text has that hash slot.
// About one in 16384 has it, so the search takes some 100 µs, once for a slot;
// only keys with stray braces come here.
func numberIn(slot int) string {
	if known := numbers[slot].Load(); known != nil {
		return *known
	}
	found := search(slot)
	numbers[slot].Store(&found)
	return found
}

func search(slot int) string {
	var buf [20]byte
	for n := int64(0); ; n++ {
		text := strconv.AppendInt(buf[:0], n, 10)
		if int(crc16(string(text)))%hashSlots == slot {
			return string(text)
		}
	}
}

// crc16 is CRC-16/XMODEM (polynomial 0x1021, from 0), as clusters use it.
func crc16(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= 0x1021
			}
		}
	}
	return crc
}
