-- Extend a lease and note progress, which never goes back.
--
-- KEYS[1] job:{id}   hash  the job
-- KEYS[2] 3d:leases  zset  job id → end of the lease, ms
-- ARGV[1] id   ARGV[2] token   ARGV[3] lease ms   ARGV[4] progress   ARGV[5] phase
-- Returns 1, or 0 when the caller does not hold the job any more.
local token, progress, phase, state, message, owner =
  unpack(redis.call('HMGET', KEYS[1], 'token', 'progress', 'phase', 'state', 'message', 'owner'))
if not token or token == '' or token ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[2], now_ms() + ARGV[3], ARGV[1])
local before = tonumber(progress) or 0
local further = math.max(before, tonumber(ARGV[4]))
if further > before or (phase or '') ~= ARGV[5] then
  redis.call('HSET', KEYS[1], 'progress', further, 'phase', ARGV[5])
  local event = {type = 'progress', state = state, message = message, progress = further}
  if ARGV[5] ~= '' then event.phase = ARGV[5] end
  tell(ARGV[1], owner, cjson.encode(event))
end
return 1
