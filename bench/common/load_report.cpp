// The load generator's result as one JSON line, see load_report.hpp.
// Owned by the load generator.
// Runs on its single thread.
#include "bench/common/load_report.hpp"

#include <cstdarg>
#include <cstdio>
#include <numeric>

namespace parley::bench {
namespace {

void append(std::string& out, char const* format, ...) __attribute__((format(printf, 2, 3)));

void append(std::string& out, char const* format, ...) {
    std::array<char, 512> text{};
    std::va_list arguments;
    va_start(arguments, format);
    int const length = std::vsnprintf(text.data(), text.size(), format, arguments);
    va_end(arguments);
    out.append(text.data(), static_cast<std::size_t>(length));
}

void append_quantiles(std::string& out, char const* name, Histogram const& histogram) {
    append(out, R"("%s":{"count":%llu,"p50":%.1f,"p90":%.1f,"p99":%.1f,"p999":%.1f,"max":%.1f},)", name,
           static_cast<unsigned long long>(histogram.count()), histogram.quantile_us(0.5), histogram.quantile_us(0.9),
           histogram.quantile_us(0.99), histogram.quantile_us(0.999), histogram.max_us());
}

} // namespace

void LoadReport::add_fault(Fault fault, std::string_view words) {
    ++faults[static_cast<std::size_t>(fault)];
    if (!first_fault.empty()) return;
    for (char const byte : words.substr(0, 300)) {
        if (byte == '"' || byte == '\\') first_fault += '\\';
        first_fault += byte >= ' ' && byte <= '~' ? byte : ' ';
    }
}

std::uint64_t LoadReport::fault_count() const {
    return std::accumulate(faults.begin(), faults.end(), std::uint64_t{0});
}

std::string LoadReport::json() const {
    auto const number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
    std::string out = "{";
    append(out, R"("requests":%llu,"errors":%llu,"error_kinds":{)", number(requests), number(fault_count()));
    char const* separator = "";
    for (std::size_t i = 0; i < faults.size(); ++i) {
        if (faults[i] == 0) continue;
        append(out, R"(%s"%s":%llu)", separator, kFaultNames[i], number(faults[i]));
        separator = ",";
    }
    out += R"(},"first_error":")" + first_fault + "\",";
    append(out, R"("elapsed_s":%.4f,"generator_cpu_s":%.6f,"rps":%.1f,"events":%llu,)", elapsed_s, cpu_s,
           elapsed_s > 0 ? static_cast<double>(requests) / elapsed_s : 0, number(marks));
    append(out, R"("connections_opened":%llu,"backlog_max":%llu,"unsent":%llu,"statuses":{)",
           number(connections_opened), number(backlog_max), number(unsent));
    separator = "";
    for (auto const& [status, count] : statuses) {
        append(out, R"(%s"%d":%llu)", separator, status, number(count));
        separator = ",";
    }
    append(out, R"(},"in_time":%llu,"refused":%llu,"refused_without_time":%llu,"aborted":%llu,"events_lost":%llu,)",
           number(in_time), number(refused), number(refused_without_time), number(aborted), number(marks_lost));
    append_quantiles(out, "latency_us", latency);
    append_quantiles(out, "refusal_us", refusal);
    append_quantiles(out, "refusal_sent_us", refusal_sent);
    append_quantiles(out, "first_event_us", first_event);
    append_quantiles(out, "event_delay_us", event_delay);
    append_quantiles(out, "send_lag_us", send_lag);
    out.back() = '}';
    return out;
}

} // namespace parley::bench
