-- take: tell the value, or take the fill of it, or say who has that.
-- KEYS[1] the value   KEYS[2] {p}aside    KEYS[3] {p}fill
-- ARGV[1] token       ARGV[2] lease, ms   ARGV[3] the version that will not do, or ''
-- returns what reading says or {10} for taken or {11, holder's token, ms left}
-- include clock.lua
-- include reading.lua
local now = server_ms()
local r = reading(KEYS[1], KEYS[2], now)
if r[1] ~= 0 and r[7] ~= ARGV[3] and (r[1] == 2 or r[3] > 0) then
  return r
end
local holder = redis.call('HGET', KEYS[3], 'token')
if holder and holder ~= ARGV[1] then
  return {11, holder, redis.call('PTTL', KEYS[3])}
end
redis.call('HSET', KEYS[3], 'kind', 'coalesce.fill/1', 'token', ARGV[1], 'key', KEYS[1], 'since', string.format('%.0f', now * 1000))
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return {10}
