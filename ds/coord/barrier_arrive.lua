-- barrier_arrive: count a party into a generation, once; the last one ends it.
-- KEYS[1] {p}barrier   KEYS[2] {p}generation:N   KEYS[3] {p}arrived:N   KEYS[4] {p}ids:N
-- ARGV[1] N   ARGV[2] party   ARGV[3] id   ARGV[4] parties
-- ARGV[5] ttl of the arrival, ms   ARGV[6] ttl of the barrier, ms
-- returns {'passed'}, {'broken', party, why}, {'waiting', ms until the first lapses},
-- {'other', generation} when N is not the one to come, or {'parties', theirs}
-- include clock.lua
-- include barrier_end.lua
local n, party, id = ARGV[1], ARGV[2], ARGV[3]
local current = redis.call('HGET', KEYS[1], 'generation')
local g = redis.call('HMGET', KEYS[2], 'ended', 'by', 'why', 'parties')
if current and g[1] == 'broken' then
  return {'broken', g[2], g[3]}
end
if current and g[1] == 'passed' and redis.call('ZSCORE', KEYS[3], party) then
  return {'passed'}
end
-- The number keeps a fast party out of a round that is still to begin, and a
-- repeated request out of the next one.
if current and current ~= n then
  return {'other', current}
end

local now = server_ms()
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if first[1] and g[4] and g[4] ~= ARGV[4] then
  return {'parties', g[4]}
end
if first[1] and tonumber(first[2]) <= now then
  end_generation(KEYS[1], KEYS[2], KEYS[3], n, 'broken', first[1], 'lapsed', ARGV[5], ARGV[6])
  return {'broken', first[1], 'lapsed'}
end

if not first[1] or not current then
  local time = redis.call('TIME')
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
  redis.call('HSET', KEYS[2], 'kind', 'barrier.generation', 'v', '1', 'parties', ARGV[4],
    'since', string.format('%.0f', time[1] * 1000000 + time[2]))
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
  redis.call('HSET', KEYS[1], 'kind', 'barrier', 'v', '1', 'generation', n)
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[5]), party)
redis.call('HSET', KEYS[4], party, id)
for _, key in ipairs({KEYS[3], KEYS[4]}) do
  if redis.call('PTTL', key) < 2 * ARGV[5] then
    redis.call('PEXPIRE', key, 2 * ARGV[5])
  end
end
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[4]) then
  end_generation(KEYS[1], KEYS[2], KEYS[3], n, 'passed', party, 'last', ARGV[5], ARGV[6])
  return {'passed'}
end
first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
return {'waiting', string.format('%.0f', math.max(first[2] - now, 0))}
