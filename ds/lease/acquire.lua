-- acquire: take the lease if it is free, or confirm it to the id that has it.
-- KEYS[1] {p}lease   KEYS[2] {p}fence
-- ARGV[1] id   ARGV[2] owner   ARGV[3] ttl, ms   ARGV[4] ttl of the fence, ms
-- returns {1, token} or {0, id, owner, token, since µs, ms left, ttl ms}
local held = redis.call('HMGET', KEYS[1], 'id', 'owner', 'token', 'since', 'ttl')
if held[1] == ARGV[1] then
  -- The same request once more, its first answer lost: the same grant.
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {1, held[3]}
end
if held[1] then
  return {0, held[1], held[2], held[3], held[4], redis.call('PTTL', KEYS[1]), held[5]}
end

-- Read what may fail before the first write: a script is not rolled back.
local last = tonumber(redis.call('HGET', KEYS[2], 'last') or '0')
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- The clock alone rises across FLUSHALL, eviction and failover; last + 1 alone
-- rises when the clock is set back. Together they repeat only if both happen.
local token = string.format('%.0f', math.max(last + 1, now))

redis.call('HSET', KEYS[2], 'kind', 'lease.fence', 'v', '1', 'last', token)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'kind', 'lease', 'v', '1', 'id', ARGV[1], 'owner', ARGV[2],
  'token', token, 'since', string.format('%.0f', now), 'ttl', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, token}
