#!lua flags=allow-oom
-- renew: keep runs for another lease each, where they are still the run. Never makes a key.
-- KEYS[1..] of each row: {p}record
-- ARGV[1..] of each row: token, lease in ms, retention in ms
-- returns {run_id, answer of the first row, …}: 1, why it is not ours, or an error
-- include server.lua
local answers = {run_id()}
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
for i = 1, #KEYS do
  local token, lease, retention = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local answer = redis.pcall('HMGET', KEYS[i], 'state', 'token')
  -- An error is the answer of this row alone.
  if not answer.err then
    if answer[1] == 'running' and answer[2] == token then
      redis.call('HSET', KEYS[i], 'ends', string.format('%.0f', now + lease * 1000))
      redis.call('PEXPIRE', KEYS[i], lease + retention)
      answer = 1
    else
      answer = answer[1] and 'not owner' or 'gone'
    end
  end
  answers[#answers + 1] = answer
end
return answers
