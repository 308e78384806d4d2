-- do: run commands, if this id and token still have the lease.
-- KEYS[1] {p}lease   KEYS[2] {p}fence, and after them the keys of the commands
-- ARGV[1] id   ARGV[2] token   ARGV[3..] of each command: how many words, then the words
-- returns {1, reply, …} up to the first error, or {0, owner, token, why, run_id} of who has it
local held = redis.call('HMGET', KEYS[1], 'id', 'token', 'owner')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  -- include server.lua
  -- include why.lua
  return {0, held[3] or '', held[2] or '0', why_not(held[1], KEYS[2], ARGV[1], ARGV[2]), run_id()}
end
-- include commands.lua
return run(ARGV, 3)
