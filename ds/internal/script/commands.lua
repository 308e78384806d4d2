-- commands: runs the commands of a fenced write. Included by other scripts.
-- returns nothing: it defines run
local function run(argv, from)
  local replies = {1}
  local i = from
  while i <= #argv do
    local words = tonumber(argv[i])
    local reply = redis.pcall(unpack(argv, i + 1, i + words))
    replies[#replies + 1] = reply
    if type(reply) == 'table' and reply.err then
      break
    end
    i = i + words + 1
  end
  return replies
end
