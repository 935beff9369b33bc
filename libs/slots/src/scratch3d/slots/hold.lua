-- Renew (lease > 0) or release (lease = 0) a replica, or leave the line.
--
-- KEYS[1] 3d:slots:{pool}:held  hash  url → "token expiry_ms"
-- KEYS[2] 3d:slots:{pool}:line  zset  ticket → order of arrival
-- KEYS[3] 3d:slots:{pool}:seen  zset  ticket → last time it asked, ms
-- KEYS[4] 3d:slots:{pool}:away  hash  url → "failures until_ms"
-- ARGV[1] ticket   ARGV[2] lease ms   ARGV[3] url ('' to leave the line only)
-- ARGV[4] 'well' | 'ill' | '': how the replica was   ARGV[5] pause after a first failure, ms   ARGV[6] longest pause, ms
-- Returns 1 when the ticket held the replica.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
local held = redis.call('HGET', KEYS[1], ARGV[3])
if not held or held:match('^(%S+) ') ~= ARGV[1] then return 0 end
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
if tonumber(ARGV[2]) > 0 then
  redis.call('HSET', KEYS[1], ARGV[3], ARGV[1] .. ' ' .. (now + ARGV[2]))
  return 1
end
redis.call('HDEL', KEYS[1], ARGV[3])
if ARGV[4] == 'well' then redis.call('HDEL', KEYS[4], ARGV[3]) end
if ARGV[4] == 'ill' then
  local before = redis.call('HGET', KEYS[4], ARGV[3])
  local failures = before and tonumber(before:match('^(%d+)')) or 0
  local pause = math.min(tonumber(ARGV[5]) * 2 ^ failures, tonumber(ARGV[6]))
  redis.call('HSET', KEYS[4], ARGV[3], string.format('%d %d', failures + 1, now + pause))
end
return 1
