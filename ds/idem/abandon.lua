#!lua flags=allow-oom
-- abandon: free a key whose run came to nothing, so that the next caller runs.
-- KEYS[1] {p}record
-- ARGV[1] runner   ARGV[2] retention, ms   ARGV[3] 1 if it may have done what no checkpoint tells of
-- ARGV[4..] of each checkpoint that may not have arrived: its name, what it saved
-- returns {1}, also when it was freed before, or {0, state} if that runner does not run it
-- include outcome.lua
local r = redis.call('HMGET', KEYS[1], 'state', 'runner', 'crashes', 'abandoned')
if not r[1] or (r[2] == ARGV[1] and r[4]) then
  return {1}
end
if r[1] ~= 'running' or r[2] ~= ARGV[1] then
  return {0, r[1]}
end
redis.call('HSET', KEYS[1], 'abandoned', 1)
for i = 4, #ARGV, 2 do
  save(KEYS[1], ARGV[i], ARGV[i + 1])
end
if ARGV[3] == '1' or tonumber(r[3] or 0) > 0 then
  -- What a runner did that died before is as unknown as it was.
  settle(KEYS[1], 'lost', ARGV[2])
elseif redis.call('HEXISTS', KEYS[1], 'steps') == 1 then
  settle(KEYS[1], 'open', ARGV[2])
else
  redis.call('DEL', KEYS[1])
end
return {1}
