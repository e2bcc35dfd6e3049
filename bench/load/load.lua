-- The wrk script of all measurements. Arguments follow `--`, each as NAME=VALUE:
--   method; body (a file); header (NAME: VALUE, can be repeated); the expected status and outcome of each response;
--   unique (a prefix: with a counter, it replaces the word UNIQUE in path and body).
-- With the environment variable RATE, so many requests are sent a second, on one connection: each waits for its time.
-- Each response is checked. The last line of the output is a report in JSON.

local method, body, status, outcome, unique = "POST", "", "200", nil, nil
local headers, count, prepared = {}, 0, nil
wrong, sample = 0, ""

local threads = {}
function setup(thread)
  threads[#threads + 1] = thread
end

local function read(name)
  local file = assert(io.open(name, "rb"))
  local content = file:read("*a")
  file:close()
  return content
end

function init(arguments)
  for _, argument in ipairs(arguments) do
    local name, value = argument:match("^(%w+)=(.*)$")
    if name == "method" then method = value
    elseif name == "body" then body = read(value)
    elseif name == "status" then status = value
    elseif name == "outcome" then outcome = value
    elseif name == "unique" then unique = value
    elseif name == "header" then
      local key, text = value:match("^([^:]+): (.*)$")
      headers[key] = text
    end
  end
end

-- The text before and after the word UNIQUE. Found once, because a body may be large.
local function around(text)
  local from, to = text:find("UNIQUE", 1, true)
  if not from then return text, nil end
  return text:sub(1, from - 1), text:sub(to + 1)
end

local path_before, path_after, body_before, body_after
function request()
  if not unique then
    prepared = prepared or wrk.format(method, wrk.path, headers, body)
    return prepared
  end
  if not path_before then
    path_before, path_after = around(wrk.path)
    body_before, body_after = around(body)
  end
  count = count + 1
  local id = unique .. count
  local path = path_after and path_before .. id .. path_after or path_before
  local content = body_after and body_before .. id .. body_after or body_before
  return wrk.format(method, path, headers, content)
end

-- wrk calls `delay` before each request, if there is such a function.
local rate = tonumber(os.getenv("RATE"))
if rate then
  local ffi = require("ffi")
  ffi.cdef("struct timespec { long s, ns; }; int clock_gettime(int clock, struct timespec *now);")
  local now, start, sent = ffi.new("struct timespec"), nil, 0
  -- Milliseconds until the time of the next request.
  function delay()
    ffi.C.clock_gettime(1, now)
    local ms = tonumber(now.s) * 1e3 + tonumber(now.ns) / 1e6
    start = start or ms
    sent = sent + 1
    return math.max(0, math.floor(start + sent * 1e3 / rate - ms))
  end
end

function response(actual_status, actual_headers)
  local actual_outcome = actual_headers["sluice-outcome"]
  if tostring(actual_status) ~= status or (outcome and actual_outcome ~= outcome) then
    wrong = wrong + 1
    if sample == "" then sample = actual_status .. " " .. tostring(actual_outcome) end
  end
end

function done(summary, latency)
  local errors, wrong_total, example = summary.errors, 0, ""
  for _, thread in ipairs(threads) do
    wrong_total = wrong_total + thread:get("wrong")
    example = thread:get("sample")
  end
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"broken":%d,"wrong":%d,"example":"%s"}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.timeout, wrong_total, example))
end
