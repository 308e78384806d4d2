-- handover: give the lease from the id that has it to a ticket.
-- KEYS[1] {p}lease   KEYS[2] {p}fence
-- ARGV[1] id   ARGV[2] the ticket's id   ARGV[3] ttl, ms   ARGV[4] ttl of the fence, ms
-- returns {1, token}, or {0, why it is not ours}
local held = redis.call('HMGET', KEYS[1], 'id', 'token')
if held[1] == ARGV[2] then
  -- The same request once more, its first answer lost.
  return {1, held[2]}
end
if held[1] ~= ARGV[1] then
  local deposed = redis.call('HMGET', KEYS[2], 'deposed', 'why')
  if deposed[1] == ARGV[1] then
    return {0, deposed[2]}
  end
  return {0, held[1] and 'not owner' or 'gone'}
end
-- include grant.lua
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local token = new_token(KEYS[2], ARGV[4], now)
redis.call('HSET', KEYS[2], 'deposed', ARGV[1], 'why', 'handed over')
redis.call('HSET', KEYS[1], 'id', ARGV[2], 'token', token, 'since', string.format('%.0f', now), 'offered', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, token}
