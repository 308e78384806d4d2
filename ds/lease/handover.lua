-- handover: give the lease from the id that has it to a ticket.
-- KEYS[1] {p}lease   KEYS[2] {p}fence
-- ARGV[1] id   ARGV[2] the ticket's id   ARGV[3] ttl, ms   ARGV[4] ttl of the fence, ms   ARGV[5] token
-- returns {1, token}, or {0, why it is not ours}
local held = redis.call('HMGET', KEYS[1], 'id', 'token')
if held[1] == ARGV[2] then
  -- The same request once more, its first answer lost.
  return {1, held[2]}
end
if held[1] ~= ARGV[1] then
  -- include why.lua
  return {0, why_not(held[1], KEYS[2], ARGV[1], ARGV[5])}
end
-- include grant.lua
local token = new_token(KEYS[2], ARGV[4])
redis.call('HSET', KEYS[2], 'deposed', ARGV[1], 'why', 'handed over')
redis.call('HSET', KEYS[1], 'id', ARGV[2], 'token', token, 'since', stamp, 'offered', '1')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, token}
