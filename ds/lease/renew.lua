#!lua flags=allow-oom
-- renew: keep leases for another ttl each, where the id has it. Never makes a key.
-- KEYS[1..] of each row: {p}lease, {p}fence
-- ARGV[1..] of each row: id, token, ttl in ms
-- returns {run_id, answer of the first row, …}: 1, why it is not ours, or an error
-- include server.lua
-- include why.lua
local answers = {run_id()}
for i = 1, #KEYS / 2 do
  local lease, fence, id = KEYS[2 * i - 1], KEYS[2 * i], ARGV[3 * i - 2]
  local answer = redis.pcall('HGET', lease, 'id')
  if answer == id then
    answer = redis.call('PEXPIRE', lease, ARGV[3 * i])
  elseif type(answer) ~= 'table' then -- an error is the answer of this row alone
    answer = why_not(answer, fence, id, ARGV[3 * i - 1])
  end
  answers[i + 1] = answer
end
return answers
