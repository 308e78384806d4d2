-- inspect: tell what a record says, without its result.
-- KEYS[1] {p}record
-- returns {state, token, runner, since µs, lease left ms, settled µs, runs, result bytes, ms until it is forgotten};
-- a run whose lease has lapsed is lost
local r = redis.call('HMGET', KEYS[1], 'state', 'token', 'runner', 'since', 'ends', 'settled', 'runs')
if not r[1] then
  return {'none', '0', '', 0, 0, 0, 0, 0, 0}
end
local state, left = r[1], 0
if state == 'running' then
  local t = redis.call('TIME')
  left = math.max(0, math.ceil((tonumber(r[5]) - (t[1] * 1000000 + t[2])) / 1000))
  if left == 0 then
    state = 'lost'
  end
end
return {state, r[2], r[3], tonumber(r[4]), left, tonumber(r[6] or 0), tonumber(r[7]),
  redis.call('HSTRLEN', KEYS[1], 'result'), redis.call('PTTL', KEYS[1])}
