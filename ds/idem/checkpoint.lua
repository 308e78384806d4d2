#!lua flags=allow-oom
-- checkpoint: save what a step of a run came to, if it is still the run.
-- KEYS[1] {p}record
-- ARGV[1] token   ARGV[2] name of the checkpoint   ARGV[3] what to save
-- returns {1}, or {0, state} if the run is not ours any more
-- include outcome.lua
local r = redis.call('HMGET', KEYS[1], 'state', 'token')
if r[1] ~= 'running' or r[2] ~= ARGV[1] then
  return {0, r[1] or 'none'}
end
save(KEYS[1], ARGV[2], ARGV[3])
return {1}
