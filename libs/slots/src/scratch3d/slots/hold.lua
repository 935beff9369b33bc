-- Renew (lease > 0) or release (lease = 0) a replica, or leave the line.
--
-- KEYS[1] 3d:slots:{pool}:held  hash  url → "token expiry_ms"
-- KEYS[2] 3d:slots:{pool}:line  zset  ticket → order of arrival
-- KEYS[3] 3d:slots:{pool}:seen  zset  ticket → last time it asked, ms
-- ARGV[1] ticket   ARGV[2] lease ms   ARGV[3] url ('' to leave the line only)
-- Returns 1 when the ticket held the replica.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
local held = redis.call('HGET', KEYS[1], ARGV[3])
if not held or held:match('^(%S+) ') ~= ARGV[1] then return 0 end
if tonumber(ARGV[2]) == 0 then
  redis.call('HDEL', KEYS[1], ARGV[3])
else
  local now = redis.call('TIME')
  redis.call('HSET', KEYS[1], ARGV[3], ARGV[1] .. ' ' .. (now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2]))
end
return 1
