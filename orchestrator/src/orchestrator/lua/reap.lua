-- Put jobs whose lease ended back to the front of the queue.
--
-- KEYS[1] 3d:leases  zset  job id → end of the lease, ms
-- KEYS[2] 3d:claims  hash  token → job id
-- KEYS[3] 3d:queue   list  job ids ready for a worker
-- job:{id}           hash  the job
-- ARGV[1] message
-- Returns the ids.
local back = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms(), 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], id)
  local job = 'job:' .. id
  local state, token, progress = unpack(redis.call('HMGET', job, 'state', 'token', 'progress'))
  if token and token ~= '' then redis.call('HDEL', KEYS[2], token) end
  if state and state ~= 'completed' and state ~= 'failed' then
    redis.call('HSET', job, 'token', '', 'phase', '', 'message', ARGV[1])
    redis.call('HINCRBY', job, 'version', 1)
    redis.call('HINCRBY', job, 'losses', 1)
    redis.call('LPUSH', KEYS[3], id)
    tell(id, cjson.encode({type = 'requeued', state = state, message = ARGV[1], progress = tonumber(progress)}))
    back[#back + 1] = id
  end
end
return back
