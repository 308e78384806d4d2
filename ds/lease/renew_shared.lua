#!lua flags=allow-oom
-- renew_shared: keep shares for another ttl each, where the id has one. Never makes a key.
-- KEYS[1..] of each row: {p}lease, {p}readers, {p}fence
-- ARGV[1..] of each row: id, token, ttl in ms
-- returns {run_id, answer of the first row, …}: 1, why it has none, or an error
-- include clock.lua
-- include shares.lua
-- include why.lua
local now = server_ms()

local function renew(lease, readers, fence, id, token, ttl)
  local holder = redis.call('HGET', lease, 'id')
  if holder == 'readers' and share_end(readers, id) > now then
    extend(lease, readers, id, now + ttl)
    return 1
  end
  return why_not(holder ~= 'readers' and holder, fence, id, token)
end

-- include server.lua
local answers = {run_id()}
-- include rows.lua
for i = 1, #KEYS / 3 do
  answers[i + 1] = answer_of(renew, KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i], ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i])
end
return answers
