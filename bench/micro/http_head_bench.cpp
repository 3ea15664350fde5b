// What reading an HTTP head costs: our gate, and Beast's parser behind it (docs/decisions/0002-http-head.md).
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>

#include <string>

#include <benchmark/benchmark.h>

#include "net/http_head.hpp"

namespace {

// What openai-node sends.
std::string const kRequest =
    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nAccept: application/json\r\nContent-Type: "
    "application/json\r\n"
    "User-Agent: OpenAI/JS 7.55.0\r\nX-Stainless-Retry-Count: 0\r\nX-Stainless-Lang: "
    "js\r\nX-Stainless-Package-Version: 7.55.0\r\n"
    "X-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: node\r\nX-Stainless-Runtime-Version: "
    "v22.0.0\r\n"
    "Authorization: Bearer sk-0123456789abcdef0123456789abcdef\r\nContent-Length: 312\r\nConnection: "
    "keep-alive\r\n\r\n";

void gate(benchmark::State& state) {
    parley::net::RequestHead head;
    for (auto _ : state) {
        auto const result = parley::net::parse_request_head(kRequest, {}, head);
        benchmark::DoNotOptimize(result.bytes);
    }
}
BENCHMARK(gate);

void beast(benchmark::State& state) {
    namespace http = boost::beast::http;
    for (auto _ : state) {
        http::request_parser<http::empty_body> parser;
        parser.body_limit(32 << 20);
        boost::beast::error_code error;
        auto const used = parser.put(boost::asio::buffer(kRequest), error);
        benchmark::DoNotOptimize(used);
        benchmark::DoNotOptimize(parser.get()[http::field::authorization]);
    }
}
BENCHMARK(beast);

} // namespace

BENCHMARK_MAIN();
