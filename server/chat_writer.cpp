// The chunks of a streamed answer. Text is put between prebuilt pieces as it came: no JSON library, one append
// sequence per chunk. ChatJsonWriter is in chat_writer_json.cpp.
#include "server/chat_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "core/append.hpp"
#include "core/json.hpp"
#include "server/api_error.hpp"
#include "server/chat_writer_parts.hpp"

namespace parley::server {
namespace {

// aiohttp clients (Open WebUI) give up at 128 KiB a line (open-webui #10302, #17626); half of it is safe everywhere.
constexpr std::size_t kLineBytesMax = 64 * 1024;

// Calls `write` with the pieces of `body`, in order; once with nothing when it is empty.
template <class Write>
void in_pieces(std::string_view body, std::size_t bytes_max, Write write) {
    do {
        auto const size = piece_size(body, bytes_max);
        write(body.substr(0, size));
        body.remove_prefix(size);
    } while (!body.empty());
}

// JSON that came in several lines stays valid on one, and a line break would end the SSE field.
void append_on_one_line(std::string& out, std::string_view json) {
    auto const begin = out.size();
    out += json;
    for (auto at = begin; (at = out.find_first_of("\r\n", at)) != out.npos;)
        out[at] = ' ';
}

template <class... Parts>
void append(std::string& out, Parts const&... parts) {
    (out.append(std::string_view(parts)), ...);
}

} // namespace

std::size_t piece_size(std::string_view body, std::size_t bytes_max) noexcept {
    if (body.size() <= bytes_max) return body.size();
    std::size_t at = 0; // behind the last whole escape
    while (true) {
        auto const escape = body.substr(0, bytes_max).find('\\', at);
        if (escape == std::string_view::npos) break;
        auto const is_surrogate = [&](std::size_t i, char low, char high) {
            if (i + 6 > body.size()) return false;
            auto const start = body.substr(i, 4);
            if (start[0] != '\\' || start[1] != 'u' || (start[2] | 0x20) != 'd') return false;
            char const digit = start[3] >= 'A' ? static_cast<char>(start[3] | 0x20) : start[3];
            return digit >= low && digit <= high;
        };
        std::size_t size = body.size() > escape + 1 && body[escape + 1] == 'u' ? 6 : 2;
        if (is_surrogate(escape, '8', 'b') && is_surrogate(escape + 6, 'c', 'f')) size = 12;
        if (escape + size > bytes_max) return escape == 0 ? std::min(size, body.size()) : escape;
        at = escape + size;
    }
    auto cut = bytes_max;
    while (cut > at && (static_cast<unsigned char>(body[cut]) & 0xC0) == 0x80)
        --cut;
    return cut == 0 ? bytes_max : cut;
}

ChatStreamWriter::ChatStreamWriter(ChatReplyHead const& head)
    : ChatStreamWriter(head, &std::chrono::steady_clock::now) {}

ChatStreamWriter::ChatStreamWriter(ChatReplyHead const& head, ToolTrace::Clock now)
    : head_(head), tools_(std::move(now)) {
    choices_.resize(static_cast<std::size_t>(std::clamp(head_.choices, 1, kChoicesMax)));
    chunk_tail_ = head_.include_usage ? R"(,"finish_reason":null}],"usage":null})" : R"(,"finish_reason":null}]})";
    chunk_tail_ += "\n\n";
    build_head({});
}

void ChatStreamWriter::build_head(std::string_view fields) {
    base_ = "data: ";
    append_reply_head(base_, head_, "chat.completion.chunk");
    base_ += fields;
    chunk_head_ = base_ + R"(,"choices":[{"index":)";
}

std::size_t ChatStreamWriter::piece_bytes_max() const noexcept {
    constexpr std::size_t delta_bytes = 256; // names and braces around a piece
    auto const around = chunk_head_.size() + chunk_tail_.size() + delta_bytes;
    return around < kLineBytesMax / 2 ? kLineBytesMax - around : kLineBytesMax / 2;
}

void ChatStreamWriter::begin_chunk(int choice, std::string& out) const {
    out += chunk_head_;
    core::append_number(out, choice);
    out += R"(,"delta":{)";
}

// False for an index that no client could take: its events are dropped.
bool ChatStreamWriter::open(int choice, std::string& out) {
    if (choice < 0 || choice >= kChoicesMax) return false;
    auto const index = static_cast<std::size_t>(choice);
    if (index >= choices_.size()) choices_.resize(index + 1);
    if (!choices_[index].open) {
        choices_[index].open = true;
        begin_chunk(choice, out);
        append(out, R"("role":"assistant","content":""})", chunk_tail_);
    }
    return true;
}

void ChatStreamWriter::start(std::string& out) {
    for (std::size_t i = 0; i < choices_.size(); ++i)
        open(static_cast<int>(i), out);
}

void ChatStreamWriter::write(std::span<chat::RunEvent const> events, std::string& out) {
    for (auto const& event : events) {
        std::visit([&](auto const& known) { on(known, out); }, event);
    }
}

void ChatStreamWriter::on(chat::TextDelta const& delta, std::string& out) {
    if (!open(delta.choice, out) || (delta.body.empty() && delta.logprobs.empty())) return;
    auto logprobs = delta.logprobs;
    in_pieces(delta.body, piece_bytes_max(), [&](std::string_view piece) {
        begin_chunk(delta.choice, out);
        append(out, R"("content":")", piece, "\"}");
        if (!logprobs.empty()) {
            out += R"(,"logprobs":)";
            append_on_one_line(out, std::exchange(logprobs, {}));
        }
        out += chunk_tail_;
    });
}

// Both spellings: llama.cpp, vLLM and DeepSeek clients read reasoning_content, Ollama and OpenRouter ones reasoning.
void ChatStreamWriter::on(chat::ReasoningDelta const& delta, std::string& out) {
    if (!open(delta.choice, out) || delta.body.empty()) return;
    reasoning_line_open_ = !delta.body.ends_with("\\n");
    in_pieces(delta.body, piece_bytes_max() / 2, [&](std::string_view piece) {
        begin_chunk(delta.choice, out);
        append(out, R"("reasoning_content":")", piece, R"(","reasoning":")", piece, "\"}", chunk_tail_);
    });
}

void ChatStreamWriter::on(chat::RefusalDelta const& delta, std::string& out) {
    if (!open(delta.choice, out) || delta.body.empty()) return;
    in_pieces(delta.body, piece_bytes_max(), [&](std::string_view piece) {
        begin_chunk(delta.choice, out);
        append(out, R"("refusal":")", piece, "\"}", chunk_tail_);
    });
}

void ChatStreamWriter::on(chat::ToolCallDelta const& delta, std::string& out) {
    if (!open(delta.choice, out)) return;
    bool first = !delta.id.empty() || !delta.name.empty();
    if (!first && delta.arguments.empty()) return;
    auto const names = delta.id.size() + delta.name.size();
    auto const room = piece_bytes_max();
    in_pieces(delta.arguments, names < room / 2 ? room - names : room / 2, [&](std::string_view piece) {
        begin_chunk(delta.choice, out);
        core::append(out, R"("tool_calls":[{"index":)", delta.index);
        if (std::exchange(first, false)) {
            append(out, R"(,"id":")", delta.id, R"(","type":"function","function":{"name":")", delta.name,
                   R"(","arguments":")");
        } else {
            out += R"(,"function":{"arguments":")";
        }
        append(out, piece, "\"}}]}", chunk_tail_);
    });
}

void ChatStreamWriter::on(chat::DeltaField const& field, std::string& out) {
    if (is_own_field(field.name) || !open(field.choice, out)) return;
    begin_chunk(field.choice, out);
    append(out, "\"", field.name, "\":");
    append_on_one_line(out, field.json);
    append(out, "}", chunk_tail_);
}

void ChatStreamWriter::on(chat::ChoiceEnd const& end, std::string& out) {
    if (open(end.choice, out)) choices_[static_cast<std::size_t>(end.choice)].reason = end.reason;
}

void ChatStreamWriter::on(chat::UsageReport const& report, std::string&) {
    usage_ = report;
}

// `model` stays the one that the client named, on every chunk.
void ChatStreamWriter::on(chat::ModelReport const& report, std::string&) {
    std::string fields;
    append_model_fields(fields, report.system_fingerprint, report.service_tier);
    if (fields.empty() || fields == model_fields_) return;
    model_fields_ = std::move(fields);
    build_head(model_fields_);
}

void ChatStreamWriter::finish(std::string& out) {
    start(out);
    end_open_tools(out);
    std::string_view const tail = head_.include_usage ? R"("}],"usage":null})" : R"("}]})";
    for (std::size_t i = 0; i < choices_.size(); ++i) {
        begin_chunk(static_cast<int>(i), out);
        append(out, R"(},"finish_reason":")", chat::finish_reason_name(choices_[i].reason), tail, "\n\n");
    }
    if (head_.include_usage && usage_) {
        append(out, base_, R"(,"choices":[],"usage":)");
        append_usage(out, *usage_);
        out += "}\n\n";
    }
    out += "data: [DONE]\n\n";
}

void ChatStreamWriter::fail(core::Error const& error, std::string& out) {
    end_open_tools(out);
    out += "data: ";
    append_stream_error_json(out, error);
    out += "\n\n";
}

} // namespace parley::server
