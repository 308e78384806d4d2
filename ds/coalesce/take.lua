-- take: read the value, or take the fill of it, or say who has it.
-- KEYS[1] {p}value   KEYS[2] {p}fill
-- ARGV[1] token       ARGV[2] lease, ms
-- returns {2, value} or {1} for taken or {0, holder's token, ms left}
local value = redis.call('GET', KEYS[1])
if value then
  return {2, value}
end
local holder = redis.call('HGET', KEYS[2], 'token')
if holder and holder ~= ARGV[1] then
  return {0, holder, redis.call('PTTL', KEYS[2])}
end
local t = redis.call('TIME')
redis.call('HSET', KEYS[2], 'kind', 'coalesce.fill/1', 'token', ARGV[1], 'key', KEYS[1], 'since', t[1] .. string.format('%06d', t[2]))
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {1}
