-- Give one free replica to the first ticket in line.
--
-- KEYS[1] 3d:slots:{pool}:held     hash   url → "token expiry_ms"
-- KEYS[2] 3d:slots:{pool}:line     zset   ticket → order of arrival
-- KEYS[3] 3d:slots:{pool}:seen     zset   ticket → last time it asked, ms
-- KEYS[4] 3d:slots:{pool}:arrival  string counter
-- ARGV[1] ticket   ARGV[2] lease ms   ARGV[3] patience ms   ARGV[4…] urls
-- Returns the url, or false: wait and ask again.
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local ticket, lease, patience = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local free = {}
for i = 4, #ARGV do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  local token, expiry
  if held then token, expiry = held:match('^(%S+) (%d+)$') end
  if token == ticket then return ARGV[i] end -- a repeated call after a lost reply
  if not held or tonumber(expiry) <= now then free[#free + 1] = ARGV[i] end
end

if not redis.call('ZSCORE', KEYS[2], ticket) then
  redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[4]), ticket)
end
redis.call('ZADD', KEYS[3], now, ticket)
-- Tickets whose holders stopped asking (killed, cancelled) leave the line.
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - patience)) do
  redis.call('ZREM', KEYS[2], gone)
  redis.call('ZREM', KEYS[3], gone)
end
if redis.call('ZRANK', KEYS[2], ticket) >= #free then return false end
redis.call('ZREM', KEYS[2], ticket)
redis.call('ZREM', KEYS[3], ticket)
redis.call('HSET', KEYS[1], free[1], ticket .. ' ' .. (now + lease))
return free[1]
