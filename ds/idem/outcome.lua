-- outcome: how a run ends, and what it has saved. Included by other scripts.
-- returns nothing: it defines now_us, settle, checkpoints, save and drop
local function now_us()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

-- The run has ended in this state, which is kept for the retention.
local function settle(key, state, retention)
  redis.call('HSET', key, 'state', state, 'settled', string.format('%.0f', now_us()))
  redis.call('HDEL', key, 'ends')
  redis.call('PEXPIRE', key, retention)
end

-- The names of all checkpoints, each followed by what it saved.
local function checkpoints(key)
  local found = {}
  if redis.call('HEXISTS', key, 'steps') == 1 then
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 5) == 'step:' then
        found[#found + 1] = string.sub(all[i], 6)
        found[#found + 1] = all[i + 1]
      end
    end
  end
  return found
end

local function save(key, name, payload)
  if redis.call('HSET', key, 'step:' .. name, payload) == 1 then
    redis.call('HINCRBY', key, 'steps', 1)
  end
end

-- An outcome needs no checkpoints any more.
local function drop(key)
  local found = checkpoints(key)
  for i = 1, #found, 2 do
    redis.call('HDEL', key, 'step:' .. found[i])
  end
  redis.call('HDEL', key, 'steps')
end
