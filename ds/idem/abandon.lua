#!lua flags=allow-oom
-- abandon: free a key whose run came to nothing, so that the next caller runs.
-- KEYS[1] {p}record
-- ARGV[1] runner
-- returns {1}, or {0, state} if that runner does not run it
local r = redis.call('HMGET', KEYS[1], 'state', 'runner')
if r[1] ~= 'running' or r[2] ~= ARGV[1] then
  return {0, r[1] or 'none'}
end
redis.call('DEL', KEYS[1])
return {1}
