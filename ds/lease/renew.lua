#!lua flags=allow-oom
-- renew: keep leases for another ttl each, where the id has it. Never makes a key.
-- KEYS[1..] of each row: {p}lease, {p}fence
-- ARGV[1..] of each row: id, ttl in ms
-- returns {run_id, answer of the first row, …}: 1, why it is not ours, or an error
-- include server.lua
local answers = {run_id()}
for i = 1, #KEYS, 2 do
  local answer = redis.pcall('HGET', KEYS[i], 'id')
  if answer == ARGV[i] then
    answer = redis.call('PEXPIRE', KEYS[i], ARGV[i + 1])
  elseif type(answer) ~= 'table' then
    local deposed = redis.pcall('HMGET', KEYS[i + 1], 'deposed', 'why')
    if deposed[1] == ARGV[i] then
      answer = deposed[2]
    else
      answer = answer and 'not owner' or 'gone'
    end
  end
  -- An error is the answer of this row alone.
  answers[#answers + 1] = answer
end
return answers
