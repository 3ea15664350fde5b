// Memory of texts that were used a moment ago, for the next one of about that size: the processor still has it in its
// caches, and the pages are there. An allocator goes round all free blocks of a size before it comes back to one.
// Each thread has its own; callable from anywhere.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

namespace parley::core {

inline constexpr std::size_t kPooledBytesMin = 4 * 1024; // smaller ones lie close together anyway
inline constexpr std::size_t kPooledBytesMax = 264 * 1024;
inline constexpr std::size_t kPoolBytesMax = 1024 * 1024; // in all, per thread

/// An empty text with room for `capacity` bytes; from the pool when that has one which is not much larger.
std::string pooled_text(std::size_t capacity);

/// Keeps the memory of `text` for pooled_text(), or frees it: when it is smaller or larger than what is pooled. The
/// memory that was kept first is freed for it.
void recycle_text(std::string&& text) noexcept;

/// What this thread's pool holds; at most kPoolBytesMax.
std::size_t pooled_bytes() noexcept;

/// A text that does not change, and whose memory is kept for another one in the end.
class PooledText {
public:
    explicit PooledText(std::string text) noexcept : text_(std::move(text)) {}
    ~PooledText() { recycle_text(std::move(text_)); }
    PooledText(PooledText const&) = delete;
    PooledText& operator=(PooledText const&) = delete;

    std::string const& get() const noexcept { return text_; }

private:
    std::string text_;
};

} // namespace parley::core
