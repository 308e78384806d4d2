#!lua
-- commit: run the effects of a run and store what it came to, if it is still the run.
-- KEYS[1] {p}record, and after it the keys of the effects
-- ARGV[1] token   ARGV[2] state: done | unstored   ARGV[3] payload
-- ARGV[4] retention, ms   ARGV[5..] of each effect: how many words, then the words
-- returns {1}, also when it was stored before; {0, state} if the run is not
-- ours any more; {2, how many effects there were before one failed, its error},
-- also when that was told before: after none the run goes on, else it has failed for good
-- include outcome.lua
local r = redis.call('HMGET', KEYS[1], 'state', 'token', 'result')
if r[2] ~= ARGV[1] then
  return {0, r[1] or 'none'}
end
if r[1] == ARGV[2] then
  return {1}
end
if r[1] == 'final' then
  local n, failed = string.match(r[3], '^only the first (%d+) of its effects took place: (.*)$')
  if n then
    return {2, tonumber(n), failed}
  end
end
if r[1] ~= 'running' then
  return {0, r[1]}
end
-- include commands.lua
local replies = run(ARGV, 5)
local last, state, result = replies[#replies], ARGV[2], ARGV[3]
local failed = type(last) == 'table' and last.err
if failed and #replies == 2 then
  return {2, 0, failed}
end
if failed then
  -- Nothing takes back those before it, so nobody may run them again.
  state, result = 'final', 'only the first ' .. (#replies - 2) .. ' of its effects took place: ' .. failed
end
drop(KEYS[1])
redis.call('HSET', KEYS[1], 'result', result)
settle(KEYS[1], state, ARGV[4])
if failed then
  return {2, #replies - 2, failed}
end
return {1}
