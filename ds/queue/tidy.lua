#!lua flags=allow-oom
-- tidy: forget consumers that are gone, give a deadline to deliveries that lack one.
-- KEYS[1] {p}jobs   KEYS[2] {p}deadlines   KEYS[3] {p}meta   KEYS[4] {p}tidied
-- ARGV[1] group   ARGV[2] visibility, ms   ARGV[3] how often for the whole group, ms   ARGV[4] idle time of a consumer that is gone, ms
-- returns {consumers forgotten, deliveries found}, or nil when another did it lately
if not redis.call('SET', KEYS[4], '1', 'NX', 'PX', ARGV[3]) then return false end
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return {0, 0} end
local forgotten, found = 0, 0
for _, c in ipairs(consumers) do
  local f = {}
  for i = 1, #c, 2 do f[c[i]] = c[i + 1] end
  -- Deleting a consumer drops what is pending for it.
  if f.pending == 0 and f.idle > tonumber(ARGV[4]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], f.name)
    forgotten = forgotten + 1
  end
end
-- All scripts keep both in step; another client's XREADGROUP or a deleted key
-- would not. The cursor goes on where the last round ended, so that many busy
-- deliveries in front hide nothing.
local from = redis.call('HGET', KEYS[3], 'sweep') or '-'
local idle = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[2], from, '+', 100)
local t = redis.call('TIME')
for _, p in ipairs(idle) do
  found = found + redis.call('ZADD', KEYS[2], 'NX', t[1] * 1000 + math.floor(t[2] / 1000), p[1])
end
if #idle == 100 then
  redis.call('HSET', KEYS[3], 'sweep', '(' .. idle[100][1])
else
  redis.call('HDEL', KEYS[3], 'sweep')
end
return {forgotten, found}
