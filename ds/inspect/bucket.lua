#!lua flags=no-writes
-- bucket: tell the state of a limiter, and change nothing.
-- KEYS[1] {p}bucket
-- returns {} if there is none, else {state, now in µs}; the state is written down in ds/limiter/allow.lua
local state = redis.call('GETRANGE', KEYS[1], 0, 127)
if state == '' then
  return {}
end
local t = redis.call('TIME')
return {state, string.format('%.0f', t[1] * 1000000 + t[2])}
