-- store: keep the value, or that there is none, and end the fill, if it is still ours.
-- KEYS[1] the value   KEYS[2] {p}aside   KEYS[3] {p}fill
-- ARGV[1] token       ARGV[2] value      ARGV[3] its life, ms, 0 to keep nothing   ARGV[4] of that fresh, ms
-- ARGV[5] ms that the compute took       ARGV[6] tags    ARGV[7] 1 when there is no value, else 0
-- ARGV[8] the version that was computed over, or ''
-- returns {10} for stored or what reading says of a value that somebody set meanwhile or {11} for not ours
-- include clock.lua
-- include reading.lua
if redis.call('HGET', KEYS[3], 'token') ~= ARGV[1] then
  return {11}
end
local now = server_ms()
local r = reading(KEYS[1], KEYS[2], now)
if r[1] == 2 and ARGV[8] ~= '-' then
  redis.call('DEL', KEYS[3])
  return r
end
local life = tonumber(ARGV[3])
local expires = string.format('%.0f', now + life)
if ARGV[7] == '1' or life == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PXAT', expires)
end
if life == 0 then
  redis.call('DEL', KEYS[2])
else
  redis.call('HSET', KEYS[2], 'kind', 'aside', 'v', 1, 'key', KEYS[1], 'version', ARGV[1], 'expires', expires,
    'stored', string.format('%.0f', now), 'fresh', string.format('%.0f', now + ARGV[4]), 'took', ARGV[5], 'quiet', 0, 'tags', ARGV[6])
  if ARGV[7] == '1' then
    redis.call('HSET', KEYS[2], 'absent', 1)
  else
    redis.call('HDEL', KEYS[2], 'absent')
  end
  redis.call('HINCRBY', KEYS[2], 'computes', 1)
  redis.call('HINCRBY', KEYS[2], 'spent', ARGV[5])
  redis.call('PEXPIREAT', KEYS[2], expires)
end
redis.call('DEL', KEYS[3])
return {10}
