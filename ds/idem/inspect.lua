-- inspect: tell what a record says, without its result.
-- KEYS[1] {p}record
-- returns {state, token, runner, since µs, lease left ms, settled µs, runs, result bytes, ms until it is forgotten, crashes, checkpoint, …};
-- a run whose lease has lapsed is lost
-- include outcome.lua
local r = redis.call('HMGET', KEYS[1], 'state', 'token', 'runner', 'since', 'ends', 'settled', 'runs', 'crashes')
if not r[1] then
  return {'none', '0', '', 0, 0, 0, 0, 0, 0, 0}
end
local state, left, crashes = r[1], 0, tonumber(r[8] or 0)
if state == 'running' then
  left = math.max(0, math.ceil((tonumber(r[5]) - now_us()) / 1000))
  if left == 0 then
    state, crashes = 'lost', crashes + 1
  end
end
local answer = {state, r[2], r[3], tonumber(r[4]), left, tonumber(r[6] or 0), tonumber(r[7]),
  redis.call('HSTRLEN', KEYS[1], 'result'), redis.call('PTTL', KEYS[1]), crashes}
local saved = checkpoints(KEYS[1])
for i = 1, #saved, 2 do
  answer[#answer + 1] = saved[i]
end
return answer
