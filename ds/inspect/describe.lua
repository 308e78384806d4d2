#!lua flags=no-writes
-- describe: tell of what form keys are, and nothing of what they hold for users.
-- KEYS[1..] any keys of one object
-- returns for each key {} if it is not there, else {type, ms left, kind, version}
local function short(s)
  return s and string.sub(s, 1, 64) or ''
end

local out = {}
for i, key in ipairs(KEYS) do
  local type = redis.call('TYPE', key).ok
  if type == 'none' then
    out[i] = {}
  else
    local kind, version = '', ''
    if type == 'hash' then
      local f = redis.call('HMGET', key, 'kind', 'v', 'schema')
      kind, version = short(f[1]), short(f[2] or f[3])
    elseif type == 'string' then
      -- The state of a limiter is a string, which says what it is.
      version = short(string.match(redis.call('GETRANGE', key, 0, 31), '^limiter/(%d+) '))
      kind = version ~= '' and 'limiter' or ''
    end
    out[i] = {type, redis.call('PTTL', key), kind, version}
  end
end
return out
