-- stats: count the jobs by state.
-- KEYS[1] {p}jobs   KEYS[2] {p}dead   KEYS[3] {p}meta
-- ARGV[1] group, if the queue does not say it
-- returns {waiting, running, delayed, dead, lost, consumers}
local group = redis.call('HGET', KEYS[3], 'group') or ARGV[1]
local pending, delayed, consumers = 0, 0, 0
local info = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], group)
for _, c in ipairs(info.err and {} or info) do
  local f = {}
  for i = 1, #c, 2 do f[c[i]] = c[i + 1] end
  pending = pending + f.pending
  if f.name == '(delayed)' then
    delayed = f.pending
  else
    consumers = consumers + 1
  end
end
local lost = tonumber(redis.call('HGET', KEYS[3], 'lost') or 0)
local waiting = math.max(redis.call('XLEN', KEYS[1]) - pending, 0)
return {waiting, pending - delayed, delayed, redis.call('XLEN', KEYS[2]), lost, consumers}
