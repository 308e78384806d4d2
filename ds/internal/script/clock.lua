-- clock: the server's time. Included by other scripts.
-- returns nothing: it defines server_ms
local function server_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
