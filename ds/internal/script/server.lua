-- server: tells servers apart, so that a failover is seen. Included by other scripts.
-- returns nothing: it defines run_id
local function run_id()
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
end
