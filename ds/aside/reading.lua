-- reading: what is known of a value. Included by other scripts.
-- returns nothing: it defines reading, which returns
--   {state, value, fresh ms left, ms left, took ms, quiet ms, version, tags}
--   with state 0 none, 1 a value, 2 a value that another program has set, 3 known to be absent; -1 ms: for ever
local function reading(key, side, now)
  local value = redis.call('GET', key)
  local m = redis.call('HMGET', side, 'expires', 'fresh', 'took', 'quiet', 'version', 'tags', 'absent')
  local expires = tonumber(m[1] or 0)
  if value then
    -- What we have stored ends when we said. Any other value is not what the
    -- fields speak of.
    local ends = redis.call('PEXPIRETIME', key)
    if ends ~= expires then
      local left = ends < 0 and -1 or math.max(ends - now, 0)
      return {2, value, left, left, 0, 0, '-', ''}
    end
  elseif not m[7] then
    return {0, '', 0, 0, 0, 0, '', ''}
  end
  return {value and 1 or 3, value or '', m[2] - now, expires - now, tonumber(m[3]), math.max(m[4] - now, 0), m[5], m[6]}
end
