#!lua flags=allow-oom
-- release: delete leases that their ids have, unless somebody waits in the queue.
-- KEYS[1..] of each row: {p}lease
-- ARGV[1..] of each row: id
-- returns of each row 1 or 0: leave.lua has to be asked, or an error
local answers = {}
for i, lease in ipairs(KEYS) do
  local held = redis.pcall('HMGET', lease, 'id', 'queue')
  if held.err then
    answers[i] = held -- of this row alone
  elseif held[1] == ARGV[i] and not held[2] then
    answers[i] = redis.call('DEL', lease)
  else
    answers[i] = 0
  end
end
return answers
