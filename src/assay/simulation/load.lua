-- Sends the bodies of a file in order, each once; wraps round only under new ids.
-- Argument: file of bodies. The API key is in the environment, where other users cannot see it.

local bodies, requests, sent, rounds = {}, {}, 0, 0

function init(args)
  wrk.method = "POST"
  wrk.headers["authorization"] = "Bearer " .. os.getenv("ASSAY_API_KEY")
  wrk.headers["content-type"] = "application/json"
  for line in io.lines(args[1]) do
    bodies[#bodies + 1] = line
    requests[#requests + 1] = wrk.format(nil, "/v1/decisions", nil, line)
  end
end

function request()
  sent = sent + 1
  if sent <= #requests then
    return requests[sent]
  end
  local round, i = math.floor((sent - 1) / #bodies), (sent - 1) % #bodies + 1
  local id = '"transaction_id":"' .. round .. "-"
  return wrk.format(nil, "/v1/decisions", nil, (bodies[i]:gsub('"transaction_id":"', id, 1)))
end

function done(summary, latency, _)
  io.write(string.format(
    "figures %d %d %d %d %d %d %d %d\n",
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
