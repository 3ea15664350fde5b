// The pool of a thread: the last texts that were given back, the latest behind.
// Thread-local, no locks.
#include "core/text_pool.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(begin, size) (static_cast<void>(begin), static_cast<void>(size))
#define ASAN_UNPOISON_MEMORY_REGION(begin, size) (static_cast<void>(begin), static_cast<void>(size))
#endif

namespace parley::core {

namespace {

struct Pool {
    Pool() = default;
    Pool(Pool const&) = delete;
    Pool& operator=(Pool const&) = delete;

    std::array<std::string, 16> texts;
    std::size_t count = 0;
    std::size_t bytes = 0;

    ~Pool() {
        while (count > 0)
            take(0);
    }

    std::string take(std::size_t place) noexcept {
        auto const first = texts.begin() + static_cast<std::ptrdiff_t>(place);
        auto text = std::move(*first);
        std::move(std::next(first), texts.begin() + static_cast<std::ptrdiff_t>(count), first);
        --count;
        bytes -= text.capacity();
        ASAN_UNPOISON_MEMORY_REGION(text.data(), text.capacity() + 1);
        return text;
    }
};

thread_local Pool pool;

} // namespace

std::string pooled_text(std::size_t capacity) {
    std::string text;
    if (capacity >= kPooledBytesMin && capacity <= kPooledBytesMax) {
        for (auto place = pool.count; place-- > 0;) {
            auto const room = pool.texts[place].capacity();
            if (room < capacity || room > 2 * capacity) continue;
            text = pool.take(place);
            text.clear();
            return text;
        }
    }
    text.reserve(capacity);
    return text;
}

void recycle_text(std::string&& text) noexcept {
    auto const room = text.capacity();
    if (room < kPooledBytesMin || room > kPooledBytesMax) {
        std::string().swap(text);
        return;
    }
    while (pool.count == pool.texts.size() || pool.bytes + room > kPoolBytesMax)
        pool.take(0);
    ASAN_POISON_MEMORY_REGION(text.data(), room + 1); // whoever still looks at it is found out
    pool.texts[pool.count++] = std::move(text);
    pool.bytes += room;
}

std::size_t pooled_bytes() noexcept {
    return pool.bytes;
}

} // namespace parley::core
