-- Put jobs whose lease ended back to the front of the queue, and note who looked.
--
-- KEYS[1] 3d:leases  zset  job id → end of the lease, ms
-- KEYS[2] 3d:claims  hash  token → job id
-- KEYS[3] 3d:queue   list  job ids ready for a worker
-- KEYS[4] 3d:workers zset  worker → until when it counts as present, s
-- job:{id}           hash  the job
-- ARGV[1] message   ARGV[2] worker ('' for none)   ARGV[3] how long it counts as present, s
-- Returns the ids.
local back, now = {}, now_ms()
if ARGV[2] ~= '' then redis.call('ZADD', KEYS[4], now / 1000 + ARGV[3], ARGV[2]) end
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now / 1000)
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 100)
-- The last one first: each goes to the front, and the one that has waited longest shall be the foremost.
for i = #late, 1, -1 do
  local id = late[i]
  redis.call('ZREM', KEYS[1], id)
  local job = 'job:' .. id
  local state, token, progress, owner = unpack(redis.call('HMGET', job, 'state', 'token', 'progress', 'owner'))
  if token and token ~= '' then redis.call('HDEL', KEYS[2], token) end
  if state and state ~= 'completed' and state ~= 'failed' then
    redis.call('HSET', job, 'token', '', 'phase', '', 'message', ARGV[1])
    redis.call('HINCRBY', job, 'version', 1)
    redis.call('HINCRBY', job, 'losses', 1)
    redis.call('LPUSH', KEYS[3], id)
    tell(id, owner, cjson.encode({type = 'requeued', state = state, message = ARGV[1], progress = tonumber(progress)}))
    redis.call('PUBLISH', '3d:stop', id)
    table.insert(back, 1, id)
  end
end
return back
