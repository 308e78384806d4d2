#!lua flags=no-writes
-- latch_inspect: tell how a latch stands.
-- KEYS[1] {p}latch   KEYS[2] {p}done
-- returns {} when there is none, or {count, how many are done, created µs, opened µs or 0, ms left}
local latch = redis.call('HMGET', KEYS[1], 'count', 'since', 'open')
if not latch[1] then
  return {}
end
return {latch[1], redis.call('SCARD', KEYS[2]), latch[2], latch[3] or '0', redis.call('PTTL', KEYS[1])}
