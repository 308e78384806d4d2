#!lua flags=allow-oom
-- barrier_look: tell how the generation of an arrival stands. Whoever looks first after an
-- arrival has lapsed breaks it.
-- KEYS[1] {p}barrier   KEYS[2] {p}generation:N   KEYS[3] {p}arrived:N   KEYS[4] {p}ids:N
-- ARGV[1] N   ARGV[2] party   ARGV[3] id
-- ARGV[4] ttl of the arrival, ms   ARGV[5] ttl of the barrier, ms
-- returns {'passed'}, {'broken', party, why}, {'waiting', ms until the first of the others
-- lapses, 0 when there is none} or {'gone', run_id, why}
-- include clock.lua
-- include server.lua
-- include barrier_end.lua
local n, party, id = ARGV[1], ARGV[2], ARGV[3]
local current = redis.call('HGET', KEYS[1], 'generation')
local g = redis.call('HMGET', KEYS[2], 'ended', 'by', 'why')
if g[1] == 'broken' then
  return {'broken', g[2], g[3]}
end
if not current or not redis.call('ZSCORE', KEYS[3], party) then
  return {'gone', run_id(), 'gone'}
end
if g[1] == 'passed' then
  return {'passed'}
end
if current ~= n then
  return {'gone', run_id(), 'gone'}
end
if redis.call('HGET', KEYS[4], party) ~= id then
  return {'gone', run_id(), 'not owner'}
end

local now = server_ms()
local first = redis.call('ZRANGE', KEYS[3], 0, 1, 'WITHSCORES')
if tonumber(first[2]) <= now then
  end_generation(KEYS[1], KEYS[2], KEYS[3], n, 'broken', first[1], 'lapsed', ARGV[4], ARGV[5])
  return {'broken', first[1], 'lapsed'}
end
-- Our own is looked after by who renews it.
local lapses = first[1] == party and first[4] or first[2]
if first[1] == party and not first[3] then
  return {'waiting', 0}
end
return {'waiting', string.format('%.0f', lapses - now)}
