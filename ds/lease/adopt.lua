-- adopt: take the lease that was handed over to a ticket.
-- KEYS[1] {p}lease
-- ARGV[1] id   ARGV[2] owner   ARGV[3] ttl, ms   ARGV[4] the ticket's id   ARGV[5] meta
-- returns the token, or {5}: the ticket is not good any more
local held = redis.call('HMGET', KEYS[1], 'id', 'token', 'offered')
if held[1] == ARGV[4] and held[3] then
  local time = redis.call('TIME')
  redis.call('HDEL', KEYS[1], 'offered')
  redis.call('HSET', KEYS[1], 'id', ARGV[1], 'owner', ARGV[2], 'ttl', ARGV[3], 'meta', ARGV[5],
    'since', string.format('%.0f', time[1] * 1000000 + time[2]))
elseif held[1] ~= ARGV[1] then
  return {5}
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return held[2]
