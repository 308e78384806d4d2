#!lua flags=no-writes
-- barrier_inspect: tell who has arrived in the generation to come.
-- KEYS[1] {p}barrier   KEYS[2] {p}generation:N   KEYS[3] {p}arrived:N
-- ARGV[1] N
-- returns {'other', generation}, {'none'} or
-- {'here', parties, since µs, and of each that waits: party, ms until it lapses}
local current = redis.call('HGET', KEYS[1], 'generation')
if not current then
  return {'none'}
end
if current ~= ARGV[1] then
  return {'other', current}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local g = redis.call('HMGET', KEYS[2], 'parties', 'since')
local reply = {'here', g[1] or '0', g[2] or '0'}
local arrived = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
for i = 1, #arrived, 2 do
  reply[#reply + 1] = arrived[i]
  reply[#reply + 1] = string.format('%.0f', arrived[i + 1] - now)
end
return reply
