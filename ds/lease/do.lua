-- do: run commands, if this id and token still have the lease.
-- KEYS[1] {p}lease, and after it the keys of the commands
-- ARGV[1] id   ARGV[2] token   ARGV[3..] of each command: how many words, then the words
-- returns {1, reply, …} up to the first error, or {0, owner, token} of who has it
local held = redis.call('HMGET', KEYS[1], 'id', 'token', 'owner')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] then
  return {0, held[3] or '', held[2] or '0'}
end
local replies = {1}
local i = 3
while i <= #ARGV do
  local words = tonumber(ARGV[i])
  local reply = redis.pcall(unpack(ARGV, i + 1, i + words))
  replies[#replies + 1] = reply
  if type(reply) == 'table' and reply.err then
    break
  end
  i = i + words + 1
end
return replies
