// What a person saw of an answer: its text without the blocks in which clients and models wrap thoughts and tool calls.
// Pure functions. Source of the forms: facts of Open WebUI (`<details type="…">`), reasoning models (`<think>`).
#pragma once

#include <string>
#include <string_view>

namespace parley::memory {

/// `text` without `<think>…</think>`, `<thinking>…`, `<thoughts>…`, `<reasoning>…` and `<details type="reasoning|
/// tool_calls|code_interpreter">…</details>`, nested ones included. A block that is not closed is left alone, unless it
/// begins the text: then the answer was cut while the model thought, and nothing of it was visible. Text that has none
/// comes back as it is, white space around the blocks that are taken out goes with them.
std::string without_hidden_blocks(std::string_view text);

/// Two texts are the same answer when these are equal: hidden blocks and all white space are taken out, because what a
/// client joins and trims differs from what was streamed.
std::string answer_fingerprint(std::string_view text);

} // namespace parley::memory
