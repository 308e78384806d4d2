#!lua flags=allow-oom
-- barrier_keep: keep an arrival for another ttl, if this id made it, and tell how its
-- generation stands. Whoever asks first after an arrival has lapsed breaks it.
-- KEYS[1] {p}barrier   KEYS[2] {p}generation:N   KEYS[3] {p}arrived:N   KEYS[4] {p}ids:N
-- ARGV[1] N   ARGV[2] party   ARGV[3] id
-- ARGV[4] ttl of the arrival, ms   ARGV[5] ttl of the barrier, ms
-- returns {'passed'}, {'broken', party, why}, {'waiting', ms until the first lapses}
-- or {'gone'}
local n, party = ARGV[1], ARGV[2]
local current = redis.call('HGET', KEYS[1], 'generation')
local g = redis.call('HMGET', KEYS[2], 'ended', 'by', 'why')
if g[1] == 'broken' then
  return {'broken', g[2], g[3]}
end
if not current or not redis.call('ZSCORE', KEYS[3], party) then
  return {'gone'}
end
if g[1] == 'passed' then
  return {'passed'}
end
if current ~= n or redis.call('HGET', KEYS[4], party) ~= ARGV[3] then
  return {'gone'}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local keep = 2 * ARGV[4]
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if tonumber(first[2]) <= now then
  redis.call('HSET', KEYS[2], 'ended', 'broken', 'by', first[1], 'why', 'lapsed')
  redis.call('PEXPIRE', KEYS[2], math.max(keep, redis.call('PTTL', KEYS[3])))
  redis.call('HSET', KEYS[1], 'generation', string.format('%.0f', n + 1))
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return {'broken', first[1], 'lapsed'}
end
redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[4]), party)
for _, key in ipairs({KEYS[3], KEYS[4]}) do
  if redis.call('PTTL', key) < keep then
    redis.call('PEXPIRE', key, keep)
  end
end
-- Rarely: who waits watches KEYS[2], and a new TTL wakes them all.
if redis.call('PTTL', KEYS[1]) < ARGV[5] / 2 then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
return {'waiting', string.format('%.0f', math.max(first[2] - now, 0))}
