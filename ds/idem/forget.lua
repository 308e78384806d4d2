#!lua flags=allow-oom
-- forget: delete a record unless somebody runs it now.
-- KEYS[1] {p}record
-- returns {state it had or 'none', token, runner, since µs, lease left ms, ''};
-- running means that it was kept
local r = redis.call('HMGET', KEYS[1], 'state', 'token', 'runner', 'since', 'ends')
if not r[1] then
  return {'none', '0', '', 0, 0, ''}
end
local left = 0
if r[1] == 'running' then
  local t = redis.call('TIME')
  left = math.ceil((tonumber(r[5]) - (t[1] * 1000000 + t[2])) / 1000)
  if left > 0 then
    return {'running', r[2], r[3], tonumber(r[4]), left, ''}
  end
end
redis.call('DEL', KEYS[1])
return {r[1] == 'running' and 'lost' or r[1], r[2], r[3], tonumber(r[4]), 0, ''}
