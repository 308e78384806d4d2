-- begin: claim the run of a key, or tell what became of it.
-- KEYS[1] {p}record
-- ARGV[1] runner   ARGV[2] lease, ms   ARGV[3] retention, ms
-- ARGV[4] fingerprint, '' for none     ARGV[5] on crash: fail | rerun | resume
-- returns {state, token, runner, since µs, lease left ms, payload} and after
-- them of each checkpoint its name and what it saved; state is claimed,
-- running, done, final, unstored, lost or mismatch
-- include outcome.lua
local key, runner, policy = KEYS[1], ARGV[1], ARGV[5]
local lease, retention = tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_us()

local token, runs, crashes, print = 0, 0, 0, ARGV[4]
local saved = {}
if redis.call('EXISTS', key) == 1 then
  local r = redis.call('HMGET', key, 'kind', 'v', 'state', 'token', 'runner', 'since', 'ends', 'print', 'runs', 'crashes')
  if r[1] ~= 'idem' or r[2] ~= '1' then
    return redis.error_reply('WRONGSTATE the key holds no idem record of version 1')
  end
  local state, since = r[3], tonumber(r[6])
  local known = r[8] or ''
  if print ~= '' and known ~= '' and print ~= known then
    return {'mismatch', r[4], r[5], since, 0, known}
  end
  crashes = tonumber(r[10] or 0)
  if state == 'running' then
    local left = math.ceil((tonumber(r[7]) - now) / 1000)
    if left > 0 then
      return {r[5] == runner and 'claimed' or 'running', r[4], r[5], since, left, ''}
    end
    crashes = crashes + 1
    if policy == 'fail' then
      -- From here on the first runner is fenced: somebody has been told that
      -- the outcome is unknown, and that must stay true.
      redis.call('HSET', key, 'crashes', crashes)
      settle(key, 'lost', retention)
      state = 'lost'
    end
  end
  if state == 'done' or state == 'final' or state == 'unstored' or (state == 'lost' and policy == 'fail') then
    return {state, r[4], r[5], since, 0, redis.call('HGET', key, 'result') or ''}
  end
  token, runs = tonumber(r[4]), tonumber(r[9])
  if print == '' then
    print = known
  end
  if policy == 'rerun' then
    redis.call('DEL', key)
  else
    redis.call('HDEL', key, 'settled', 'abandoned')
    saved = checkpoints(key)
  end
end

-- Tokens rise over everything that makes the server forget the last one.
token = string.format('%.0f', math.max(token + 1, now))
redis.call('HSET', key, 'kind', 'idem', 'v', '1', 'state', 'running', 'token', token, 'runner', runner,
  'since', string.format('%.0f', now), 'ends', string.format('%.0f', now + lease * 1000),
  'print', print, 'runs', runs + 1, 'crashes', crashes)
-- The record outlives the lease, so that a runner that died stays visible.
redis.call('PEXPIRE', key, lease + retention)
local answer = {'claimed', token, runner, now, lease, ''}
for i = 1, #saved do
  answer[#answer + 1] = saved[i]
end
return answer
