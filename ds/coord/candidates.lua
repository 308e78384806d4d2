#!lua flags=no-writes
-- candidates: tell who stands for election, the next first, and who asked the leader to resign.
-- KEYS[1] {p}candidates   KEYS[2] {p}stepdown
-- ARGV[1] how many to tell of
-- returns {term asked to end, who asked, why, how many stand, name, weight, since µs, …}
local all = redis.call('HGETALL', KEYS[1])
local asked = redis.call('HMGET', KEYS[2], 'term', 'by', 'why')
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local standing = {}
for i = 1, #all, 2 do
  local ends, weight, since, name = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (.*)$')
  if ends and tonumber(ends) > now then
    standing[#standing + 1] = {weight = tonumber(weight), since = since, name = name}
  end
end
table.sort(standing, function(a, b)
  if a.weight ~= b.weight then
    return a.weight > b.weight
  end
  return tonumber(a.since) < tonumber(b.since)
end)

local told = {asked[1] or '0', asked[2] or '', asked[3] or '', #standing}
for i = 1, math.min(#standing, tonumber(ARGV[1])) do
  local c = standing[i]
  told[#told + 1] = c.name
  told[#told + 1] = c.weight
  told[#told + 1] = c.since
end
return told
