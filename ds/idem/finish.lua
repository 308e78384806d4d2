#!lua flags=allow-oom
-- finish: store what a run came to, if it is still the run.
-- KEYS[1] {p}record
-- ARGV[1] token   ARGV[2] state: done | final | unstored   ARGV[3] payload
-- ARGV[4] retention, ms
-- returns {1}, also when it was stored before; {0, state} if the run is not ours any more
-- include outcome.lua
local r = redis.call('HMGET', KEYS[1], 'state', 'token')
if r[2] ~= ARGV[1] then
  return {0, r[1] or 'none'}
end
if r[1] == ARGV[2] then
  return {1}
end
if r[1] ~= 'running' then
  return {0, r[1]}
end
drop(KEYS[1])
redis.call('HSET', KEYS[1], 'result', ARGV[3])
settle(KEYS[1], ARGV[2], ARGV[4])
return {1}
