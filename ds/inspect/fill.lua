#!lua flags=no-writes
-- fill: tell who computes a value, and how long it is, but not what it is.
-- KEYS[1] {p}fill   KEYS[2] the value
-- returns {who, since µs, ms left of the fill, bytes of the value, ms left of the value}; -2 ms where there is none
local f = redis.call('HMGET', KEYS[1], 'token', 'since')
local bytes = 0
if redis.call('TYPE', KEYS[2]).ok == 'string' then
  bytes = redis.call('STRLEN', KEYS[2])
end
return {f[1] or '', f[2] or '0', redis.call('PTTL', KEYS[1]), bytes, redis.call('PTTL', KEYS[2])}
