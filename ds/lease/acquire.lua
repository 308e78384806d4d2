-- acquire: take the lease if it is free, or confirm it to the id that has it.
-- KEYS[1] {p}lease   KEYS[2] {p}fence
-- ARGV[1] id   ARGV[2] owner   ARGV[3] ttl, ms   ARGV[4] ttl of the fence, ms   ARGV[5] meta
-- returns {1, token} or {0, id, owner, token, since µs, ms left, ttl ms, meta} or {2}: queue.lua has to be asked
local id = redis.call('HGET', KEYS[1], 'id')
if id == ARGV[1] then
  -- The same request once more, its first answer lost: the same grant.
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {1, redis.call('HGET', KEYS[1], 'token')}
end
if id then
  local held = redis.call('HMGET', KEYS[1], 'owner', 'token', 'since', 'ttl', 'meta', 'queue')
  if held[6] or id == 'queue' or id == 'readers' then
    return {2}
  end
  return {0, id, held[1], held[2], held[3], redis.call('PTTL', KEYS[1]), held[4], held[5] or ''}
end

-- What may fail comes before the first write: a script is not rolled back.
-- include grant.lua
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local token = new_token(KEYS[2], ARGV[4], now)

redis.call('HSET', KEYS[1], 'kind', 'lease', 'v', '1', 'id', ARGV[1], 'owner', ARGV[2],
  'token', token, 'since', string.format('%.0f', now), 'ttl', ARGV[3])
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'meta', ARGV[5])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, token}
