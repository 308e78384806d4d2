#!lua flags=allow-oom
-- barrier_renew: keep arrivals for another ttl each, where the id waits. Never makes an
-- arrival. One whose generation has ended counts as kept: its party is told what came of it.
-- KEYS[1..] of each row: {p}barrier, {p}generation:N, {p}arrived:N, {p}ids:N
-- ARGV[1..] of each row: N, party, id, ttl of the arrival in ms, ttl of the barrier in ms
-- returns {run_id, answer of the first row, …}: 1, why it is not ours, or an error
-- include clock.lua
-- include server.lua
local now = server_ms()

local function renew(barrier, generation, arrived, ids, n, party, id, ttl, life)
  if redis.call('HGET', generation, 'ended') then
    return 1
  end
  local owner = redis.call('HGET', ids, party)
  if owner and owner ~= id then
    return 'not owner'
  end
  local till = redis.call('ZSCORE', arrived, party)
  if not owner or not till or tonumber(till) <= now or redis.call('HGET', barrier, 'generation') ~= n then
    return 'gone'
  end
  redis.call('ZADD', arrived, string.format('%.0f', now + ttl), party)
  redis.call('PEXPIRE', arrived, 2 * ttl, 'GT')
  redis.call('PEXPIRE', ids, 2 * ttl, 'GT')
  -- Rarely: who waits watches the generation, and a new TTL wakes them all.
  if redis.call('PTTL', barrier) < life / 2 then
    redis.call('PEXPIRE', barrier, life)
    redis.call('PEXPIRE', generation, life)
  end
  return 1
end

-- include rows.lua
local answers = {run_id()}
for i = 1, #KEYS / 4 do
  local k, a = 4 * i, 5 * i
  answers[i + 1] = answer_of(renew, KEYS[k - 3], KEYS[k - 2], KEYS[k - 1], KEYS[k],
    ARGV[a - 4], ARGV[a - 3], ARGV[a - 2], ARGV[a - 1], ARGV[a])
end
return answers
