-- do_shared: run commands, if this id still has its share of the lease.
-- KEYS[1] {p}lease   KEYS[2] {p}fence   KEYS[3] {p}readers, and after them the keys of the commands
-- ARGV[1] id   ARGV[2] token   ARGV[3..] of each command: how many words, then the words
-- returns {1, reply, …} up to the first error, or {0, owner, token, why, run_id} of who has it
-- include clock.lua
-- include shares.lua
local held = redis.call('HMGET', KEYS[1], 'id', 'token', 'owner', 'reader:' .. ARGV[1])
local share = held[1] == 'readers' and held[4]
if not share or string.match(share, '^%d+') ~= ARGV[2] or share_end(KEYS[3], ARGV[1]) <= server_ms() then
  -- include server.lua
  -- include why.lua
  return {0, held[3] or '', held[2] or '0', why_not(held[1] ~= 'readers' and held[1], KEYS[2], ARGV[1], ARGV[2]), run_id()}
end
-- include commands.lua
return run(ARGV, 3)
