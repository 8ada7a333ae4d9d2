# ruff: noqa: E501 - a template and its translation stand together
"""Chinese for the load that a package carries; see catalogue_zh.py."""

ZH = {
    "Latency over HTTP under load, 99th percentile": "负载下的 HTTP 延迟，第 99 百分位",
    "Latency over HTTP under load, median": "负载下的 HTTP 延迟，中位数",
    "Load that a server of the package carries": "部署包的服务器所能承受的负载",
    "Requests that a server carries": "服务器所能承受的请求数",
    "Rows that a server carries": "服务器所能承受的行数",
    "a row of held-out data as JSON in each request, {callers} callers that ask again when they are answered, over this machine's loopback; the client shared the machine with {workers} workers": "每个请求含一行留出数据（JSON），{callers} 个调用方得到答复后即再次请求，经本机回环接口；客户端与 {workers} 个工作进程共用本机",
    "the recipe says deployment.load.enabled: false": "配方设置了 deployment.load.enabled: false",
    "{refused} refusals, each asked again; {unanswered} of {n} had no answer at the end and count with the time that they had waited": "{refused} 次被拒，均已重试；{n} 个请求中有 {unanswered} 个到结束时仍无答复，按其已等待的时间计入",
    "{rate} requests a second at random times (Poisson), {share} of what was carried; from the time at which each was due, at most {connections} connections; the client, itself late by {lag} ms (median), shared the machine": "每秒 {rate} 个请求，到达时刻随机（泊松），为所承受量的 {share}；自每个请求应发出的时刻起计，至多 {connections} 个连接；客户端与服务器共用本机，其自身迟发中位数为 {lag} 毫秒",
    "{rows} rows of held-out data as JSON in each request, {callers} callers that ask again when they are answered, over this machine's loopback; the client shared the machine with {workers} workers": "每个请求含 {rows} 行留出数据（JSON），{callers} 个调用方得到答复后即再次请求，经本机回环接口；客户端与 {workers} 个工作进程共用本机",
}
