#include "server/key_watch.hpp"

#include <utility>

#include "policy/key_store.hpp"

namespace parley::server {

// The version first: keys that come meanwhile are read again next time.
core::Task<StoredKeys> read_keys(policy::KeyStore& keys, core::Context const& context) {
    auto const version = co_await keys.version(context);
    if (!version) co_return version.error();
    auto all = co_await keys.list(context);
    if (!all) co_return all.error();
    co_return StoredKeys{std::make_shared<policy::KeyBook const>(std::move(*all)), *version, true};
}

core::Awaitable<void> watch_keys(net::Loop& loop, core::Cancellation& ending, policy::KeyStore& keys, StoredKeys known,
                                 std::function<void(StoredKeys)> use) {
    core::Context const context{ending, core::SteadyTime::max(), "key_watch"};
    while (!ending.cancelled()) {
        auto const version = co_await keys.version(context);
        if (ending.cancelled()) co_return;
        auto fresh = known;
        fresh.is_current = version.has_value();
        if (version && *version != known.version) {
            auto read = co_await read_keys(keys, context);
            fresh.is_current = read.has_value();
            if (read) fresh = std::move(*read);
        }
        if (fresh.version != known.version || fresh.is_current != known.is_current) use(fresh);
        known = std::move(fresh);
        (void)co_await loop.sleep(context, kKeyWatchInterval);
    }
}

} // namespace parley::server
