#!lua flags=no-writes
-- inspect: tell how a value stands, but not what it is.
-- KEYS[1] the value   KEYS[2] {p}aside   KEYS[3] {p}fill
-- returns {state, fresh ms left, ms left, took ms, quiet ms, bytes, stored ms ago, computes, ms spent,
--   who fills, since µs, ms left of the fill}
-- include clock.lua
-- include reading.lua
local now = server_ms()
local r = reading(KEYS[1], KEYS[2], now)
local m = redis.call('HMGET', KEYS[2], 'stored', 'computes', 'spent')
if r[1] == 0 or r[1] == 2 then
  m = {}
end
local f = redis.call('HMGET', KEYS[3], 'token', 'since')
return {r[1], r[3], r[4], r[5], r[6], #r[2], math.max(now - (m[1] or now), 0), tonumber(m[2] or 0), tonumber(m[3] or 0),
  f[1] or '', f[2] or '0', redis.call('PTTL', KEYS[3])}
