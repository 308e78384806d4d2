#!lua flags=allow-oom
-- renew: keep a run for another lease.
-- KEYS[1] {p}record
-- ARGV[1] token   ARGV[2] lease, ms   ARGV[3] retention, ms
-- returns {1}, or {0, state} if the run is not ours any more
local r = redis.call('HMGET', KEYS[1], 'state', 'token')
if r[1] ~= 'running' or r[2] ~= ARGV[1] then
  return {0, r[1] or 'none'}
end
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
redis.call('HSET', KEYS[1], 'ends', string.format('%.0f', now + ARGV[2] * 1000))
redis.call('PEXPIRE', KEYS[1], ARGV[2] + ARGV[3])
return {1}
