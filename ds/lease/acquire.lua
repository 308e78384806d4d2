-- acquire: take leases that are free, or confirm them to the ids that have them.
-- KEYS[1..] of each row: {p}lease, {p}fence
-- ARGV[1] ttl of the fences, ms   ARGV[2..] of each row: id, owner, ttl in ms, meta
-- returns of each row the token, or {0, id, owner, token, since µs, ms left, ttl ms, meta},
--   or {2}: queue.lua has to be asked, or an error
-- include grant.lua
-- include rows.lua

local function acquire(lease, fence, id, owner, ttl, meta)
  local has = redis.call('HGET', lease, 'id')
  if has == id then
    -- The same request once more, its first answer lost: the same grant.
    redis.call('PEXPIRE', lease, ttl)
    return redis.call('HGET', lease, 'token')
  end
  if has then
    local held = redis.call('HMGET', lease, 'owner', 'token', 'since', 'ttl', 'meta', 'queue')
    if held[6] or has == 'queue' or has == 'readers' then
      return {2}
    end
    return {0, has, held[1], held[2], held[3], redis.call('PTTL', lease), held[4], held[5] or ''}
  end

  -- What may fail comes before the first write: a script is not rolled back.
  local token = new_token(fence, ARGV[1])
  redis.call('HSET', lease, 'kind', 'lease', 'v', '1', 'id', id, 'owner', owner,
    'token', token, 'since', stamp, 'ttl', ttl)
  if meta ~= '' then
    redis.call('HSET', lease, 'meta', meta)
  end
  redis.call('PEXPIRE', lease, ttl)
  return token
end

local answers = {}
for i = 1, #KEYS / 2 do
  local a = 4 * i - 2
  answers[i] = answer_of(acquire, KEYS[2 * i - 1], KEYS[2 * i], ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3])
end
return answers
