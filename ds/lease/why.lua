-- why: why an id has lost a lease. Included by other scripts.
-- returns nothing: it defines why_not
local function why_not(holder, fence, id, token)
  local deposed = redis.pcall('HMGET', fence, 'deposed', 'why', 'below')
  if deposed[1] == id or (deposed[1] == 'readers' and tonumber(token) < tonumber(deposed[3] or '0')) then
    return deposed[2]
  end
  return holder and 'not owner' or 'gone'
end
