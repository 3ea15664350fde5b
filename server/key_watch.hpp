// One loop's view of the stored keys: asks the store every second whether something has changed, and reads them again
// when it has. So a change counts everywhere within two seconds, and a request never waits for the store to know a key.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "core/context.hpp"
#include "core/task.hpp"
#include "net/loop.hpp"
#include "policy/key_book.hpp"

namespace parley::policy {
class KeyStore;
}

namespace parley::server {

/// What a loop knows of stored keys.
struct StoredKeys {
    std::shared_ptr<policy::KeyBook const> book = std::make_shared<policy::KeyBook const>(); // never null
    std::int64_t version = -1; // of the book, KeyStore::version(); -1 = nothing was read
    bool is_current = true;    // false: the store cannot be read, so a key that is not in the book may be valid
};

inline constexpr std::chrono::seconds kKeyWatchInterval{1};

/// All keys as they are now. Errors: those of the store.
core::Task<StoredKeys> read_keys(policy::KeyStore& keys, core::Context const& context);

/// Until `ending` is cancelled. `use` is called on the loop with each change.
core::Awaitable<void> watch_keys(net::Loop& loop, core::Cancellation& ending, policy::KeyStore& keys, StoredKeys known,
                                 std::function<void(StoredKeys)> use);

} // namespace parley::server
